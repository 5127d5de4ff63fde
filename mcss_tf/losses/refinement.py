"""Losses of cross-view refinement: agreement with keypoints, between views, of bones (Hua et al. 2021).

With Y_v the refined joints in camera v, x_v the target keypoints on the plane z = 1, rho the projection onto
it and tau_vw the rigid motion from camera v to camera w:

    L_single  = mean_v   |x_v - rho(Y_v)|^2
    L_cross   = mean_v,w |x_w - rho(tau_vw(Y_v))|^2    v != w
    L_3d      = mean_v,w |tau_vw(Y_v) - Y_w|^2         v != w, in metres
    L_bone    = mean_v,w 1 - cos(x_w,c - x_w,p, y_vw,c - y_vw,p)   over bones p -> c, y_vw = rho(tau_vw(Y_v))
    L_sym     = mean_v   | |left bone| - |right bone| |           in metres
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from mcss_tf import replicas
from mcss_tf.geometry.skeleton import Skeleton
from mcss_tf.losses.reprojection import MIN_DEPTH_MM, length, transform

_MM_PER_M = 1000.0
# Bones that a camera sees end on have no direction: shorter than this on z = 1 they count less.
_MIN_BONE = 0.01


class RefinementLosses(NamedTuple):
    """Scalars of a batch; see the module's formulas.

    Attributes:
        single: L_single, on z = 1.
        cross: L_cross, on z = 1.
        consistency: L_3d, m^2.
        bone: L_bone.
        symmetry: L_sym, m.
    """

    single: Any
    cross: Any
    consistency: Any
    bone: Any
    symmetry: Any


def refinement_losses(
    refined_mm: Any, rays: Any, weights: Any, rotation: Any, translation_mm: Any, skeleton: Skeleton
) -> RefinementLosses:
    """Compares refined poses of V views with target keypoints, with each other, and within themselves.

    Args:
        refined_mm: [B, V, J, 3] in each view's camera.
        rays: [B, V, J, 2] targets on z = 1, the lens undone.
        weights: [B, V, J] of the targets; 0 where there is none.
        rotation: [B, V, 3, 3] world to camera.
        translation_mm: [B, V, 3] world to camera.
        skeleton: of J joints; names bones and sides.

    Returns:
        Weighted means; 0 for a term without any weight, and for terms between views with a single view.
        Joints nearer to a camera than 100 mm are projected as if at 100 mm.
    """
    # Axis 1 is the view that is refined, axis 2 the one in which it is looked at.
    moved = transform(
        refined_mm[:, :, None],
        rotation[:, :, None],
        translation_mm[:, :, None],
        rotation[:, None],
        translation_mm[:, None],
    )
    projected = moved[..., :2] / ops.maximum(moved[..., 2:], MIN_DEPTH_MM)
    same = np.eye(refined_mm.shape[1], dtype=np.float32)[None, :, :, None]
    error = ops.sum(ops.square(projected - rays[:, None]), axis=-1)
    pair_weights = ops.broadcast_to(weights[:, None], ops.shape(error))
    apart = ops.sum(ops.square((moved - refined_mm[:, None]) / _MM_PER_M), axis=-1)
    return RefinementLosses(
        single=_mean(error, pair_weights * same),
        cross=_mean(error, pair_weights * (1.0 - same)),
        consistency=_mean(apart, ops.ones_like(apart) * (1.0 - same)),
        bone=_bone_direction(projected, rays, weights, skeleton),
        symmetry=_asymmetry(refined_mm, skeleton),
    )


def _bone_direction(projected: Any, rays: Any, weights: Any, skeleton: Skeleton) -> Any:
    parents, children = (np.array(ends) for ends in zip(*skeleton.edges, strict=True))

    def bones(points: Any) -> Any:
        return ops.take(points, children, axis=-2) - ops.take(points, parents, axis=-2)

    target, found = bones(rays)[:, None], bones(projected)
    target_length = length(target)
    cosine = ops.sum(target * found, axis=-1) / (target_length * length(found))
    both = ops.take(weights, children, axis=-1) * ops.take(weights, parents, axis=-1)
    both = both[:, None] * ops.minimum(target_length / _MIN_BONE, 1.0)
    return _mean(1.0 - cosine, ops.broadcast_to(both, ops.shape(cosine)))


def _asymmetry(refined_mm: Any, skeleton: Skeleton) -> Any:
    """Returns how much longer one side's bones are than the other's, metres; 0 without sides."""
    pairs = [
        ((parent, child), (skeleton.mirror[parent], skeleton.mirror[child]))
        for parent, child in skeleton.edges
        if child < skeleton.mirror[child]
    ]
    if not pairs:
        return ops.zeros(())

    def lengths(side: int) -> Any:
        parents, children = (np.array(ends) for ends in zip(*(pair[side] for pair in pairs), strict=True))
        bones = ops.take(refined_mm, children, axis=-2) - ops.take(refined_mm, parents, axis=-2)
        return length(bones / _MM_PER_M)

    return ops.mean(ops.abs(lengths(0) - lengths(1)))


def _mean(values: Any, weights: Any) -> Any:
    total = replicas.mean(ops.sum(weights))
    # where, not a product: a weight of 0 must not let an infinite value through.
    return ops.sum(ops.where(weights > 0, values * weights, ops.zeros_like(values))) / ops.maximum(
        total, 1e-6
    )
