"""Values that change during a run: the learning rate, and ramps that wait until the network is ready."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from mcss_tf.errors import InputError


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to `peak`, then steps of x0.1 or half a cosine down to 0.

    step:   lr(k) = peak * min(1, (k + 1) / warmup) * 0.1 ^ floor(k / drop_every)
    cosine: lr(k) = peak * min(1, (k + 1) / warmup) * (1 + cos(pi * k / num_steps)) / 2

    Args:
        name: "step" (the paper's) or "cosine".
        peak: highest rate.
        num_steps: length of the run.
        warmup_steps: length of the warm-up, or 0.
        drop_every_steps: distance between the drops of "step".

    Raises:
        InputError: unknown name.
    """

    def __init__(self, name: str, peak: float, num_steps: int, warmup_steps: int, drop_every_steps: int):
        if name not in ("step", "cosine"):
            raise InputError(
                f"train.schedule must be step or cosine. Received: {name!r}. Choose one of the two."
            )
        self.name, self.peak, self.num_steps = name, peak, num_steps
        self.warmup_steps, self.drop_every_steps = warmup_steps, drop_every_steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        warmup = ops.minimum(1.0, (step + 1.0) / max(self.warmup_steps, 1))
        if self.name == "step":
            return self.peak * warmup * ops.power(0.1, ops.floor(step / self.drop_every_steps))
        return self.peak * warmup * 0.5 * (1.0 + ops.cos(math.pi * step / self.num_steps))

    def get_config(self) -> dict[str, Any]:
        names = ("name", "peak", "num_steps", "warmup_steps", "drop_every_steps")
        return {name: getattr(self, name) for name in names}


class Ramp(tf.Module):
    """Rises from 0 to 1 in `num_steps` of those steps in which the network is ready.

    A ramp on the step count alone starts too early for a network that has not spread its embeddings yet, and
    then keeps it from ever doing so. The state is one variable, so a resumed run goes on where it stood.

    Args:
        num_steps: ready steps until the end; 0 jumps there with the first one.
    """

    def __init__(self, num_steps: int):
        super().__init__()
        self._increment = 1.0 / max(num_steps, 1)
        self.value = tf.Variable(0.0, trainable=False, name="ramp")

    def advance(self, is_ready: tf.Tensor) -> None:
        """Takes one step upwards where `is_ready`, at most to 1."""
        increment = tf.where(is_ready, self._increment, 0.0)
        self.value.assign(tf.minimum(self.value + increment, 1.0))
