"""The sources `mpi_inf_3dhp` and `mpi_inf_3dhp_test`; docs/datasets.md shows the folders."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from mcss_tf.data import video
from mcss_tf.data.example import Instant
from mcss_tf.data.sources import calibrated
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.calibrated import CalibratedOptions, CalibratedSequence, Labels
from mcss_tf.data.sources.mpi_inf_3dhp_files import (
    NUM_CAMERAS,
    Annotation,
    read_annotations,
    read_calibration,
    read_test_annotation,
    read_test_calibration,
)
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, camera_to_world, find_up_axis, project, with_z_up
from mcss_tf.geometry.joint_names import MPI_INF_3DHP_17 as NAMES_17
from mcss_tf.geometry.joint_names import MPI_INF_3DHP_28 as NAMES_28
from mcss_tf.geometry.skeletons import MPI_INF_3DHP_17

CHEST_HEIGHT = ("0", "2", "4", "7", "8")
SPLITS = {"train": ("S1", "S2", "S3", "S4", "S5", "S6"), "test": ("S7", "S8")}
STRIDE = 5
_CONTEXT = 1.4  # joints end at wrists, ankles and the top of the head
# Frames of the videos by subject and sequence.
NUM_FRAMES = {
    ("S1", "Seq1"): 6416,
    ("S1", "Seq2"): 12430,
    ("S2", "Seq1"): 6502,
    ("S2", "Seq2"): 6081,
    ("S3", "Seq1"): 12488,
    ("S3", "Seq2"): 12283,
    ("S4", "Seq1"): 6171,
    ("S4", "Seq2"): 6675,
    ("S5", "Seq1"): 12820,
    ("S5", "Seq2"): 12312,
    ("S6", "Seq1"): 6188,
    ("S6", "Seq2"): 6145,
    ("S7", "Seq1"): 6239,
    ("S7", "Seq2"): 6320,
    ("S8", "Seq1"): 6468,
    ("S8", "Seq2"): 6054,
}
# The only video that is shorter than its labels.
SHORT_VIDEO = ("S6", "Seq2", "2")
ACTIVITIES = ("Stand/Walk", "Exercise", "Sit on Chair", "Reach/Crouch", "On Floor", "Sports", "Misc.")
TEST_SUBJECTS = tuple(f"TS{number}" for number in range(1, 7))
_TEST_CALIBRATIONS = "test_util/camera_calibration"
# The test images come without times.
TEST_RATE = 25.0
POSES = ("metric", "universal")


@dataclasses.dataclass(frozen=True)
class Mpi3dhpOptions(CalibratedOptions):
    """How MPI-INF-3DHP is prepared.

    Attributes:
        poses: "metric": annot3, true millimetres; "universal": univ_annot3, everybody scaled to one height,
            as published numbers on the test set use.
    """

    poses: str = "metric"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.poses not in POSES:
            raise InputError(f"--poses is one of {', '.join(POSES)}. Received: {self.poses}. Choose one.")


class Mpi3dhpSource:
    """Reads the training set: eight subjects, two sequences each; S7 and S8 are kept for evaluation."""

    name = "mpi_inf_3dhp"

    def __init__(self, options: Mpi3dhpOptions):
        self.options = options
        self.skeleton = options.skeleton or MPI_INF_3DHP_17
        self.crop_context = options.context or _CONTEXT
        self._cameras = options.cameras or CHEST_HEIGHT
        calibrated.map_labels(np.zeros((1, 28, 3)), NAMES_28, self.skeleton)
        unknown = [name for name in self._cameras if name not in map(str, range(NUM_CAMERAS))]
        if unknown:
            raise InputError(
                f"MPI-INF-3DHP's cameras are 0 to {NUM_CAMERAS - 1}; at chest height "
                f"{', '.join(CHEST_HEIGHT)}. Received: --views={','.join(unknown)}. Correct the name."
            )

    def sequences(self) -> list[SequenceSpec]:
        """Lists the sequences of the subjects that are there.

        Raises:
            InputError: if there is no subject, or anything of a sequence is missing or damaged.
        """
        return [spec for candidate in self.candidates() for spec in self.specs(*candidate)]

    def candidates(self) -> list[tuple[str, str]]:
        """Returns (subject, sequence) of what is there, before anything of it is read."""
        root = self.options.root
        pairs = [(subject, name) for subject, name in NUM_FRAMES if (root / subject / name).is_dir()]
        if not pairs:
            raise InputError(
                f"--input must hold MPI-INF-3DHP's S1/Seq1 to S8/Seq2. Received: {root} without any. "
                "Give the folder that the owners' download script filled."
            )
        return pairs

    def missing_files(self) -> dict[str, list[str]]:
        """Returns by subject what the dataset has and this folder has not."""
        missing: dict[str, list[str]] = {}
        for subject, name in NUM_FRAMES:
            files = ["annot.mat", "camera.calibration"]
            files += [f"imageSequence/video_{camera}.avi" for camera in self._cameras]
            folder = self.options.root / subject / name
            lines = [f"{name}/{file}" for file in files if not (folder / file).is_file()]
            if lines:
                missing.setdefault(subject, []).extend(lines if folder.is_dir() else [f"all of {name}"])
        return missing

    def notes(self) -> list[str]:
        """Returns the known faults that concern what is there."""
        notes = calibrated.unmapped_notes(NAMES_28, self.skeleton)
        subject, name, camera = SHORT_VIDEO
        if (self.options.root / subject / name).is_dir() and camera in self._cameras:
            notes.append(f"{subject}/{name}: the video of camera {camera} ends before its labels do")
        return notes

    def expected_images(self) -> dict[str, int]:
        """Returns the images of the whole training set by split."""
        stride, num_cameras = self.options.stride or STRIDE, len(self._cameras)
        return {
            split: sum(-(-n // stride) * num_cameras for (s, _), n in NUM_FRAMES.items() if s in subjects)
            for split, subjects in SPLITS.items()
        }

    def instants(self, spec: CalibratedSequence) -> Iterator[Instant]:
        """Decodes and crops one sequence."""
        is_short = (spec.subject, spec.sequence) == SHORT_VIDEO[:2] and SHORT_VIDEO[2] in spec.cameras
        labels = self.labels(spec, spec.frames)
        yield from calibrated.cropped_instants(
            spec, labels, self.options.crop_size, self.crop_context, is_short
        )

    def labels(self, spec: CalibratedSequence, frames: np.ndarray) -> Labels:
        """Reads annot.mat; 3D joints are brought from the first camera into the world, Z up.

        Raises:
            InputError: if annot.mat or the calibration is missing or damaged.
        """
        cameras = self.calibration(spec)
        annotations = self._annotations(spec)
        first = spec.cameras[0]
        world_mm = world_joints(cameras[first], annotations[first], frames, self.options.poses, NAMES_28)
        joints_mm, mask = calibrated.map_labels(world_mm, NAMES_28, self.skeleton)
        return Labels(joints_mm, mask, *_views(annotations, cameras, frames, NAMES_28, self.skeleton))

    def calibration(self, spec: CalibratedSequence) -> dict[str, Camera]:
        """Returns the sequence's cameras in its world, turned so that Z is up."""
        path = self.options.root / spec.subject / spec.sequence / "camera.calibration"
        cameras = {str(number): camera for number, camera in read_calibration(path).items()}
        lacking = [name for name in (*spec.cameras, *CHEST_HEIGHT) if name not in cameras]
        if lacking:
            raise InputError(
                f"camera.calibration must hold every camera. Received: {path} without "
                f"{', '.join(lacking)}. Download it again."
            )
        up_axis = find_up_axis(cameras[name] for name in CHEST_HEIGHT)
        return {name: with_z_up(cameras[name], up_axis) for name in spec.cameras}

    def _annotations(self, spec: CalibratedSequence) -> dict[str, Annotation]:
        path = self.options.root / spec.subject / spec.sequence / "annot.mat"
        found = read_annotations(path, [int(name) for name in spec.cameras])
        return {str(number): annotation for number, annotation in found.items()}

    def specs(self, subject: str, name: str) -> list[CalibratedSequence]:
        """Returns one sequence, in a list.

        Raises:
            InputError: if anything of it is missing or damaged.
        """
        folder = self.options.root / subject / name
        videos = {c: folder / "imageSequence" / f"video_{c}.avi" for c in self._cameras}
        missing = [str(path) for path in videos.values() if not path.is_file()]
        if missing:
            raise InputError(
                f"Every sequence needs a video of each camera. Received: no {', '.join(missing)}. Extract "
                "imageSequence again; --check lists all that is missing."
            )
        annotations = read_annotations(folder / "annot.mat", [int(self._cameras[0])])
        split = "train" if subject in SPLITS["train"] else "test"
        num_frames = len(annotations[int(self._cameras[0])].points_px)
        stride = self.options.stride or STRIDE
        spec = calibrated.sequence_spec(subject, folder.name, "", videos, num_frames, stride, split)
        self.calibration(spec)
        return [spec]


