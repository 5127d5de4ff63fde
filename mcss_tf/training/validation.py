"""Measures a run on its validation split, keeps the best weights, and says when to stop."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.training.strategy import agree

# Of the other metrics less is better.
HIGHER_IS_BETTER = ("sync_hit_at_1", "pck_150", "auc")


class Validation(tf.Module):
    """Validates a model every so many steps; off where the config holds nothing out.

    All of its state, the best weights included, is in variables, which are checkpointed with the model: what
    was best is never newer or older than the state that a run resumes from.

    Args:
        method: with `validate(model)` and `validation_metrics`.
        model: to be measured.
        optimizer: its moving average of the weights, where it keeps one, is what is measured and kept.
        options: the config's `validation` section.
        strategy: of the run; several workers decide by the mean of what they measure.

    Raises:
        InputError: the metric is not among the method's, patience without a metric, or every_steps < 1.
    """

    def __init__(
        self,
        method: Any,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        options: Any,
        strategy: tf.distribute.Strategy | None = None,
    ):
        super().__init__()
        self._strategy = strategy or tf.distribute.get_strategy()
        self.is_on = bool(options.subjects or options.fraction)
        if not self.is_on:
            return
        _check(options, method.validation_metrics)
        self._method, self._model, self._optimizer = method, model, optimizer
        self._every, self._patience, self.metric = options.every_steps, options.patience, options.metric
        self._sign = -1.0 if options.metric in HIGHER_IS_BETTER else 1.0
        self._least = tf.Variable(float("inf"), trainable=False, name="least")
        self._num_worse = tf.Variable(0, trainable=False, name="num_worse")
        self.best_step = tf.Variable(0, trainable=False, dtype=tf.int64, name="best_step")
        kept = model.weights if self.metric else []
        self._best_weights = [tf.Variable(weight.numpy(), trainable=False) for weight in kept]

    def is_due(self, step: int, num_steps: int) -> bool:
        """Returns whether to validate after `step` steps: at every multiple, and at the end."""
        return self.is_on and (step % self._every == 0 or step == num_steps)

    def should_stop(self) -> bool:
        """Returns whether the last `patience` validations were no better than the best one."""
        return self.is_on and 0 < self._patience <= int(self._num_worse)

    def run(self, step: int) -> dict[str, float]:
        """Measures the model after `step` steps and keeps its weights if they are the best so far."""
        with averaged(self._optimizer, self._model):
            scalars = agree(self._strategy, self._method.validate(self._model))
            if self.metric:
                self._compare(step, self._sign * scalars[self.metric])
        return scalars

    def finish(self) -> str:
        """Gives the model its best weights, where a metric says which; returns a line that tells."""
        if not self.is_on or not self.metric or not int(self.best_step):
            return ""
        for weight, best in zip(self._model.weights, self._best_weights, strict=True):
            weight.assign(best)
        value = self._sign * float(self._least)
        return f"kept the weights of step {int(self.best_step)}: validation {self.metric} {value:.6g}"

    def _compare(self, step: int, value: float) -> None:
        if value < float(self._least):  # NaN is not less
            self._least.assign(value)
            self._num_worse.assign(0)
            self.best_step.assign(step)
            for best, weight in zip(self._best_weights, self._model.weights, strict=True):
                best.assign(weight.value)
        else:
            self._num_worse.assign_add(1)


@contextlib.contextmanager
def averaged(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> Iterator[None]:
    """Lets a model have the optimizer's moving average of its weights, if there is one, within the block."""
    if not optimizer.use_ema:
        yield
        return
    raw = [variable.numpy() for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, raw, strict=True):
            variable.assign(value)


def _check(options: Any, metrics: Sequence[str]) -> None:
    if not metrics:
        raise InputError(
            "Validation needs something to measure. Received: held out instants without 3D poses and without "
            "two images of one camera. Hold out labelled subjects, or none."
        )
    if options.every_steps < 1 or options.patience < 0:
        raise InputError(
            "validation.every_steps is at least 1 and validation.patience at least 0. "
            f"Received: every_steps={options.every_steps}, patience={options.patience}. Correct them."
        )
    if options.patience and not options.metric:
        raise InputError(
            f"validation.patience needs a metric to wait for. Received: patience={options.patience}, "
            f"metric=''. Set validation.metric to one of {', '.join(metrics)}."
        )
    if options.metric and options.metric not in metrics:
        raise InputError(
            f"validation.metric must be one that this data allows: {', '.join(metrics)}. "
            f"Received: {options.metric!r}. Choose one of these, or hold out labelled subjects."
        )
