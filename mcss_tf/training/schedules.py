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

    plateau: lr(k) = peak * min(1, (k + 1) / warmup) * factor, of a `Plateau`

    Args:
        name: "step" (MCSS's), "cosine" or "plateau".
        peak: highest rate.
        num_steps: length of the run.
        warmup_steps: length of the warm-up, or 0.
        drop_every_steps: distance between the drops of "step".
        factor: variable of "plateau"; only methods that keep one have this schedule.

    Raises:
        InputError: unknown name, or "plateau" without a factor.
    """

    def __init__(
        self,
        name: str,
        peak: float,
        num_steps: int,
        warmup_steps: int,
        drop_every_steps: int,
        factor: tf.Variable | None = None,
    ):
        if name not in ("step", "cosine", "plateau") or (name == "plateau" and factor is None):
            raise InputError(
                "train.schedule must be step or cosine, or plateau where the method watches its loss. "
                f"Received: {name!r}. Choose another."
            )
        self._factor = factor
        self.name, self.peak, self.num_steps = name, peak, num_steps
        self.warmup_steps, self.drop_every_steps = warmup_steps, drop_every_steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        warmup = ops.minimum(1.0, (step + 1.0) / max(self.warmup_steps, 1))
        if self.name == "step":
            return self.peak * warmup * ops.power(0.1, ops.floor(step / self.drop_every_steps))
        if self.name == "plateau":
            return self.peak * warmup * self._factor
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


class Plateau(tf.Module):
    """A factor that falls when a loss, averaged over an epoch, has not become smaller for some epochs.

    All of its state is in variables, so a resumed run goes on where it stood.

    Args:
        decay: what the factor is multiplied with.
        patience_epochs: epochs without a new least loss after which it is.
        steps_per_epoch: length of an epoch.
    """

    def __init__(self, decay: float, patience_epochs: int, steps_per_epoch: int):
        super().__init__()
        self._decay, self._patience, self._steps = decay, patience_epochs, steps_per_epoch
        self.factor = tf.Variable(1.0, trainable=False, name="factor")
        self._best = tf.Variable(float("inf"), trainable=False, name="best")
        self._sum = tf.Variable(0.0, trainable=False, name="sum")
        self._count = tf.Variable(0, trainable=False, name="count")
        self._waited = tf.Variable(0, trainable=False, name="waited")

    def advance(self, loss: tf.Tensor) -> None:
        """Takes the loss of one step into account."""
        total, count = self._sum + loss, self._count + 1
        is_end = count >= self._steps
        is_better = total / tf.cast(count, tf.float32) < self._best
        waited = tf.where(is_better, 0, self._waited + 1)
        is_due = is_end & (waited >= self._patience)
        self._best.assign(tf.where(is_end & is_better, total / tf.cast(count, tf.float32), self._best))
        self._waited.assign(tf.where(is_due, 0, tf.where(is_end, waited, self._waited)))
        self.factor.assign(tf.where(is_due, self.factor * self._decay, self.factor))
        self._sum.assign(tf.where(is_end, 0.0, total))
        self._count.assign(tf.where(is_end, 0, count))
