"""Triangulation inside a graph: `geometry.triangulation.linear` for batches, in any Keras backend."""

from typing import Any

import keras
from keras import ops

# As in geometry/triangulation.py: metres balance the columns of the linear system.
_SCALE_MM = 1000.0
# Fixed-point steps that undo lens distortion; OpenCV takes five, which leaves 0.1 px at a corner.
_NUM_UNDISTORTIONS = 10
NUM_DISTORTION = 5
# A depth below this has no direction worth following; a triangulated point so near is no body.
_MIN_DEPTH_MM = 100.0


def normalise(keypoints_px: Any, matrix: Any, distortion: Any) -> Any:
    """Returns where the rays of pixels meet the plane z = 1, the lens undone.

    x_u = (x_d - tangential(x_u)) / radial(x_u), iterated from x_u = x_d = K^-1 x.

    Args:
        keypoints_px: [B, V, J, 2].
        matrix: [B, V, 3, 3] upper triangular intrinsics.
        distortion: [B, V, 5] OpenCV's k1, k2, p1, p2, k3.

    Returns:
        [B, V, J, 2] in the dtype of the pixels.
    """
    matrix = matrix[:, :, None]
    y = (keypoints_px[..., 1] - matrix[..., 1, 2]) / matrix[..., 1, 1]
    x = (keypoints_px[..., 0] - matrix[..., 0, 2] - matrix[..., 0, 1] * y) / matrix[..., 0, 0]
    k1, k2, p1, p2, k3 = (distortion[:, :, None, i] for i in range(NUM_DISTORTION))
    u, v = x, y
    for _ in range(_NUM_UNDISTORTIONS):
        r2 = u * u + v * v
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        du = 2.0 * p1 * u * v + p2 * (r2 + 2.0 * u * u)
        dv = p1 * (r2 + 2.0 * v * v) + 2.0 * p2 * u * v
        u, v = (x - du) / radial, (y - dv) / radial
    return ops.stack([u, v], axis=-1)


def linear(rays: Any, poses: Any, weights: Any) -> Any:
    """Solves the direct linear transform of `geometry.triangulation.linear` for a batch.

    The least singular vector of the system A is the least eigenvector of A^T A, 4 by 4 whatever the number
    of views; in float64 squaring the condition costs nothing that shows in a millimetre.

    Args:
        rays: [B, V, J, 2] normalised image points.
        poses: [B, V, 3, 4] world to camera, `[R | t]`.
        weights: [B, V, J]; 0 leaves a view out.

    Returns:
        float64 [B, J, 3] in the units of t; arbitrary, maybe not finite, for fewer than two weighted views.

    Hartley and Zisserman, Multiple View Geometry, section 12.2; Hua et al. 2021, section 3.2.
    """
    rays, poses, weights = (ops.cast(x, "float64") for x in (rays, poses, weights))
    upper, third = poses[:, :, None, :2], poses[:, :, None, 2:]
    # [B, V, J, 2, 4]
    equations = weights[..., None, None] * (rays[..., None] * third - upper)
    normal = ops.einsum("bvjki,bvjkl->bjil", equations, equations)
    solution = ops.eigh(normal)[1][..., 0]
    return solution[..., :3] / solution[..., 3:]


def relative_poses(rotation: Any, translation_mm: Any) -> tuple[Any, Any]:
    """Returns the rigid maps from every view to every other: X_w = R_wv X_v + t_wv.

    R_wv = R_w R_v^T; t_wv = t_w - R_wv t_v.

    Args:
        rotation: [B, V, 3, 3] world to camera.
        translation_mm: [B, V, 3] world to camera.

    Returns:
        rotations [B, V, V, 3, 3] and translations [B, V, V, 3], first from view v, then to view w.
    """
    rotations = ops.einsum("bwij,bvkj->bvwik", rotation, rotation)
    moved = ops.einsum("bvwij,bvj->bvwi", rotations, translation_mm)
    return rotations, translation_mm[:, None] - moved


@keras.saving.register_keras_serializable("mcss_tf")
class CoarsePoses(keras.layers.Layer):
    """Triangulates all joints once with each camera as origin (Hua et al. 2021, section 3.2).

    A joint without two weighted views, without a finite solution, or nearer to a camera than 100 mm gets the
    mean of the others, which the network then refines.

    Args:
        is_weighted: whether confidences weigh the equations; else they only tell seen from not seen.
    """

    def __init__(self, is_weighted: bool = False, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.is_weighted = is_weighted

    def call(self, inputs: dict[str, Any]) -> Any:
        """Returns float32 [B, V, J, 3] millimetres in each camera's frame.

        Args:
            inputs: `rays` [B, V, J, 2], `confidence` [B, V, J], `rotation` [B, V, 3, 3],
                `translation_mm` [B, V, 3].
        """
        weights = inputs["confidence"]
        if not self.is_weighted:
            weights = ops.cast(weights > 0, "float32")
        # float64 before the products: 7 digits of a camera 10 m away are 1 um, of its square a millimetre.
        rotation = ops.cast(inputs["rotation"], "float64")
        translation = ops.cast(inputs["translation_mm"], "float64") / _SCALE_MM
        rotations, translations = relative_poses(rotation, translation)
        num_views, num_joints = inputs["rays"].shape[1:3]
        # All origins in one solution: [B O, V, ...].
        poses = ops.concatenate([rotations, translations[..., None]], axis=-1)
        poses = ops.reshape(poses, (-1, num_views, 3, 4))
        rays, weights = (ops.repeat(x, num_views, axis=0) for x in (inputs["rays"], weights))
        points = linear(rays, poses, weights)
        depths = ops.matmul(points, ops.transpose(poses[:, :, 2, :3], (0, 2, 1))) + poses[:, None, :, 2, 3]
        is_valid = ops.sum(ops.cast(weights > 0, "int32"), axis=1) >= 2
        is_valid = ops.logical_and(is_valid, ops.all(depths * _SCALE_MM > _MIN_DEPTH_MM, axis=2))
        points = ops.cast(_fill(points * _SCALE_MM, is_valid), "float32")
        return ops.stop_gradient(ops.reshape(points, (-1, num_views, num_joints, 3)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "is_weighted": self.is_weighted}


def _fill(points: Any, is_valid: Any) -> Any:
    """Puts the mean of the valid points [B, J, 3] where a point is not; zeros where none is."""
    mask = ops.logical_and(is_valid, ops.all(ops.isfinite(points), axis=-1))[..., None]
    kept = ops.where(mask, points, ops.zeros_like(points))
    count = ops.maximum(ops.sum(ops.cast(mask, points.dtype), axis=1, keepdims=True), 1.0)
    return ops.where(mask, points, ops.sum(kept, axis=1, keepdims=True) / count)
