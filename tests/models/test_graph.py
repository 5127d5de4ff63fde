"""CV-UGCN: the graph convolution against its formula, and the network's promises."""

import keras
import numpy as np
import pytest

from mcss_tf.geometry.body_graph import KERNELS, kernels
from mcss_tf.geometry.skeleton import HUMAN36M_17, Skeleton
from mcss_tf.models.graph import (
    GraphConvolution,
    PoolParts,
    StandardisedPose,
    UnpoolParts,
    build_refinement_model,
)
from tests.geometry.test_body_graph import SMALL
from tests.geometry.test_triangulation import images, people, ring
from tests.models.test_triangulation import _inputs

TINY = (8, 12, 16)


def _batch(num_views=2, num_joints=17, num=4, noise_px=5.0, seed=0):
    cameras = ring(5)[:num_views]
    keypoints = images(cameras, people(seed, num, num_joints))
    keypoints[..., :2] += np.random.default_rng(seed).normal(0, noise_px, keypoints[..., :2].shape)
    return _inputs(cameras, keypoints)


def _numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("level", ["joints", "parts", "body"])
def test_graph_convolution_is_its_formula(level):
    num_nodes = {"joints": 6, "parts": 3, "body": 1}[level]
    x = np.random.default_rng(0).normal(size=(4, 2, num_nodes, 5)).astype(np.float32)
    layer = GraphConvolution(7, SMALL.to_json(), level, KERNELS)
    received = _numpy(layer(x))
    found = kernels(SMALL, level, 2)
    weights = _numpy(layer.kernel).reshape(len(found), 5, 7)
    nodes = x.reshape(4, 2 * num_nodes, 5)
    expected = sum(a @ nodes @ w for a, w in zip(found.values(), weights, strict=True))
    np.testing.assert_allclose(received.reshape(4, -1, 7), expected, atol=1e-5)


def test_kernels_without_an_edge_have_no_weights():
    layer = GraphConvolution(7, SMALL.to_json(), "body", KERNELS)
    layer.build((None, 2, 1, 5))
    assert layer.kernel.shape == (2 * 5, 7)


def test_without_the_cross_view_kernel_views_do_not_see_each_other():
    x = np.random.default_rng(0).normal(size=(1, 2, 6, 5)).astype(np.float32)
    changed = x.copy()
    changed[:, 1] += 1
    for names, is_equal in ((KERNELS[:-1], True), (KERNELS, False)):
        layer = GraphConvolution(7, SMALL.to_json(), "joints", names)
        same = np.array_equal(_numpy(layer(x))[:, 0], _numpy(layer(changed))[:, 0])
        assert same == is_equal


def test_pooling_takes_the_largest_and_unpooling_hands_it_back():
    x = np.array([1.0, 5, 2, 7, 3]).reshape(1, 1, 5, 1)
    groups = ((0, 2), (1,), (3, 4))
    pooled = PoolParts(groups)(x)
    assert _numpy(pooled).ravel().tolist() == [2, 5, 7]
    assert _numpy(UnpoolParts(groups)(pooled)).ravel().tolist() == [2, 5, 2, 7, 7]


def test_an_untrained_network_is_the_triangulation():
    model = build_refinement_model(HUMAN36M_17, widths=TINY)
    outputs = model(_batch())
    np.testing.assert_array_equal(_numpy(outputs["refined_mm"]), _numpy(outputs["coarse_mm"]))
    assert np.isfinite(_numpy(outputs["coarse_mm"])).all()


def test_the_size_of_the_paper():
    assert 4.7e6 < build_refinement_model(HUMAN36M_17).count_params() < 5.0e6


@pytest.mark.parametrize(
    ("skeleton", "num_views", "options"),
    [
        (HUMAN36M_17, 3, {}),
        (SMALL, 2, {}),
        (Skeleton("snake", ("a", "b", "c"), (-1, 0, 1)), 2, {}),
        (HUMAN36M_17, 2, {"has_pooling": False}),
        (HUMAN36M_17, 2, {"has_cross_view": False}),
        (HUMAN36M_17, 2, {"has_evidence": False}),
    ],
)
def test_other_skeletons_views_and_ablations(skeleton, num_views, options, tmp_path):
    model = build_refinement_model(skeleton, num_views=num_views, widths=TINY, **options)
    batch = _batch(num_views, skeleton.num_joints)
    # Else the zeros of the last layer hide everything before it.
    model.get_layer("residual").kernel.assign(np.random.default_rng(0).normal(size=(2 * TINY[1], 3)) / 10)
    outputs = model(batch, training=False)
    assert outputs["refined_mm"].shape == (4, num_views, skeleton.num_joints, 3)
    assert not np.array_equal(_numpy(outputs["refined_mm"]), _numpy(outputs["coarse_mm"]))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(_numpy(again(batch)["refined_mm"]), _numpy(outputs["refined_mm"]), atol=1e-3)


def test_inputs_are_standardised_by_what_most_poses_are():
    rng = np.random.default_rng(0)
    poses = rng.normal((0, 0, 4000), 100, (500, 2, 3, 3))
    poses[0] = 1e7  # one triangulation gone wrong
    layer = StandardisedPose()
    layer.build(poses.shape)
    layer.adapt(poses)
    received = _numpy(layer(poses[1:]))
    assert received.shape == (499, 2, 3, 6)
    assert np.abs(received.mean((0, 1))).max() < 0.3
    assert np.abs(received.std((0, 1)) - 1).max() < 0.5
    assert np.abs(_numpy(layer(poses[:1]))).max() <= 5
    moved = _numpy(layer(poses[1:] + np.array([50.0, 0, 0])))
    np.testing.assert_allclose(moved[..., :3], received[..., :3], atol=1e-4)
    assert (moved[..., 3] > received[..., 3]).mean() > 0.99
    np.testing.assert_allclose(moved[..., 4:], received[..., 4:], atol=1e-4)


def test_the_centre_of_a_pose_is_the_median_of_its_joints():
    pose = np.random.default_rng(0).normal(size=(2, 2, 5, 3))
    received = _numpy(StandardisedPose().from_centre(pose))
    centre = np.median(pose, axis=2, keepdims=True)
    np.testing.assert_allclose(received[..., :3], pose - centre, atol=1e-6)
    np.testing.assert_allclose(received[..., 3:], np.broadcast_to(centre, pose.shape), atol=1e-6)