class Mpi3dhpTestSource:
    """Reads the official test set, TS1 to TS6: one camera each, for PCK@150 mm and AUC; all is test."""

    name = "mpi_inf_3dhp_test"
    splits = ("test",)

    def __init__(self, options: Mpi3dhpOptions):
        self.options = options
        self.skeleton = options.skeleton or MPI_INF_3DHP_17
        self.crop_context = options.context or _CONTEXT
        calibrated.map_labels(np.zeros((1, 17, 3)), NAMES_17, self.skeleton)

    def sequences(self) -> list[SequenceSpec]:
        """Lists the test sequences that are there.

        Raises:
            InputError: if there is none, or anything of one is missing or damaged.
        """
        return [spec for candidate in self.candidates() for spec in self.specs(*candidate)]

    def candidates(self) -> list[tuple[str, str]]:
        """Returns (subject, sequence) of what is there, before anything of it is read."""
        root = self.options.root
        subjects = [subject for subject in TEST_SUBJECTS if (root / subject).is_dir()]
        if not subjects:
            raise InputError(
                f"--input must hold the test set's TS1 to TS6. Received: {root} without any. Give the folder "
                "mpi_inf_3dhp_test_set."
            )
        return [(subject, "Seq1") for subject in subjects]

    def missing_files(self) -> dict[str, list[str]]:
        """Returns by subject what the test set has and this folder has not."""
        root = self.options.root
        calibrations = [
            f"{_TEST_CALIBRATIONS}/{name}" for name in ("ts1-4cameras.calib", "ts5-6cameras.calib")
        ]
        missing = {"all": [path for path in calibrations if not (root / path).is_file()]}
        for subject in TEST_SUBJECTS:
            parts = ("annot_data.mat", "imageSequence")
            missing[subject] = [part for part in parts if not (root / subject / part).exists()]
        return {subject: lines for subject, lines in missing.items() if lines}

    def notes(self) -> list[str]:
        """Returns what is worth knowing."""
        return calibrated.unmapped_notes(NAMES_17, self.skeleton)

    def expected_images(self) -> dict[str, int]:
        """Returns nothing: which frames are valid is known when they are prepared."""
        return {}

    def instants(self, spec: CalibratedSequence) -> Iterator[Instant]:
        """Crops the valid frames of one test sequence."""
        test = read_test_annotation(self.options.root / spec.subject / "annot_data.mat")
        labels = self.labels(spec, spec.frames)
        for instant in calibrated.cropped_instants(spec, labels, self.options.crop_size, self.crop_context):
            if test.is_valid[instant.frame]:
                activity = ACTIVITIES[test.activity[instant.frame] - 1]
                yield dataclasses.replace(instant, action=activity)

    def labels(self, spec: CalibratedSequence, frames: np.ndarray) -> Labels:
        """Reads annot_data.mat; 3D joints are brought into the world, Z up."""
        test = read_test_annotation(self.options.root / spec.subject / "annot_data.mat")
        cameras = self.calibration(spec)
        (name,) = spec.cameras
        world_mm = world_joints(cameras[name], test.annotation, frames, self.options.poses, NAMES_17)
        joints_mm, mask = calibrated.map_labels(world_mm, NAMES_17, self.skeleton)
        annotations = {name: test.annotation}
        return Labels(joints_mm, mask, *_views(annotations, cameras, frames, NAMES_17, self.skeleton))

    def calibration(self, spec: CalibratedSequence) -> dict[str, Camera]:
        """Returns the camera of test_util/camera_calibration that projects the joints where they are."""
        number = int(spec.subject[2:])
        file = "ts1-4cameras.calib" if number <= 4 else "ts5-6cameras.calib"
        path = self.options.root / _TEST_CALIBRATIONS / file
        (name,) = spec.cameras
        info = video.probe(spec.videos[name], TEST_RATE)
        cameras = read_test_calibration(path, (info.width, info.height))
        test = read_test_annotation(self.options.root / spec.subject / "annot_data.mat")
        chosen = min(cameras, key=lambda camera: _reprojection_px(camera, test.annotation, test.is_valid))
        return {name: with_z_up(dataclasses.replace(chosen, name=name), find_up_axis(cameras))}

    def specs(self, subject: str, name: str) -> list[CalibratedSequence]:
        """Returns one test sequence, in a list.

        Raises:
            InputError: if anything of it is missing or damaged.
        """
        folder = self.options.root / subject
        test = read_test_annotation(folder / "annot_data.mat")
        if not test.is_valid.any():
            raise InputError(
                f"A test sequence has valid frames. Received: {folder} without any. Download it again."
            )
        videos = {"test": folder / "imageSequence"}
        if not videos["test"].is_dir():
            raise InputError(
                f"A test sequence needs its images. Received: no {videos['test']}. Download it again."
            )
        stride = self.options.stride or 1
        spec = calibrated.sequence_spec(
            subject, name, "", videos, len(test.is_valid), stride, "test", TEST_RATE
        )
        self.calibration(spec)
        return [spec]


