"""Runs what the grid asks for and is not there yet: rooms, networks, measures; in order, resumable."""

import contextlib
import datetime
import gc
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

import mcss_tf
from mcss_tf import files, methods
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError
from mcss_tf.reproduction import grid
from mcss_tf.reproduction.measure import measure
from mcss_tf.reproduction.trainings import Results, Training
from mcss_tf.training.lock import Lock
from mcss_tf.training.loop import train
from mcss_tf.training.watch import TrainingStoppedError
from mcss_tf.training.workdir import load_run, open_workdir

ROOT = Path(mcss_tf.__file__).resolve().parents[1]


class Runner:
    """Makes networks and their numbers.

    Args:
        workdirs: folder of all workdirs.
        rooms: prepared datasets by the grid's name.
        results: where the numbers go.
    """

    def __init__(self, workdirs: Path, rooms: Mapping[str, PreparedDataset], results: Results):
        self._workdirs, self._rooms, self._results = workdirs, rooms, results

    def missing(self, training: Training, measures: set[str]) -> set[str]:
        """Returns which of the measures of a network are not there yet; none of one that stopped early."""
        found = self._results.find(training)
        return set() if found and found["stopped"] else measures - set(found["metrics"] if found else {})

    def run(self, training: Training, measures: set[str], rows: list[grid.Row]) -> dict[str, Any]:
        """Trains a network unless that is done, measures what is missing and writes its JSON.

        Raises:
            SystemExit: SIGINT or SIGTERM came; the same command goes on from the saved state.
        """
        result = self._results.find(training) or self._describe(training, rows)
        workdir = self._workdirs / training.folder
        start = time.monotonic()
        try:
            model = self._train(training, workdir)
        except TrainingStoppedError as error:
            result["stopped"] = str(error)
        else:
            config = training.config(self._workdirs)
            for what in sorted(self.missing(training, measures)):
                room = "other" if what == "test@other" else training.room
                result["metrics"][what] = measure(
                    what.partition("@")[0], model, config, self._rooms[room], grid.MAX_QUERIES
                )
        result["seconds"] = {"training": _seconds(workdir), "all": round(time.monotonic() - start, 1)}
        result["finished"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._results.write(training, result)
        keras.backend.clear_session()
        gc.collect()
        return result

    def _train(self, training: Training, folder: Path) -> keras.Model:
        if training.start:
            self._train(training.start, self._workdirs / training.start.folder)
        config, dataset = training.config(self._workdirs), self._rooms[training.room]
        command = self._command(training)
        workdir = open_workdir(folder, config, dataset, command)
        if not workdir.is_finished():
            with Lock(folder / "lock"), _counted(folder):
                train(methods.get(config, dataset), config, workdir)
        # What is measured is what was saved.
        return load_run(folder).model

    def _describe(self, training: Training, rows: list[grid.Row]) -> dict[str, Any]:
        dataset = self._rooms[training.room]
        return {
            "name": training.name,
            "seed": training.settings["seed"],
            "rows": [[row.experiment, row.method, row.labels] for row in rows],
            "config": f"configs/{training.config_name}.py",
            "changes": dict(training.changes),
            "settings": dict(training.settings),
            "room": training.room,
            "images_sha256": training.images_sha256,
            "dataset_checksum": dataset.checksum,
            "start": training.start and training.start.key,
            "command": shlex.join(self._command(training)),
            "code": code_version(),
            "machine": machine(),
            "stopped": None,
            "metrics": {},
        }

    def _command(self, training: Training) -> list[str]:
        """Returns the command line that trains the same network by hand."""
        changes = dict(training.changes)
        if training.start:
            changes["train.init_from"] = str(self._workdirs / training.start.folder)
        return [
            "python", "-m", "mcss_tf.train", f"--config=configs/{training.config_name}.py",
            *(f"--config.{name}={value}" for name, value in changes.items()),
            f"--data={self._rooms[training.room].path}", f"--workdir={self._workdirs / training.folder}",
        ]  # fmt: skip


def prepare_room(name: str, output: Path, given: str | None = None) -> PreparedDataset:
    """Opens a room's dataset, which is rendered first where it is not there.

    Args:
        name: of the grid.
        output: folder of the rendered rooms.
        given: another prepared dataset in the room's place.

    Raises:
        InputError: it could not be prepared.
    """
    if given:
        return PreparedDataset.load(given, require=("train", "test"))
    room = grid.ROOMS[name]
    path = output / room.folder
    if not (path / "dataset.json").exists():
        command = [sys.executable, "-m", "mcss_tf.prepare", *room.prepare, f"--output={path}"]
        print(f"rendering: {shlex.join(command)}", flush=True)
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise InputError(
                f"The benchmark must be rendered first. Received: an error of prepare for {path}, which "
                "stands above. Correct it and run the same command again."
            )
    dataset = PreparedDataset.load(path, require=("train", "test"))
    found = checksum(dataset)
    if found != room.images_sha256:
        print(
            f"NOTE: the crops of {path} are not those of the published numbers: checksum {found}, not "
            f"{room.images_sha256}"
        )
    return dataset


def checksum(dataset: PreparedDataset) -> str:
    """Returns the checksum of a dataset's crops; of the whole dataset where it has keypoints in their place.

    Datasets of earlier versions have none of their crops.
    """
    has_images = dataset.metadata["counts"]["images"] > 0
    return dataset.metadata.get("images_sha256", dataset.checksum) if has_images else dataset.checksum


def code_version() -> str:
    """Returns the version of this package, with the commit where it is a git checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return f"{mcss_tf.__version__} {done.stdout.strip()}"
    return mcss_tf.__version__


def machine() -> str:
    """Returns the number of cores and the processor's name."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{os.cpu_count()} cores, {name}"


@contextlib.contextmanager
def _counted(workdir: Path) -> Iterator[None]:
    """Adds the time of the block to that of earlier parts of the same training."""
    before, start = _seconds(workdir), time.monotonic()
    try:
        yield
    finally:
        files.write_json(workdir / "seconds.json", round(before + time.monotonic() - start, 1))


def _seconds(workdir: Path) -> float:
    path = workdir / "seconds.json"
    return json.loads(path.read_text()) if path.is_file() else 0.0
