"""MPJPE, N-MPJPE and PA-MPJPE against naive forms and drawn cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mcss_tf.evaluation.pose import auc, mpjpe, n_mpjpe, pa_mpjpe, pck, pose_metrics

ERRORS = (mpjpe, n_mpjpe, pa_mpjpe)


def random_poses(seed: int, num: int = 6) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(seed).normal(size=(2, num, 16, 3)) * 300


def naive_mpjpe(predicted: np.ndarray, target: np.ndarray) -> float:
    return sum(np.sqrt(((p - t) ** 2).sum()) for p, t in zip(predicted, target, strict=True)) / len(target)


def test_a_drawn_pose():
    """Two joints, off by 3 and by 4 mm; the third joint is not observed."""
    target = np.array([[0.0, 0, 100], [0, 100, 0], [0, 0, 0]])
    predicted = target + np.array([[3.0, 0, 0], [0, 0, 4], [0, 999, 0]])
    np.testing.assert_allclose(mpjpe(predicted, target, np.array([1, 1, 0])), 3.5)


def test_n_mpjpe_finds_the_scale_of_least_squares():
    predicted, target = random_poses(0)
    for p, t, error in zip(predicted, target, n_mpjpe(predicted, target), strict=True):
        scale = np.linalg.lstsq(p.reshape(-1, 1), t.ravel(), rcond=None)[0]
        np.testing.assert_allclose(error, naive_mpjpe(scale * p, t))
    np.testing.assert_allclose(n_mpjpe(0.5 * target, target), 0, atol=1e-9)


def test_pa_mpjpe_ignores_place_heading_and_size_only():
    _, target = random_poses(1)
    moved = (
        2 * Rotation.from_euler("xyz", [0.3, 1.0, -2.0]).apply(target.reshape(-1, 3)).reshape(target.shape)
        + 7
    )
    np.testing.assert_allclose(pa_mpjpe(moved, target), 0, atol=1e-9)
    assert (pa_mpjpe(target * [-1, 1, 1], target) > 10).all()


@settings(deadline=None)
@given(seed=st.integers(0, 200))
def test_least_squares_order(seed):
    """Each alignment contains the one before it, so the squared error never grows."""
    predicted, target = random_poses(seed, num=2)
    rms = lambda p: ((p - target) ** 2).sum((-1, -2))  # noqa: E731
    scale = (predicted * target).sum((-1, -2), keepdims=True) / (predicted**2).sum((-1, -2), keepdims=True)
    assert (rms(scale * predicted) <= rms(predicted) + 1e-6).all()
    assert (mpjpe(predicted, target) >= 0).all()


@pytest.mark.parametrize("error", ERRORS)
def test_masked_joints_do_not_count_even_as_nan(error):
    predicted, target = random_poses(2)
    mask = np.ones((6, 16))
    mask[:, 10:] = 0
    target[:, 10:] = np.nan
    np.testing.assert_allclose(error(predicted, target, mask), error(predicted[:, :10], target[:, :10]))


@pytest.mark.parametrize("error", ERRORS)
def test_no_observed_joint_is_nan_and_zeros_are_defined(error):
    predicted, target = random_poses(3, num=1)
    assert np.isnan(error(predicted, target, np.zeros((1, 16)))).all()
    assert np.isfinite(error(np.zeros_like(target), target)).all()


def test_pck_and_auc_of_errors_one_can_count():
    """Errors of 0, 12, 100 and 150 mm: below 150 are three of four; 150 itself is not."""
    target = np.zeros((1, 4, 3))
    predicted = target.copy()
    predicted[0, :, 0] = [0, 12, 100, 150]
    assert pck(predicted, target) == [75.0]
    # Of the 31 thresholds 0, 5, ..., 150: 30 exceed 0, 28 exceed 12, 10 exceed 100, none exceeds 150.
    np.testing.assert_allclose(auc(predicted, target), [100 * (30 + 28 + 10) / 4 / 31])
    mask = np.array([[1, 0, 0, 1]])
    assert pck(predicted, target, mask) == [50.0]
    assert np.isnan(auc(predicted, target, np.zeros((1, 4)))).all()


def test_pose_metrics_average_per_action():
    predicted, target = random_poses(4, num=5)
    mask = np.ones((5, 16))
    mask[4] = 0
    metrics = pose_metrics(predicted, target, mask, ["walk", "walk", "sit", "", "sit"])
    assert metrics["num_poses"] == 4
    np.testing.assert_allclose(metrics["mpjpe_mm"], mpjpe(predicted, target)[:4].mean())
    assert list(metrics["per_action"]) == ["sit", "walk"]
    np.testing.assert_allclose(
        metrics["per_action"]["walk"]["pa_mpjpe_mm"], pa_mpjpe(predicted, target)[:2].mean()
    )
    assert metrics["per_action"]["sit"]["num_poses"] == 1


def test_pose_metrics_of_nothing_are_null():
    predicted, target = random_poses(5, num=2)
    metrics = pose_metrics(predicted, target, np.zeros((2, 16)), ["a", "b"])
    assert metrics == {
        "mpjpe_mm": None,
        "n_mpjpe_mm": None,
        "pa_mpjpe_mm": None,
        "pck_150": None,
        "auc": None,
        "num_poses": 0,
        "per_action": {},
    }
