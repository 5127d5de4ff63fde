"""How well distances between embeddings follow distances between poses (MCSS, Fig. 7)."""

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from mcss_tf.evaluation.embedded import EmbeddedSplit
from mcss_tf.evaluation.pose import mpjpe

BIN_MM = 25.0
# A bin of fewer pairs says little about its mean.
_MIN_PAIRS = 100


def distance_metrics(
    split: EmbeddedSplit, queries_per_subject: int = 200, seed: int = 0
) -> dict[str, Any] | None:
    """Compares embedding distance with canonical MPJPE, between images of one subject.

    Args:
        split: embedded images with canonical poses.
        queries_per_subject: drawn at random; each is compared with its subject at all other instants.
        seed: of the draw.

    Returns:
        `same_view` and `other_view`, each {`rho`: Spearman's rank correlation over all pairs, None where
        either distance is constant; `bins`: rows [middle of the bin in mm, mean embedding distance, number
        of pairs]; `curve_rho`: the same correlation over the points of the curve alone, bins of 100 pairs,
        each counting once}, and `largest_gap`: the largest relative difference between the two curves, over
        bins that have 100 pairs in both. None where no subject has two posed images; a part without pairs is
        None.
    """
    pairs = [
        _subject_pairs(split, subject, queries_per_subject, seed) for subject in np.unique(split.subject)
    ]
    pose_mm, distance, is_same = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    if not len(pose_mm):
        return None
    same, other = _curve(pose_mm[is_same], distance[is_same]), _curve(pose_mm[~is_same], distance[~is_same])
    return {"same_view": same, "other_view": other, "largest_gap": _largest_gap(same, other)}


def _subject_pairs(
    split: EmbeddedSplit, subject: int, num_queries: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns MPJPE in mm, embedding distance and whether the view is the same, of all pairs of a subject."""
    images = np.flatnonzero((split.subject == subject) & split.has_pose)
    queries = np.random.default_rng([seed, int(subject)]).permutation(images)[:num_queries]
    found: list[tuple[np.ndarray, ...]] = [(np.zeros(0), np.zeros(0), np.zeros(0, bool))]
    for query in queries:
        # Other instants alone: both curves are then of the same poses.
        others = images[split.row[images] != split.row[query]]
        mask = split.pose_mask[others] * split.pose_mask[query]
        error = mpjpe(split.pose_mm[others], split.pose_mm[query], mask)
        distance = np.linalg.norm(split.embedding[others] - split.embedding[query], axis=-1)
        is_comparable = np.isfinite(error)
        is_same = split.camera[others] == split.camera[query]
        found.append((error[is_comparable], distance[is_comparable], is_same[is_comparable]))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _curve(pose_mm: np.ndarray, distance: np.ndarray) -> dict[str, Any] | None:
    if len(pose_mm) < 2:
        return None
    which = (pose_mm / BIN_MM).astype(int)
    counts = np.bincount(which)
    sums = np.bincount(which, weights=distance)
    bins = [
        [(index + 0.5) * BIN_MM, float(sums[index] / counts[index]), int(counts[index])]
        for index in np.flatnonzero(counts)
    ]
    points = np.array([[middle, mean] for middle, mean, count in bins if count >= _MIN_PAIRS]).reshape(-1, 2)
    return {"rho": _rho(pose_mm, distance), "curve_rho": _rho(points[:, 0], points[:, 1]), "bins": bins}


def _rho(pose_mm: np.ndarray, distance: np.ndarray) -> float | None:
    is_constant = len(pose_mm) < 2 or np.ptp(pose_mm) == 0 or np.ptp(distance) == 0
    return None if is_constant else float(spearmanr(pose_mm, distance).statistic)


def _largest_gap(same: dict[str, Any] | None, other: dict[str, Any] | None) -> float | None:
    if same is None or other is None:
        return None
    means = [
        {middle: mean for middle, mean, count in curve["bins"] if count >= _MIN_PAIRS}
        for curve in (same, other)
    ]
    shared = means[0].keys() & means[1].keys()
    gaps = [abs(means[0][m] - means[1][m]) / max(means[0][m], means[1][m], 1e-9) for m in shared]
    return float(max(gaps)) if gaps else None
