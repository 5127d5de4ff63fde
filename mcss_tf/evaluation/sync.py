"""The label-free check: does the nearest frame of another camera show the same instant?

For every ordered pair of cameras (A, B) and every frame of A whose instant B saw too, the nearest neighbour
by embedding is sought among all frames of B that show the same person, in whichever sequence. It needs no
labels, and a model that only recognises the person, the camera or the place scores chance, 1 / number of
frames of B.
"""

from typing import Any

import numpy as np

from mcss_tf.evaluation.embedded import EmbeddedSplit

_BLOCK = 1024  # queries at a time: memory stays at 1024 x frames of B


def sync_metrics(split: EmbeddedSplit, num_cameras: int) -> dict[str, Any] | None:
    """Finds every frame's instant in every other camera that films the same subject.

    Args:
        split: embedded images.
        num_cameras: C, of the dataset.

    Returns:
        `hit_at_1` (fraction of exact instants), `chance` (mean of 1 / candidates), `median_error_ms` (of the
        time between the frame and its match; None where most matches lie in another sequence),
        `num_queries`, and `per_pair` [C][C], the hit rate from camera A (row) to B (column), None where they
        share no instant. None altogether where no subject has two cameras with a common instant and at least
        two candidates.
    """
    hits = np.zeros((num_cameras, num_cameras))
    counts = np.zeros((num_cameras, num_cameras), np.int64)
    errors_s: list[np.ndarray] = []
    chances: list[np.ndarray] = []
    for subject in np.unique(split.subject):
        inside = np.flatnonzero(split.subject == subject)
        views = {int(c): inside[split.camera[inside] == c] for c in np.unique(split.camera[inside])}
        for a, frames_a in views.items():
            for b, frames_b in views.items():
                queries = frames_a[np.isin(split.row[frames_a], split.row[frames_b])]
                if a == b or len(frames_b) < 2 or not len(queries):
                    continue
                found = frames_b[_nearest(split.embedding[queries], split.embedding[frames_b])]
                hits[a, b] += (split.row[found] == split.row[queries]).sum()
                counts[a, b] += len(queries)
                is_near = split.sequence[found] == split.sequence[queries]
                apart_s = np.abs(split.time_s[found] - split.time_s[queries])
                errors_s.append(np.where(is_near, apart_s, np.inf))
                chances.append(np.full(len(queries), 1.0 / len(frames_b)))
    if not counts.any():
        return None
    median_s = float(np.median(np.concatenate(errors_s)))
    return {
        "hit_at_1": float(hits.sum() / counts.sum()),
        "chance": float(np.concatenate(chances).mean()),
        "median_error_ms": 1000.0 * median_s if np.isfinite(median_s) else None,
        "num_queries": int(counts.sum()),
        "per_pair": [
            [float(hit / count) if count else None for hit, count in zip(row, row_counts, strict=True)]
            for row, row_counts in zip(hits, counts, strict=True)
        ],
    }


def _nearest(queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Returns the position of the database row nearest to each query; the first of equals."""
    # |q - d|^2 = |q|^2 - 2 q.d + |d|^2, in which |q|^2 does not change the order. Double precision, because
    # a collapsed embedding has distances far below float32's rounding of the norms.
    database = database.astype(np.float64)
    norms = (database**2).sum(-1)
    blocks = [queries[start : start + _BLOCK] for start in range(0, len(queries), _BLOCK)]
    return np.concatenate([(norms - 2.0 * block @ database.T).argmin(-1) for block in blocks])
