"""A window of steps whose profile TensorBoard shows."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from mcss_tf.errors import InputError


class Profiler:
    """Profiles a range of steps; a context manager, so that a run that ends within it leaves a profile too.

    Args:
        folder: of TensorBoard.
        steps: to profile, counted from 1; None for none. Steps done before a resume are not waited for.
    """

    def __init__(self, folder: Path, steps: range | None):
        self._folder, self._steps = folder, steps or range(0)
        self._is_on = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop()

    def before(self, step: int) -> None:
        """Starts with the first step of the range."""
        if step in self._steps and not self._is_on:
            tf.profiler.experimental.start(str(self._folder))
            self._is_on = True

    def after(self, step: int) -> None:
        """Ends with the last."""
        if step + 1 not in self._steps:
            self._stop()

    def _stop(self) -> None:
        if self._is_on:
            self._is_on = False
            tf.profiler.experimental.stop()


def parse_steps(text: str) -> range | None:
    """Returns the steps of "100:110", both included; None of "".

    Raises:
        InputError: it is anything else.
    """
    if not text:
        return None
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise InputError(
            f"--profile is a first and a last step, counted from 1. Received: {text!r}. "
            "Give for example 100:110."
        )
    return range(int(first), int(last) + 1)
