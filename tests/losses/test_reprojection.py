"""Projection, change of camera and the three losses: against OpenCV, loops and finite differences."""

import itertools

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, load_human36m_cameras, world_to_camera
from mcss_tf.losses.reprojection import (
    MIN_DEPTH_MM,
    length,
    placement,
    project,
    to_pixels,
    transform,
    view_losses,
)
from tests.keypoint_data import make_cameras, poses

J = 17


def stacked(cameras, batch=1):
    """Returns matrix, rotation [B, V, 3, 3] and translation [B, V, 3] float64."""
    fields = ("matrix", "rotation", "translation_mm")
    return [np.stack([[getattr(c, f) for c in cameras]] * batch) for f in fields]


@pytest.fixture
def scene():
    """Three views of two instants with imperfect poses and keypoints, float64."""
    cameras = list(make_cameras().values())
    rng = np.random.default_rng(0)
    world = poses(2, seed=5)
    lifted = np.stack([world_to_camera(c, world) for c in cameras], 1) + rng.normal(0, 50, (2, 3, J, 3))
    matrix, rotation, translation = stacked(cameras, 2)
    keypoints = project(lifted + rng.normal(0, 40, lifted.shape), matrix).numpy()
    confidence = rng.uniform(0.1, 1.0, (2, 3, J))
    return lifted, keypoints, confidence, matrix, rotation, translation


def test_projection_is_opencvs(human36m_cameras):
    for camera in load_human36m_cameras(human36m_cameras)["S9"].values():
        points = world_to_camera(camera, poses(3))
        expected = cv2.projectPoints(points.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), camera.matrix, None)[
            0
        ]
        projected = project(tf.constant(points), tf.constant(camera.matrix))
        np.testing.assert_allclose(projected.numpy().reshape(-1, 2), expected[:, 0], rtol=1e-12)


def test_transform_is_opencvs_on_the_human36m_cameras(human36m_cameras):
    """composeRT: camera 1 to world (the inverse pose), then world to camera 2."""
    for subject in load_human36m_cameras(human36m_cameras).values():
        for one, two in itertools.permutations(subject.values(), 2):
            world = poses(2)
            back = cv2.Rodrigues(one.rotation.T)[0], one.centre_mm[:, None]
            there = cv2.Rodrigues(two.rotation)[0], two.translation_mm[:, None]
            vector, translation = cv2.composeRT(*back, *there)[:2]
            rotation = cv2.Rodrigues(vector)[0]
            points = world_to_camera(one, world)
            moved = transform(points, one.rotation, one.translation_mm, two.rotation, two.translation_mm)
            np.testing.assert_allclose(moved, points @ rotation.T + translation.ravel(), atol=1e-6)
            # H36M's rotations are orthonormal to 1e-8 only.
            np.testing.assert_allclose(moved, world_to_camera(two, world), atol=1e-3)


def difference(function, x, step):
    """Returns the central difference of a scalar function at x, entry by entry."""
    gradient = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[at] += step
        behind[at] -= step
        gradient[at] = (function(ahead) - function(behind)) / (2 * step)
    return gradient


def gradient_of(function, x):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x).numpy()


