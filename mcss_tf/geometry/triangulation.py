"""Points from their images in two or more calibrated views."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, project, undistort, world_to_camera

# Metres instead of millimetres inside the linear system: its four columns are then of one magnitude.
_SCALE_MM = 1000.0


class Triangulation(NamedTuple):
    """What `triangulate` returns, for V views of points [...].

    Attributes:
        points_mm: float64 [..., 3] world; NaN where not valid.
        is_valid: bool [...].
        is_used: bool [V, ...], the views that decided a point.
        reprojection_px: float64 [V, ...], distance of the reprojected point from the keypoint in each view
            with a keypoint; NaN elsewhere.
    """

    points_mm: np.ndarray
    is_valid: np.ndarray
    is_used: np.ndarray
    reprojection_px: np.ndarray


def normalise(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """Returns K^-1 x of the undistorted pixels [..., 2]: where their rays meet the plane z = 1."""
    homogeneous = np.concatenate([undistort(camera, pixels), np.ones_like(pixels[..., :1])], axis=-1)
    return (homogeneous @ np.linalg.inv(camera.matrix).T)[..., :2]


def linear(rays: np.ndarray, poses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Solves the direct linear transform: min_X sum_v w_v^2 ||x_v (P_v3 X) - P_v12 X||^2, ||X|| = 1.

    Args:
        rays: [V, ..., 2] normalised image points.
        poses: [V, 3, 4] world to camera, `[R | t]`.
        weights: [V, ...]; 0 leaves a view out.

    Returns:
        [..., 3] in the units of t; not finite for a point at infinity.

    Hartley and Zisserman, Multiple View Geometry, section 12.2; Hua et al. 2021, section 3.2.
    """
    batch = rays.shape[1:-1]
    spread = (len(poses), *(1,) * len(batch))
    third = poses[:, 2].reshape(*spread, 1, 4)
    upper = poses[:, :2].reshape(*spread, 2, 4)
    equations = weights[..., None, None] * (rays[..., None] * third - upper)
    system = np.moveaxis(equations, 0, -3).reshape(*batch, 2 * len(poses), 4)
    solution = np.linalg.svd(system, full_matrices=False)[2][..., -1, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        return solution[..., :3] / solution[..., 3:]


def triangulate(
    cameras: Sequence[Camera],
    keypoints_px: np.ndarray,
    *,
    min_confidence: float = 0.0,
    max_error_px: float | None = None,
    min_angle_deg: float = 1.0,
    num_refinements: int = 0,
) -> Triangulation:
    """Triangulates points seen by two or more cameras, weighted by confidence.

    Args:
        cameras: V of them; lens distortion is undone.
        keypoints_px: [V, ..., 3]: x, y in the full frame and confidence; not finite or at most
            `min_confidence`: not seen.
        min_confidence: views of lower confidence are left out.
        max_error_px: while a view misses its keypoint by more than this and three or more are left, the view
            whose absence helps most is dropped; None keeps all.
        min_angle_deg: a point whose rays all lie within this angle has no depth and is not valid.
        num_refinements: Gauss-Newton steps on the weighted reprojection error after the linear solution.

    Returns:
        Points, validity, the views used and their reprojection errors. A point is not valid with fewer than
        two views, with parallel rays, or behind a camera that sees it.

    Raises:
        InputError: fewer than two cameras, or keypoints of another shape.
    """
    keypoints_px = np.asarray(keypoints_px, np.float64)
    if len(cameras) < 2:
        raise InputError(f"Triangulation needs two or more cameras. Received: {len(cameras)}. Add a view.")
    if keypoints_px.ndim < 2 or keypoints_px.shape[0] != len(cameras) or keypoints_px.shape[-1] != 3:
        raise InputError(
            "Keypoints must be [num_cameras, ..., 3] with x, y and confidence. "
            f"Received: shape {keypoints_px.shape} for {len(cameras)} cameras. Give one array per camera."
        )
    batch = keypoints_px.shape[1:-1]
    keypoints = keypoints_px.reshape(len(cameras), -1, 3)
    is_seen = np.isfinite(keypoints).all(-1) & (keypoints[..., 2] > min_confidence)
    keypoints = np.where(is_seen[..., None], keypoints, 0.0)
    views = _Views(cameras, keypoints)
    is_used = is_seen.copy()
    if max_error_px is not None:
        _drop_outliers(views, is_used, max_error_px)
    points = views.solve(is_used, num_refinements)
    is_valid = (is_used.sum(0) >= 2) & np.isfinite(points).all(-1)
    is_valid &= views.largest_angle_deg(is_used) >= min_angle_deg
    is_valid &= ((views.depths(points) > 0) | ~is_used).all(0)
    errors = np.where(is_seen & is_valid, views.errors_px(points), np.nan)
    points = np.where(is_valid[:, None], points, np.nan)
    shapes = ((*batch, 3), batch, (len(cameras), *batch), (len(cameras), *batch))
    return Triangulation(
        *(a.reshape(s) for a, s in zip((points, is_valid, is_used, errors), shapes, strict=True))
    )


class _Views:
    """The cameras and what they see, prepared once: V views of N points."""

    def __init__(self, cameras: Sequence[Camera], keypoints: np.ndarray):
        self.cameras = cameras
        self.keypoints = keypoints
        self.rays = np.stack([normalise(c, k[:, :2]) for c, k in zip(cameras, keypoints, strict=True)])
        self.poses = np.stack([np.c_[c.rotation, c.translation_mm / _SCALE_MM] for c in cameras])

    def solve(self, is_used: np.ndarray, num_refinements: int = 0) -> np.ndarray:
        """Returns points [N, 3] in millimetres from the used views; not finite with none."""
        weights = np.where(is_used, self.keypoints[..., 2], 0.0)
        points = linear(self.rays, self.poses, weights)
        for _ in range(num_refinements):
            points = points - self._gauss_newton_step(points, weights)
        return points * _SCALE_MM

    def _gauss_newton_step(self, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Returns (J^T W J)^-1 J^T W r of r = rho(R X + t) - x in normalised coordinates times f."""
        rotations, translations = self.poses[:, None, :, :3], self.poses[:, None, :, 3]
        in_camera = (
            np.einsum("vnij,nj->vni", np.broadcast_to(rotations, (len(rotations), len(points), 3, 3)), points)
            + translations
        )
        depth = in_camera[..., 2:]
        projected = in_camera[..., :2] / depth
        # d rho / d X = (R_12 - rho R_3) / z
        jacobian = (rotations[..., :2, :] - projected[..., None] * rotations[..., 2:, :]) / depth[..., None]
        focal = np.array([c.matrix[0, 0] for c in self.cameras])
        scale = (weights * focal[:, None]) ** 2
        normal = np.einsum("vn,vnki,vnkj->nij", scale, jacobian, jacobian)
        gradient = np.einsum("vn,vnki,vnk->ni", scale, jacobian, projected - self.rays)
        # The pseudo-inverse leaves points without two views alone instead of raising.
        is_finite = np.isfinite(normal).all((1, 2)) & np.isfinite(gradient).all(1)
        normal, gradient = (
            np.where(is_finite[:, None, None], normal, 0),
            np.where(is_finite[:, None], gradient, 0),
        )
        return np.einsum("nij,nj->ni", np.linalg.pinv(normal, hermitian=True), gradient)

    def depths(self, points: np.ndarray) -> np.ndarray:
        """Returns [V, N] depths in millimetres."""
        return np.stack([world_to_camera(camera, points)[:, 2] for camera in self.cameras])

    def errors_px(self, points: np.ndarray) -> np.ndarray:
        """Returns [V, N] distances of the projected points from the keypoints."""
        finite = np.where(np.isfinite(points), points, 0.0)
        projected = np.stack([project(camera, finite) for camera in self.cameras])
        return np.linalg.norm(projected - self.keypoints[..., :2], axis=-1)

    def largest_angle_deg(self, is_used: np.ndarray) -> np.ndarray:
        """Returns [N], the largest angle between any two used rays of each point."""
        homogeneous = np.concatenate([self.rays, np.ones_like(self.rays[..., :1])], axis=-1)
        directions = np.einsum("vji,vnj->vni", self.poses[:, :, :3], homogeneous)
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        # sin and cos together: arccos alone loses small angles to rounding.
        cosine = np.einsum("vni,wni->vwn", directions, directions)
        sine = np.linalg.norm(np.cross(directions[:, None], directions[None]), axis=-1)
        both = is_used[:, None] & is_used[None]
        return np.degrees(np.where(both, np.arctan2(sine, cosine), 0.0)).max((0, 1))


def _drop_outliers(views: _Views, is_used: np.ndarray, max_error_px: float) -> None:
    """Clears in `is_used` [V, N] the views without which the rest agree best, one at a time."""
    for _ in range(len(views.cameras) - 2):
        worst = np.where(is_used, views.errors_px(views.solve(is_used)), 0.0).max(0)
        is_bad = (worst > max_error_px) & (is_used.sum(0) > 2)
        if not is_bad.any():
            return
        bad = np.flatnonzero(is_bad)
        part = _Views(views.cameras, views.keypoints[:, bad])
        without = []
        for view in range(len(views.cameras)):
            rest = is_used[:, bad].copy()
            rest[view] = False
            error = np.where(rest, part.errors_px(part.solve(rest)), 0.0).max(0)
            without.append(np.where(is_used[view, bad], error, np.inf))
        is_used[np.argmin(without, axis=0), bad] = False
