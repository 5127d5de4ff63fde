"""Similarity Procrustes against SciPy and against drawn cases."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mcss_tf.geometry.procrustes import align


def naive_align(predicted: np.ndarray, target: np.ndarray, scale: bool) -> np.ndarray:
    """SciPy's rotation by Kabsch; the scale by one-dimensional least squares."""
    centred, wanted = predicted - predicted.mean(0), target - target.mean(0)
    turned = Rotation.align_vectors(wanted, centred)[0].apply(centred)
    gain = (turned * wanted).sum() / (turned * turned).sum() if scale else 1.0
    return gain * turned + target.mean(0)


@pytest.mark.parametrize("scale", [True, False])
def test_matches_scipy(scale):
    generator = np.random.default_rng(0)
    predicted, target = generator.normal(size=(2, 6, 17, 3)) * 300
    aligned = align(predicted, target, scale)
    for got, one, other in zip(aligned, predicted, target, strict=True):
        np.testing.assert_allclose(got, naive_align(one, other, scale), atol=1e-6)


def test_reflections_are_not_used():
    generator = np.random.default_rng(0)
    target = generator.normal(size=(17, 3))
    mirrored = target * [-1, 1, 1]
    assert np.linalg.norm(align(mirrored, target) - target) > 0.5
    # Procrustes with reflection, as in scipy.linalg, would reach zero.
    centred = mirrored - mirrored.mean(0)
    rotation, _ = scipy.linalg.orthogonal_procrustes(centred, target - target.mean(0))
    np.testing.assert_allclose(centred @ rotation + target.mean(0), target, atol=1e-9)


@settings(deadline=None)
@given(seed=st.integers(0, 500), scale=st.floats(0.1, 10))
def test_a_similarity_is_undone(seed, scale):
    generator = np.random.default_rng(seed)
    target = generator.normal(size=(8, 3))
    turn = Rotation.from_quat(generator.normal(size=4))
    predicted = scale * turn.apply(target) + generator.normal(size=3)
    np.testing.assert_allclose(align(predicted, target), target, atol=1e-8)


def test_masked_joints_do_not_count_even_as_nan():
    generator = np.random.default_rng(1)
    predicted, target = generator.normal(size=(2, 3, 10, 3))
    mask = np.ones((3, 10))
    mask[:, 7:] = 0
    expected = align(predicted[:, :7], target[:, :7])
    target[:, 7:] = np.nan
    np.testing.assert_allclose(align(predicted, target, mask=mask)[:, :7], expected, atol=1e-12)


def test_degenerate_poses_are_defined():
    generator = np.random.default_rng(2)
    pose = generator.normal(size=(9, 3))
    point = np.ones((9, 3))
    np.testing.assert_allclose(align(point, pose), np.broadcast_to(pose.mean(0), (9, 3)))
    np.testing.assert_allclose(align(pose, point), point)
    line = np.outer(np.arange(9.0), [1.0, 0, 0])
    np.testing.assert_allclose(
        align(line, np.outer(np.arange(9.0), [0, 0, 2.0])), np.outer(np.arange(9.0), [0, 0, 2]), atol=1e-9
    )
    assert np.isfinite(align(pose, pose, mask=np.zeros(9))).all()


def test_broadcasts_one_against_many():
    generator = np.random.default_rng(3)
    one, many = generator.normal(size=(17, 3)), generator.normal(size=(5, 17, 3))
    np.testing.assert_allclose(align(one, many)[3], align(one, many[3]), atol=1e-9)
