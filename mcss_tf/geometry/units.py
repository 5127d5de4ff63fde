"""Tells metres from millimetres: both are numbers, and everything downstream would be wrong by 1000."""

from collections.abc import Sequence

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera

# Cameras that film a person stand farther apart than this in any room, and nearer than 100 m: in metres
# a stage is less than 100 across, in centimetres still less than most in millimetres.
_MIN_STAGE_MM = 200.0
_MIN_PERSON_MM = 300.0
_MAX_PERSON_MM = 5000.0


def check_millimetres(cameras: Sequence[Camera], where: str) -> None:
    """Refuses cameras whose positions cannot be millimetres.

    Args:
        cameras: of one stage.
        where: for the message.

    Raises:
        InputError: all of two or more cameras stand within 200 mm.
    """
    if len(cameras) < 2:
        return
    centres = np.stack([camera.centre_mm for camera in cameras])
    extent = np.linalg.norm(centres[:, None] - centres[None], axis=-1).max()
    if 0 < extent < _MIN_STAGE_MM:
        raise InputError(
            "Camera positions are millimetres. Received: cameras at most "
            f"{extent:.3g} apart in {where}, which looks like metres. Multiply translations by 1000."
        )


def check_poses_millimetres(joints_mm: np.ndarray, joint_mask: np.ndarray, where: str) -> None:
    """Refuses 3D joints whose extent cannot be a person's in millimetres.

    Args:
        joints_mm: [N, J, 3].
        joint_mask: [N, J], 1 where observed.
        where: for the message.

    Raises:
        InputError: the median extent of the poses is not between 0.3 and 5 m.
    """
    is_usable = (joint_mask > 0).sum(-1) >= 2
    if not is_usable.any():
        return
    seen = (joint_mask[is_usable] > 0)[..., None]
    joints = joints_mm[is_usable]
    span = np.where(seen, joints, -np.inf).max(1) - np.where(seen, joints, np.inf).min(1)
    extent = float(np.median(np.linalg.norm(span, axis=-1)))
    if not _MIN_PERSON_MM <= extent <= _MAX_PERSON_MM:
        guess = "metres" if extent < 5 else "centimetres" if extent < _MIN_PERSON_MM else "another unit"
        raise InputError(
            f"3D joints are millimetres. Received: poses {extent:.3g} across in {where}, which looks like "
            f"{guess}. Convert them."
        )
