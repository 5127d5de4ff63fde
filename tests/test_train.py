"""The command line: a run, a second call, and every way to get it wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import make_tiny_dataset

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    make_tiny_dataset(path, instants=8)
    return path


def call(*arguments):
    command = [sys.executable, "-m", "mcss_tf.train", "--config=configs/tiny.py", *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_a_run_and_what_a_second_call_does_with_its_workdir(data, tmp_path):
    arguments = (f"--data={data}", f"--workdir={tmp_path / 'run'}", "--config.train.steps=2")
    first = call(*arguments)
    assert first.returncode == 0, first.stderr
    assert f"wrote {tmp_path / 'run' / 'model.keras'}" in first.stdout
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["steps"] == 2
    again = call(*arguments)
    assert (again.returncode, "this run is finished" in again.stdout) == (0, True)
    other = call(*arguments[:2], "--config.train.steps=3")
    assert other.returncode == 2
    assert "train.steps: 2 there, 3 here" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_typo_in_an_override_is_refused(data, tmp_path):
    result = call(f"--data={data}", f"--workdir={tmp_path}", "--config.train.stepz=2")
    assert result.returncode != 0
    assert 'Did you mean "steps"' in result.stderr
    assert not (tmp_path / "run.json").exists()


def test_bad_input_is_told_without_a_traceback(tmp_path):
    result = call(f"--data={tmp_path / 'absent'}", f"--workdir={tmp_path / 'run'}")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "absent" in result.stderr
    assert "Traceback" not in result.stderr
