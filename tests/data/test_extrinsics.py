"""Extrinsics from keypoints against the calibration."""

import numpy as np
import pytest

from mcss_tf.data.extrinsics import estimate_extrinsics
from mcss_tf.data.keypoint_views import load_keypoint_views
from mcss_tf.errors import InputError
from tests.keypoint_data import make_keypoint_dataset


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    return load_keypoint_views(make_keypoint_dataset(path, num_instants=30, error_px=1.0), "train")


def relative(views, sequence, camera):
    """Returns rotation and translation from the first camera to another."""
    rotation, translation = views.rotation[sequence], views.translation_mm[sequence]
    turn = rotation[camera] @ rotation[0].T
    return turn, translation[camera] - turn @ translation[0]


def test_two_views_agree_with_the_calibration(views):
    estimated = estimate_extrinsics(views, {})
    for sequence in np.unique(views.sequence):
        for camera in (1, 2):
            true, found = relative(views, sequence, camera), relative(estimated, sequence, camera)
            np.testing.assert_allclose(found[0], true[0], atol=0.02)
            np.testing.assert_allclose(found[1], true[1], atol=150)
            assert np.linalg.norm(found[1]) == pytest.approx(np.linalg.norm(true[1]), rel=1e-4)
    np.testing.assert_array_equal(estimated.rotation[0, 0], np.eye(3))
    assert estimated.keypoints_px is views.keypoints_px


def test_measured_distances_set_the_scale(views):
    estimated = estimate_extrinsics(views, {"a:b": 1234.0})
    assert np.linalg.norm(estimated.translation_mm[0, 1]) == pytest.approx(1234.0, rel=1e-5)


def test_cameras_that_never_see_the_same_moment(views):
    apart = np.zeros_like(views.is_seen)
    apart[::2, 0] = apart[1::2, 1] = True
    with pytest.raises(
        InputError, match=r"at least 8 points that both views see. Received: 0.* Cameras: a:b"
    ):
        estimate_extrinsics(views.__class__(**{**views.__dict__, "is_seen": apart}), {})