def test_gradient_of_projection_and_transform():
    one, two = list(make_cameras().values())[:2]
    points, weights = world_to_camera(one, poses(1)[0]), np.random.default_rng(1).normal(size=(J, 2))

    def scalar(x):
        moved = transform(x, one.rotation, one.translation_mm, two.rotation, two.translation_mm)
        return keras.ops.sum(weights * project(moved, two.matrix))

    expected = difference(lambda x: float(scalar(tf.constant(x))), points, 1e-2)
    np.testing.assert_allclose(gradient_of(scalar, points), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("term", ["reprojection", "transformed", "consistency"])
@pytest.mark.parametrize("weighting", ["none", "source", "target", "product"])
def test_gradients_of_the_losses(scene, term, weighting):
    lifted, *rest = scene

    def scalar(x):
        return getattr(view_losses(x, *rest, weighting), term)

    at = [(0, 0, 3, 2), (1, 2, 0, 0), (0, 1, 16, 1), (1, 0, 9, 2)]
    gradient = gradient_of(scalar, lifted)
    for place in at:
        ahead, behind = lifted.copy(), lifted.copy()
        ahead[place] += 1e-2
        behind[place] -= 1e-2
        expected = (float(scalar(tf.constant(ahead))) - float(scalar(tf.constant(behind)))) / 2e-2
        assert gradient[place] == pytest.approx(expected, rel=1e-5, abs=1e-10)


def naive(lifted, keypoints, confidence, matrix, rotation, translation, weighting):
    """The three losses, pair by pair and joint by joint, as the paper prints them."""
    sums = dict.fromkeys(("reprojection", "transformed", "consistency"), (0.0, 0.0))

    def add(name, value, weight):
        sums[name] = sums[name][0] + weight * value, sums[name][1] + weight

    for b, a, c, j in itertools.product(range(len(lifted)), range(3), range(3), range(J)):
        point = lifted[b, a, j]
        relative = rotation[b, c] @ rotation[b, a].T
        point = relative @ point + translation[b, c] - relative @ translation[b, a]
        pixel = matrix[b, c] @ point
        error = np.linalg.norm(pixel[:2] / pixel[2] - keypoints[b, c, j])
        source, target = confidence[b, a, j], confidence[b, c, j]
        if a == c:
            add("reprojection", error, 1.0 if weighting == "none" else source)
        else:
            weight = {"none": 1.0, "source": source, "target": target, "product": source * target}[weighting]
            add("transformed", error, weight)
            add("consistency", np.linalg.norm(point - lifted[b, c, j]), 1.0)
    return {name: value / weight for name, (value, weight) in sums.items()}


@pytest.mark.parametrize("weighting", ["none", "source", "target", "product"])
def test_losses_against_loops(scene, weighting):
    expected = naive(*scene, weighting)
    for name, value in view_losses(*scene, weighting)._asdict().items():
        assert float(value) == pytest.approx(expected[name], rel=1e-6), name


def test_the_truth_costs_nothing():
    cameras = list(make_cameras().values())
    world = poses(2)
    lifted = np.stack([world_to_camera(c, world) for c in cameras], 1)
    matrix, rotation, translation = stacked(cameras, 2)
    keypoints = project(lifted, matrix)
    losses = view_losses(lifted, keypoints, np.ones((2, 3, J)), matrix, rotation, translation)
    for value in losses:
        assert float(value) < 1e-4


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 3.0))
def test_reprojection_cannot_tell_scale_and_the_other_view_can(scale):
    """Along its rays a pose may grow with its distance; only a second view sees that."""
    cameras = list(make_cameras().values())
    lifted = np.stack([world_to_camera(c, poses(1)) for c in cameras], 1)
    matrix, rotation, translation = stacked(cameras)
    keypoints, ones = project(lifted, matrix), np.ones((1, 3, J))
    losses = view_losses(scale * lifted, keypoints, ones, matrix, rotation, translation)
    assert float(losses.reprojection) < 1e-3
    assert float(losses.transformed) > 50 * abs(scale - 1)


def test_weights_choose_the_view_whose_error_counts():
    """View 0 is wrong in joint 3 and says so: no loss that trusts it is misled by it."""
    cameras = list(make_cameras().values())[:2]
    lifted = np.stack([world_to_camera(c, poses(1)) for c in cameras], 1)
    matrix, rotation, translation = stacked(cameras)
    keypoints = project(lifted, matrix).numpy()
    keypoints[0, 0, 3, 0] += 100.0
    confidence = np.ones((1, 2, J))
    confidence[0, 0, 3] = 0.0
    args = lifted, keypoints, confidence, matrix, rotation, translation
    assert float(view_losses(*args, "none").transformed) == pytest.approx(100 / (2 * J), rel=1e-4)
    assert float(view_losses(*args, "target").transformed) < 1e-4
    # As printed, the weight is that of the view that was lifted, not of the keypoint compared with.
    assert float(view_losses(*args, "source").transformed) == pytest.approx(100 / (2 * J - 1), rel=1e-4)
    for weighting in ("source", "target", "product"):
        assert float(view_losses(*args, weighting).reprojection) < 1e-4


