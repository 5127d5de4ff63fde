"""Triangulation against OpenCV, exact projections and its own symmetries."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, load_human36m_cameras, look_at, project
from mcss_tf.geometry.triangulation import normalise, triangulate


def ring(num_cameras: int, radius_mm: float = 4000.0) -> list[Camera]:
    """Cameras on a circle that look at the middle of the room."""
    angles = 2 * np.pi * np.arange(num_cameras) / num_cameras + 0.3
    return [
        look_at(f"c{i}", (1000, 800), 1100, (radius_mm * np.cos(a), radius_mm * np.sin(a), 1500), (0, 0, 900))
        for i, a in enumerate(angles)
    ]


def people(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform((-800, -800, 0), (800, 800, 1800), (*shape, 3))


def images(cameras: list[Camera], points_mm: np.ndarray, confidence: float = 1.0) -> np.ndarray:
    pixels = np.stack([project(camera, points_mm) for camera in cameras])
    return np.concatenate([pixels, np.full_like(pixels[..., :1], confidence)], axis=-1)


def test_two_perpendicular_rays_meet_where_drawn():
    # One camera on the x axis, one on the y axis, both looking at the origin; the point is 100 mm up.
    cameras = [
        look_at("x", (101, 101), 100, (1000, 0, 0), (0, 0, 0)),
        look_at("y", (101, 101), 100, (0, 1000, 0), (0, 0, 0)),
    ]
    # 100 px * 100 mm / 1000 mm = 10 px above the centre of both.
    result = triangulate(cameras, [[50, 40, 1], [50, 40, 1]])
    np.testing.assert_allclose(result.points_mm, (0, 0, 100), atol=1e-9)
    np.testing.assert_allclose(result.reprojection_px, 0, atol=1e-9)
    assert result.is_valid


def test_agrees_with_opencv_on_noisy_points():
    cameras = ring(2)[:2]
    points = people(0, 50)
    keypoints = images(cameras, points)
    keypoints[..., :2] += np.random.default_rng(1).normal(0, 3, (2, 50, 2))
    # Metres on both sides: the algebraic minimum of a noisy system depends on the units.
    poses = [np.c_[c.rotation, c.translation_mm / 1000] for c in cameras]
    rays = [normalise(c, k[:, :2]).T for c, k in zip(cameras, keypoints, strict=True)]
    homogeneous = cv2.triangulatePoints(*poses, *rays)
    expected = (homogeneous[:3] / homogeneous[3]).T * 1000
    np.testing.assert_allclose(triangulate(cameras, keypoints).points_mm, expected, atol=1e-4)


def test_exact_through_the_distorted_human36m_lenses(human36m_cameras):
    for cameras in load_human36m_cameras(human36m_cameras).values():
        cameras = list(cameras.values())
        points = people(2, 20, 17)
        result = triangulate(cameras, images(cameras, points))
        assert result.points_mm.shape == (20, 17, 3)
        # OpenCV undoes distortion by iteration; what is left of it stays far below a pixel.
        seen_well = np.nanmax(result.reprojection_px, axis=0) < 0.1
        assert seen_well.mean() > 0.9
        np.testing.assert_allclose(result.points_mm[seen_well], points[seen_well], atol=0.1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), num_cameras=st.integers(2, 5))
def test_a_rigid_motion_of_the_world_moves_the_points_along(seed, num_cameras):
    rng = np.random.default_rng(seed)
    cameras, points = ring(num_cameras + 1)[:num_cameras], people(seed, 6)
    keypoints = images(cameras, points)
    keypoints[..., :2] += rng.normal(0, 1, keypoints[..., :2].shape)
    before = triangulate(cameras, keypoints, num_refinements=8).points_mm
    rotation = cv2.Rodrigues(rng.normal(0, 1, 3))[0]
    shift = rng.normal(0, 500, 3)
    moved = [
        Camera(
            c.name,
            c.size,
            c.matrix,
            c.distortion,
            c.rotation @ rotation.T,
            c.translation_mm - c.rotation @ rotation.T @ shift,
        )
        for c in cameras
    ]
    # The reprojection error knows no world frame; the linear solution does, so it is refined first.
    after = triangulate(moved, keypoints, num_refinements=8).points_mm
    np.testing.assert_allclose(after, before @ rotation.T + shift, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)))
def test_the_order_of_views_does_not_matter(order):
    cameras = ring(5)[:4]
    keypoints = images(cameras, people(3, 10))
    keypoints[..., :2] += np.random.default_rng(4).normal(0, 2, keypoints[..., :2].shape)
    expected = triangulate(cameras, keypoints)
    received = triangulate([cameras[i] for i in order], keypoints[list(order)])
    np.testing.assert_allclose(received.points_mm, expected.points_mm, atol=1e-6)
    np.testing.assert_allclose(received.reprojection_px, expected.reprojection_px[list(order)], atol=1e-6)


def test_the_scale_of_the_room_does_not_matter():
    small, large = ring(3, 4000), ring(3, 4000)
    large = [Camera(c.name, c.size, c.matrix, c.distortion, c.rotation, 10 * c.translation_mm) for c in large]
    points = people(5, 10)
    keypoints = images(small, points)
    np.testing.assert_allclose(triangulate(large, keypoints).points_mm, 10 * points, atol=1e-6)


def test_an_outlying_view_is_dropped_and_the_point_stays_exact():
    cameras = ring(5)[:4]
    points = people(6, 12)
    keypoints = images(cameras, points)
    keypoints[2, :6, 0] += 200
    plain = triangulate(cameras, keypoints)
    robust = triangulate(cameras, keypoints, max_error_px=10)
    assert np.linalg.norm(plain.points_mm[:6] - points[:6], axis=-1).min() > 20
    np.testing.assert_allclose(robust.points_mm, points, atol=1e-6)
    expected_use = np.ones((4, 12), bool)
    expected_use[2, :6] = False
    np.testing.assert_array_equal(robust.is_used, expected_use)
    # The view that was dropped still tells how far off it was.
    np.testing.assert_allclose(robust.reprojection_px[2, :6], 200, atol=1e-3)


def test_confidence_draws_the_point_to_the_surer_views():
    cameras = ring(5)[:3]
    point = people(7, 1)
    keypoints = images(cameras, point)
    keypoints[0, :, 1] += 30
    errors = []
    for confidence in (1.0, 0.3, 0.05):
        keypoints[0, :, 2] = confidence
        errors.append(np.linalg.norm(triangulate(cameras, keypoints).points_mm - point))
    assert errors[0] > errors[1] > errors[2]


def test_refinement_never_raises_the_weighted_reprojection_error():
    cameras, points = ring(5)[:3], people(8, 200)
    keypoints = images(cameras, points)
    keypoints[..., :2] += np.random.default_rng(9).normal(0, 8, keypoints[..., :2].shape)
    cost = [
        np.square(triangulate(cameras, keypoints, num_refinements=n).reprojection_px).sum(0) for n in (0, 8)
    ]
    assert (cost[1] <= cost[0] + 1e-6).all()
    assert cost[1].sum() < cost[0].sum() - 1


def test_points_without_a_depth_are_not_valid():
    cameras = ring(4)
    points = people(10, 5)
    keypoints = images(cameras, points)
    keypoints[1:, 0, 2] = 0  # one view only
    keypoints[:, 1] = np.nan  # no view at all
    result = triangulate(cameras, keypoints)
    np.testing.assert_array_equal(result.is_valid, [False, False, True, True, True])
    assert np.isnan(result.points_mm[:2]).all()
    assert np.isnan(result.reprojection_px[:, :2]).all()


def test_parallel_rays_are_not_valid():
    # Two cameras side by side, 10 mm apart, see a point 10 m away under 0.06 degrees.
    cameras = [look_at(n, (100, 100), 100, (x, 0, 0), (x, 10_000, 0)) for n, x in (("a", 0), ("b", 10))]
    keypoints = images(cameras, np.array([[0.0, 10_000, 0]]))
    assert not triangulate(cameras, keypoints).is_valid.any()
    assert triangulate(cameras, keypoints, min_angle_deg=0.01).is_valid.all()


def test_points_behind_a_camera_are_not_valid():
    cameras = [
        look_at(n, (100, 100), 100, p, (0, 0, 0)) for n, p in (("a", (1000, 0, 0)), ("b", (0, 1000, 0)))
    ]
    # Their rays, prolonged backwards, meet behind both cameras.
    keypoints = images(cameras, np.array([[1500.0, 1400, 100]]))
    assert not triangulate(cameras, keypoints).is_valid.any()


def test_fewer_than_two_cameras():
    with pytest.raises(InputError, match="two or more cameras. Received: 1"):
        triangulate(ring(1), np.zeros((1, 5, 3)))


def test_keypoints_of_another_number_of_cameras():
    with pytest.raises(InputError, match=r"shape \(3, 5, 3\) for 2 cameras"):
        triangulate(ring(2), np.zeros((3, 5, 3)))
