"""Triangulation in a graph equals the one in NumPy, and lenses are undone as OpenCV does it."""

import keras
import numpy as np
import pytest

from mcss_tf.geometry import triangulation as reference
from mcss_tf.geometry.cameras import load_human36m_cameras, project, world_to_camera
from mcss_tf.models import triangulation
from tests.geometry.test_triangulation import images, people, ring


def _poses(cameras):
    return np.stack([np.c_[c.rotation, c.translation_mm / 1000] for c in cameras])


def _inputs(cameras, keypoints):
    """One batch entry per leading index of keypoints [V, B, J, 3]."""
    num = keypoints.shape[1]
    rays = np.stack([reference.normalise(c, k[..., :2]) for c, k in zip(cameras, keypoints, strict=True)], 1)
    return {
        "rays": rays.astype(np.float32),
        "confidence": np.moveaxis(keypoints[..., 2], 0, 1).astype(np.float32),
        "rotation": np.tile(np.stack([c.rotation for c in cameras]), (num, 1, 1, 1)).astype(np.float32),
        "translation_mm": np.tile(np.stack([c.translation_mm for c in cameras]), (num, 1, 1)).astype("f4"),
    }


@pytest.mark.parametrize("num_views", [2, 3, 4])
def test_equals_numpy(num_views):
    rng = np.random.default_rng(num_views)
    cameras = ring(5)[:num_views]
    keypoints = images(cameras, people(0, 6, 17))
    keypoints[..., :2] += rng.normal(0, 5, keypoints[..., :2].shape)
    weights = rng.uniform(0.2, 1, keypoints.shape[:-1])
    rays = np.stack([reference.normalise(c, k[..., :2]) for c, k in zip(cameras, keypoints, strict=True)])
    expected = reference.linear(rays, _poses(cameras), weights)
    received = triangulation.linear(
        np.moveaxis(rays, 0, 1), np.tile(_poses(cameras), (6, 1, 1, 1)), np.moveaxis(weights, 0, 1)
    )
    received = keras.ops.convert_to_numpy(received)
    assert received.dtype == np.float64
    np.testing.assert_allclose(received, expected, atol=1e-9)


def test_a_view_of_weight_zero_does_not_count():
    cameras = ring(4)[:3]
    keypoints = images(cameras, people(1, 2, 5))
    keypoints[2, ..., :2] += 300
    rays = np.stack([reference.normalise(c, k[..., :2]) for c, k in zip(cameras, keypoints, strict=True)], 1)
    weights = np.broadcast_to([[[1.0], [1.0], [0.0]]], (2, 3, 5))
    received = triangulation.linear(rays, np.tile(_poses(cameras), (2, 1, 1, 1)), weights)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(received) * 1000, people(1, 2, 5), atol=1e-5)


def test_coarse_poses_lie_in_each_cameras_frame():
    cameras, points = ring(3)[:2], people(2, 4, 17)
    coarse = triangulation.CoarsePoses()(_inputs(cameras, images(cameras, points)))
    for view, camera in enumerate(cameras):
        received = keras.ops.convert_to_numpy(coarse[:, view])
        # Rays and poses enter in float32: 7 digits at 4 m.
        np.testing.assert_allclose(received, world_to_camera(camera, points), atol=0.01)


def test_each_camera_is_the_origin_once():
    """With noise the linear solution depends on the origin; NumPy with that origin gives the same."""
    cameras, points = ring(3)[:2], people(3, 4, 17)
    keypoints = images(cameras, points)
    keypoints[..., :2] += np.random.default_rng(0).normal(0, 5, keypoints[..., :2].shape)
    coarse = keras.ops.convert_to_numpy(triangulation.CoarsePoses()(_inputs(cameras, keypoints)))
    rays = np.stack([reference.normalise(c, k[..., :2]) for c, k in zip(cameras, keypoints, strict=True)])
    for view, origin in enumerate(cameras):
        poses = []
        for camera in cameras:
            rotation = camera.rotation @ origin.rotation.T
            poses.append(np.c_[rotation, (camera.translation_mm - rotation @ origin.translation_mm) / 1000])
        expected = reference.linear(rays, np.stack(poses), np.ones(keypoints.shape[:-1])) * 1000
        np.testing.assert_allclose(coarse[:, view], expected, atol=0.01)


def test_confidences_weigh_only_where_asked_to():
    cameras, points = ring(4)[:3], people(4, 1, 3)
    keypoints = images(cameras, points)
    keypoints[0, ..., 1] += 30
    keypoints[0, ..., 2] = 0.05
    plain, weighted = (
        keras.ops.convert_to_numpy(triangulation.CoarsePoses(is_weighted=w)(_inputs(cameras, keypoints)))[
            :, 0
        ]
        for w in (False, True)
    )
    true = world_to_camera(cameras[0], points)
    assert np.linalg.norm(weighted - true, axis=-1).max() < 0.1 * np.linalg.norm(plain - true, axis=-1).min()


def test_joints_without_two_views_or_behind_a_camera_get_the_mean_of_the_others():
    cameras, points = ring(3)[:2], people(5, 2, 6)
    points[1, 2] = 2 * cameras[0].centre_mm - points[1, 2]  # behind camera 0
    keypoints = images(cameras, points)
    keypoints[1, 0, 4] = 0  # one view only
    coarse = keras.ops.convert_to_numpy(triangulation.CoarsePoses()(_inputs(cameras, keypoints)))
    for entry, missing in ((0, 4), (1, 2)):
        for view, camera in enumerate(cameras):
            others = np.delete(world_to_camera(camera, points[entry]), missing, axis=0)
            np.testing.assert_allclose(coarse[entry, view, missing], others.mean(0), atol=0.01)
    keypoints[..., 2] = 0
    nothing = triangulation.CoarsePoses()(_inputs(cameras, keypoints))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(nothing), 0)


def test_lenses_are_undone_as_opencv_does_it(human36m_cameras):
    cameras = list(load_human36m_cameras(human36m_cameras)["S1"].values())
    points = people(6, 40)
    pixels = np.stack([project(camera, points) for camera in cameras])[None]
    received = triangulation.normalise(
        pixels,
        np.stack([camera.matrix for camera in cameras])[None],
        np.stack([camera.distortion for camera in cameras])[None],
    )
    for view, camera in enumerate(cameras):
        in_camera = world_to_camera(camera, points)
        exact = in_camera[:, :2] / in_camera[:, 2:]
        is_central = np.abs(exact).max(-1) < 0.4
        assert is_central.mean() > 0.5
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(received)[0, view][is_central], exact[is_central], atol=2e-5
        )


def test_relative_poses_take_points_from_view_to_view():
    cameras, points = ring(4)[:3], people(7, 5)
    rotations, translations = (
        keras.ops.convert_to_numpy(x)[0]
        for x in triangulation.relative_poses(
            np.stack([c.rotation for c in cameras])[None], np.stack([c.translation_mm for c in cameras])[None]
        )
    )
    for v, source in enumerate(cameras):
        for w, target in enumerate(cameras):
            moved = world_to_camera(source, points) @ rotations[v, w].T + translations[v, w]
            np.testing.assert_allclose(moved, world_to_camera(target, points), atol=1e-6)


def test_the_layer_is_saved_with_its_setting():
    layer = triangulation.CoarsePoses(is_weighted=True)
    assert triangulation.CoarsePoses.from_config(layer.get_config()).is_weighted
