"""Two processes never share a folder; what a killed one left is free."""

import json
import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from mcss_tf.errors import InputError
from mcss_tf.training.lock import Lock

_HOLD = """
import pathlib, sys, time
from mcss_tf.training.lock import Lock
with Lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_told_who_holds_it_and_a_killed_one_gives_way(holder, tmp_path):
    with pytest.raises(InputError) as refused, Lock(tmp_path / "lock"):
        pass
    assert f"held by process {holder.pid} on {platform.node()} since 20" in str(refused.value)
    assert "last sign of life" in str(refused.value)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Lock(tmp_path / "lock") as lock:
        assert lock.taken_over.startswith(f"process {holder.pid} on {platform.node()}")
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "lock").exists()


def test_a_free_folder_is_taken_and_left_as_it_was(tmp_path):
    (tmp_path / "file").touch()
    for _ in range(2):
        with Lock(tmp_path / "lock") as lock:
            assert lock.taken_over is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with Lock(tmp_path / "new" / "lock"):
        pass
    assert not (tmp_path / "new").exists(), "a folder made for a lock alone goes with it"


@pytest.mark.parametrize(("age_s", "is_free"), [(30, False), (200, True)])
def test_another_machine_counts_while_its_heart_beats(tmp_path, age_s, is_free):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 7, "host": "elsewhere", "since": "then"}))
    os.utime(path, (time.time() - age_s,) * 2)
    if is_free:
        with Lock(path) as lock:
            assert lock.taken_over.startswith("process 7 on elsewhere since then (last sign of life 20")
    else:
        with pytest.raises(InputError, match=r"held by process 7 on elsewhere .* 3\d s ago"):
            Lock(path).__enter__()
        assert json.loads(path.read_text())["host"] == "elsewhere"


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr("mcss_tf.training.lock._HEARTBEAT_S", 0.01)
    with Lock(tmp_path / "lock"):
        os.utime(tmp_path / "lock", (0, 0))
        deadline = time.monotonic() + 5
        while (tmp_path / "lock").stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / "lock").stat().st_mtime > 1


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"must be writable. Received: .*file/run \(.*Not a directory"):
        Lock(tmp_path / "file" / "run" / "lock").__enter__()
