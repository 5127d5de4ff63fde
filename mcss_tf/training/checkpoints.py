"""The resumable state of a run on disk, and the signals that ask for it to be saved."""

import contextlib
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.training.workdir import Workdir

# What TensorFlow's reader says of a checkpoint whose bytes have changed, or that is not of this model.
_UNREADABLE = (tf.errors.OpError, ValueError, AssertionError, RuntimeError, LookupError)


class Checkpoints:
    """The resumable state of a run.

    A checkpoint is written under a temporary name and renamed, while training stands still: TensorFlow's own
    asynchronous checkpoints fail on Keras 3's variables from the second save on, and a thread of ours that
    saves while a step runs now and then ends the process (its `async_wait` races with the step). A tensor is
    stored with its checksum, so what was damaged on disk is noticed when it is restored.

    Args:
        workdir: of the run.
        keep: how many of the newest checkpoints stay on disk.
        parts: by name, what has `variables`: the model, the optimizer, the method's own state.

    Raises:
        InputError: `keep` is less than 1.
    """

    def __init__(self, workdir: Workdir, keep: int = 2, **parts: Any):
        if keep < 1:
            raise InputError(f"--keep is the number of checkpoints, at least 1. Received: {keep}.")
        self._folder = workdir.checkpoints
        self._live = {name: list(part.variables) for name, part in parts.items()}
        with tf.device("CPU:0"):
            self._copies = {
                name: [tf.Variable(tf.convert_to_tensor(v), trainable=False) for v in variables]
                for name, variables in self._live.items()
            }
            self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = tf.train.Checkpoint(step=self._step, **self._copies)
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(self._folder), max_to_keep=keep)

    def restore(self, source: Workdir | None = None) -> tuple[int, list[str]]:
        """Restores the newest checkpoint that is whole, of another workdir where one is given.

        Returns:
            The number of steps it has done, 0 where there is none; and a warning for each that is damaged.

        Raises:
            InputError: there are checkpoints, and all of them are damaged.
        """
        warnings: list[str] = []
        for half_written in self._folder.glob("ckpt-*_temp"):
            shutil.rmtree(half_written, ignore_errors=True)
        folder = source.checkpoints if source else self._folder
        for prefix in reversed(_on_disk(folder)):
            try:
                self._checkpoint.restore(str(prefix)).assert_existing_objects_matched()
            except _UNREADABLE as error:
                reason = str(error).strip().partition("\n")[0]
                warnings.append(f"{prefix} is damaged ({type(error).__name__}: {reason}) and was passed over")
                continue
            for name, variables in self._live.items():
                for variable, copy in zip(variables, self._copies[name], strict=True):
                    variable.assign(copy)
            return int(self._step), warnings
        if warnings:
            raise InputError(
                f"A run resumes from a whole checkpoint. Received: {'; '.join(warnings)}. "
                f"Bring back a copy of {folder}, or remove it to start the run anew."
            )
        return 0, warnings

    def save(self, step: int) -> float:
        """Saves the state after `step` steps and returns the seconds for which training stood still.

        Raises:
            OSError: the checkpoint could not be written.
        """
        start = time.monotonic()
        self._step.assign(step)
        for name, variables in self._live.items():
            for variable, copy in zip(variables, self._copies[name], strict=True):
                copy.assign(tf.convert_to_tensor(variable))
        try:
            self._manager.save(checkpoint_number=step)
        except tf.errors.OpError as error:
            raise OSError(f"checkpoint {self._folder / f'ckpt-{step}'}: {error.message}") from error
        return time.monotonic() - start


def _on_disk(folder: Path) -> list[Path]:
    """Returns the checkpoints of a folder, oldest first, whatever the list beside them says."""
    found = [re.fullmatch(r"ckpt-(\d+)\.index", path.name) for path in folder.glob("ckpt-*.index")]
    return [folder / f"ckpt-{step}" for step in sorted(int(match[1]) for match in found if match)]


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
