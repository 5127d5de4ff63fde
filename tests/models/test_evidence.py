"""What keypoints say beside a triangulation: rays, misses, confidences."""

import keras
import numpy as np

from mcss_tf.models.evidence import NUM_EVIDENCE, Evidence


def _evidence(rays, confidence, coarse_mm):
    inputs = {"rays": np.float32(rays), "confidence": np.float32(confidence)}
    return keras.ops.convert_to_numpy(Evidence()(inputs, np.float32(coarse_mm)))


def test_by_hand():
    """A joint at (200, -100, 4000) mm is seen 2 px to the right of where it is, f = 1000 px."""
    received = _evidence([[[[0.052, -0.025]]]], [[[0.8]]], [[[[200.0, -100.0, 4000.0]]]])
    assert received.shape == (1, 1, 1, NUM_EVIDENCE)
    np.testing.assert_allclose(received[0, 0, 0], [5 * 0.05, -5 * 0.025, 200 * 0.002, 0, 0.8], atol=1e-4)


def test_a_joint_that_is_not_seen_misses_nothing():
    received = _evidence([[[[0.0, 0.0]]]], [[[0.0]]], [[[[900.0, 900.0, 4000.0]]]])
    np.testing.assert_array_equal(received[0, 0, 0, 2:], 0)


def test_gross_errors_and_points_behind_the_camera_stay_bounded():
    received = _evidence([[[[0.5, -0.5], [0, 0]]]], [[[1.0, 1.0]]], [[[[0, 0, 4000.0], [10, 10, -50.0]]]])
    assert np.abs(received[..., 2:4]).max() == 5
    assert np.isfinite(received).all()
    assert np.abs(received).max() <= 5
