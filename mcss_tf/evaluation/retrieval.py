"""Mean-PA-MPJPE@K: how close in pose are the nearest images of other views?

The database of a query holds the images of other views than the query's: "same" of all subjects, "cross" of
other subjects only. M_K is the mean over queries of the mean PA-MPJPE of the K images nearest by embedding,
O_K that of an oracle which ranks by PA-MPJPE itself; M_K - O_K is what the embedding misses (MCSS, Sec. 5.2).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mcss_tf.evaluation.all_pairs import PoseDatabase
from mcss_tf.evaluation.embedded import EmbeddedSplit

RANKS = (1, 5, 10, 20)
DATABASES = ("same", "cross")


def mean_pa_mpjpe(
    split: EmbeddedSplit,
    max_queries: int | None = None,
    seed: int = 0,
    *,
    ranks: Sequence[int] = RANKS,
    is_query: np.ndarray | None = None,
) -> dict[str, Any] | None:
    """Computes Mean-PA-MPJPE@K of a split, exactly, in memory proportional to the number of images.

    Args:
        split: embedded images; those with a pose are both queries and database.
        max_queries: use at most this many queries, drawn with `seed`; None or 0: all.
        seed: of the draw.
        ranks: the K, ascending.
        is_query: [N] bool, images that may be queries; None: all. The database is the same.

    Returns:
        {"same", "cross": {"1", "5", "10", "20": {`model_mm`, `oracle_mm`, `difference_mm`}}, `num_queries`,
        `num_images`, `seed`, `reasons`}, K of the ranks. A database that no query has is None, and so is a K
        that no query has images for; `reasons` says why. None where no image that may be a query has a pose.
    """
    posed = np.flatnonzero(split.has_pose)
    queries = posed if is_query is None else posed[is_query[posed]]
    if not len(queries):
        return None
    if max_queries and max_queries < len(queries):
        queries = np.sort(np.random.default_rng(seed).choice(queries, max_queries, replace=False))
    database = _Database(split, posed, tuple(ranks))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(database.query, queries))
    # [queries, databases, model or oracle, ranks]; NaN where a query has fewer than K candidates.
    means = np.array(results)
    reasons: dict[str, str] = {}
    summary: dict[str, Any] = {
        name: _summary(name, means[:, position], split, tuple(ranks), reasons)
        for position, name in enumerate(DATABASES)
    }
    return {
        **summary,
        "num_queries": len(queries),
        "num_images": len(posed),
        "seed": seed,
        "reasons": reasons,
    }


def candidates(split: EmbeddedSplit, query: int, database: str) -> np.ndarray:
    """Returns [N] bool: which images a query may find in the "same" or "cross" database."""
    allowed = split.camera != split.camera[query]
    return allowed & (split.subject != split.subject[query]) if database == "cross" else allowed


def nearest(embedding: np.ndarray, query: int, allowed: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices of the `count` allowed images nearest to a query, nearest first; ties by index."""
    places = np.flatnonzero(allowed)
    return places[_smallest(_squared_distances(embedding[places], embedding[query]), count)]


class _Database:
    """The posed images of a split, against which queries run one by one."""

    def __init__(self, split: EmbeddedSplit, posed: np.ndarray, ranks: tuple[int, ...]):
        self._split = split
        self._ranks = ranks
        self._posed = posed
        self._embedding = split.embedding[posed]
        self._poses = PoseDatabase(split.pose_mm[posed], split.pose_mask[posed])

    def query(self, query: int) -> np.ndarray:
        """Returns the means [databases, 2, ranks] of one query in mm."""
        split = self._split
        error = self._poses.distances(split.pose_mm[query], split.pose_mask[query])
        distance = _squared_distances(self._embedding, split.embedding[query])
        result = np.full((len(DATABASES), 2, len(self._ranks)), np.nan)
        for position, name in enumerate(DATABASES):
            # Two poses without one joint in common cannot be compared.
            allowed = np.flatnonzero(candidates(split, query, name)[self._posed] & np.isfinite(error))
            for row, order_by in enumerate((distance, error)):
                found = error[allowed[_smallest(order_by[allowed], max(self._ranks))]]
                means = [found[:k].mean() if len(found) >= k else np.nan for k in self._ranks]
                result[position, row] = means
        return result


def _squared_distances(database: np.ndarray, query: np.ndarray) -> np.ndarray:
    # By differences: exact for duplicates and for a nearly collapsed embedding, unlike |d|^2 - 2 d.q.
    difference = database - query
    return np.einsum("nd,nd->n", difference, difference)


def _smallest(values: np.ndarray, count: int) -> np.ndarray:
    """Returns the positions of the `count` smallest values in order; ties by position."""
    if len(values) > count:
        bound = np.partition(values, count - 1)[count - 1]
        below = np.flatnonzero(values <= bound)
        return below[np.argsort(values[below], kind="stable")][:count]
    return np.argsort(values, kind="stable")


def _summary(
    name: str, means: np.ndarray, split: EmbeddedSplit, ranks: tuple[int, ...], reasons: dict[str, str]
) -> dict | None:
    summary: dict[str, Any] = {}
    for column, k in enumerate(ranks):
        has_enough = ~np.isnan(means[:, 0, column])
        if not has_enough.any():
            summary[str(k)] = None
            reasons[f"{name}.{k}"] = f"No query has {k} images of other views to find."
            continue
        model, oracle = means[has_enough, :, column].mean(0)
        summary[str(k)] = {
            "model_mm": float(model),
            "oracle_mm": float(oracle),
            "difference_mm": float(model - oracle),
        }
    if any(summary.values()):
        return summary
    for k in ranks:
        del reasons[f"{name}.{k}"]
    num_subjects = len(np.unique(split.subject[split.has_pose]))
    one_subject = name == "cross" and num_subjects < 2
    reasons[name] = "Only one subject has poses." if one_subject else "Poses are seen by one camera only."
    return None
