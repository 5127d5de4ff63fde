"""The source `mpi_inf_3dhp`: the training set of MPI-INF-3DHP; docs/datasets.md shows the folders."""

from collections.abc import Iterator

import numpy as np

from mcss_tf.data.example import Instant
from mcss_tf.data.sources import calibrated, frame_labels
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.calibrated import CalibratedSequence
from mcss_tf.data.sources.frame_labels import Labels
from mcss_tf.data.sources.mpi_inf_3dhp_files import (
    NUM_CAMERAS,
    Annotation,
    read_annotations,
    read_calibration,
)
from mcss_tf.data.sources.mpi_inf_3dhp_labels import CONTEXT, Mpi3dhpOptions, views, world_joints
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, find_up_axis, with_z_up
from mcss_tf.geometry.joint_names import MPI_INF_3DHP_28 as NAMES_28
from mcss_tf.geometry.skeletons import MPI_INF_3DHP_17

CHEST_HEIGHT = ("0", "2", "4", "7", "8")
SPLITS = {"train": ("S1", "S2", "S3", "S4", "S5", "S6"), "test": ("S7", "S8")}
STRIDE = 5
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


class Mpi3dhpSource:
    """Reads the training set: eight subjects, two sequences each; S7 and S8 are kept for evaluation."""

    name = "mpi_inf_3dhp"

    def __init__(self, options: Mpi3dhpOptions):
        self.options = options
        self.skeleton = options.skeleton or MPI_INF_3DHP_17
        self.crop_context = options.context or CONTEXT
        self._cameras = options.cameras or CHEST_HEIGHT
        frame_labels.map_labels(np.zeros((1, 28, 3)), NAMES_28, self.skeleton)
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
        notes = frame_labels.unmapped_notes(NAMES_28, self.skeleton)
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
        joints_mm, mask = frame_labels.map_labels(world_mm, NAMES_28, self.skeleton)
        return Labels(joints_mm, mask, *views(annotations, cameras, frames, NAMES_28, self.skeleton))

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
