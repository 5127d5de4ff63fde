"""Where a second camera stands, from nothing but the joints that both cameras see and their intrinsics."""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.optimize import least_squares

from mcss_tf.errors import InputError

_MIN_POINTS = 8
# Inliers of a refined motion are chosen anew until they stay the same, which takes two or three rounds.
_MAX_ROUNDS = 10


class RelativePose(NamedTuple):
    """X_2 = rotation X_1 + translation_mm, and which points agree with it.

    Attributes:
        rotation: float64 [3, 3].
        translation_mm: float64 [3].
        is_inlier: bool [N].
    """

    rotation: np.ndarray
    translation_mm: np.ndarray
    is_inlier: np.ndarray


def relative_pose(
    first_rays: np.ndarray,
    second_rays: np.ndarray,
    distance_mm: float,
    *,
    threshold: float = 0.005,
    confidence: float = 0.9999,
) -> RelativePose:
    """Estimates the motion from a first to a second camera.

    The essential matrix E, x_2^T E x_1 = 0, by RANSAC on normalised points (the fundamental matrix of Li et
    al. is K_2^-T E K_1^-1); of its four decompositions the one that puts the points before both cameras,
    refined on all inliers, which are then chosen anew within twice the threshold, and again: those of RANSAC
    confirm the error of the five points that it rests on. Its unit translation times the measured distance
    between the cameras.

    Args:
        first_rays: [N, 2] undistorted, K^-1 x, in the first camera.
        second_rays: [N, 2] the same joints in the second camera.
        distance_mm: between the centres of the cameras, measured.
        threshold: distance from the epipolar line up to which a point is an inlier, in units of z = 1 (0.005
            is about 6 px at a focal length of 1150 px).
        confidence: of RANSAC.

    Returns:
        Rotation, translation and inliers.

    Raises:
        InputError: other shapes, fewer than 8 usable points, a distance that is not positive, or no solution.
    """
    first_rays, second_rays = np.asarray(first_rays, np.float64), np.asarray(second_rays, np.float64)
    if first_rays.ndim != 2 or first_rays.shape != second_rays.shape or first_rays.shape[1] != 2:
        raise InputError(
            "Relative pose needs the same points [N, 2] in both views. Received: shapes "
            f"{first_rays.shape} and {second_rays.shape}. Pair them by instant and joint."
        )
    is_usable = np.isfinite(first_rays).all(1) & np.isfinite(second_rays).all(1)
    if is_usable.sum() < _MIN_POINTS:
        raise InputError(
            f"Relative pose needs at least {_MIN_POINTS} points that both views see. Received: "
            f"{is_usable.sum()}. Check that the views overlap in time and see the person."
        )
    if not distance_mm > 0:
        raise InputError(
            "The measured distance between two cameras sets the scale and must be positive. Received: "
            f"{distance_mm} mm. Measure it."
        )
    first, second = first_rays[is_usable], second_rays[is_usable]
    cv2.setRNGSeed(0)
    essential, mask = cv2.findEssentialMat(
        first, second, np.eye(3), method=cv2.RANSAC, prob=confidence, threshold=threshold
    )
    found = 0
    # Noise alone finds a motion for points that all lie on one place.
    is_spread = min(np.ptp(first, axis=0).max(), np.ptp(second, axis=0).max()) > 2 * threshold
    if is_spread and essential is not None and essential.shape == (3, 3):
        found, rotation, direction, mask = cv2.recoverPose(essential, first, second, np.eye(3), mask=mask)
    if found < _MIN_POINTS:
        raise InputError(
            f"The views must show a person in motion, not one plane or point. Received: {len(first)} points, "
            f"of which {found} agree on a position of the cameras. Give more instants."
        )
    is_inlier = np.zeros(len(is_usable), bool)
    is_inlier[is_usable] = mask.ravel() > 0
    direction = direction.ravel()
    for _ in range(_MAX_ROUNDS):
        rotation, direction = _refine(rotation, direction, first_rays[is_inlier], second_rays[is_inlier])
        missed = np.abs(_sampson(rotation, direction, first_rays, second_rays))
        before, is_inlier = is_inlier, is_usable & (missed <= 2 * threshold)
        if np.array_equal(is_inlier, before):
            break
    return RelativePose(rotation, distance_mm * direction, is_inlier)


def _refine(
    rotation: np.ndarray, direction: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minimises the Sampson distances of the inliers."""

    def unpack(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = cv2.Rodrigues(parameters[:3])[0] @ rotation
        towards = direction + parameters[3:]
        return moved, towards / np.linalg.norm(towards)

    def missed(parameters: np.ndarray) -> np.ndarray:
        return _sampson(*unpack(parameters), first, second)

    # The direction has three parameters for two degrees of freedom; its length has no effect.
    return unpack(least_squares(missed, np.zeros(6), loss="soft_l1", f_scale=0.002).x)


def _sampson(
    rotation: np.ndarray, direction: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Returns the Sampson distances [N] of points (Hartley and Zisserman, 11.4.3).

    d = x_2^T E x_1 / sqrt(|(E x_1)_12|^2 + |(E^T x_2)_12|^2), E = [t]_x R.
    """
    one, two = (np.concatenate([rays, np.ones((len(rays), 1))], axis=1) for rays in (first, second))
    essential = np.cross(np.eye(3), direction).T @ rotation
    lines, back = one @ essential.T, two @ essential
    scale = (lines[:, :2] ** 2).sum(1) + (back[:, :2] ** 2).sum(1)
    return (two * lines).sum(1) / np.sqrt(np.maximum(scale, 1e-12))
