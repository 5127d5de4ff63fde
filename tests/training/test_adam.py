"""The fused update against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.training.adam import Adam


@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_same_steps_as_keras(amsgrad):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(5, 3)), rng.normal(size=(6, 5, 3))
    gradients[3] *= 100  # the largest second moment stays behind it
    ends = []
    for adam in (keras.optimizers.Adam, Adam):
        variable = keras.Variable(start, dtype="float32")
        optimizer = adam(0.1, amsgrad=amsgrad, beta_1=0.8, beta_2=0.9, epsilon=1e-3)
        optimizer.build([variable])
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        ends.append([variable.numpy(), *(v.numpy() for v in optimizer.variables)])
    assert np.abs(ends[0][0] - start).max() > 0.1
    for keras_value, value in zip(*ends, strict=True):
        np.testing.assert_allclose(value, keras_value, rtol=2e-6, atol=1e-7)
