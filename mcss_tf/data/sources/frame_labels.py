"""What is known of the frames of a labelled video: joints on a skeleton, boxes, 2D joints."""

import dataclasses

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton, map_joints

# Of the joints that are known, so many must lie in the picture.
_MIN_INSIDE = 0.75


@dataclasses.dataclass
class Labels:
    """What is known of some frames of a sequence (F frames, J joints).

    Attributes:
        joints_mm: float [F, J, 3], world, Z up.
        joint_mask: float [F, J], 1 where observed.
        boxes_px: by camera, float [F, 4], x0, y0, x1, y1; NaN where the person is not seen.
        keypoints_px: by camera, float [F, J, 3], x, y, confidence; None where the dataset has none.
    """

    joints_mm: np.ndarray
    joint_mask: np.ndarray
    boxes_px: dict[str, np.ndarray]
    keypoints_px: dict[str, np.ndarray] | None = None


def map_labels(
    joints: np.ndarray, names: tuple[str, ...], skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Maps joints [F, K, 3] onto the skeleton; joints that cannot be had are masked.

    Raises:
        InputError: if the root or the left hip cannot be had, on which canonical poses stand.
    """
    joints_mm, mask = map_joints(joints, names, skeleton)
    is_there = _mapped(names, skeleton)
    needed = [skeleton.joint_names[j] for j in (skeleton.root, skeleton.left_hip) if not is_there[j]]
    if needed:
        raise InputError(
            "A skeleton's root and left hip must be among the dataset's joints, or be derived from them. "
            f"Received: {skeleton.name!r}, whose {', '.join(needed)} is not among {', '.join(names)}. "
            "Rename the joint in the skeleton."
        )
    return joints_mm, mask


def boxes_of_points(points_px: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the boxes [F, 4] around points [F, K, 2]; NaN where the person is mostly out of the picture.

    Args:
        points_px: the joints; NaN where not known.
        size: width and height of the picture.
    """
    is_known = np.isfinite(points_px).all(-1)
    is_inside = is_known & (points_px >= 0).all(-1) & (points_px < np.array(size)).all(-1)
    is_seen = is_inside.sum(1) >= np.maximum(_MIN_INSIDE * is_known.sum(1), 2)
    boxes_px = np.full((len(points_px), 4), np.nan)
    for row in np.flatnonzero(is_seen):
        known = points_px[row, is_known[row]]
        boxes_px[row] = *known.min(0), *known.max(0)
    return boxes_px


def unmapped_notes(names: tuple[str, ...], skeleton: Skeleton) -> list[str]:
    """Returns a sentence on the joints of the skeleton that a dataset with these joints cannot give."""
    absent = [skeleton.joint_names[joint] for joint in np.flatnonzero(~_mapped(names, skeleton))]
    if not absent:
        return []
    return [f"joints of {skeleton.name} that are not among the dataset's, and masked: {', '.join(absent)}"]


def _mapped(names: tuple[str, ...], skeleton: Skeleton) -> np.ndarray:
    return map_joints(np.zeros((len(names), 3)), names, skeleton)[1] > 0


def map_keypoints(points_px: np.ndarray, names: tuple[str, ...], skeleton: Skeleton) -> np.ndarray:
    """Maps exact 2D joints [F, K, 2] onto the skeleton: [F, J, 3] with confidence 1, or 0 where unknown."""
    mapped, mask = map_joints(points_px, names, skeleton)
    return np.concatenate([mapped, mask[..., None]], -1).astype(np.float32)
