"""What one sees of a run: a progress bar, one line per epoch, metrics.csv and TensorBoard."""

import csv
import io
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mcss_tf import files
from mcss_tf.training.workdir import Workdir


class Logs:
    """Writes scalars to the progress bar, the CSV and TensorBoard; a context manager.

    Args:
        workdir: of the run.
        first_step: steps done before (a resumed run); later rows of the CSV are dropped.
        num_steps: of the whole run.
        steps_per_epoch: distance of the printed lines.
        images_per_step: to tell images/s.
    """

    def __init__(
        self, workdir: Workdir, first_step: int, num_steps: int, steps_per_epoch: int, images_per_step: int
    ):
        self._csv_path, self._validation_path = workdir.metrics_csv, workdir.validation_csv
        self._rows, self._validation_rows = (
            [row for row in _read_csv(path) if int(row["step"]) <= first_step]
            for path in (self._csv_path, self._validation_path)
        )
        self._writer = tf.summary.create_file_writer(str(workdir.tensorboard))
        self._steps_per_epoch = steps_per_epoch
        self._images_per_step = images_per_step
        self._next_line = (first_step // steps_per_epoch + 1) * steps_per_epoch
        self._clock, self._clock_step = time.monotonic(), first_step
        console = Console()
        self._progress = Progress(
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("train", total=num_steps, completed=first_step, note="")

    def __enter__(self) -> "Logs":
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()
        self._writer.close()

    def advance(self) -> None:
        """Moves the bar by one step."""
        self._progress.advance(self._task)

    def print(self, text: str) -> None:
        """Prints a line above the bar."""
        self._progress.console.print(text, highlight=False, soft_wrap=True)

    def pause_clock(self, seconds: float) -> None:
        """Leaves time that was not spent on training steps out of images/s."""
        self._clock += seconds

    def write(self, step: int, learning_rate: float, means: Mapping[str, float]) -> None:
        """Records the means of the interval that ends with `step`."""
        now = time.monotonic()
        images_per_s = self._images_per_step * (step - self._clock_step) / max(now - self._clock, 1e-9)
        self._clock, self._clock_step = now, step
        scalars = {**means, "learning_rate": learning_rate, "images_per_s": images_per_s}
        self._rows.append({"step": step, **{name: f"{value:.6g}" for name, value in scalars.items()}})
        files.write_text(self._csv_path, _to_csv(self._rows))
        with self._writer.as_default():
            for name, value in scalars.items():
                tf.summary.scalar(name, value, step=step)
        self._writer.flush()
        self._progress.update(self._task, note=f"loss {means['total']:.3f}  {images_per_s:.0f} images/s")
        if step >= self._next_line:
            self._next_line = (step // self._steps_per_epoch + 1) * self._steps_per_epoch
            terms = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
            epoch = step // self._steps_per_epoch
            self.print(f"epoch {epoch}  step {step}  {terms}  {images_per_s:.0f} images/s")

    def write_validation(self, step: int, scalars: Mapping[str, float]) -> None:
        """Records what was measured on the validation split after `step`."""
        self._validation_rows.append(
            {"step": step, **{name: f"{value:.6g}" for name, value in scalars.items()}}
        )
        files.write_text(self._validation_path, _to_csv(self._validation_rows))
        with self._writer.as_default():
            for name, value in scalars.items():
                tf.summary.scalar(f"validation/{name}", value, step=step)
        self._writer.flush()
        self.print(
            f"validation  step {step}  " + "  ".join(f"{name} {value:.3f}" for name, value in scalars.items())
        )

    def write_image(self, step: int, name: str, image: np.ndarray) -> None:
        """Records a picture, uint8 [height, width, 3], in TensorBoard."""
        with self._writer.as_default():
            tf.summary.image(name, image[None], step=step)


def _read_csv(path: Any) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _to_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
