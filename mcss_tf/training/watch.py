"""Stops a run that has gone wrong, and says in which steps it did."""

import math
from collections.abc import Callable, Mapping


class TrainingStoppedError(RuntimeError):
    """The run cannot go on: the loss is not finite, or the embedding has collapsed."""


class Watch:
    """Looks at the mean scalars of every interval of steps.

    Args:
        find_collapse: returns what is collapsed in an interval's means, or None.
        patience_steps: consecutive collapsed steps after which the run stops.
    """

    def __init__(self, find_collapse: Callable[[Mapping[str, float]], str | None], patience_steps: int):
        self._find_collapse = find_collapse
        self._patience_steps = patience_steps
        self._collapsed_since: int | None = None

    def check(self, means: Mapping[str, float], first: int, last: int) -> None:
        """Judges the interval of steps first..last (counted from 1).

        Raises:
            TrainingStoppedError: a mean is NaN or infinite, or the collapse has lasted longer than patience.
        """
        bad = {name: value for name, value in means.items() if not math.isfinite(value)}
        if bad:
            raise TrainingStoppedError(
                f"Every loss term must stay finite. Received: {_show(bad)} in steps {first}-{last}. "
                "Lower train.learning_rate or lengthen train.warmup_steps; the last checkpoint is sound."
            )
        reason = self._find_collapse(means)
        if reason is None:
            self._collapsed_since = None
            return
        self._collapsed_since = self._collapsed_since or first
        if last - self._collapsed_since + 1 >= self._patience_steps:
            raise TrainingStoppedError(
                "The embedding must not collapse. "
                f"Received: {reason} in steps {self._collapsed_since}-{last}. "
                "Lower loss.threshold or raise loss.threshold_spread, so that negatives push from the start."
            )


def _show(scalars: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in scalars.items())
