"""Indexes of FAISS over unit vectors: what they are made of, how hard they search, what they miss."""

from collections.abc import Iterable, Sequence

import numpy as np

from mcss_tf.errors import InputError

try:
    import faiss
except ImportError:
    faiss = None

KINDS = ("flat", "ivfpq", "hnsw")

# Settings in FAISS's own words, from quick to thorough; the first that reaches the wanted recall is used.
_EFFORTS = {
    "flat": ("",),
    "ivfpq": tuple(
        f"nprobe={nprobe},k_factor_rf={factor}"
        for nprobe, factor in (
            (2, 8),
            (4, 16),
            (8, 16),
            (8, 24),
            (8, 32),
            (16, 64),
            (64, 64),
            (256, 128),
            (4096, 512),
        )
    ),
    "hnsw": tuple(f"efSearch={ef}" for ef in (16, 32, 64, 128, 256, 512, 1024)),
}
_HNSW_LINKS = 32
_MAX_CELLS = 4096
# k-means warns below 39 vectors per cell; a 4-bit code has 16 centroids.
_VECTORS_PER_CELL, _CODES = 39, 16
_TRAINING_PER_CELL = 50


def check_installed() -> None:
    """Raises InputError where FAISS is not installed."""
    if faiss is None:
        raise InputError(
            "Retrieval needs faiss-cpu. Received: an environment without it. Install mcss_tf[retrieval]."
        )


def empty_index(kind: str, vectors: np.ndarray, seed: int = 0) -> "faiss.Index":
    """Makes an index without vectors, trained where its kind learns from data.

    Args:
        kind: "flat" (exact), "ivfpq" (k-means cells, 4-bit product codes, and the candidates ranked again by
            their full vectors) or "hnsw" (a graph of neighbours).
        vectors: float32 [N, D], or anything sliced like it; what is to be indexed. A sample is learned from.
        seed: of the sample.

    Raises:
        InputError: too few vectors to learn from.
    """
    check_installed()
    count, dim = vectors.shape
    if kind == "flat":
        return faiss.IndexFlatL2(dim)
    if kind == "hnsw":
        return faiss.IndexHNSWFlat(dim, _HNSW_LINKS)
    if count < _CODES:
        raise InputError(
            f"An IVF-PQ index learns from at least {_CODES} images. Received: {count}. Use --kind=flat."
        )
    num_cells = int(np.clip(min(2 * count**0.5, count / _VECTORS_PER_CELL), 1, _MAX_CELLS))
    # One code per two dimensions; an odd length is cut into single ones.
    num_codes = dim // 2 if dim % 2 == 0 else dim
    index = faiss.index_factory(dim, f"IVF{num_cells},PQ{num_codes}x4fs,RFlat")
    num_training = min(count, max(_TRAINING_PER_CELL * num_cells, 10_000))
    chosen = np.random.default_rng(seed).choice(count, num_training, replace=False)
    index.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
    return index


def set_effort(index: "faiss.Index", effort: str) -> None:
    """Sets how hard an index searches, e.g. "nprobe=8,k_factor_rf=16"; "" for an exact one."""
    if effort:
        faiss.ParameterSpace().set_index_parameters(index, effort)


def exact_neighbours(
    queries: np.ndarray, blocks: Iterable[np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest of all vectors by comparing with each, one block in memory at a time.

    Args:
        queries: float32 [Q, D].
        blocks: arrays [n, D] that together hold at least k vectors.
        k: how many.

    Returns:
        Squared distances and positions [Q, k], nearest first.
    """
    heap = faiss.ResultHeap(len(queries), k)
    start = 0
    for block in blocks:
        block = np.ascontiguousarray(block, np.float32)
        distances, places = faiss.knn(queries, block, min(k, len(block)))
        heap.add_result(distances, places + start)
        start += len(block)
    heap.finalize()
    return heap.D, heap.I


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """Returns the share of the truly nearest, positions [Q, k], that are among those found, [Q, any]."""
    return float(np.mean(_recalls(found, true)))


def _recalls(found: np.ndarray, true: np.ndarray) -> list[float]:
    return [float(np.isin(row, there).mean()) for row, there in zip(true, found, strict=True)]


def choose_effort(
    index: "faiss.Index", kind: str, queries: np.ndarray, true: np.ndarray, num_found: int, target: float
) -> tuple[str, float]:
    """Sets the least effort whose recall reaches a target, or the greatest effort if none does.

    A few queries choose for all: their mean recall has to reach the target with two standard errors to spare,
    or half of the indexes would miss it on other queries.

    Args:
        index: holds the vectors.
        kind: of the index.
        queries: float32 [Q, D].
        true: positions [Q, k] of the truly nearest.
        num_found: how many are asked for; k + 1 where a query finds itself too.
        target: wanted recall.

    Returns:
        The effort and its recall.
    """
    for effort in _EFFORTS[kind]:
        set_effort(index, effort)
        reached = _recalls(index.search(queries, num_found)[1], true)
        if np.mean(reached) - 2 * np.std(reached) / len(reached) ** 0.5 >= target:
            break
    return effort, float(np.mean(reached))


def join(shards: Sequence["faiss.Index"]) -> "faiss.Index":
    """Returns one index over several, whose positions continue from one to the next."""
    if len(shards) == 1:
        return shards[0]
    joined = faiss.IndexShards(shards[0].d, False, True)
    for shard in shards:
        joined.add_shard(shard)
    return joined