def world_joints(
    camera: Camera,
    annotation: Annotation,
    frames: np.ndarray,
    poses: str,
    names: tuple[str, ...],
) -> np.ndarray:
    """Returns joints [F, K, 3] in the world of `camera`, mm.

    "universal" poses stand where the true ones do: scaling about each camera's centre, as univ_annot3 does,
    would put them elsewhere for every camera.
    """
    metric_mm = camera_to_world(camera, annotation.camera_mm[frames])
    if poses == "metric":
        return metric_mm
    pelvis = names.index("pelvis")
    universal_mm = camera_to_world(camera, annotation.universal_mm[frames])
    return universal_mm - universal_mm[:, [pelvis]] + metric_mm[:, [pelvis]]


def _views(
    annotations: dict[str, Annotation],
    cameras: dict[str, Camera],
    frames: np.ndarray,
    names: tuple[str, ...],
    skeleton: calibrated.Skeleton,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns boxes around the joints in every picture, and the joints on the skeleton."""
    points = {name: annotation.points_px[frames] for name, annotation in annotations.items()}
    boxes_px = {name: calibrated.boxes_of_points(p, cameras[name].size) for name, p in points.items()}
    return boxes_px, {name: calibrated.map_keypoints(p, names, skeleton) for name, p in points.items()}


def _reprojection_px(camera: Camera, annotation: Annotation, is_valid: np.ndarray) -> float:
    """Returns the median distance of projected 3D from 2D joints; the camera's own place does not matter."""
    rows = np.flatnonzero(is_valid)[:: max(1, int(is_valid.sum()) // 50)]
    points_px = project(camera, camera_to_world(camera, annotation.camera_mm[rows]))
    return float(np.median(np.linalg.norm(points_px - annotation.points_px[rows], axis=-1)))
