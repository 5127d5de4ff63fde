"""The pose that an image is labelled with, in one of three frames of reference."""

import numpy as np

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.example import decode_instant
from mcss_tf.errors import InputError

# The origin is the root; the axes are those of Eq. 3, of the world, or of the image's camera.
FRAMES = ("canonical", "global", "camera")


class PoseTargets:
    """Looks up the poses of images; MCSS's Table 2 compares the three frames.

    Args:
        dataset: a prepared dataset.
        frame: one of `FRAMES`.
        rows: rows of the index that will be asked for.

    Raises:
        InputError: another frame, or `camera` where a sequence is not calibrated.
    """

    def __init__(self, dataset: PreparedDataset, frame: str, rows: np.ndarray):
        if frame not in FRAMES:
            raise InputError(f"labels.target is one of {', '.join(FRAMES)}. Received: {frame!r}.")
        self._index = dataset.index
        self._poses_mm, self._rotations = dataset.index.canonical_mm, None
        if frame != "canonical":
            self._poses_mm = _rooted_world(dataset, np.unique(rows))
        if frame == "camera":
            self._rotations = _camera_rotations(dataset, np.unique(dataset.index.sequence[rows]))

    def __call__(self, rows: np.ndarray, cameras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 [N, J, 3] mm relative to the root, and the mask [N, J] of what was observed.

        Where the canonical pose is undefined there is no target in any frame: zeros.
        """
        poses_mm, mask = self._poses_mm[rows], self._index.joint_mask[rows]
        if self._rotations is not None:
            rotations = self._rotations[self._index.sequence[rows], cameras]
            poses_mm = np.einsum("nij,nkj->nki", rotations, poses_mm).astype(np.float32)
        return poses_mm, mask


def _rooted_world(dataset: PreparedDataset, rows: np.ndarray) -> np.ndarray:
    """Returns [N, J, 3] for all rows of the index; zeros where not asked for or not observed."""
    poses_mm = np.zeros_like(dataset.index.canonical_mm)
    rows = rows[dataset.index.has_pose[rows]]
    for row, data in zip(rows, dataset.read(rows), strict=True):
        joints_mm = decode_instant(data, with_images=False)["joints_mm"]
        poses_mm[row] = joints_mm - joints_mm[dataset.skeleton.root]
    return np.where(dataset.index.joint_mask[..., None] > 0, poses_mm, 0.0).astype(np.float32)


def _camera_rotations(dataset: PreparedDataset, sequences: np.ndarray) -> np.ndarray:
    """Returns the rotations [sequences, C, 3, 3] from the world to the cameras."""
    rotations = np.zeros((len(dataset.sequences), len(dataset.cameras), 3, 3))
    for sequence in sequences:
        calibration = dataset.calibration(sequence)
        if calibration is None:
            entry = dataset.sequences[sequence]
            raise InputError(
                "labels.target=camera needs calibrated cameras. "
                f"Received: {entry['subject']}/{entry['sequence']} of {dataset.path} without a calibration. "
                "Choose canonical or global, or prepare with a calibration."
            )
        for name, camera in calibration.items():
            rotations[sequence, dataset.cameras.index(name)] = camera.rotation
    return rotations
