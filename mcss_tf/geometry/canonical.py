"""The canonical pose: independent of where a person stands and which way they face."""

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton

# Rows: the new x, y, z axes in terms of the old; each is a rotation (determinant +1).
_TO_Z_UP = {
    "z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "y": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
    "-y": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "x": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "-x": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
}


def canonical_pose(joints_mm: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Turns poses about the vertical through the pelvis until the left hip lies on positive x.

    MCSS, Eq. 3: b = p_lefthip - p_pelvis; theta = -atan2(b_y, b_x); p_c = Rz(theta) (p - p_pelvis),
    so b_c,y = 0 and b_c,x > 0.

    Args:
        joints_mm: [..., J, 3] world, Z up, mm.
        skeleton: of J joints, with a root and a left hip.

    Returns:
        canonical [..., J, 3] mm in the dtype of the input, and valid [...] bool. Where the hip bone is
        vertical (|b_xy| < 1e-3 |b|), zero or not finite, the canonical pose is undefined: zeros, False.

    Raises:
        InputError: the poses do not have the skeleton's joints, or it has no left hip.
    """
    joints = np.asarray(joints_mm)
    if joints.shape[-2:] != (skeleton.num_joints, 3):
        raise InputError(
            f"Poses of skeleton {skeleton.name!r} are [..., {skeleton.num_joints}, 3]. "
            f"Received: shape {joints.shape}. Give joints in skeleton order."
        )
    dtype = np.result_type(joints.dtype, np.float32)
    centred = joints.astype(np.float64) - joints[..., skeleton.root, None, :]
    bone = centred[..., skeleton.left_hip, :]
    horizontal = np.hypot(bone[..., 0], bone[..., 1])
    length = np.linalg.norm(bone, axis=-1)
    # Written so that NaN and a bone of length 0 are invalid too.
    valid = (horizontal >= 1e-3 * length) & (length > 0)
    # cos(theta) = b_x / |b_xy| and sin(theta) = -b_y / |b_xy|, without the angle itself.
    safe = np.where(valid, horizontal, 1.0)
    cos, sin = bone[..., 0] / safe, -bone[..., 1] / safe
    x, y, z = centred[..., 0], centred[..., 1], centred[..., 2]
    cos, sin = cos[..., None], sin[..., None]
    canonical = np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)
    return np.where(valid[..., None, None], canonical, 0.0).astype(dtype), valid


def to_z_up(joints: np.ndarray, up_axis: str) -> np.ndarray:
    """Rotates a right-handed world so that `up_axis` becomes z.

    x and y up permute the axes cyclically: y up takes (x, y, z) to (z, x, y), as Pose2Sim does.

    Args:
        joints: [..., 3] in any unit.
        up_axis: "x", "y", "z", "-x", "-y" or "-z": the axis of `joints` that points up.

    Returns:
        [..., 3] with z up.

    Raises:
        InputError: another axis was named.
    """
    if up_axis not in _TO_Z_UP:
        raise InputError(
            f"up_axis is one of {sorted(_TO_Z_UP)}. Received: {up_axis!r}. Name the axis that points up."
        )
    rotation = np.array(_TO_Z_UP[up_axis], dtype=np.asarray(joints).dtype)
    return np.asarray(joints) @ rotation.T


def from_z_up(joints: np.ndarray, up_axis: str) -> np.ndarray:
    """Undoes `to_z_up`: rotates a world [..., 3] with z up so that `up_axis` points up."""
    # Rows of a rotation are the images of the axes under its inverse.
    return np.asarray(joints) @ to_z_up(np.eye(3, dtype=np.asarray(joints).dtype), up_axis).T
