"""Numbers of one split, by hand and against the whole."""

import json

import numpy as np
import pytest

from mcss_tf.evaluation.pose import mpjpe
from mcss_tf.reproduction.measure import _numbers, _of_camera, _pictures
from tests.evaluation.splits import make_split, random_split


def test_errors_by_joint_and_by_camera_make_up_the_whole():
    split = random_split(instants=8)
    found = _numbers(split, 3, 0, (1, 2))
    assert np.mean(found["pose"]["per_joint_mm"]) == pytest.approx(found["pose"]["mpjpe_mm"], rel=1e-4)
    by_camera = [_of_camera(split, camera, 0)["pose"] for camera in range(3)]
    expected = mpjpe(split.predicted_mm, split.pose_mm).mean()
    assert np.mean([pose["mpjpe_mm"] for pose in by_camera]) == pytest.approx(expected, rel=1e-4)
    assert "per_action" not in by_camera[0]
    assert set(found["retrieval"]["cross"]) == {"1", "2"}
    json.dumps(found)


def test_joints_that_were_not_observed_do_not_count():
    split = random_split(instants=8)
    split.pose_mask[:, 3] = 0
    split.pose_mm[:, 3] = 1e6
    joints = _numbers(split, 3, 0, (1,))["pose"]["per_joint_mm"]
    assert joints[3] == 0
    assert max(joints) < 1e4


def test_a_network_without_a_pose_head_has_no_pose():
    split = make_split(np.eye(4), np.ones((4, 16, 3)), camera=[0, 1, 0, 1], row=[0, 0, 1, 1])
    assert _numbers(split, 2, 0, (1,))["pose"] is None
    assert _of_camera(split, 0, 0)["pose"] == {}


def test_pictures_name_their_images_by_row_and_camera():
    split = random_split(instants=10)
    found = _pictures(split)
    images = {(int(row), int(camera)) for row, camera in zip(split.row, split.camera, strict=True)}
    assert {tuple(image) for image in found["matrix"]["images"]} <= images
    distances = np.array(found["matrix"]["distances"])
    np.testing.assert_array_equal(np.diag(distances), 0)
    np.testing.assert_array_equal(distances, distances.T)
    for row in found["rows"]:
        assert all(neighbour["image"][1] != row["query"][1] for neighbour in row["same"] + row["cross"])
    assert len(found["map"]["x"]) == len(split)
    json.dumps(found)
