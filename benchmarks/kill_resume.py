"""Kills training at random moments, resumes it, and compares the outcome with a run that was left alone.

    nice -n 15 python -m benchmarks.kill_resume --kills=200 --seed=0 --json=FILE

A process that has imported TensorFlow, but not used it, forks every run, and the method is a small one, so
that a start costs a second instead of ten; `--method=lifting` takes a real one. Of the kills, a fifth are
SIGTERM, the others SIGKILL; some hit a run before its first step. After one kill in ten a bit of the newest
checkpoint is flipped. Status 1 if anything below is not so: every resume succeeds; a kill costs at most the
steps since the last checkpoint that was whole, SIGTERM none; the rows of metrics.csv and log.jsonl are there
once; a damaged checkpoint is named; the final weights are those of the undisturbed run, bit by bit.
"""

import csv
import hashlib
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from configs import lifting
from mcss_tf import files, methods
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.training import logs, loop
from mcss_tf.training.journal import read_log
from mcss_tf.training.workdir import open_workdir
from tests.keypoint_datasets import make_keypoint_dataset
from tests.small_method import Small

FLAGS = flags.FLAGS
flags.DEFINE_integer("kills", 200, "Kills.", lower_bound=1)
flags.DEFINE_enum("method", "small", ("small", "lifting"), "A method that starts in a second, or a real one.")
flags.DEFINE_integer("steps", 300, "Steps of a run.")
flags.DEFINE_integer("checkpoint_every", 20, "Steps between checkpoints.")
flags.DEFINE_float("minutes", 60.0, "No further run starts after so long.")
flags.DEFINE_integer("seed", 0, "Of the moments.")
flags.DEFINE_string("json", None, "File for the figures.")
LOG_EVERY = 10


def main(argv: Sequence[str]) -> int:
    """Prints the figures; returns the exit status."""
    del argv
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures = Trial(Path(folder)).run()
    figures["minutes"] = (time.monotonic() - start) / 60
    for name, value in figures.items():
        print(f"{name:34} {value}")
    if FLAGS.json:
        files.write_json(FLAGS.json, figures)
    return 1 if figures["failures"] else 0


