"""The resumable state of a run on disk, and the signals that ask for it to be saved."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from mcss_tf.training.validation import Validation
from mcss_tf.training.workdir import Workdir


class Checkpoints:
    """The resumable state of a run: weights, optimizer, the method's own state, the best so far, the step."""

    def __init__(
        self, workdir: Workdir, model: keras.Model, optimizer: Any, method: Any, validation: Validation
    ):
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = tf.train.Checkpoint(
            model=model,
            optimizer=optimizer,
            method=method.state,
            validation=validation,
            step=self._step,
        )
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(workdir.checkpoints), max_to_keep=2, step_counter=self._step
        )

    def restore(self) -> int:
        """Restores the newest checkpoint and returns the number of steps it has done; 0 without one."""
        if self._manager.latest_checkpoint:
            status = self._checkpoint.restore(self._manager.latest_checkpoint)
            status.assert_existing_objects_matched()
        return int(self._step)

    def save(self, step: int) -> None:
        """Saves the state after `step` steps."""
        self._step.assign(step)
        self._manager.save(checkpoint_number=step)


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Yields a list that receives SIGINT and SIGTERM, so that a step is never cut in half."""
    caught: list[int] = []
    previous = {
        number: signal.signal(number, lambda received, _: caught.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
