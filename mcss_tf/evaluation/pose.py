"""Errors of 3D poses; every mean is over the joints other than the root (16 of Human3.6M's 17)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcss_tf.geometry.procrustes import align

PCK_THRESHOLD_MM = 150.0


def mpjpe(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Mean per-joint position error: mean_j |p_j - t_j|.

    Args:
        predicted: [..., J, 3] mm.
        target: [..., J, 3] mm, broadcast against `predicted`.
        mask: [..., J], 1 where the target was observed; None: everywhere.

    Returns:
        [...] mm, one error per pose; NaN for a pose without any observed joint.
    """
    weights = _weights(predicted, target, mask)
    distance = np.linalg.norm(np.where(weights[..., None] > 0, predicted - target, 0.0), axis=-1)
    total = weights.sum(-1)
    return np.where(total > 0, (weights * distance).sum(-1) / np.maximum(total, 1e-9), np.nan)


def n_mpjpe(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """MPJPE after the best scale of each pose: s = <p, t> / <p, p> over the observed joints.

    Args and returns as `mpjpe`; a predicted pose of zeros keeps zeros.
    """
    weights = _weights(predicted, target, mask)[..., None]
    observed = np.where(weights > 0, target, 0.0)
    norm = (weights * predicted * predicted).sum((-1, -2), keepdims=True)
    inner = (weights * predicted * observed).sum((-1, -2), keepdims=True)
    scale = np.where(norm > 0, inner / np.where(norm > 0, norm, 1.0), 0.0)
    return mpjpe(scale * predicted, target, mask)


def pa_mpjpe(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """MPJPE after similarity Procrustes without reflection (`geometry.procrustes.align`).

    Args and returns as `mpjpe`.
    """
    return mpjpe(align(predicted, target, mask=mask), target, mask)


def pck(
    predicted: np.ndarray,
    target: np.ndarray,
    mask: np.ndarray | None = None,
    threshold_mm: float = PCK_THRESHOLD_MM,
) -> np.ndarray:
    """Percentage of the observed joints whose error is below a threshold, as MPI-INF-3DHP counts them.

    Args and returns as `mpjpe`, but 0 to 100.
    """
    return 100.0 * _shares(predicted, target, mask, np.array([threshold_mm]))[..., 0]


def auc(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Mean of `pck` over the thresholds 0, 5, ..., 150 mm (MPI-INF-3DHP's area under the curve)."""
    return 100.0 * _shares(predicted, target, mask, np.arange(0.0, PCK_THRESHOLD_MM + 1, 5.0)).mean(-1)


def _shares(
    predicted: np.ndarray, target: np.ndarray, mask: np.ndarray | None, thresholds_mm: np.ndarray
) -> np.ndarray:
    """Returns [..., T], the share of observed joints below each threshold; NaN without any joint."""
    weights = _weights(predicted, target, mask)
    distance = np.linalg.norm(np.where(weights[..., None] > 0, predicted - target, 0.0), axis=-1)
    is_correct = distance[..., None] < thresholds_mm
    total = weights.sum(-1)[..., None]
    shares = (weights[..., None] * is_correct).sum(-2) / np.maximum(total, 1e-9)
    return np.where(total > 0, shares, np.nan)


def pose_metrics(
    predicted: np.ndarray, target: np.ndarray, mask: np.ndarray, actions: Sequence[str]
) -> dict[str, Any]:
    """Averages the errors over poses.

    Args:
        predicted: [N, J, 3] mm, canonical.
        target: [N, J, 3] mm, canonical.
        mask: [N, J], 1 where the target was observed; poses without any are left out.
        actions: [N] names; "" where unknown.

    Returns:
        `mpjpe_mm`, `n_mpjpe_mm`, `pa_mpjpe_mm`, `pck_150` and `auc` (percent), `num_poses` and `per_action`
        {name: the same}; a mean over no pose is None.
    """
    errors = {
        "mpjpe_mm": mpjpe(predicted, target, mask),
        "n_mpjpe_mm": n_mpjpe(predicted, target, mask),
        "pa_mpjpe_mm": pa_mpjpe(predicted, target, mask),
        "pck_150": pck(predicted, target, mask),
        "auc": auc(predicted, target, mask),
    }
    actions = np.asarray(actions, dtype=str)
    counted = np.asarray(mask).any(-1)
    names = [str(name) for name in np.unique(actions[counted]) if name]
    result: dict[str, Any] = _means(errors, counted)
    result["per_action"] = {name: _means(errors, counted & (actions == name)) for name in names}
    return result


def _means(errors: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, Any]:
    means = {name: float(error[chosen].mean()) if chosen.any() else None for name, error in errors.items()}
    return {**means, "num_poses": int(chosen.sum())}


def _weights(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    shape = np.broadcast_shapes(predicted.shape, target.shape)[:-1]
    return np.ones(shape) if mask is None else np.broadcast_to(np.asarray(mask, np.float64), shape)
