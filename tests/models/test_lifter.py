"""The lifting network: shapes, what its inputs keep and lose, saving."""

import keras
import numpy as np
import pytest

from mcss_tf.models.lifter import FillMissing, RootCentred, RootPosition, build_lifter, image_size

SIZES = {"width": 16, "num_blocks": 2, "dropout": 0.0}


@pytest.fixture
def keypoints():
    """Rays and confidences [4, 17, 3]."""
    rng = np.random.default_rng(0)
    rays = rng.uniform(-0.2, 0.2, (4, 17, 2))
    return np.concatenate([rays, rng.uniform(0.1, 1, (4, 17, 1))], -1).astype(np.float32)


@pytest.mark.parametrize("branches", [1, 2])
def test_outputs(keypoints, branches):
    keras.utils.set_random_seed(0)
    outputs = build_lifter(17, 0, branches=branches, **SIZES)(keypoints)
    assert outputs["pose_mm"].shape == (4, 17, 3)
    assert outputs["root_mm"].shape == (4, 3)
    np.testing.assert_array_equal(outputs["pose_mm"][:, 0], 0)
    assert np.abs(outputs["pose_mm"][:, 1:]).min() > 0


def test_the_papers_size():
    model = build_lifter(17, 0)
    lifting = model.get_layer("lifting")
    dense = [layer for layer in lifting.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [1024] * 9 + [51]
    assert sum(isinstance(layer, keras.layers.Add) for layer in lifting.layers) == 4
    names = {variable.path for variable in lifting.variables}
    assert not names & {variable.path for variable in model.get_layer("root_branch").variables}


@pytest.mark.parametrize("branches", [1, 2])
def test_the_pose_ignores_where_and_how_far(keypoints, branches):
    keras.utils.set_random_seed(0)
    model = build_lifter(17, 0, branches=branches, **SIZES)
    elsewhere = np.concatenate([0.5 * keypoints[..., :2] + np.float32([0.1, -0.05]), keypoints[..., 2:]], -1)
    here, there = model(keypoints), model(elsewhere)
    np.testing.assert_allclose(here["pose_mm"], there["pose_mm"], rtol=1e-3, atol=0.05)
    if branches == 1:
        np.testing.assert_allclose(here["root_mm"], there["root_mm"], rtol=1e-3, atol=0.05)
    else:
        assert (np.abs(here["root_mm"] - there["root_mm"]) > 1).any()


def test_root_centred_by_hand():
    rays = np.array([[[0.5, 0.5], [0.5, 0.7], [0.1, 0.5]]], np.float32)
    np.testing.assert_allclose(image_size(rays, 0), [0.2], rtol=1e-5)
    expected = [[[0, 0], [0, 1], [-2, 0]]]
    np.testing.assert_allclose(RootCentred(0)(rays), expected, atol=1e-5)


def test_all_keypoints_on_one_place_stay_finite():
    model = build_lifter(17, 0, **SIZES)
    for value in (0.1, 0.0):  # at 0 no joint was seen either
        outputs = model(np.full((1, 17, 3), value, np.float32))
        assert all(np.isfinite(output).all() for output in outputs.values())


def test_joints_that_were_not_seen_stand_in_the_middle_of_the_others():
    keypoints = np.float32([[[0.2, 0.4, 0.9], [7.0, -7.0, 0.0], [0.4, 0.0, 0.1]]])
    np.testing.assert_allclose(FillMissing()(keypoints), [[[0.2, 0.4], [0.3, 0.2], [0.4, 0.0]]], rtol=1e-6)


def test_only_a_confidence_of_zero_matters(keypoints):
    model = build_lifter(17, 0, **SIZES)
    surer, unseen = keypoints.copy(), keypoints.copy()
    surer[..., 2], unseen[:, 5, 2] = 1.0, 0.0
    np.testing.assert_array_equal(model(keypoints)["pose_mm"], model(surer)["pose_mm"])
    assert np.abs(model(keypoints)["pose_mm"] - model(unseen)["pose_mm"]).max() > 0.1
    unseen_elsewhere = unseen.copy()
    unseen_elsewhere[:, 5, :2] = 3.0
    np.testing.assert_array_equal(model(unseen)["pose_mm"], model(unseen_elsewhere)["pose_mm"])


def test_root_position_by_hand():
    """A person 0.2 rays large whose true size across the view is 6 dm stands 3 m away."""
    rays = np.array([[[0.5, 0.4], [0.5, 0.6], [0.1, 0.4]]], np.float32)
    position = RootPosition(0)(np.array([[0.0, 5.0, 6.0]], np.float32), rays)
    np.testing.assert_allclose(position, [[1500.0, 1500.0, 3000.0]], rtol=1e-5)


def test_saving(keypoints, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_lifter(17, 0, **SIZES)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    for name, value in model(keypoints).items():
        np.testing.assert_array_equal(value, loaded(keypoints)[name])
