"""Procrustes alignment: the similarity that brings one pose closest to another."""

import numpy as np


def align(
    predicted: np.ndarray, target: np.ndarray, scale: bool = True, mask: np.ndarray | None = None
) -> np.ndarray:
    """Moves each predicted pose onto its target by rotation, translation and scale, without reflection.

    With both centred, P^T T = U S V^T and d = det(U V^T): R = U diag(1, 1, d) V^T and
    s = tr(diag(1, 1, d) S) / |P|^2 minimise sum_j |s p_j R + m - t_j|^2 (Umeyama, PAMI 1991).

    Args:
        predicted: [..., J, 3].
        target: [..., J, 3], broadcast against `predicted`.
        scale: whether the scale is free; False keeps 1.
        mask: [..., J], 1 where a joint counts; None counts all.

    Returns:
        [..., J, 3] aligned poses (of masked joints too). A predicted pose of one point, or a target of one
        point, lands on the target's mean; among equally good rotations any one is taken.
    """
    dtype = np.result_type(predicted, target, np.float32)
    predicted, target = np.broadcast_arrays(np.asarray(predicted, dtype), np.asarray(target, dtype))
    weights = np.ones(predicted.shape[:-1], dtype) if mask is None else np.asarray(mask, dtype)
    weights = np.broadcast_to(weights, predicted.shape[:-1])[..., None]
    total = np.maximum(weights.sum(-2, keepdims=True), 1.0)
    # A weight of 0 must not let a NaN through.
    predicted = np.where(weights > 0, predicted, np.nan_to_num(predicted))
    target = np.where(weights > 0, target, 0.0)
    mean_target = (weights * target).sum(-2, keepdims=True) / total
    mean_predicted = (weights * predicted).sum(-2, keepdims=True) / total
    centred = predicted - mean_predicted
    covariance = np.swapaxes(weights * centred, -1, -2) @ (target - mean_target)
    left, singular, right = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(left @ right))
    left = np.concatenate([left[..., :2], left[..., 2:] * sign[..., None, None]], axis=-1)
    aligned = centred @ (left @ right)
    if scale:
        spread = (weights * centred**2).sum((-1, -2))
        gain = singular[..., 0] + singular[..., 1] + sign * singular[..., 2]
        aligned = (
            aligned * np.where(spread > 0, gain / np.where(spread > 0, spread, 1.0), 0.0)[..., None, None]
        )
    return aligned + mean_target
