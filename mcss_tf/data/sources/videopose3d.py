"""The source `videopose3d`: data_3d_h36m.npz and data_2d_h36m_*.npz, keypoints without images."""

import dataclasses
import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mcss_tf.data.example import Instant
from mcss_tf.data.sources import frame_labels
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.human36m_files import CAMERAS, find_calibration, read_cameras
from mcss_tf.data.sources.human36m_release import SPLITS, STRIDES, action_of
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera
from mcss_tf.geometry.joint_names import COCO_17, HUMAN36M_32
from mcss_tf.geometry.skeleton import HUMAN36M_17, Skeleton, map_joints

_RATE = 50.0
_MM_PER_M = 1000.0
_POSES = "data_3d_h36m.npz"
# By the number of joints: which they are. 17 are Human3.6M's unless `layout_name` says coco.
_LAYOUTS = {17: HUMAN36M_17.joint_names, 32: HUMAN36M_32}
# What NumPy's pickled arrays are made of; anything else in such a file is not data.
_HARMLESS = {
    *((module, "_reconstruct") for module in ("numpy.core.multiarray", "numpy._core.multiarray")),
    *((module, "scalar") for module in ("numpy.core.multiarray", "numpy._core.multiarray")),
    *((module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric")),
    *(("numpy", name) for name in ("ndarray", "dtype")),
    ("_codecs", "encode"),
}


@dataclasses.dataclass(frozen=True)
class VideoPose3dOptions:
    """Which files, and how often an instant is taken.

    Attributes:
        root: folder of data_3d_h36m.npz, one data_2d_h36m_*.npz and the calibration.
        stride: the same in both splits; None: 5 for training, 64 for test.
        skeleton: onto which joints are mapped by name; None: Human3.6M-17.
        crop_size: 0: there are no images.
    """

    root: Path
    stride: int | None = None
    skeleton: Skeleton | None = None
    crop_size: int = 0

    def __post_init__(self) -> None:
        if self.crop_size != 0:
            raise InputError(
                f"These files hold no images to crop. Received: --crop_size={self.crop_size}. Leave it out, "
                "or take --source=human36m, which reads the videos."
            )
        if self.stride is not None and self.stride < 1:
            raise InputError(f"--stride must be at least 1. Received: {self.stride}. Raise it.")


@dataclasses.dataclass(frozen=True)
class KeypointSequence(SequenceSpec):
    """A sequence of both files; `stride` and `split` as of its subject."""

    num_frames: int
    stride: int
    split: str


class VideoPose3dSource:
    """Reads the layout of VideoPose3D's preprocessing: positions in metres, keypoints by camera."""

    name = "videopose3d"
    crop_context = None

    def __init__(self, options: VideoPose3dOptions):
        self.options = options
        self.skeleton = options.skeleton or HUMAN36M_17
        self._files: tuple[Any, Any, tuple[str, ...]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Workers read the files themselves: they are larger than what may be sent to them."""
        return {**self.__dict__, "_files": None}

    def sequences(self) -> list[SequenceSpec]:
        """Lists the sequences that both files hold.

        Raises:
            InputError: if a file is missing, damaged, holds code, or they do not belong together.
        """
        positions, keypoints, _ = self._read()
        read_cameras(find_calibration(self.options.root))
        specs = []
        for split, subjects in SPLITS.items():
            for subject in (s for s in subjects if s in positions and s in keypoints):
                for name in sorted(set(positions[subject]) & set(keypoints[subject])):
                    specs.append(self._spec(subject, name, split))
        if not specs:
            raise InputError(
                f"{_POSES} and data_2d_h36m_*.npz must hold the same sequences. Received: none in common in "
                f"{self.options.root}. Take both from one preprocessing."
            )
        return specs

    def instants(self, spec: KeypointSequence) -> Iterator[Instant]:
        """Puts the joints and keypoints of one sequence together."""
        positions, keypoints, names = self._read()
        frames = np.arange(0, spec.num_frames, spec.stride)
        joints = np.asarray(positions[spec.subject][spec.sequence], float)[frames] * _MM_PER_M
        joints_mm, mask = frame_labels.map_labels(joints, self._joint_names(spec, joints), self.skeleton)
        views = [
            self._keypoints(spec, camera, points[frames], names)
            for camera, points in zip(spec.cameras, keypoints[spec.subject][spec.sequence], strict=True)
        ]
        for row, frame in enumerate(frames):
            yield Instant(
                subject=spec.subject,
                sequence=spec.sequence,
                action=spec.action,
                frame=int(frame),
                time_s=float(frame / _RATE),
                split=spec.split,
                cameras=list(spec.cameras),
                joints_mm=joints_mm[row].astype(np.float32),
                joint_mask=mask[row],
                keypoints_px=np.stack([view[row] for view in views]),
            )

    def notes(self) -> list[str]:
        """Returns what is worth knowing."""
        return frame_labels.unmapped_notes(HUMAN36M_32, self.skeleton)

    def calibration(self, spec: KeypointSequence) -> dict[str, Camera]:
        """Returns the cameras of the subject's session."""
        cameras = read_cameras(find_calibration(self.options.root))[spec.subject]
        return {name: cameras[name] for name in spec.cameras}

    def _spec(self, subject: str, name: str, split: str) -> KeypointSequence:
        positions, keypoints, _ = self._read()
        views = keypoints[subject][name]
        # The sequence whose first video is damaged comes with the other three cameras.
        cameras = CAMERAS if len(views) == len(CAMERAS) else CAMERAS[1:]
        if len(views) != len(cameras):
            raise InputError(
                f"A sequence has keypoints of {len(CAMERAS)} cameras, one has 3. Received: {len(views)} for "
                f"{subject}/{name}. Preprocess the data again."
            )
        # Detectors ran on a few frames more than the motion capture has.
        num_frames = min(len(positions[subject][name]), *(len(view) for view in views))
        stride = self.options.stride or STRIDES[split]
        return KeypointSequence(
            subject=subject,
            sequence=name,
            action=action_of(name),
            cameras=cameras,
            fps=_RATE / stride,
            duration_s=num_frames / _RATE,
            num_frames=num_frames,
            stride=stride,
            split=split,
        )

    def _read(self) -> tuple[Any, Any, tuple[str, ...]]:
        """Returns positions and keypoints by subject and sequence, and the names of the keypoints."""
        if self._files is None:
            root = self.options.root
            found = sorted(root.glob("data_2d_h36m_*.npz"))
            if len(found) != 1 or not (root / _POSES).is_file():
                there = ", ".join(sorted(path.name for path in root.glob("data_*.npz"))) or "none"
                raise InputError(
                    f"--input holds {_POSES} and one data_2d_h36m_*.npz. Received: {root} with {there}. "
                    "Add or remove files."
                )
            positions = read_pickled(root / _POSES, "positions_3d")
            keypoints = read_pickled(found[0], "positions_2d")
            layout = str(read_pickled(found[0], "metadata").get("layout_name", "h36m"))
            self._files = positions, keypoints, COCO_17 if "coco" in layout else HUMAN36M_17.joint_names
        return self._files

    def _joint_names(self, spec: KeypointSequence, joints: np.ndarray) -> tuple[str, ...]:
        if joints.shape[1:] not in [(count, 3) for count in _LAYOUTS]:
            raise InputError(
                f"positions_3d holds [frames, {' or '.join(map(str, _LAYOUTS))} joints, 3]. Received: "
                f"{joints.shape} for {spec.name}. Preprocess the data again."
            )
        return _LAYOUTS[joints.shape[1]]

    def _keypoints(
        self, spec: KeypointSequence, camera: str, points: np.ndarray, names: tuple[str, ...]
    ) -> np.ndarray:
        """Returns [F, J, 3] with the detector's confidence, or 1 where the file has none."""
        points = np.asarray(points, float)
        if points.ndim != 3 or points.shape[1] != len(names) or points.shape[2] not in (2, 3):
            raise InputError(
                f"positions_2d holds [frames, {len(names)} joints, 2 or 3]. Received: {points.shape} for "
                f"camera {camera} of {spec.name}. Preprocess the data again."
            )
        if points.shape[2] == 2:
            return frame_labels.map_keypoints(points, names, self.skeleton)
        mapped = map_joints(points, names, self.skeleton, has_confidence=True)[0]
        return mapped.astype(np.float32)


def read_pickled(path: Path, name: str) -> Any:
    """Reads one object of an .npz whose arrays are pickled, without running any code that it may hold.

    Raises:
        InputError: if the file is damaged, has no such array, or holds anything but arrays and containers.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            read_header = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read_header = np.lib.format.read_array_header_2_0
            read_header(file)
            return _DataUnpickler(io.BytesIO(file.read())).load().item()
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"A preprocessed file must be a whole .npz with {name}, of arrays only. Received: {path} "
            f"({type(error).__name__}: {error}). Preprocess or download it again."
        ) from error


class _DataUnpickler(pickle.Unpickler):
    """Knows NumPy's arrays and nothing else, so that a file cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no data")
        return super().find_class(module, name)
