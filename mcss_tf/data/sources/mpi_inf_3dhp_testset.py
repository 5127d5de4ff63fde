"""The source `mpi_inf_3dhp_test`: the official test set; docs/datasets.md shows the folders."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from mcss_tf.data import video
from mcss_tf.data.example import Instant
from mcss_tf.data.sources import calibrated, frame_labels
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.calibrated import CalibratedSequence
from mcss_tf.data.sources.frame_labels import Labels
from mcss_tf.data.sources.mpi_inf_3dhp_files import Annotation, read_test_annotation, read_test_calibration
from mcss_tf.data.sources.mpi_inf_3dhp_labels import CONTEXT, Mpi3dhpOptions, views, world_joints
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, camera_to_world, find_up_axis, project, with_z_up
from mcss_tf.geometry.joint_names import MPI_INF_3DHP_17 as NAMES_17
from mcss_tf.geometry.skeletons import MPI_INF_3DHP_17

_SUBJECTS = tuple(f"TS{number}" for number in range(1, 7))
_NUM_VALID = 2929
_CALIBRATIONS = "test_util/camera_calibration"
# The images come without times.
_RATE = 25.0
_ACTIVITIES = (
    *("Stand-Walk", "Exercise", "Sit on Chair", "Reach-Crouch"),
    *("On Floor", "Sports", "Miscellaneous"),
)


@dataclasses.dataclass(frozen=True)
class Mpi3dhpTestSequence(CalibratedSequence):
    """The valid frames of one activity of one test subject.

    Attributes:
        valid: their numbers.
    """

    valid: tuple[int, ...]

    @property
    def frames(self) -> np.ndarray:
        """Returns the frames that become instants, int64."""
        return np.array(self.valid)[:: self.stride]


class Mpi3dhpTestSource:
    """Reads the official test set, TS1 to TS6: one camera each, for PCK@150 mm and AUC; all is test."""

    name = "mpi_inf_3dhp_test"
    splits = ("test",)

    def __init__(self, options: Mpi3dhpOptions):
        self.options = options
        self.skeleton = options.skeleton or MPI_INF_3DHP_17
        self.crop_context = options.context or CONTEXT
        frame_labels.map_labels(np.zeros((1, 17, 3)), NAMES_17, self.skeleton)

    def sequences(self) -> list[SequenceSpec]:
        """Lists the test sequences that are there.

        Raises:
            InputError: if there is none, or anything of one is missing or damaged.
        """
        return [spec for candidate in self.candidates() for spec in self.specs(*candidate)]

    def candidates(self) -> list[tuple[str]]:
        """Returns (subject,) of what is there, before anything of it is read."""
        root = self.options.root
        subjects = [subject for subject in _SUBJECTS if (root / subject).is_dir()]
        if not subjects:
            raise InputError(
                f"--input must hold the test set's TS1 to TS6. Received: {root} without any. Give the folder "
                "mpi_inf_3dhp_test_set."
            )
        return [(subject,) for subject in subjects]

    def missing_files(self) -> dict[str, list[str]]:
        """Returns by subject what the test set has and this folder has not."""
        root = self.options.root
        calibrations = [f"{_CALIBRATIONS}/{name}" for name in ("ts1-4cameras.calib", "ts5-6cameras.calib")]
        missing = {"all": [path for path in calibrations if not (root / path).is_file()]}
        for subject in _SUBJECTS:
            parts = ("annot_data.mat", "imageSequence")
            missing[subject] = [part for part in parts if not (root / subject / part).exists()]
        return {subject: lines for subject, lines in missing.items() if lines}

    def notes(self) -> list[str]:
        """Returns what is worth knowing."""
        return frame_labels.unmapped_notes(NAMES_17, self.skeleton)

    def expected_images(self) -> dict[str, int]:
        """Returns the valid frames of the whole test set."""
        return {"test": _NUM_VALID} if self.options.stride in (None, 1) else {}

    def instants(self, spec: Mpi3dhpTestSequence) -> Iterator[Instant]:
        """Crops the valid frames of one activity."""
        labels = self.labels(spec, spec.frames)
        yield from calibrated.cropped_instants(spec, labels, self.options.crop_size, self.crop_context)

    def labels(self, spec: CalibratedSequence, frames: np.ndarray) -> Labels:
        """Reads annot_data.mat; 3D joints are brought into the world, Z up."""
        test = read_test_annotation(self.options.root / spec.subject / "annot_data.mat")
        cameras = self.calibration(spec)
        (name,) = spec.cameras
        world_mm = world_joints(cameras[name], test.annotation, frames, self.options.poses, NAMES_17)
        joints_mm, mask = frame_labels.map_labels(world_mm, NAMES_17, self.skeleton)
        annotations = {name: test.annotation}
        return Labels(joints_mm, mask, *views(annotations, cameras, frames, NAMES_17, self.skeleton))

    def calibration(self, spec: CalibratedSequence) -> dict[str, Camera]:
        """Returns the camera of test_util/camera_calibration that projects the joints where they are."""
        number = int(spec.subject[2:])
        file = "ts1-4cameras.calib" if number <= 4 else "ts5-6cameras.calib"
        path = self.options.root / _CALIBRATIONS / file
        (name,) = spec.cameras
        info = video.probe(spec.videos[name], _RATE)
        cameras = read_test_calibration(path, (info.width, info.height))
        test = read_test_annotation(self.options.root / spec.subject / "annot_data.mat")
        chosen = min(cameras, key=lambda camera: _reprojection_px(camera, test.annotation, test.is_valid))
        return {name: with_z_up(dataclasses.replace(chosen, name=name), find_up_axis(cameras))}

    def specs(self, subject: str) -> list[Mpi3dhpTestSequence]:
        """Returns the activities of one test subject.

        Raises:
            InputError: if anything of it is missing or damaged.
        """
        folder = self.options.root / subject
        test = read_test_annotation(folder / "annot_data.mat")
        if not test.is_valid.any():
            raise InputError(
                f"A test subject has valid frames. Received: {folder} without any. Download it again."
            )
        images = folder / "imageSequence"
        found = len(list(images.glob("img_*.jpg")))
        # The images are frames by their position, so that a single missing one would displace all after it.
        if found != len(test.is_valid):
            raise InputError(
                f"A test subject needs an image per frame, {len(test.is_valid)}. Received: {found} in "
                f"{images}. Download it again."
            )
        stride, num_frames = self.options.stride or 1, len(test.is_valid)
        whole = calibrated.sequence_spec(subject, "", "", {"test": images}, num_frames, stride, "test", _RATE)
        self.calibration(whole)
        fields = {field.name: getattr(whole, field.name) for field in dataclasses.fields(whole)}
        specs = []
        for number in np.unique(test.activity[test.is_valid]):
            valid = np.flatnonzero(test.is_valid & (test.activity == number))
            name = _ACTIVITIES[number - 1]
            fields |= {"sequence": name, "action": name, "duration_s": len(valid) / _RATE}
            specs.append(Mpi3dhpTestSequence(**fields, valid=tuple(valid.tolist())))
        return specs


def _reprojection_px(camera: Camera, annotation: Annotation, is_valid: np.ndarray) -> float:
    """Returns the median distance of projected 3D from 2D joints; the camera's own place does not matter."""
    rows = np.flatnonzero(is_valid)[:: max(1, int(is_valid.sum()) // 50)]
    points_px = project(camera, camera_to_world(camera, annotation.camera_mm[rows]))
    return float(np.median(np.linalg.norm(points_px - annotation.points_px[rows], axis=-1)))
