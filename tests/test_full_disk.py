"""A disk that is really full, and one that is really read-only: told in a line, and every file is whole."""

import contextlib
import csv
import re
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import lifting
from mcss_tf import files
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.prediction.results import new_folder
from mcss_tf.serving.versions import new_version, versions
from mcss_tf.training.lock import Lock
from mcss_tf.training.loop import train
from mcss_tf.training.workdir import Workdir
from tests.small_method import Small

FULL = "No space left on device"
READ_ONLY = "Read-only file system"


@contextlib.contextmanager
def small_disk(path, size):
    """Mounts a disk of so many bytes, as `mount` writes them, or skips the test."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"a small disk takes the right to mount one: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", "1m") as path:
        yield path


def make_read_only(disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


def fill(disk):
    with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


class Filling(Small):
    """Fills the disk before the 13th batch."""

    def __init__(self, disk):
        super().__init__()
        self._disk = disk

    def train_batches(self, start_step):
        def look(step, batch):
            if step == 13:
                fill(self._disk)
            return batch

        @tf.autograph.experimental.do_not_convert
        def pass_on(step, batch):
            return tf.ensure_shape(tf.numpy_function(look, [step, batch], tf.float32), (16, 20))

        return tf.data.Dataset.zip(tf.data.Dataset.range(10**9), super().train_batches(start_step)).map(
            pass_on
        )


def run(disk, method, num_steps):
    """Trains with a checkpoint every 10 steps as the entry point does; returns its exit status."""
    config = lifting.get_config()
    config.train.steps, config.train.log_every, config.train.checkpoint_every = num_steps, 5, 10

    @tells_disk_errors
    def main(argv):
        (disk / "run").mkdir(exist_ok=True)
        train(method, config, Workdir(disk / "run"))
        return 0

    return main([])


def test_training_stops_on_a_full_disk_and_goes_on_with_room(disk, capsys):
    assert run(disk, Filling(disk), 30) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("stopped: ")
    assert str(disk / "run") in told
    assert FULL in told
    assert [path.name for path in (disk / "run" / "checkpoints").iterdir()] == ["ckpt-10.npz"]
    (disk / "filler").unlink()
    assert run(disk, Small(), 30) == 0
    with open(disk / "run" / "metrics.csv", newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [5, 10, 15, 20, 25, 30]


def test_nothing_is_resumed_on_a_read_only_disk(disk, capsys):
    assert run(disk, Small(), 10) == 0
    before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    make_read_only(disk)
    assert run(disk, Small(), 20) == 1
    assert re.search(rf"^stopped: .*{READ_ONLY}.*{disk / 'run'}", capsys.readouterr().err, re.MULTILINE)
    assert {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()} == before


def test_nothing_starts_where_nothing_can_be_written(disk):
    make_read_only(disk)
    with (
        pytest.raises(InputError, match=f"output folder must be writable.*{READ_ONLY}"),
        Lock(disk / "run" / "lock"),
    ):
        pass


def write_file(disk):
    files.write_json(disk / "old.json", "x" * 2_000_000)


def write_predictions(disk):
    with new_folder(disk / "out") as folder:
        np.savez(folder / "poses.npz", poses=np.zeros(500_000))


def write_export(disk):
    module = tf.Module()
    module.weights = tf.Variable(tf.random.stateless_normal((1000, 500), (0, 0)))
    with new_version(disk / "out") as folder:
        tf.saved_model.save(module, str(folder))


def write_model(disk):
    model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(500)])
    Workdir(disk).save_model(model)


def write_curves(disk):
    writer = tf.summary.create_file_writer(str(disk / "out"))
    with writer.as_default():
        tf.summary.image("noise", tf.random.stateless_uniform((1, 1000, 1000, 3), (0, 0)), step=1)
    writer.close()


RESULTS = (write_file, write_predictions, write_export, write_model)


# TensorFlow's writer of curves raises nothing when the disk fills up; metrics.csv beside them does.
@pytest.mark.parametrize(
    ("write", "is_full"),
    [(write, True) for write in RESULTS] + [(write, False) for write in (*RESULTS, write_curves)],
)
def test_results_are_whole_or_absent(disk, capsys, write, is_full):
    (disk / "old.json").write_text("before")
    if not is_full:
        make_read_only(disk)

    def main(argv):
        write(disk)
        return 0

    assert tells_disk_errors(main)([]) == 1
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("stopped: ")
    assert (FULL if is_full else READ_ONLY) in told.splitlines()[-1]
    assert (disk / "old.json").read_text() == "before"
    assert versions(disk / "out") == []
    left = {path.name for path in Path(disk).rglob("*") if path.is_file()} - {"old.json"}
    assert all("tfevents" in name for name in left)


def test_other_errors_are_not_taken_for_the_disk():
    def main(argv):
        try:
            Path("nowhere").read_bytes()
        except FileNotFoundError:
            return 1 / len(argv)  # a fault of the program's, not of the file

    with pytest.raises(ZeroDivisionError):
        tells_disk_errors(main)([])
