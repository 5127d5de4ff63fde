"""The faster convolution and batch normalisation are Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.models import layers

CASES = [(3, 1, "same"), (3, 2, "valid"), (1, 2, "same"), (3, 2, "same"), ((1, 3), (2, 1), "same")]


@pytest.mark.parametrize(
    ("side", "size", "strides", "padding"),
    [(2, *CASES[0])] + [(side, *case) for side in (3, 4, 6, 7) for case in CASES],
)
def test_convolution_and_its_gradients_are_keras_s(side, size, strides, padding):
    images = tf.random.stateless_normal((5, side, side, 3), (0, side))
    ours = layers.Conv2D(4, size, strides, padding, use_bias=False)
    theirs = keras.layers.Conv2D(4, size, strides, padding, use_bias=False)
    results = []
    for layer in (ours, theirs):
        layer.build(images.shape)
        layer.kernel.assign(tf.random.stateless_normal(layer.kernel.shape, (1, 1)))
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images)
            loss = tf.reduce_sum(outputs**2)
        results.append([outputs, *tape.gradient(loss, [images, layer.kernel.value])])
    for mine, keras_s in zip(*results, strict=True):
        np.testing.assert_allclose(mine, keras_s, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"groups": 3}, {"dilation_rate": 2}])
def test_other_convolutions_are_left_to_keras(options):
    images = tf.random.stateless_normal((2, 3, 3, 3), (0, 0))
    ours, theirs = (kind(3, 3, padding="same", **options) for kind in (layers.Conv2D, keras.layers.Conv2D))
    for layer in (ours, theirs):
        layer.build(images.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(images), theirs(images), rtol=1e-5, atol=1e-6)


def test_only_small_maps_take_products_over_patches():
    def operations(side):
        layer = layers.Conv2D(4, 3, padding="same")

        @tf.function
        def gradient(images):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(images))
            return tape.gradient(loss, layer.kernel.value)

        layer.build((None, side, side, 3))
        graph = gradient.get_concrete_function(tf.TensorSpec((2, side, side, 3))).graph
        return {operation.type for operation in graph.get_operations()}

    convolutions = {"Conv2D", "Conv2DBackpropFilter"}
    assert operations(2) & convolutions == set()
    assert operations(4) & convolutions == {"Conv2D"}
    assert operations(5) & convolutions == convolutions


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.04)])
def test_batch_normalisation_its_gradient_and_statistics_are_keras_s(policy, tolerance):
    images = 3.0 + 2.0 * tf.random.stateless_normal((6, 4, 4, 5), (2, 3))
    weights = tf.random.stateless_normal((6, 4, 4, 5), (3, 4))
    results = []
    for layer_class in (layers.BatchNormalization, keras.layers.BatchNormalization):
        layer = layer_class(momentum=0.7, center=False, scale=False, dtype=policy)
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = tf.cast(layer(images, training=True), "float32")
            loss = tf.reduce_sum(weights * outputs)
        values = [outputs, tape.gradient(loss, images), layer.moving_mean, layer.moving_variance]
        results.append([*values, tf.cast(layer(images, training=False), "float32")])
    for mine, keras_s in zip(*results, strict=True):
        np.testing.assert_allclose(mine, keras_s, rtol=tolerance, atol=tolerance)


def test_frozen_batch_normalisation_keeps_its_statistics():
    layer = layers.BatchNormalization()
    images = tf.ones((2, 3, 3, 4)) * 7.0
    layer.build(images.shape)
    layer.trainable = False
    np.testing.assert_allclose(layer(images, training=True), images, rtol=1e-3)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(4))


def test_layers_survive_saving(tmp_path):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, layers.BatchNormalization()(layers.Conv2D(2, 3)(inputs)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in loaded.layers[1:]] == [layers.Conv2D, layers.BatchNormalization]
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(model(images), loaded(images), rtol=1e-6)
