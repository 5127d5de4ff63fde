"""What one sees of a run: a progress bar, one line per epoch, metrics.csv, log.jsonl and TensorBoard."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mcss_tf.training import device
from mcss_tf.training.journal import RunLog, Table
from mcss_tf.training.workdir import Workdir


class Logs:
    """Writes scalars to the progress bar, the CSV, the log and TensorBoard; a context manager.

    Args:
        workdir: of the run.
        first_step: steps done before (a resumed run); later rows of the CSV are dropped.
        num_steps: of the whole run.
        steps_per_epoch: distance of the printed lines.
        images_per_step: to tell images/s.
        is_quiet: whether nothing is printed: workers beside the chief.
    """

    def __init__(
        self,
        workdir: Workdir,
        first_step: int,
        num_steps: int,
        steps_per_epoch: int,
        images_per_step: int,
        is_quiet: bool = False,
    ):
        self._metrics = Table(workdir.metrics_csv, first_step)
        self._validation = Table(workdir.validation_csv, first_step)
        self._log = RunLog(workdir.log, first_step)
        self._log.write(
            "resume" if first_step else "start",
            step=first_step,
            num_steps=num_steps,
            pid=os.getpid(),
            host=platform.node(),
        )
        self._writer = tf.summary.create_file_writer(str(workdir.tensorboard))
        self._step = first_step
        self._steps_per_epoch = steps_per_epoch
        self._images_per_step = images_per_step
        self._next_line = (first_step // steps_per_epoch + 1) * steps_per_epoch
        self._clock, self._clock_step, self._waited_s = time.monotonic(), first_step, 0.0
        console = Console(quiet=is_quiet)
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

    def __exit__(self, kind: type | None, error: BaseException | None, _: Any) -> None:
        self._progress.stop()
        self._writer.close()
        reason = "finished" if kind is None else f"{kind.__name__}: {error}"
        self._log.write("end", step=self._step, reason=reason)

    def next_batch(self, batches: Iterator[Any]) -> Any:
        """Returns the next batch, and counts the time that training waits for it."""
        start = time.monotonic()
        batch = next(batches)
        self._waited_s += time.monotonic() - start
        return batch

    def advance(self) -> None:
        """Moves the bar by one step."""
        self._step += 1
        self._progress.advance(self._task)

    def print(self, text: str) -> None:
        """Prints a line above the bar."""
        self._progress.console.print(text, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Prints a warning above the bar and keeps it in the log."""
        self.print(f"warning: {text}")
        self._log.write("warning", step=self._step, text=text)

    def write_checkpoint(self, step: int, blocked_s: float) -> None:
        """Records how long a checkpoint held training up."""
        self._log.write("checkpoint", step=step, blocked_s=round(blocked_s, 4))

    def pause_clock(self, seconds: float) -> None:
        """Leaves time that was not spent on training steps out of images/s."""
        self._clock += seconds

    def write(self, step: int, learning_rate: float, means: Mapping[str, float]) -> None:
        """Records the means of the interval that ends with `step`."""
        now = time.monotonic()
        seconds, num_steps = max(now - self._clock, 1e-9), step - self._clock_step
        images_per_s, wait_share = self._images_per_step * num_steps / seconds, self._waited_s / seconds
        self._clock, self._clock_step, self._waited_s = now, step, 0.0
        scalars = {**means, "learning_rate": learning_rate, "images_per_s": images_per_s}
        self._metrics.append({"step": step, **{name: f"{value:.6g}" for name, value in scalars.items()}})
        self._log.write(
            "interval",
            step=step,
            num_steps=num_steps,
            seconds=round(seconds, 4),
            images_per_s=round(images_per_s, 2),
            input_wait_share=round(wait_share, 4),
            peak_memory_mb=device.peak_memory_mb(),
            total=means["total"],
        )
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
        self._validation.append({"step": step, **{name: f"{value:.6g}" for name, value in scalars.items()}})
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