def test_a_single_view_has_nothing_to_compare_with(scene):
    one = [array[:, :1] for array in scene]
    losses = view_losses(*one)
    assert float(losses.transformed) == float(losses.consistency) == 0
    assert float(losses.reprojection) > 0


def test_points_behind_the_camera_stay_finite_and_are_pushed_back():
    matrix = make_cameras()["a"].matrix
    points = np.array([[100.0, -50.0, -3000.0], [100.0, -50.0, 0.0], [100.0, -50.0, MIN_DEPTH_MM]])
    projected = project(points, matrix).numpy()
    np.testing.assert_allclose(projected, np.broadcast_to(projected[2], (3, 2)))
    gradient = gradient_of(lambda x: keras.ops.sum(length(project(x, matrix))), points)
    assert np.isfinite(gradient).all()
    assert (gradient[:2, :2] != 0).all()
    assert (gradient[:2, 2] == 0).all()


def test_an_exact_match_has_a_finite_gradient():
    np.testing.assert_array_equal(gradient_of(lambda x: keras.ops.sum(length(x)), np.zeros((2, 3))), 0)


def test_pixels_and_rays_are_inverse():
    camera = make_cameras()["b"]
    rays = np.random.default_rng(0).uniform(-0.3, 0.3, (4, J, 2))
    pixels = to_pixels(rays, np.stack([camera.matrix] * 4)).numpy()
    back = (np.concatenate([pixels, np.ones((4, J, 1))], -1) @ np.linalg.inv(camera.matrix).T)[..., :2]
    np.testing.assert_allclose(back, rays, atol=1e-12)


def test_a_pose_is_placed_where_all_views_see_it():
    """However far each view's pose was moved away, it comes back."""
    cameras = list(make_cameras().values())
    lifted = np.stack([world_to_camera(c, poses(2)) for c in cameras], 1)
    _, rotation, translation = stacked(cameras, 2)
    away = np.random.default_rng(0).normal(0, 500, (2, 3, 1, 3))
    rays = lifted[..., :2] / lifted[..., 2:]
    offset = placement(lifted + away, rays, np.ones((2, 3, J)), rotation, translation)
    np.testing.assert_allclose(offset, -away[:, :, 0], atol=1e-4)


def test_placement_is_weighted_least_squares(scene):
    lifted, keypoints, confidence, matrix, rotation, translation = scene
    rays = to_pixels(keypoints, np.linalg.inv(matrix)).numpy()
    received = placement(lifted, rays, confidence, rotation, translation)
    for batch, source in itertools.product(range(2), range(3)):
        rows, values = [], []
        for target, joint in itertools.product(range(3), range(J)):
            relative = rotation[batch, target] @ rotation[batch, source].T
            point = relative @ (lifted[batch, source, joint] - translation[batch, source])
            point += translation[batch, target]
            for axis in (0, 1):
                line = np.eye(3)[axis] - rays[batch, target, joint, axis] * np.eye(3)[2]
                scale = np.sqrt(confidence[batch, target, joint])
                rows.append(scale * line @ relative)
                values.append(-scale * line @ point)
        expected = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
        np.testing.assert_allclose(received[batch, source], expected, atol=1e-3)


def test_without_weights_poses_stay_where_they_are(scene):
    lifted, keypoints, confidence, _, rotation, translation = scene
    offset = placement(lifted, keypoints, 0 * confidence, rotation, translation)
    np.testing.assert_array_equal(offset, 0)


def test_cameras_that_do_not_rotate_are_refused():
    with pytest.raises(InputError, match=r"must be orthonormal. Received: .* misses the identity by"):
        Camera("a", (10, 10), np.eye(3), np.zeros(4), np.diag([1.0, 1.0, 1.1]), np.zeros(3))


def test_unknown_weighting(scene):
    with pytest.raises(
        InputError, match=r"loss.confidence must be one of none, source, target, product. Rec"
    ):
        view_losses(*scene, "both")
