"""Geometry between calibrated views: projection, change of camera, and the losses of geometry-driven lifting.

Li et al., Geometry-driven self-supervised method for 3D human pose estimation, AAAI 2020. With Y_v the
joints that the network lifts in view v (camera coordinates, root included), x_v the 2D keypoints, rho the
perspective projection and tau_ab the rigid motion from camera a to camera b:

    L_reproj   = sum_v   w_v  |x_v - rho(Y_v)|
    L_t_reproj = sum_a,b w_ab |x_b - rho(tau_ab(Y_a))|     a != b
    L_pre      = sum_a,b      |tau_ab(Y_a) - Y_b|          a != b

Every sum is taken as a mean here, so that the terms mean the same for any number of views and joints.
"""

from typing import Any, NamedTuple

from keras import ops

from mcss_tf import replicas
from mcss_tf.errors import InputError

MIN_DEPTH_MM = 100.0
# Which view's confidence weighs a joint that is lifted in one view and compared in another.
WEIGHTINGS = ("none", "source", "target", "product")
# Smaller than any distance that matters; keeps the gradient of a length finite at 0.
_TINY = 1e-9


class ViewLosses(NamedTuple):
    """Scalars of a batch: mean errors in pixels, pixels and millimetres.

    Attributes:
        reprojection: into the view that was lifted, px.
        transformed: into every other view, px.
        consistency: between the lifted poses of two views, mm.
    """

    reprojection: Any
    transformed: Any
    consistency: Any


def project(points_mm: Any, matrix: Any) -> Any:
    """Projects camera points without lens distortion: rho(X) = (K X)_xy / max(z, 100 mm).

    Args:
        points_mm: [..., J, 3] camera coordinates.
        matrix: [..., 3, 3] intrinsics K, whose last row is (0, 0, 1).

    Returns:
        [..., J, 2] pixels. Points nearer than 100 mm or behind the camera are projected as if at 100 mm, so
        the value and its gradient stay finite and push x and y back; their depth gets no gradient.
    """
    depth = ops.maximum(points_mm[..., 2:], MIN_DEPTH_MM)
    return to_pixels(points_mm[..., :2] / depth, matrix)


def to_pixels(rays: Any, matrix: Any) -> Any:
    """Returns K (x, y, 1) of rays [..., J, 2], which meet z = 1 there: pixels without distortion."""
    upper = matrix[..., :2, :]
    return ops.matmul(rays, ops.swapaxes(upper[..., :2], -1, -2)) + ops.expand_dims(upper[..., 2], -2)


def transform(
    points_mm: Any, from_rotation: Any, from_translation_mm: Any, to_rotation: Any, to_translation_mm: Any
) -> Any:
    """Moves points from one camera's coordinates into another's.

    tau_12(X) = R_12 X + t_2 - R_12 t_1 with R_12 = R_2 R_1^T, where X_cam = R X_world + t.

    Args:
        points_mm: [..., J, 3] in the first camera.
        from_rotation, to_rotation: [..., 3, 3] world to camera.
        from_translation_mm, to_translation_mm: [..., 3].

    Returns:
        [..., J, 3] in the second camera.
    """
    rotation = ops.matmul(to_rotation, ops.swapaxes(from_rotation, -1, -2))
    centred = points_mm - ops.expand_dims(from_translation_mm, -2)
    return ops.matmul(centred, ops.swapaxes(rotation, -1, -2)) + ops.expand_dims(to_translation_mm, -2)


