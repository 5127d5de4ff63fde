"""Whole commands on a disk with too little room: told in a line, nothing half left; with room they go on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mcss_tf import evaluate, export, predict, prepare, retrieve, triangulate
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.serving.versions import versions
from tests import calibrated_recordings
from tests.data import synthetic
from tests.helpers import call, make_tiny_dataset
from tests.prediction.conftest import export_untrained, frame_pixels, write_image, write_video
from tests.test_evaluate import make_run
from tests.test_full_disk import FULL, small_disk

KB = 1024
MB = 1024 * KB


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", "64m") as path:
        yield path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What the commands read: recordings, a video, a run with its dataset, an export. It must not change."""
    root = tmp_path_factory.mktemp("inputs")
    synthetic.write_recordings(root / "recordings", ("S1/walk", "S2/walk", "S3/walk"), has_clock=False)
    calibrated_recordings.write(root / "calibrated")
    write_video(root / "walk.mp4")
    dataset = make_tiny_dataset(
        root / "data", subjects=("S1", "S9"), instants=12, crop_size=48, test_subjects=("S9",)
    )
    make_run(root / "run", dataset, image_size=32)
    export_untrained(root / "mcss", num_joints=16)
    return root


def leave(disk: Path, room: int) -> None:
    """Fills the disk but for `room` bytes."""
    with open(disk / "filler", "wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free - room))


def check(disk: Path, capsys, rooms: list[int], run: Callable[[], int], nothing_half: Callable[[], bool]):
    """Runs a command with each of these rooms, which are too small, then with all of it."""
    for room in rooms:
        leave(disk, room)
        status = run()
        told = capsys.readouterr().err
        assert status in (1, 2), f"{room} bytes: {told}"
        assert "Traceback" not in told
        assert FULL in told.splitlines()[-1], f"{room} bytes: {told}"
        assert str(disk) in told.splitlines()[-1]
        assert nothing_half()
        (disk / "filler").unlink()
    assert run() == 0, capsys.readouterr().err


def test_prepare(disk, inputs, capsys):
    out = disk / "out"
    arguments = ["--source=recordings", f"--input={inputs / 'recordings'}", f"--output={out}", "--boxes=full"]
    check(
        disk, capsys, [0, 8 * KB, 40 * KB, 80 * KB],
        lambda: call(prepare, [*arguments, "--crop_size=32", "--workers=1"]),
        lambda: not (out / "dataset.json").exists(),
    )  # fmt: skip
    PreparedDataset.load(out, require=("train", "test")).verify()


def test_evaluate(disk, inputs, capsys):
    run = disk / "run"
    shutil.copytree(inputs / "run", run, ignore=shutil.ignore_patterns("checkpoints"))
    check(
        disk, capsys, [0, 4 * KB, 200 * KB],
        lambda: call(evaluate, [f"--workdir={run}", f"--data={inputs / 'data'}"]),
        lambda: not (run / "report.html").exists(),
    )  # fmt: skip
    assert (run / "metrics.json").exists()


def test_export(disk, inputs, capsys):
    arguments = [f"--workdir={inputs / 'run'}", f"--output={disk / 'mcss'}", f"--gallery={inputs / 'data'}"]
    check(
        disk, capsys, [0, 300 * KB, 4 * MB],
        lambda: call(export, arguments),
        lambda: versions(disk / "mcss") == [],
    )  # fmt: skip
    assert versions(disk / "mcss") == [1]


def test_predict(disk, inputs, capsys):
    out = disk / "out"
    arguments = [f"--model={inputs / 'mcss'}", f"--input={inputs / 'walk.mp4'}", f"--output={out}"]
    check(
        disk, capsys, [0, 12 * KB, 60 * KB],
        lambda: call(predict, arguments),
        lambda: not out.exists() or not list(out.iterdir()),
    )  # fmt: skip
    assert np.load(out / "poses.npz")["poses_mm"].shape == (30, 17, 3)


def test_triangulate(disk, inputs, capsys):
    out = disk / "out"
    check(
        disk, capsys, [0, 4 * KB],
        lambda: call(triangulate, [f"--input={inputs / 'calibrated'}", f"--output={out}"]),
        lambda: not (out / "triangulation.json").exists(),
    )  # fmt: skip
    assert (out / "triangulation.json").exists()


def test_retrieve(disk, inputs, capsys):
    index, rows = disk / "index", disk / "rows.html"
    model, data = f"--model={inputs / 'mcss'}", f"--data={inputs / 'data'}"
    check(
        disk, capsys, [0, 8 * KB],
        lambda: call(retrieve, [model, data, f"--index={index}"], ["build"]),
        lambda: not (index / "index.json").exists(),
    )  # fmt: skip
    image = write_image(disk / "query.png", frame_pixels(0))
    query = [model, f"--index={index}", f"--query={image}", f"--output={rows}"]
    check(
        disk, capsys, [0, 4 * KB],
        lambda: call(retrieve, query, ["query"]),
        lambda: not rows.exists(),
    )  # fmt: skip
