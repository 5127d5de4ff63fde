"""Fig. 7: pairs by hand, rank correlation of known embeddings, the gap between the curves."""

import numpy as np
import pytest

from mcss_tf.evaluation.distances import BIN_MM, distance_metrics
from tests.evaluation.splits import make_split, random_split


def line(num=40, cameras=2, scale=1.0, offset=0.0):
    """People at points of a line: the canonical MPJPE of two images is the distance of their points."""
    row, camera = (axis.ravel() for axis in np.mgrid[:num, :cameras])
    poses = np.zeros((num, 16, 3))
    poses[..., 0] = 10.0 * np.arange(num)[:, None]
    embedding = np.stack([scale * 10.0 * row, offset * camera], -1)
    return make_split(embedding, poses[row], camera=camera, row=row)


def test_pairs_and_bins_by_hand():
    found = distance_metrics(line(num=4), queries_per_subject=10)
    # Points 0, 10, 20, 30 mm: 3 pairs of 10, 2 of 20, 1 of 30, in both orders and in each view.
    assert found["same_view"]["bins"] == [[12.5, pytest.approx(14.0), 20], [37.5, 30.0, 4]]
    assert found["other_view"]["bins"] == found["same_view"]["bins"]
    assert found["same_view"]["bins"][0][0] == BIN_MM / 2
    # Fewer than 100 pairs a bin.
    assert found["largest_gap"] is None
    assert found["same_view"]["curve_rho"] is None


def test_an_embedding_that_is_the_pose_has_rank_correlation_one():
    found = distance_metrics(line())
    assert found["same_view"]["rho"] == pytest.approx(1.0)
    assert found["other_view"]["rho"] == pytest.approx(1.0)
    assert found["other_view"]["curve_rho"] == pytest.approx(1.0)
    assert found["largest_gap"] == pytest.approx(0.0, abs=0.02)
    collapsed = distance_metrics(line(scale=0.0))
    assert collapsed["same_view"]["rho"] is None
    assert collapsed["same_view"]["curve_rho"] is None
    assert collapsed["same_view"]["bins"][0][1] == 0.0
    reversed_ = line()
    reversed_.embedding[:] = 1 / (1 + reversed_.embedding)
    assert distance_metrics(reversed_)["same_view"]["rho"] < 0.9


def test_the_curve_counts_each_of_its_points_once():
    """Many far pairs of unordered distance drown the order of the near ones, but not in the curve's means."""
    rng = np.random.default_rng(0)
    positions = np.concatenate([np.arange(0, 200, 1.0), np.full(200, 5000.0)])
    poses = np.zeros((400, 16, 3))
    poses[..., 0] = positions[:, None]
    embedding = np.stack([positions, np.zeros(400)], 1)
    embedding[200:, 1] = rng.normal(size=200) * 5000
    split = make_split(embedding, poses, camera=np.zeros(400, int), row=np.arange(400))
    found = distance_metrics(split, queries_per_subject=400)["same_view"]
    middles, means, counts = np.array(found["bins"]).T
    assert np.all(np.diff(means[(counts >= 100) & (middles > 25) & (middles < 200)]) > 0)
    assert found["rho"] < 0.9
    assert found["curve_rho"] > found["rho"]


def test_views_that_lie_apart_show_as_a_gap():
    assert distance_metrics(line(offset=300.0))["largest_gap"] > 0.5


def test_random_embeddings_have_no_rank_correlation_and_subjects_never_mix():
    split = random_split(instants=60)
    found = distance_metrics(split)
    assert abs(found["same_view"]["rho"]) < 0.1
    num_pairs = sum(count for *_, count in found["same_view"]["bins"] + found["other_view"]["bins"])
    assert num_pairs == 2 * 180 * 177
    few = distance_metrics(split, queries_per_subject=5)
    assert sum(count for *_, count in few["same_view"]["bins"]) == 2 * 5 * 59


def test_without_poses_there_is_nothing():
    assert distance_metrics(make_split(np.eye(4), camera=[0, 1, 0, 1], row=[0, 0, 1, 1])) is None
    one_view = distance_metrics(make_split(np.eye(3), np.ones((3, 16, 3)), camera=[0, 0, 0], row=[0, 1, 2]))
    assert one_view["other_view"] is None
    assert one_view["largest_gap"] is None
