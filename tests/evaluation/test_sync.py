"""The label-free check against a naive loop and on drawn cases."""

import numpy as np

from mcss_tf.evaluation.sync import sync_metrics
from tests.evaluation.splits import make_split, random_split


def naive(split) -> tuple[float, float, float]:
    hits, chances, errors = [], [], []
    for q in range(len(split)):
        for camera in set(split.camera.tolist()) - {int(split.camera[q])}:
            found = [
                d
                for d in range(len(split))
                if split.camera[d] == camera and split.subject[d] == split.subject[q]
            ]
            if split.row[q] not in split.row[found]:
                continue
            best = min(found, key=lambda d: np.linalg.norm(split.embedding[d] - split.embedding[q]))
            hits.append(split.row[best] == split.row[q])
            chances.append(1 / len(found))
            is_near = split.sequence[best] == split.sequence[q]
            errors.append(1000 * abs(split.time_s[best] - split.time_s[q]) if is_near else np.inf)
    return np.mean(hits), np.mean(chances), np.median(errors)


def test_matches_the_naive_loop():
    split = random_split(seed=3, instants=7)
    metrics = sync_metrics(split, 3)
    np.testing.assert_allclose(
        [metrics["hit_at_1"], metrics["chance"], metrics["median_error_ms"]], naive(split), rtol=1e-6
    )
    assert metrics["num_queries"] == 2 * 7 * 3 * 2


def test_the_instant_itself_is_found_exactly():
    split = make_split(np.eye(4)[[0, 1, 2, 3] * 2], camera=[0] * 4 + [1] * 4, row=[0, 1, 2, 3] * 2)
    metrics = sync_metrics(split, 2)
    assert metrics["hit_at_1"] == 1.0
    assert metrics["chance"] == 0.25
    assert metrics["median_error_ms"] == 0.0
    assert metrics["per_pair"] == [[None, 1.0], [1.0, None]]


def test_a_collapsed_embedding_scores_chance():
    split = make_split(np.ones((8, 3)), camera=[0] * 4 + [1] * 4, row=[0, 1, 2, 3] * 2)
    metrics = sync_metrics(split, 2)
    assert metrics["hit_at_1"] == metrics["chance"] == 0.25


def test_a_neighbouring_instant_is_a_miss_with_its_time():
    """A frame of camera 0 finds the next instant of camera 1, 100 ms later; the last finds itself."""
    split = make_split(
        [[0.0], [1.0], [2.0], [-1.0], [0.0], [1.0]], camera=[0] * 3 + [1] * 3, row=[0, 1, 2] * 2
    )
    metrics = sync_metrics(split, 2)
    np.testing.assert_allclose(metrics["per_pair"][0][1], 1 / 3)
    np.testing.assert_allclose(metrics["median_error_ms"], 100.0)


def test_instants_are_sought_in_all_sequences_of_the_subject():
    """Two takes look alike: the first instants of both find the first take's, whose time says nothing."""
    embedding = np.eye(4)[[0, 1, 0, 1, 0, 2, 0, 2]]
    views = {"camera": [0, 0, 1, 1] * 2, "row": [0, 1, 0, 1, 2, 3, 2, 3], "sequence": [0] * 4 + [1] * 4}
    metrics = sync_metrics(make_split(embedding, **views), 2)
    assert metrics["hit_at_1"] == 0.75
    assert metrics["chance"] == 0.25
    assert metrics["median_error_ms"] == 0.0
    # Another person's take is no candidate.
    assert sync_metrics(make_split(embedding, **views, subject=[0] * 4 + [1] * 4), 2)["hit_at_1"] == 1.0


def test_a_match_in_another_sequence_has_no_error_in_time():
    """Every frame of each take finds the other take."""
    embedding = np.eye(4)[[0, 1, 2, 3, 2, 3, 0, 1]]
    split = make_split(
        embedding, camera=[0, 0, 1, 1] * 2, row=[0, 1, 0, 1, 2, 3, 2, 3], sequence=[0] * 4 + [1] * 4
    )
    metrics = sync_metrics(split, 2)
    assert metrics["hit_at_1"] == 0.0
    assert metrics["median_error_ms"] is None


def test_an_instant_that_the_other_camera_missed_is_no_query():
    split = make_split(np.eye(3)[[0, 1, 2, 0, 1]], camera=[0, 0, 0, 1, 1], row=[0, 1, 2, 0, 1])
    metrics = sync_metrics(split, 2)
    assert metrics["num_queries"] == 4
    np.testing.assert_allclose(metrics["chance"], (2 / 2 + 2 / 3) / 4)


def test_without_two_views_and_two_candidates_there_is_no_check():
    assert sync_metrics(make_split(np.eye(3), camera=[0, 0, 0], row=[0, 1, 2]), 1) is None
    assert sync_metrics(make_split(np.eye(2), camera=[0, 1], row=[0, 0]), 2) is None


def test_blocks_do_not_show(monkeypatch):
    split = random_split(seed=5, instants=9)
    whole = sync_metrics(split, 3)
    monkeypatch.setattr("mcss_tf.evaluation.sync._BLOCK", 2)
    assert sync_metrics(split, 3) == whole
