"""Folding batch normalisation changes nothing but the speed."""

import keras
import numpy as np
import pytest
from keras import layers

from mcss_tf.models.heads import build_mcss_model
from mcss_tf.serving.folding import fold_batch_norm


@pytest.fixture(scope="module")
def resnet() -> keras.Model:
    """The real network, with statistics and label moments that are not the initial ones."""
    keras.utils.set_random_seed(0)
    model = build_mcss_model(32, num_joints=16)
    rng = np.random.default_rng(0)
    for layer in model.get_layer("backbone").layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.2, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2.0, layer.moving_variance.shape))
    model.get_layer("pose_mm").adapt(rng.normal(100, 300, (20, 16, 3)), np.ones((20, 16)))
    return model


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3)).astype("float32")


def kinds(model: keras.Model) -> set[str]:
    return {type(layer).__name__ for layer in model._flatten_layers()}


def test_the_folded_network_gives_the_same_numbers_without_the_layers(resnet) -> None:
    folded = fold_batch_norm(resnet)
    assert "BatchNormalization" in kinds(resnet)
    assert "BatchNormalization" not in kinds(folded)
    expected, received = resnet(images(), training=False), folded(images(), training=False)
    np.testing.assert_allclose(received["embedding"], expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(received["pose_mm"], expected["pose_mm"], rtol=1e-4, atol=1e-2)


def test_the_folded_network_has_keras_s_convolutions(resnet) -> None:
    found = {
        type(layer) for layer in fold_batch_norm(resnet)._flatten_layers() if isinstance(layer, layers.Conv2D)
    }
    assert found == {layers.Conv2D}


def test_folding_keeps_its_numbers_in_bfloat16(resnet) -> None:
    """Against the unfolded network in the same precision: folding adds no more than the precision itself."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_mcss_model(32, num_joints=16)
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(resnet.get_weights())
    expected = resnet(images(), training=False)["embedding"].numpy()
    unfolded = mixed(images(), training=False)["embedding"].numpy()
    folded = fold_batch_norm(mixed, "bfloat16")(images(), training=False)["embedding"].numpy()
    own = np.linalg.norm(unfolded - expected, axis=1).max()
    assert 0 < np.linalg.norm(folded - expected, axis=1).max() < 2 * own + 1e-4
    # And back: a network trained in mixed precision is served in float32.
    back = fold_batch_norm(mixed)(images(), training=False)["embedding"]
    np.testing.assert_allclose(back, expected, atol=1e-4)


def test_scale_offset_and_bias_are_folded_too() -> None:
    """By hand: (2 x + 1 - 3) / sqrt(3 + 1) * 5 + 7 = 5 x + 2."""
    image = keras.Input((2, 2, 1))
    convolution = layers.Conv2D(1, 1, name="convolution")
    norm = layers.BatchNormalization(epsilon=1.0, name="norm")
    model = keras.Model(image, {"y": norm(convolution(image))})
    convolution.set_weights([np.full((1, 1, 1, 1), 2.0), np.array([1.0])])
    norm.set_weights([np.array([5.0]), np.array([7.0]), np.array([3.0]), np.array([3.0])])
    kernel, bias = fold_batch_norm(model).get_layer("convolution").get_weights()
    np.testing.assert_allclose((kernel.item(), bias.item()), (5.0, 2.0), rtol=1e-6)


@pytest.mark.parametrize("other", [layers.ReLU(), layers.DepthwiseConv2D(3)])
def test_a_norm_that_cannot_be_folded_is_refused(other) -> None:
    image = keras.Input((8, 8, 2))
    model = keras.Model(image, {"y": layers.BatchNormalization(name="norm")(other(image))})
    with pytest.raises(ValueError, match=r"folded into the linear conv.* Received: norm after .* Change the"):
        fold_batch_norm(model)