class Trial:
    """Runs, their kills, and what was found wrong with them."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._rng = random.Random(FLAGS.seed)
        self._failures: list[str] = []
        self._lost: list[int] = []
        self._term_s: list[float] = []
        self._num_damaged = self._num_early = 0
        # Shared with the forked runs: the step that has just been done.
        self._step = mmap.mmap(-1, 8)

    def run(self) -> dict:
        """Kills until there are enough kills and returns the figures."""
        _wait(_fork(lambda: make_keypoint_dataset(self._folder / "data", instants=200)))
        reference = self._folder / "reference"
        begin = time.monotonic()
        if _wait(_fork(lambda: self._train(reference))) != 0:
            raise RuntimeError("The undisturbed run failed.")
        duration_s = time.monotonic() - begin
        kills, runs = 0, 0
        end = time.monotonic() + 60 * FLAGS.minutes
        while kills < FLAGS.kills and time.monotonic() < end:
            kills += self._run_with_kills(self._folder / f"run{runs}", duration_s, FLAGS.kills - kills)
            self._compare(self._folder / f"run{runs}", reference)
            runs += 1
            print(f"{kills} kills, {runs} runs, {len(self._failures)} failures", file=sys.stderr)
        lost = np.array(self._lost)
        return {
            "method": FLAGS.method,
            "kills": kills,
            "sigterm": len(self._term_s),
            "before_the_first_step": self._num_early,
            "damaged_checkpoints": self._num_damaged,
            "runs_compared_bit_by_bit": runs,
            "checkpoint_every": FLAGS.checkpoint_every,
            "steps_lost_median": float(np.median(lost)),
            "steps_lost_most": int(lost.max()),
            "sigterm_to_exit_s_median": float(np.median(self._term_s)) if self._term_s else None,
            "sigterm_to_exit_s_most": max(self._term_s, default=None),
            "failures": self._failures,
        }

    def _run_with_kills(self, workdir: Path, duration_s: float, most: int) -> int:
        """Resumes one run until it ends; returns how often it was killed."""
        for kills in range(most + 1):
            self._set_step(0)
            expected, num_starts = _whole_checkpoints(workdir), len(_starts(workdir))
            pid = _fork(lambda: self._train(workdir))
            if kills == most:
                status = _wait(pid)
            else:
                number = self._rng.choices([signal.SIGKILL, signal.SIGTERM], [4, 1])[0]
                status = self._kill_later(pid, number, self._rng.uniform(0, 1.1 * duration_s))
            starts = _starts(workdir)
            # A run that was killed before it could say where it starts says nothing about that.
            resumed = starts[-1] if len(starts) > num_starts else None
            if resumed is not None and resumed < max(expected, default=0):
                self._fail(f"{workdir.name}: resumed at {resumed}, whole were {expected}")
            if status == 0:
                return kills
            if status not in (-signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM):
                self._fail(f"{workdir.name}: status {status} after {kills} kills")
                return kills + 1
            self._count_lost(workdir, status)
            if self._rng.random() < 0.1:
                self._damage(workdir)
        raise AssertionError

    def _kill_later(self, pid: int, number: int, delay_s: float) -> int:
        """Kills a run after some time, unless it ends before; returns its status."""
        deadline = time.monotonic() + delay_s
        while time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(pid, number)
        begin = time.monotonic()
        status = _wait(pid)
        if status == 128 + signal.SIGTERM:
            self._term_s.append(time.monotonic() - begin)
        return status

    def _count_lost(self, workdir: Path, status: int) -> None:
        """Compares the step at which a run was killed with that of its newest whole checkpoint."""
        done, whole = self._get_step(), max(_whole_checkpoints(workdir), default=0)
        if done == 0:
            self._num_early += 1
            return
        lost = done - whole
        self._lost.append(lost)
        # The checkpoint before is being written while the steps of the next interval are done.
        allowed = 0 if status == 128 + signal.SIGTERM else 2 * FLAGS.checkpoint_every
        if lost > allowed:
            self._fail(f"{workdir.name}: {lost} steps lost at step {done}, status {status}")

    def _damage(self, workdir: Path) -> None:
        """Flips a bit of an array of the newest checkpoint."""
        steps = _whole_checkpoints(workdir)
        if len(steps) < 2:
            return
        path = workdir / "checkpoints" / f"ckpt-{steps[-1]}.npz"
        with np.load(path) as state:
            array = max((state[name] for name in state.files), key=lambda array: array.nbytes).tobytes()
        data = bytearray(path.read_bytes())
        data[data.index(array) + self._rng.randrange(len(array))] ^= 1 << self._rng.randrange(8)
        path.write_bytes(data)
        (workdir / f"{path.name}.damaged").touch()
        self._num_damaged += 1

    def _compare(self, workdir: Path, reference: Path) -> None:
        received, wanted = ((path / "weights.sha256").read_text() for path in (workdir, reference))
        if received != wanted:
            self._fail(f"{workdir.name}: the final weights differ")
        steps = _csv_steps(workdir)
        if len(set(steps)) != len(steps) or not set(_csv_steps(reference)) <= set(steps):
            self._fail(f"{workdir.name}: rows of metrics.csv are missing or double: {steps}")
        events = read_log(workdir / "log.jsonl")
        intervals = [event["step"] for event in events if event["event"] == "interval"]
        if intervals != steps:
            self._fail(f"{workdir.name}: intervals of log.jsonl are missing or double")
        for path in workdir.glob("*.damaged"):
            if not any(e["event"] == "warning" and f"{path.stem} is damaged" in e["text"] for e in events):
                self._fail(f"{workdir.name}: no warning names {path.stem}")

    def _train(self, workdir: Path) -> None:
        advance = logs.Logs.advance

        def count(self_: logs.Logs) -> None:
            advance(self_)
            self._set_step(self_._step)

        logs.Logs.advance = count
        # One core is what a trial that runs beside other work takes.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        config = lifting.get_config()
        config.batch_size, config.model.width, config.model.num_blocks = 16, 32, 1
        config.train.steps, config.train.log_every = FLAGS.steps, LOG_EVERY
        config.train.checkpoint_every = FLAGS.checkpoint_every
        dataset = PreparedDataset.load(self._folder / "data")
        method = Small() if FLAGS.method == "small" else methods.get(config, dataset)
        model = loop.train(method, config, open_workdir(workdir, config, dataset, []), keep=3)
        digest = hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in model.weights))
        files.write_text(workdir / "weights.sha256", digest.hexdigest())

    def _fail(self, text: str) -> None:
        print(f"failure: {text}", file=sys.stderr)
        self._failures.append(text)

    def _get_step(self) -> int:
        return struct.unpack("q", self._step[:8])[0]

    def _set_step(self, step: int) -> None:
        self._step[:8] = struct.pack("q", step)


def _fork(function: Callable[[], object]) -> int:
    """Runs a function in a child; its standard output goes nowhere, its errors to ours."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        function()
        status = 0
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _whole_checkpoints(workdir: Path) -> list[int]:
    """Returns the steps of the checkpoints that were written to their end and not damaged since."""
    paths = [path for path in workdir.glob("checkpoints/ckpt-*.npz") if not _is_damaged(workdir, path)]
    return sorted(int(path.stem.partition("-")[2]) for path in paths)


def _is_damaged(workdir: Path, path: Path) -> bool:
    """Returns whether a checkpoint was damaged and not written anew since."""
    mark = workdir / f"{path.name}.damaged"
    return mark.exists() and path.stat().st_mtime_ns <= mark.stat().st_mtime_ns


def _starts(workdir: Path) -> list[int]:
    """Returns the steps from which the run started and resumed so far."""
    return [e["step"] for e in read_log(workdir / "log.jsonl") if e["event"] in ("start", "resume")]


def _csv_steps(workdir: Path) -> list[int]:
    with open(workdir / "metrics.csv", newline="", encoding="utf-8") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


if __name__ == "__main__":
    app.run(main)
