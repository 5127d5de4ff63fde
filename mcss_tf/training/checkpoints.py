"""The resumable state of a run on disk, and the signals that ask for it to be saved."""

import concurrent.futures
import contextlib
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.training.workdir import Workdir

# What a reader says of a checkpoint whose bytes have changed, or that is not of this model.
_UNREADABLE = (InputError, tf.errors.OpError, OSError, ValueError, RuntimeError, LookupError)


class Checkpoints:
    """The resumable state of a run, written by a thread of its own while training goes on.

    A context manager. `save` copies the variables into NumPy arrays, which is fast, and returns. The thread
    writes them as an .npz, whole or not at all, without TensorFlow: its savers wait for what other threads
    compute, and beside a running step that now and then ended the process. The archive has a checksum of
    every array, so what was damaged on disk is noticed when it is restored.

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
        self._folder, self._keep = workdir.checkpoints, keep
        self._variables = {
            f"{name}/{number}": variable
            for name, part in parts.items()
            for number, variable in enumerate(part.variables)
        }
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: concurrent.futures.Future | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        self._thread.shutdown(wait=True)
        if kind is None:  # else what went wrong first is what is told
            self.wait()

    def restore(self, source: Workdir | None = None) -> tuple[int, list[str]]:
        """Restores the newest checkpoint that is whole, of another workdir where one is given.

        Returns:
            The number of steps it has done, 0 where there is none; and a warning for each that is damaged.

        Raises:
            InputError: there are checkpoints, and all of them are damaged.
        """
        warnings: list[str] = []
        for half_written in self._folder.glob(".ckpt-*.tmp"):
            half_written.unlink()
        folder = source.checkpoints if source else self._folder
        for step, path in reversed(_on_disk(folder).items()):
            try:
                state = self._read(path)
            except _UNREADABLE as error:
                cause = error.__cause__ or error
                reason = str(cause).strip().partition("\n")[0]
                warnings.append(f"{path} is damaged ({type(cause).__name__}: {reason}) and was passed over")
                continue
            for name, variable in self._variables.items():
                variable.assign(state[name])
            return step, warnings
        if warnings:
            raise InputError(
                f"A run resumes from a whole checkpoint. Received: {'; '.join(warnings)}. "
                f"Bring back a copy of {folder}, or remove it to start the run anew."
            )
        return 0, warnings

    def save(self, step: int) -> float:
        """Starts saving the state after `step` steps and returns the seconds for which training stood still.

        Raises:
            OSError: the checkpoint before could not be written.
        """
        start = time.monotonic()
        self.wait()
        state = {name: tf.convert_to_tensor(v).numpy() for name, v in self._variables.items()}
        self._pending = self._thread.submit(self._write, step, state)
        return time.monotonic() - start

    def wait(self) -> None:
        """Waits until the last checkpoint is on disk.

        Raises:
            OSError: it could not be written.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def check(self) -> None:
        """Raises OSError where the last checkpoint could not be written, as soon as that is known."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def _write(self, step: int, state: dict[str, np.ndarray]) -> None:
        path = self._folder / f"ckpt-{step}.npz"
        try:
            with files.atomic_write(path) as file:
                np.savez(file, **state)
            steps = list(_on_disk(self._folder))
            # Those of later steps were passed over as damaged, or this step would not have been done again.
            kept = [other for other in steps if other <= step][-self._keep :]
            for old in set(steps) - set(kept):
                for part in self._folder.glob(f"ckpt-{old}.*"):
                    part.unlink()
        except OSError as error:
            raise OSError(f"checkpoint {path} could not be written: {error}") from error

    def _read(self, path: Path) -> dict[str, np.ndarray]:
        is_bundle = path.suffix == ".index"
        state = _read_bundle(path) if is_bundle else files.load_npz(path, "A checkpoint", max_bytes=None)
        for name, variable in self._variables.items():
            wanted = tuple(variable.shape), tf.as_dtype(variable.dtype).as_numpy_dtype
            if name not in state or (state[name].shape, state[name].dtype) != wanted:
                raise ValueError(f"{name} is not there as {wanted[1].__name__} {list(wanted[0])}")
        return state


def _on_disk(folder: Path) -> dict[int, Path]:
    """Returns the checkpoints of a folder by step, oldest first."""
    found = [(re.fullmatch(r"ckpt-(\d+)\.(npz|index)", path.name), path) for path in folder.glob("ckpt-*")]
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def _read_bundle(index: Path) -> dict[str, np.ndarray]:
    """Reads what earlier versions wrote, a checkpoint of TensorFlow."""
    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith(suffix)]
    return {name.removesuffix(suffix): reader.get_tensor(name) for name in names}


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Yields a list that receives SIGINT and SIGTERM, so that a step is never cut in half.

    Raises:
        SystemExit: one came that nobody heeded before the end.
    """
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
    if caught:
        raise SystemExit(128 + caught[0])
