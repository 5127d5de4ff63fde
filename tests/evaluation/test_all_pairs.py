"""The closed form for all pairs equals the SVD, pair by pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcss_tf.evaluation.all_pairs import PoseDatabase
from mcss_tf.evaluation.pose import pa_mpjpe


def naive(pose, mask, poses, masks) -> np.ndarray:
    return np.array([pa_mpjpe(pose, other, mask * m) for other, m in zip(poses, masks, strict=True)])


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000), noise=st.sampled_from([0.0, 1.0, 100.0, 1000.0]), hidden=st.floats(0, 0.6)
)
def test_matches_the_naive_pairs(seed, noise, hidden):
    generator = np.random.default_rng(seed)
    poses = generator.normal(size=(16, 3)) * 300 + generator.normal(size=(20, 16, 3)) * noise
    masks = (generator.uniform(size=(20, 16)) >= hidden).astype(np.float32)
    masks[:, :4] = 1
    got = PoseDatabase(poses, masks).distances(poses[0], masks[0])
    np.testing.assert_allclose(got, naive(poses[0], masks[0], poses, masks), atol=2e-3)
    assert got[0] < 1e-3


def test_mirrored_poses_are_not_reflected():
    pose = np.random.default_rng(0).normal(size=(16, 3)) * 300
    got = PoseDatabase((pose * [-1, 1, 1])[None], np.ones((1, 16))).distances(pose, np.ones(16))
    np.testing.assert_allclose(got, pa_mpjpe(pose, pose * [-1, 1, 1]), atol=1e-3)
    assert got > 50


@pytest.mark.parametrize("kind", ["line", "point", "plane", "two joints"])
def test_degenerate_poses_fall_back_to_the_svd(kind):
    generator = np.random.default_rng(1)
    poses = generator.normal(size=(5, 16, 3)) * 300
    mask = np.ones(16)
    if kind == "line":
        poses[1:3] = np.arange(16)[None, :, None] * [10.0, 20, 30]
    elif kind == "point":
        poses[1:3] = 5.0
    elif kind == "plane":
        poses[1:3, :, 2] = 0.0
    else:
        mask[2:] = 0
    masks = np.tile(mask, (5, 1))
    database = PoseDatabase(poses, masks)
    for query in range(3):
        got = database.distances(poses[query], mask)
        np.testing.assert_allclose(got, naive(poses[query], mask, poses, masks), atol=2e-2)


def test_poses_without_a_common_joint_are_infinitely_far():
    poses = np.random.default_rng(2).normal(size=(2, 16, 3))
    masks = np.zeros((2, 16))
    masks[0, :8] = 1
    masks[1, 8:] = 1
    got = PoseDatabase(poses, masks).distances(poses[0], masks[0])
    assert got[0] < 1e-6
    assert got[1] == np.inf


def test_blocks_do_not_show(monkeypatch):
    poses = np.random.default_rng(3).normal(size=(11, 16, 3)) * 300
    masks = np.ones((11, 16))
    whole = PoseDatabase(poses, masks).distances(poses[3], masks[3])
    monkeypatch.setattr("mcss_tf.evaluation.all_pairs._BLOCK", 4)
    np.testing.assert_allclose(PoseDatabase(poses, masks).distances(poses[3], masks[3]), whole, rtol=1e-6)
