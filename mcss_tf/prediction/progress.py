"""Progress of work on frames, with rate and time left."""

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mcss_tf.prediction.infer import Advance


class Stages:
    """One bar per pass over the frames of an input; a context manager, silent where nobody watches."""

    def __init__(self, num_frames: int):
        """Prepares bars that end at `num_frames`."""
        console = Console()
        self._num_frames = num_frames
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def start(self, name: str) -> Advance:
        """Adds a bar; returns the function that moves it on by a number of frames."""
        task = self._progress.add_task(name, total=self._num_frames)
        return lambda count: self._progress.advance(task, count)

    def __enter__(self) -> "Stages":
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f} frames/s")