def view_losses(
    lifted_mm: Any,
    keypoints_px: Any,
    confidence: Any,
    matrix: Any,
    rotation: Any,
    translation_mm: Any,
    weighting: str = "source",
) -> ViewLosses:
    """Compares what V views of B instants lift with every view's keypoints, over all ordered pairs of views.

    Args:
        lifted_mm: [B, V, J, 3] joints in each view's camera.
        keypoints_px: [B, V, J, 2] undistorted keypoints.
        confidence: [B, V, J] of the keypoints, 0 to 1.
        matrix, rotation: [B, V, 3, 3].
        translation_mm: [B, V, 3].
        weighting: "none", or whose confidence weighs |x_b - rho(tau_ab(Y_a))|: "source" (a, as printed in the
            paper), "target" (b) or "product". For L_reproj a = b, so these differ from "none" only.

    Returns:
        The three losses; the last two are 0 for a single view. Weighted means: sum w e / sum w.

    Raises:
        InputError: unknown weighting.
    """
    if weighting not in WEIGHTINGS:
        raise InputError(
            f"loss.confidence must be one of {', '.join(WEIGHTINGS)}. Received: {weighting!r}. Choose one."
        )
    num_views = lifted_mm.shape[1]
    moved = _into_every_view(lifted_mm, rotation, translation_mm)
    pixel_error = length(project(moved, matrix[:, None]) - keypoints_px[:, None])
    distance_mm = length(moved - lifted_mm[:, None])
    weights = _pair_weights(confidence, weighting)
    same = ops.reshape(ops.eye(num_views, dtype=pixel_error.dtype), (1, num_views, num_views, 1))
    return ViewLosses(
        reprojection=_mean(
            pixel_error, ops.sqrt(weights) * same if weighting == "product" else weights * same
        ),
        transformed=_mean(pixel_error, weights * (1 - same)),
        consistency=_mean(distance_mm, ops.ones_like(weights) * (1 - same)),
    )


def placement(lifted_mm: Any, rays: Any, weights: Any, rotation: Any, translation_mm: Any) -> Any:
    """Moves each lifted pose as a whole to where it fits the keypoints of all views best.

    d_a = argmin_d sum_b,j w_bj |(P - x_bj Q) tau_ab(Y_aj + d)|^2 with P = (I 0) and Q = (0 0 1): linear least
    squares in three unknowns, each view's error in millimetres at the depth of the joint.

    Args:
        lifted_mm: [B, V, J, 3] in each view's camera.
        rays: [B, V, J, 2] keypoints on z = 1.
        weights: [B, V, J] of the keypoints, not negative.
        rotation, translation_mm: [B, V, 3, 3], [B, V, 3] world to camera.

    Returns:
        d [B, V, 3] in each view's camera; 0 where all weights are.
    """
    moved = _into_every_view(lifted_mm, rotation, translation_mm)
    # R_ab, source a on axis 1, target b on axis 2: [B, V, V, 3, 3].
    relative = ops.einsum("bwij,bvkj->bvwik", rotation, rotation)
    x = ops.expand_dims(rays[:, None], -1)
    # [B, V, V, J, 2, 3]
    normals = relative[:, :, :, None, :2] - x * relative[:, :, :, None, 2:]
    misses = moved[..., :2] - rays[:, None] * moved[..., 2:]
    weighted = ops.expand_dims(ops.expand_dims(weights[:, None], -1), -1) * normals
    matrix = ops.einsum("bvwjik,bvwjil->bvkl", weighted, normals)
    pull = ops.einsum("bvwjik,bvwji->bvk", weighted, misses)
    return -ops.solve(matrix + 1e-6 * ops.eye(3, dtype=matrix.dtype), ops.expand_dims(pull, -1))[..., 0]


def length(vectors: Any) -> Any:
    """Returns the Euclidean length of the last axis, with gradient 0 at 0."""
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1) + _TINY)


def _into_every_view(points_mm: Any, rotation: Any, translation_mm: Any) -> Any:
    """Moves points [B, V, J, 3] of each view into all: axis 1 is the source view, axis 2 the target view."""
    return transform(
        points_mm[:, :, None],
        rotation[:, :, None],
        translation_mm[:, :, None],
        rotation[:, None],
        translation_mm[:, None],
    )


def _pair_weights(confidence: Any, weighting: str) -> Any:
    """Returns [B, V, V, J]: source by target."""
    source, target = confidence[:, :, None], confidence[:, None]
    ones = ops.ones_like(source * target)
    return {"none": ones, "source": source * ones, "target": target * ones, "product": source * target}[
        weighting
    ]


def _mean(values: Any, weights: Any) -> Any:
    return ops.sum(values * weights) / ops.maximum(replicas.mean(ops.sum(weights)), 1e-6)
