"""A method that trains in a second, for what concerns the loop alone."""

import keras
import tensorflow as tf

from mcss_tf.training.schedules import Ramp


class Small:
    """A method with batches, dropout and batch statistics like the real ones, that is compiled at once."""

    steps_per_epoch, images_per_step, validation_metrics = 50, 16, ()

    def __init__(self):
        self.state = Ramp(100)

    def describe(self) -> str:
        return "noise"

    def build_model(self) -> keras.Model:
        layers = [
            keras.layers.Dense(64),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=1),
        ]
        return keras.Sequential([keras.Input((16,)), *layers, keras.layers.Dense(4)])

    def train_batches(self, start_step: int) -> tf.data.Dataset:
        steps = tf.data.Dataset.range(start_step, 10**9)
        return steps.map(lambda step: tf.random.stateless_normal((16, 20), (0, step))).prefetch(2)

    @tf.autograph.experimental.do_not_convert
    def losses(self, model: keras.Model, batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": tf.reduce_mean((model(batch[:, :16], training=True) - batch[:, 16:]) ** 2)}

    @tf.autograph.experimental.do_not_convert
    def after_step(self, scalars: dict[str, tf.Tensor]) -> None:
        self.state.advance(scalars["total"] < 1.0)

    def find_collapse(self, means: dict[str, float]) -> None:
        return None

    def pictures(self, model: keras.Model, batch: tf.Tensor) -> dict:
        return {}
