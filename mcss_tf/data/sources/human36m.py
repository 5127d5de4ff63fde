"""The source `human36m`: the archives of Human3.6M, extracted; docs/datasets.md shows the folders."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcss_tf.data.example import Instant
from mcss_tf.data.sources import calibrated, frame_labels
from mcss_tf.data.sources import human36m_release as release
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.calibrated import CalibratedOptions, CalibratedSequence
from mcss_tf.data.sources.frame_labels import Labels
from mcss_tf.data.sources.human36m_files import (
    CAMERAS,
    find_calibration,
    read_boxes,
    read_cameras,
    read_positions,
)
from mcss_tf.data.sources.human36m_release import (
    BOXES,
    BROKEN_VIDEO,
    DRIFTED,
    POSITIONS_2D,
    POSITIONS_3D,
    SPLITS,
    STRIDES,
    action_of,
)
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera
from mcss_tf.geometry.joint_names import HUMAN36M_32
from mcss_tf.geometry.skeleton import HUMAN36M_17

_CONTEXT = 1.0  # the provided boxes leave room around the person


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
        frame_labels.map_labels(np.zeros((1, 32, 3)), HUMAN36M_32, self.skeleton)
        unknown = sorted(set(options.cameras) - set(CAMERAS))
        if unknown:
            raise InputError(
                f"Human3.6M's cameras are {', '.join(CAMERAS)}. Received: --views={','.join(unknown)}. "
                "Correct the name."
            )

    def _subjects(self) -> list[str]:
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
        return subjects

    def sequences(self) -> list[SequenceSpec]:
        """Lists the sequences of the subjects that are there.

        Raises:
            InputError: if there is no subject, or anything of a sequence is missing or damaged.
        """
        return [spec for candidate in self.candidates() for spec in self.specs(*candidate)]

    def candidates(self) -> list[tuple[str, str]]:
        """Returns (subject, sequence) of what is there, before anything of it is read."""
        return [(subject, name) for subject in self._subjects() for name in self._names(subject)]

    def missing_files(self) -> dict[str, list[str]]:
        """Returns by subject what the release has and this folder has not."""
        return release.missing_files(self.options.root, self.options.cameras or CAMERAS)

    def notes(self) -> list[str]:
        """Returns the known faults that concern what is there."""
        notes = frame_labels.unmapped_notes(HUMAN36M_32, self.skeleton)
        root, (subject, name, camera) = self.options.root, BROKEN_VIDEO
        if name in release.sequence_names(root / subject) and camera in (self.options.cameras or CAMERAS):
            notes.append(
                f"{subject}/{name}: the video of camera {camera} is damaged in the release and left out"
            )
        done = "kept; --drifted=drop leaves it out" if self.options.drifted == "keep" else "left out"
        return notes + [
            f"{subject}/{name}: its motion capture and boxes are displaced by about 200 mm; {done}"
            for subject, name in DRIFTED
            if name in release.sequence_names(root / subject)
        ]

    def expected_images(self) -> dict[str, int]:
        """Returns the images of the whole release by split, where they are known."""
        is_protocol = self.options.stride is None and not self.options.cameras
        return {"train": release.NUM_TRAIN_IMAGES} if is_protocol else {}

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
        positions = read_positions(folder / POSITIONS_3D / f"{spec.sequence}.cdf", 3)
        joints_mm, mask = frame_labels.map_labels(positions[frames], HUMAN36M_32, self.skeleton)
        boxes_px = {c: read_boxes(folder / BOXES / f"{spec.sequence}.{c}.mat", frames) for c in spec.cameras}
        keypoints_px = None
        if (folder / POSITIONS_2D).is_dir():
            keypoints_px = {
                c: self._keypoints(folder / POSITIONS_2D / f"{spec.sequence}.{c}.cdf", positions, frames)
                for c in spec.cameras
            }
        return Labels(joints_mm, mask, boxes_px, keypoints_px)

    def calibration(self, spec: CalibratedSequence) -> dict[str, Camera]:
        """Returns the cameras of the subject's session."""
        cameras = read_cameras(find_calibration(self.options.root))[spec.subject]
        return {name: cameras[name] for name in spec.cameras}

    def _names(self, subject: str) -> list[str]:
        names = release.sequence_names(self.options.root / subject)
        if not names:
            raise InputError(
                f"A subject needs {POSITIONS_3D}/*.cdf. Received: none in {self.options.root / subject}. "
                f"Extract Poses_D3_Positions_{subject}.tgz."
            )
        is_dropped = self.options.drifted == "drop"
        return [name for name in names if not (is_dropped and (subject, name) in DRIFTED)]

    def specs(self, subject: str, name: str) -> list[CalibratedSequence]:
        """Returns one sequence, in a list.

        Raises:
            InputError: if anything of it is missing or damaged.
        """
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
        spec = calibrated.sequence_spec(subject, name, action_of(name), videos, num_frames, stride, split)
        return [spec]

    def _keypoints(self, path: Path, positions: np.ndarray, frames: np.ndarray) -> np.ndarray:
        points_px = read_positions(path, 2)
        if len(points_px) != len(positions):
            raise InputError(
                f"2D and 3D positions of a sequence have the same frames. Received: {len(points_px)} in "
                f"{path} and {len(positions)} in 3D. Extract both archives again."
            )
        return frame_labels.map_keypoints(points_px[frames], HUMAN36M_32, self.skeleton)
