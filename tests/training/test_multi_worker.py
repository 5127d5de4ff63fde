"""Processes that train together over loopback: one result, one workdir, and what the loss of one leaves."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from configs import lifting
from mcss_tf import methods
from mcss_tf.errors import InputError
from mcss_tf.training.loop import train
from mcss_tf.training.strategy import build_strategy, check_tf_config
from mcss_tf.training.workdir import load_run, open_workdir
from tests.keypoint_data import make_keypoint_dataset

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "batch_size": 12,
    "model.width": 16,
    "model.num_blocks": 1,
    "model.dropout": 0.0,
    "train.sync_batch_norm": True,
    "train.log_every": 5,
    "train.checkpoint_every": 5,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_keypoint_dataset(tmp_path_factory.mktemp("data"), num_instants=12, error_px=2.0)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def free_ports(num):
    sockets = [socket.socket() for _ in range(num)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(num_workers, dataset, workdir, num_steps):
    """Starts the workers of one run; their output goes to files beside the workdir."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(num_workers)]}
    flags = [f"--config.{name}={value}" for name, value in SETTINGS.items()]
    command = [
        *(sys.executable, "-m", "mcss_tf.train", "--config=configs/lifting.py", "--strategy=multi_worker"),
        *(f"--data={dataset.path}", f"--workdir={workdir}", f"--config.train.steps={num_steps}", *flags),
    ]
    processes = []
    for index in range(num_workers):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **quiet, "TF_CONFIG": json.dumps(config)}
        with open(workdir.with_name(f"{workdir.name}-{index}.log"), "w") as log:
            processes.append(
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )
    return processes


def finish(processes, workdir, timeout_s=300):
    """Returns the exit statuses and what the workers wrote."""
    try:
        codes = [process.wait(timeout_s) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return codes, [workdir.with_name(f"{workdir.name}-{i}.log").read_text() for i in range(len(processes))]


def wait_for_checkpoint(workdir, processes, timeout_s=300):
    end = time.monotonic() + timeout_s
    while not list(workdir.glob("checkpoints/ckpt-*.npz")):
        assert time.monotonic() < end, "no checkpoint in time"
        assert all(process.poll() is None for process in processes), "a worker ended"
        time.sleep(0.1)


@pytest.mark.slow
def test_three_workers_end_where_one_does(dataset, tmp_path):
    codes, output = finish(start(3, dataset, tmp_path / "run", 6), tmp_path / "run")
    assert codes == [0, 0, 0], output
    assert "3 replicas share it" in output[0]
    assert "replicas" not in output[1] + output[2], "workers beside the chief print nothing"
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("run.json", "config.json", "checkpoints", "metrics.csv", "log.jsonl", "tensorboard", "model.keras"),
    }
    config = lifting.get_config()
    config.update_from_flattened_dict({**SETTINGS, "train.steps": 6})
    method = methods.get(config, dataset)
    alone = train(method, config, open_workdir(tmp_path / "alone", config, dataset, []))
    # Biases before a normalisation have no gradient but rounding, which Adam makes steps of full size.
    kernels = [
        [w.numpy() for w in model.weights if w.name == "kernel"]
        for model in (alone, load_run(tmp_path / "run").model)
    ]
    assert len(kernels[0]) == 8
    for a, b in zip(*kernels, strict=True):
        assert np.linalg.norm(b - a) < 1e-3 * np.linalg.norm(a)
    rows = [read_csv(tmp_path / name / "metrics.csv") for name in ("alone", "run")]
    for key in ("step", "total", "reprojection", "learning_rate"):
        values = [[float(row[key]) for row in table] for table in rows]
        np.testing.assert_allclose(*values, rtol=1e-4, err_msg=key)


@pytest.mark.slow
def test_a_lost_worker_is_told_and_a_restart_resumes_until_one_is_asked_to_stop(dataset, tmp_path):
    workdir = tmp_path / "run"
    workers = start(2, dataset, workdir, 1_000_000)
    wait_for_checkpoint(workdir, workers)
    workers[1].kill()
    killed_at = time.monotonic()
    codes, output = finish(workers, workdir, timeout_s=120)
    assert time.monotonic() - killed_at < 60
    assert codes == [1, -signal.SIGKILL], output
    assert "stopped: A worker was lost" in output[0]
    assert "Traceback" not in output[0]
    done = max(int(path.stem.partition("-")[2]) for path in workdir.glob("checkpoints/ckpt-*.npz"))

    workers = start(2, dataset, workdir, 1_000_000)
    end = time.monotonic() + 300
    while f"steps {done + 1}-" not in workdir.with_name("run-0.log").read_text():
        assert time.monotonic() < end, "it does not resume"
        time.sleep(0.1)
    time.sleep(3)
    workers[1].send_signal(signal.SIGTERM)  # not the chief, who must hear of it
    codes, output = finish(workers, workdir, timeout_s=120)
    assert codes == [128 + signal.SIGTERM] * 2, output
    assert "which is saved: the same command resumes" in output[0]


def config_text(cluster=None, **task):
    cluster = {"worker": ["a:1", "b:2"]} if cluster is None else cluster
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0, **task}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"needs TF_CONFIG with a cluster and this process's task.* Received: ''"),
        ("{", r"needs TF_CONFIG .* \(JSONDecodeError"),
        ("[]", r"needs TF_CONFIG .* \(TypeError"),
        ('{"cluster": {}}', r"needs TF_CONFIG .* \(KeyError: 'task'\)"),
        (config_text({"worker": ["a:1"], "ps": ["b:2"]}), r'lists "worker" and "chief" only'),
        (config_text({"worker": "a:1"}), r'lists "worker" and "chief" only'),
        (config_text({"chief": ["a:1", "b:1"], "worker": ["c:1"]}), r"one chief at most"),
        (config_text({"worker": ["a:1", "b"]}), r"addresses are host:port, unlike \['b'\]"),
        (config_text({"worker": [":1"]}), r"addresses are host:port, unlike \[':1'\]"),
        (config_text({"worker": ["a:1", "a:1"]}), r"two workers have one address"),
        (config_text(type="chief"), r"the task's type 'chief' is not in the cluster"),
        (config_text(index=2), r"the task's index 2 is not among the 2 of 'worker'"),
        (config_text(index="0"), r"the task's index '0' is not among"),
    ],
)
def test_a_bad_tf_config_is_told(text, message):
    with pytest.raises(InputError, match=message):
        check_tf_config(text)


def test_a_good_tf_config_passes():
    check_tf_config(config_text())
    check_tf_config(config_text({"chief": ["a:1"], "worker": ["b:2"]}, type="chief"))


def test_unknown_strategy():
    with pytest.raises(InputError, match=r"one of default, mirrored, multi_worker. Received: 'tpu'"):
        build_strategy("tpu")
