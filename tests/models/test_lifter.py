"""The lifting network: shapes, what its inputs keep and lose, saving."""

import keras
import numpy as np
import pytest

from mcss_tf.models.lifter import RootCentred, RootPosition, build_lifter, image_size

SIZES = {"width": 16, "num_blocks": 2, "dropout": 0.0}


@pytest.fixture
def rays():
    return np.random.default_rng(0).uniform(-0.2, 0.2, (4, 17, 2)).astype(np.float32)


@pytest.mark.parametrize("branches", [1, 2])
def test_outputs(rays, branches):
    keras.utils.set_random_seed(0)
    outputs = build_lifter(17, 0, branches=branches, **SIZES)(rays)
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
def test_the_pose_ignores_where_and_how_far(rays, branches):
    keras.utils.set_random_seed(0)
    model = build_lifter(17, 0, branches=branches, **SIZES)
    elsewhere = 0.5 * rays + np.float32([0.1, -0.05])
    here, there = model(rays), model(elsewhere)
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
    rays = np.full((1, 17, 2), 0.1, np.float32)
    model = build_lifter(17, 0, **SIZES)
    assert all(np.isfinite(value).all() for value in model(rays).values())


def test_root_position_by_hand():
    """A person 0.2 rays large whose true size across the view is 6 dm stands 3 m away."""
    rays = np.array([[[0.5, 0.4], [0.5, 0.6], [0.1, 0.4]]], np.float32)
    position = RootPosition(0)(np.array([[0.0, 5.0, 6.0]], np.float32), rays)
    np.testing.assert_allclose(position, [[1500.0, 1500.0, 3000.0]], rtol=1e-5)


def test_saving(rays, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_lifter(17, 0, **SIZES)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    for name, value in model(rays).items():
        np.testing.assert_array_equal(value, loaded(rays)[name])
