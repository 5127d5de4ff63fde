"""Keypoints in memory against the records they come from, and what is refused."""

import dataclasses

import numpy as np
import pytest

from mcss_tf.data.keypoint_views import load_keypoint_views
from mcss_tf.data.records import Instant, decode_instant, write_sequence
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import world_to_camera
from mcss_tf.geometry.skeleton import HUMAN36M_17
from tests.helpers import make_tiny_dataset
from tests.keypoint_data import CAMERAS, make_keypoint_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_keypoint_dataset(tmp_path_factory.mktemp("keypoints"), error_px=2.0, missing_views=True)


def test_a_record_without_images(dataset):
    record = decode_instant(dataset.read([1])[0])
    assert record["images"] == []
    assert record["boxes_px"] is None
    assert record["keypoints_true_px"].shape == (3, 17, 2)
    assert dataset.crop_size == 0
    assert dataset.metadata["counts"]["images"] == 0
    # Camera 0 is missing from instant 0, and so on; it is seen without an image.
    np.testing.assert_array_equal(dataset.index.is_seen()[:4], [[0, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1]])
    assert not dataset.index.is_present().any()


def test_views_are_those_of_the_records(dataset):
    views = load_keypoint_views(dataset, "train")
    np.testing.assert_array_equal(views.row, dataset.split_rows("train"))
    for n, row in enumerate(views.row):
        record = decode_instant(dataset.read([row])[0])
        for camera, name in enumerate(CAMERAS):
            assert views.is_seen[n, camera] == (name in record["cameras"])
            if name in record["cameras"]:
                view = record["cameras"].index(name)
                np.testing.assert_array_equal(views.keypoints_px[n, camera], record["keypoints_px"][view])
                np.testing.assert_array_equal(
                    views.keypoints_true_px[n, camera], record["keypoints_true_px"][view]
                )
            else:
                assert not views.keypoints_px[n, camera].any()
        np.testing.assert_array_equal(views.joints_mm[n], record["joints_mm"])


def test_true_rays_are_the_joints_divided_by_their_depth(dataset):
    views = load_keypoint_views(dataset, "train")
    for n in range(0, len(views), 5):
        cameras = dataset.calibration(int(views.sequence[n]))
        for c in np.flatnonzero(views.is_seen[n]):
            joints = world_to_camera(cameras[CAMERAS[c]], views.joints_mm[n])
            np.testing.assert_allclose(views.rays_true[n, c], joints[:, :2] / joints[:, 2:], atol=2e-5)
            again = views.joints_mm[n] @ views.rotation[views.sequence[n], c].T
            np.testing.assert_allclose(again + views.translation_mm[views.sequence[n], c], joints, atol=0.01)


def test_fewer_cameras_keep_their_names(dataset):
    every, some = (
        load_keypoint_views(dataset, "train"),
        load_keypoint_views(dataset, "train", cameras=("c", "a")),
    )
    np.testing.assert_array_equal(some.keypoints_px, every.keypoints_px[:, [2, 0]])
    np.testing.assert_array_equal(some.rays, every.rays[:, [2, 0]])
    np.testing.assert_array_equal(some.matrix, every.matrix[:, [2, 0]])


def test_a_fraction_of_the_clips(dataset):
    half = load_keypoint_views(dataset, "train", clip_fraction=0.5)
    whole = load_keypoint_views(dataset, "train")
    assert len(np.unique(half.sequence)) == 1
    assert set(half.row) < set(whole.row)
    assert len(load_keypoint_views(dataset, "train", clip_fraction=0.01)) == 12, "at least one clip"


def test_images_without_calibration(tmp_path):
    with pytest.raises(
        InputError, match=r"trains on calibrated views.*without calibration of cam0, cam1, cam2"
    ):
        load_keypoint_views(make_tiny_dataset(tmp_path, instants=3), "train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calibrated": False}, r"calibrated views. Received: S1/clip0 of .* without calibration of a, b, c"),
        ({"confidence": 0.0}, r"carry a confidence.*Received: confidences are all 0 in"),
        ({"confidence": -1.0}, r"carry a confidence.*Received: confidences are negative or NaN"),
        ({"confidence": float("nan")}, r"Received: confidences are negative or NaN .*Store 1 where"),
        ({"unit": 0.001}, r"3D joints are millimetres. Received: poses 1.* across in .*looks like metres"),
        ({"unit": 0.1}, r"3D joints are millimetres. Received: .* looks like centimetres"),
        ({"unit": 10.0}, r"3D joints are millimetres. Received: .* looks like another unit"),
        (
            {"camera_unit": 0.001},
            r"Camera positions are millimetres. Received: cameras at most .* like metres",
        ),
    ],
)
def test_what_cannot_be_lifted(tmp_path, options, message):
    dataset = make_keypoint_dataset(tmp_path, num_instants=2, num_sequences=1, **options)
    with pytest.raises(InputError, match=message):
        load_keypoint_views(dataset, "train")


def test_bad_requests(dataset):
    with pytest.raises(InputError, match=r"Cameras are distinct ones of .*Received: \['a', 'z'\]"):
        load_keypoint_views(dataset, "train", cameras=("a", "z"))
    with pytest.raises(InputError, match=r"clip_fraction is above 0, at most 1. Received: 0"):
        load_keypoint_views(dataset, "train", clip_fraction=0)


def test_joints_may_be_unknown(tmp_path):
    dataset = make_keypoint_dataset(tmp_path, num_instants=2, num_sequences=1, labelled=False)
    assert not load_keypoint_views(dataset, "train").joint_mask.any()


def test_an_instant_without_images_or_keypoints_is_refused(tmp_path):
    spec = SequenceSpec("S1", "a", "", CAMERAS, 10.0, 1.0)
    empty = Instant("S1", "a", "", 0, 0.0, "train", ["a"])
    with pytest.raises(
        InputError, match=r"must have keypoints where it has no images. Received: keypoints_px=None"
    ):
        write_sequence(tmp_path, spec, [empty], HUMAN36M_17, 0)
    keypoints = np.ones((1, 17, 3))
    unfit = dataclasses.replace(empty, keypoints_px=keypoints, keypoints_true_px=np.ones((1, 16, 2)))
    with pytest.raises(
        InputError, match=r"keypoints_true_px must have the shape \(1, 17, 2\). Received: \(1, 16, 2\)"
    ):
        write_sequence(tmp_path, spec, [unfit], HUMAN36M_17, 0)
    pictured = dataclasses.replace(empty, keypoints_px=keypoints, images=[np.zeros((0, 0, 3), np.uint8)])
    with pytest.raises(InputError, match=r"images must have the shape 0. Received: 1"):
        write_sequence(tmp_path, spec, [pictured], HUMAN36M_17, 0)
