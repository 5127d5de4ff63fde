"""What the report shows of single images: retrieval rows, poses from best to worst, a distance matrix."""

import dataclasses

import numpy as np

from mcss_tf.evaluation import figures
from mcss_tf.evaluation.embedded import EmbeddedSplit
from mcss_tf.evaluation.pose import mpjpe, pa_mpjpe
from mcss_tf.evaluation.retrieval import candidates, nearest
from mcss_tf.geometry.skeleton import Skeleton


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """One found image: its index in the split, the PA-MPJPE to the query (None without poses)."""

    image: int
    is_same_instant: bool
    pa_mpjpe_mm: float | None


@dataclasses.dataclass(frozen=True)
class RetrievalRow:
    """A query with its nearest images of other views: of all subjects, and of other subjects only."""

    query: int
    same: list[Neighbour]
    cross: list[Neighbour]


def retrieval_rows(
    split: EmbeddedSplit, num_rows: int = 8, num_found: int = 5, seed: int = 0
) -> list[RetrievalRow]:
    """Draws queries by seed and finds their nearest images; queries without any candidate are left out."""
    queries = np.flatnonzero([candidates(split, query, "same").any() for query in range(len(split))])
    chosen = np.random.default_rng(seed).permutation(queries)[:num_rows]
    return [
        RetrievalRow(query, _found(split, query, "same", num_found), _found(split, query, "cross", num_found))
        for query in sorted(chosen.tolist())
    ]


def _found(split: EmbeddedSplit, query: int, database: str, count: int) -> list[Neighbour]:
    images = nearest(split.embedding, query, candidates(split, query, database), count)
    return [
        Neighbour(int(image), bool(split.row[image] == split.row[query]), _pose_distance(split, query, image))
        for image in images
    ]


def _pose_distance(split: EmbeddedSplit, one: int, other: int) -> float | None:
    mask = split.pose_mask[one] * split.pose_mask[other]
    if not mask.any():
        return None
    return float(pa_mpjpe(split.pose_mm[one], split.pose_mm[other], mask))


def best_to_worst(split: EmbeddedSplit) -> list[tuple[int, str, float]]:
    """Returns (image, label, MPJPE in mm) at fixed places from best to worst; [] without poses."""
    posed = np.flatnonzero(split.has_pose & split.pose_mask.any(-1))
    if split.predicted_mm is None or not len(posed):
        return []
    errors = mpjpe(split.predicted_mm[posed], split.pose_mm[posed], split.pose_mask[posed])
    order = np.argsort(errors, kind="stable")
    places = {"best": 0.0, "better quarter": 0.25, "median": 0.5, "worse quarter": 0.75, "worst": 1.0}
    picked = [(label, order[round(place * (len(order) - 1))]) for label, place in places.items()]
    return [(int(posed[i]), label, float(errors[i])) for label, i in picked]


def skeleton_pictures(
    split: EmbeddedSplit, picked: list[tuple[int, str, float]], skeleton: Skeleton
) -> list[bytes]:
    """Draws true and predicted poses of the picked images."""
    poses = []
    for image, label, error in picked:
        observed = split.pose_mask[image][:, None] > 0
        true = np.where(observed, split.pose_mm[image], np.nan)
        poses.append((true, split.predicted_mm[image], f"{label}: {error:.0f} mm"))
    return figures.skeletons(poses, skeleton)


def instants_by_views(
    split: EmbeddedSplit, num_instants: int = 6, num_views: int = 4
) -> tuple[np.ndarray, int]:
    """Picks instants of one sequence, evenly spaced, all seen by the same views.

    Returns:
        image indices [instants * views] ordered by instant, and the number of views; empty and 0 where no
        sequence shows two instants in two views.
    """
    best: tuple[np.ndarray, int] = np.zeros(0, np.int64), 0
    for sequence in np.unique(split.sequence):
        inside = np.flatnonzero(split.sequence == sequence)
        cameras, counts = np.unique(split.camera[inside], return_counts=True)
        views = np.sort(cameras[np.argsort(-counts, kind="stable")[:num_views]])
        rows, seen = np.unique(split.row[inside[np.isin(split.camera[inside], views)]], return_counts=True)
        rows = rows[seen == len(views)]
        if len(views) < 2 or len(rows) < 2:
            continue
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, num_instants).round().astype(int))]
        where = {(split.row[i], split.camera[i]): i for i in inside}
        picked = np.array([where[row, view] for row in rows for view in views])
        if len(picked) > len(best[0]):
            best = picked, len(views)
    return best
