"""What the noise model promises: its mean error, its kinds of errors, and telling confidences."""

import numpy as np
import pytest

from mcss_tf.data.detector_noise import DetectorNoise, joint_jitter
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17

SHAPE = (4000, 2, 17)


def detect(noise, seed=(0,), inside=True, fps=25.0):
    true_px = np.random.default_rng(1).uniform(0, 1000, (*SHAPE, 2))
    keypoints = noise.detect(true_px, np.full(SHAPE, inside), fps, HUMAN36M_17, seed)
    return keypoints, np.linalg.norm(keypoints[..., :2] - true_px, axis=-1)


@pytest.mark.parametrize(
    "options",
    [{}, {"mean_error_px": 12.0, "occlusion_rate": 0.2, "occlusion_px": 30.0}, {"outlier_rate": 0.0}],
)
def test_the_mean_error_is_what_was_asked_for(options):
    noise = DetectorNoise(**options)
    _, error = detect(noise)
    assert error.mean() == pytest.approx(noise.mean_error_px, rel=0.02)


def test_joints_err_in_proportion_to_their_jitter():
    _, error = detect(DetectorNoise(outlier_rate=0.0, occlusion_rate=0.0))
    np.testing.assert_allclose(error.mean((0, 1)) / error.mean(), joint_jitter(HUMAN36M_17), rtol=0.03)
    jitter = dict(zip(HUMAN36M_17.joint_names, joint_jitter(HUMAN36M_17), strict=True))
    assert jitter["left_wrist"] > jitter["left_elbow"] > jitter["thorax"] > jitter["pelvis"]


def test_low_confidence_means_hidden_and_far_off():
    noise = DetectorNoise(mean_error_px=6.0, occlusion_rate=0.1, outlier_rate=0.0)
    keypoints, error = detect(noise)
    is_hidden = keypoints[..., 2] < 0.4
    assert is_hidden.mean() == pytest.approx(0.1, abs=0.005)
    assert error[is_hidden].mean() == pytest.approx(20 * np.sqrt(np.pi / 2), rel=0.03)
    assert error[~is_hidden].mean() < 5
    assert keypoints[..., 2].max() <= 1


def test_joints_stay_hidden_for_a_while():
    keypoints, _ = detect(DetectorNoise(occlusion_s=0.4))
    is_hidden = keypoints[..., 2] < 0.4
    stays = (is_hidden[1:] & is_hidden[:-1]).sum() / is_hidden[:-1].sum()
    assert 0.75 < stays < 0.95, "about 0.4 s at 25 frames per second: 10 frames, of which one is the last"


def test_outliers_are_rare_far_and_not_told_by_confidence():
    keypoints, error = detect(DetectorNoise(outlier_rate=0.02, occlusion_rate=0.0))
    is_far = error > 30
    assert 0.01 < is_far.mean() < 0.02
    assert (keypoints[is_far][:, 2] > 0.7).mean() > 0.3


def test_outside_of_the_frame_nothing_is_seen():
    keypoints, _ = detect(DetectorNoise(), inside=False)
    assert (keypoints[..., 2] == 0).all()


def test_no_error_is_exact():
    keypoints, error = detect(DetectorNoise(mean_error_px=0.0))
    assert error.max() < 1e-4
    assert (keypoints[..., 2] == 1).all()


def test_the_seed_decides():
    first, second, other = (detect(DetectorNoise(), seed)[0] for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outlier_rate": 1.0}, r"fractions below 1. Received: outlier_rate=1.0"),
        ({"occlusion_rate": -0.1}, r"fractions below 1. Received: .*occlusion_rate=-0.1"),
        ({"mean_error_px": 1.0}, r"alone exceed the mean error.*Received: mean_error_px=1.0, of which 1.73"),
    ],
)
def test_impossible_noise(options, message):
    with pytest.raises(InputError, match=message):
        DetectorNoise(**options)
