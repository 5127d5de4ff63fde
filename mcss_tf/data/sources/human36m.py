"""The source `human36m`: the archives of Human3.6M, extracted; docs/datasets.md shows the folders."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcss_tf.data.example import Instant
from mcss_tf.data.sources import calibrated
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.calibrated import CalibratedOptions, CalibratedSequence, Labels
from mcss_tf.data.sources.human36m_files import (
    CAMERAS,
    find_calibration,
    read_boxes,
    read_cameras,
    read_positions,
)
from mcss_tf.data.video import natural_key
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera
from mcss_tf.geometry.joint_names import HUMAN36M_32
from mcss_tf.geometry.skeleton import HUMAN36M_17

SPLITS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
STRIDES = {"train": 5, "test": 64}
ACTIONS = (
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Photo", "Posing", "Purchases"),
    *("Sitting", "SittingDown", "Smoking", "Waiting", "WalkDog", "WalkTogether", "Walking"),
)
# Some subjects' files have longer names for the same actions.
_OTHER_NAMES = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}
# The only video of the release that is damaged, where it is there at all: its sequence has three cameras.
BROKEN_VIDEO = ("S11", "Directions", "54138969")
# The motion capture of these sequences (Greeting 2, SittingDown 2, Waiting 1 by their sub-action) is
# displaced by about 200 mm along x against the videos, and the boxes with it.
DRIFTED = (("S9", "Greeting"), ("S9", "SittingDown 1"), ("S9", "Waiting 1"))
_CONTEXT = 1.0  # the provided boxes leave room around the person
POSITIONS_3D = "MyPoseFeatures/D3_Positions"
POSITIONS_2D = "MyPoseFeatures/D2_Positions"
BOXES = "MySegmentsMat/ground_truth_bb"


@dataclasses.dataclass(frozen=True)
class Human36mOptions(CalibratedOptions):
    """How Human3.6M is prepared.

    Attributes:
        drifted: "keep" or "drop": the three sequences of S9 whose motion capture is displaced. Canonical
            poses do not change by it; crops are off centre by some pixels.
    """

    drifted: str = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.drifted not in ("keep", "drop"):
            raise InputError(f"--drifted is keep or drop. Received: {self.drifted}. Choose one of them.")


class Human36mSource:
    """Reads Human3.6M: 50 frames per second, four cameras, S1, 5, 6, 7, 8 against S9, 11."""

    name = "human36m"

    def __init__(self, options: Human36mOptions):
        self.options = options
        self.skeleton = options.skeleton or HUMAN36M_17
        self.crop_context = options.context or _CONTEXT
        calibrated.map_labels(np.zeros((1, 32, 3)), HUMAN36M_32, self.skeleton)
        unknown = sorted(set(options.cameras) - set(CAMERAS))
        if unknown:
            raise InputError(
                f"Human3.6M's cameras are {', '.join(CAMERAS)}. Received: --cameras={','.join(unknown)}. "
                "Correct the name."
            )

    def sequences(self) -> list[SequenceSpec]:
        """Lists the sequences of the subjects that are there.

        Raises:
            InputError: if there is no subject, or anything of a sequence is missing or damaged.
        """
        root = self.options.root
        subjects = [s for names in SPLITS.values() for s in names if (root / s).is_dir()]
        if not subjects:
            raise InputError(
                f"--input must hold folders of Human3.6M's subjects: S1, S5, S6, S7, S8, S9, S11. Received: "
                f"{root} without any. Extract the archives there, one folder per subject."
            )
        cameras = read_cameras(find_calibration(root))
        lacking = [subject for subject in subjects if subject not in cameras]
        if lacking:
            raise InputError(
                f"The calibration must hold every subject. Received: {find_calibration(root)} without "
                f"{', '.join(lacking)}. Take the whole file."
            )
        return [self._spec(subject, name) for subject in subjects for name in self._names(subject)]

    def instants(self, spec: CalibratedSequence) -> Iterator[Instant]:
        """Decodes and crops one sequence."""
        yield from calibrated.cropped_instants(
            spec, self.labels(spec, spec.frames), self.options.crop_size, self.crop_context
        )

    def labels(self, spec: CalibratedSequence, frames: np.ndarray) -> Labels:
        """Reads 3D joints, boxes and, where D2_Positions is there, 2D joints of some frames.

        Raises:
            InputError: if a file is missing or damaged.
        """
        folder = self.options.root / spec.subject
        positions = read_positions(folder / POSITIONS_3D / f"{spec.sequence}.cdf", 3)[frames]
        joints_mm, mask = calibrated.map_labels(positions, HUMAN36M_32, self.skeleton)
        boxes_px = {c: read_boxes(folder / BOXES / f"{spec.sequence}.{c}.mat", frames) for c in spec.cameras}
        keypoints_px = None
        if (folder / POSITIONS_2D).is_dir():
            keypoints_px = {c: self._keypoints(folder, spec, c, frames) for c in spec.cameras}
        return Labels(joints_mm, mask, boxes_px, keypoints_px)

    def calibration(self, spec: CalibratedSequence) -> dict[str, Camera]:
        """Returns the cameras of the subject's session."""
        cameras = read_cameras(find_calibration(self.options.root))[spec.subject]
        return {name: cameras[name] for name in spec.cameras}

    def _names(self, subject: str) -> list[str]:
        """Returns the sequences of a subject; `_ALL` is a calibration take."""
        folder = self.options.root / subject / POSITIONS_3D
        names = sorted((p.stem for p in folder.glob("*.cdf") if p.name[0] not in "._"), key=natural_key)
        names = [name for name in names if self.options.drifted == "keep" or (subject, name) not in DRIFTED]
        if not names:
            raise InputError(
                f"A subject needs {POSITIONS_3D}/*.cdf. Received: none in {folder}. Extract "
                f"Poses_D3_Positions_{subject}.tgz."
            )
        return names

    def _spec(self, subject: str, name: str) -> CalibratedSequence:
        split = "train" if subject in SPLITS["train"] else "test"
        folder = self.options.root / subject
        num_frames = len(read_positions(folder / POSITIONS_3D / f"{name}.cdf", 3))
        wanted = self.options.cameras or CAMERAS
        videos = {c: folder / "Videos" / f"{name}.{c}.mp4" for c in wanted}
        videos = {c: p for c, p in videos.items() if (subject, name, c) != BROKEN_VIDEO}
        missing = [str(path) for path in videos.values() if not path.is_file()]
        if missing:
            raise InputError(
                f"Every sequence needs a video of each camera. Received: no {', '.join(missing)}. Extract "
                f"Videos_{subject}.tgz again; --check lists all that is missing."
            )
        stride = self.options.stride or STRIDES[split]
        return calibrated.sequence_spec(subject, name, action_of(name), videos, num_frames, stride, split)

    def _keypoints(
        self, folder: Path, spec: CalibratedSequence, camera: str, frames: np.ndarray
    ) -> np.ndarray:
        path = folder / POSITIONS_2D / f"{spec.sequence}.{camera}.cdf"
        points_px = read_positions(path, 2)
        if len(points_px) != spec.num_frames:
            raise InputError(
                f"2D and 3D positions of a sequence have the same frames. Received: {len(points_px)} in "
                f"{path} and {spec.num_frames} in 3D. Extract both archives again."
            )
        return calibrated.map_keypoints(points_px[frames], HUMAN36M_32, self.skeleton)


def action_of(sequence: str) -> str:
    """Returns the action of `Directions 1` or `TakingPhoto`: one name for all subjects, no number."""
    name = sequence.split(" ")[0]
    return _OTHER_NAMES.get(name, name)
