"""Indexes against plain NumPy."""

import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.retrieval import indexes


def clustered(count: int, dim: int = 16, clusters: int = 40, seed: int = 0) -> np.ndarray:
    """Unit vectors around a few centres, as poses are around a few actions."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dim))
    vectors = centres[rng.integers(0, clusters, count)] + 0.3 * rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def plain_neighbours(queries: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
    squared = np.square(queries[:, None].astype(np.float64) - vectors[None]).sum(-1)
    return np.argsort(squared, axis=1, kind="stable")[:, :k]


def test_exact_neighbours_over_blocks_are_those_of_all_pairs() -> None:
    vectors, queries = clustered(200), clustered(7, seed=1)
    # The second block alone holds fewer than k.
    blocks = np.split(vectors, [120, 123])
    squared, places = indexes.exact_neighbours(queries, blocks, 5)
    np.testing.assert_array_equal(places, plain_neighbours(queries, vectors, 5))
    expected = np.square(queries[:, None] - vectors[places]).sum(-1)
    np.testing.assert_allclose(squared, expected, atol=1e-5)


def test_recall_by_hand() -> None:
    true = np.array([[0, 1], [2, 3]])
    assert indexes.recall(np.array([[1, 9, 8], [3, 2, 7]]), true) == 0.75
    assert indexes.recall(np.array([[4, 5], [6, 7]]), true) == 0.0


@pytest.mark.parametrize("kind", indexes.KINDS)
def test_every_kind_finds_what_is_nearest(kind: str) -> None:
    vectors, queries = clustered(2000), clustered(100, seed=1)
    index = indexes.empty_index(kind, vectors)
    assert index.ntotal == 0
    index.add(vectors)
    true = plain_neighbours(queries, vectors, 10)
    effort, reached = indexes.choose_effort(index, kind, queries, true, 10, 0.95)
    assert reached >= 0.95
    assert (effort == "") == (kind == "flat")
    indexes.set_effort(index, effort)
    assert indexes.recall(index.search(queries, 10)[1], true) == reached
    # The vectors themselves are kept, so distances are not those of a code.
    squared, places = index.search(queries, 1)
    np.testing.assert_allclose(squared[:, 0], np.square(queries - vectors[places[:, 0]]).sum(-1), atol=1e-5)


def test_more_effort_is_taken_only_where_it_is_needed() -> None:
    vectors, queries = clustered(4000, dim=32), clustered(200, dim=32, seed=1)
    index = indexes.empty_index("hnsw", vectors)
    index.add(vectors)
    true = plain_neighbours(queries, vectors, 10)
    efforts = [indexes.choose_effort(index, "hnsw", queries, true, 10, target) for target in (0.3, 0.9999)]
    assert efforts[0][0] == "efSearch=16"
    assert int(efforts[1][0].split("=")[1]) > 16
    assert efforts[1][1] > efforts[0][1]


class Scripted:
    """Stands in for an index: recall of each query by effort."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hits: dict[str, list[int]]):
        monkeypatch.setattr(indexes, "set_effort", lambda index, effort: setattr(index, "effort", effort))
        monkeypatch.setattr(indexes, "_EFFORTS", {"scripted": tuple(hits)})
        self._hits = hits

    def search(self, queries: np.ndarray, k: int) -> tuple[None, np.ndarray]:
        rows = [np.where(np.arange(k) < hits, np.arange(k), -1) for hits in self._hits[self.effort]]
        return None, np.array(rows)


def test_recall_is_reached_with_two_standard_errors_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """92 queries find both, 8 one: 0.96, with a standard deviation of 0.136 and an error of 0.0136: 0.933."""
    queries, true = np.zeros((100, 1)), np.tile([0, 1], (100, 1))
    index = Scripted(monkeypatch, {"some": [2] * 92 + [1] * 8, "all": [2] * 100})
    assert indexes.choose_effort(index, "scripted", queries, true, 2, 0.93) == ("some", pytest.approx(0.96))
    assert indexes.choose_effort(index, "scripted", queries, true, 2, 0.95) == ("all", 1.0)


def test_joined_shards_count_on() -> None:
    vectors = clustered(300)
    shards = []
    for part in np.split(vectors, [100, 250]):
        shards.append(indexes.empty_index("flat", part))
        shards[-1].add(part)
    joined = indexes.join(shards)
    queries = clustered(9, seed=2)
    np.testing.assert_array_equal(joined.search(queries, 6)[1], plain_neighbours(queries, vectors, 6))


def test_too_few_vectors_to_learn_from() -> None:
    with pytest.raises(InputError, match=r"learns from at least 16 images. Received: 15. Use --kind=flat"):
        indexes.empty_index("ivfpq", clustered(15))


def test_without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "faiss", None)
    with pytest.raises(InputError, match=r"needs faiss-cpu. Received: .*Install mcss_tf\[retrieval\]"):
        indexes.empty_index("flat", clustered(3))
