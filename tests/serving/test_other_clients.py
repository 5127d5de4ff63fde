"""The export in the hands of programs that know nothing of mcss_tf: C, saved_model_cli, the real server."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from mcss_tf.serving.kit import write_kit
from tests.serving.conftest import assert_rows

HERE = Path(__file__).parent
DOCS = (HERE.parents[1] / "docs" / "serving.md").read_text()
LIBRARIES = Path(tf.sysconfig.get_lib())


def tensors_of(version: Path, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the graph's tensors behind a signature's inputs and outputs."""
    saved = SavedModel.FromString((version / "saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def[name]
    return (
        {key: value.name for key, value in signature.inputs.items()},
        {key: value.name for key, value in signature.outputs.items()},
    )


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_a_c_program_gets_the_keras_models_numbers(export_folder, jpegs, expected_rows, tmp_path) -> None:
    binary = tmp_path / "client"
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-o", binary, HERE / "client.c"]
    command += [f"-I{tf.sysconfig.get_include()}", f"-L{LIBRARIES}", f"-Wl,-rpath,{LIBRARIES}"]
    subprocess.run([*command, "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"], check=True)
    inputs, outputs = tensors_of(export_folder / "1", "serving_default")
    names = ("embedding", "pose_mm", "status")
    arguments = [inputs["image_bytes"], ",".join(outputs[name] for name in names), *jpegs]
    result = subprocess.run(
        [binary, export_folder / "1", *arguments], check=True, capture_output=True, text=True
    )
    embedding, pose_mm, status = (np.array(line.split(), float) for line in result.stdout.splitlines())
    assert_rows(embedding.reshape(4, 128), pose_mm.reshape(4, 16, 3), status, expected_rows)


@pytest.fixture(scope="module")
def documented(export_folder, jpegs, tmp_path_factory) -> Callable[[str], tuple[str, str]]:
    """Runs a saved_model_cli command of docs/serving.md; returns what it printed and what the docs show."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "mcss").symlink_to(export_folder)
    np.save(folder / "files.npy", np.array([path.read_bytes() for path in jpegs]))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(command: str, more: str = "") -> tuple[str, str]:
        (line, shown) = re.search(rf"^\$ (saved_model_cli {command}.*)\n((?:.*\n)*?)```", DOCS, re.M).groups()
        options = {"cwd": folder, "env": {**os.environ, "PATH": path}, "capture_output": True, "text": True}
        return subprocess.run(line + more, shell=True, check=True, **options).stdout, shown

    return run


def test_saved_model_cli_shows_what_the_docs_show(documented) -> None:
    printed, shown = (re.sub(r"name: .*", "name:", text) for text in documented("show"))
    assert printed.split() == shown.split()


def test_saved_model_cli_runs_it(documented, expected_rows, tmp_path) -> None:
    printed, shown = documented("run", f" --outdir {tmp_path}")
    keys = [re.findall(r"Result for output key (\w+):", text) for text in (printed, shown)]
    assert keys[0] == keys[1] == ["pose_mm", "status"]
    pose_mm, status = (np.load(tmp_path / f"{name}.npy") for name in keys[0])
    assert status.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(pose_mm[:3], expected_rows["pose_mm"], rtol=1e-4, atol=1e-2)
    assert np.isnan(pose_mm[3]).all()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def rest(port: int, path: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://localhost:{port}/v1/models/mcss{path}", data, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.skipif(
    shutil.which("tensorflow_model_server") is None, reason="needs tensorflow_model_server on the PATH"
)
def test_the_real_server_serves_it(export_folder, jpegs, expected_rows, tmp_path) -> None:
    write_kit(export_folder, tmp_path)
    models = (tmp_path / "models.config").read_text().replace("/models/mcss", str(export_folder))
    (tmp_path / "models.config").write_text(models)
    port = free_port()
    command = ["tensorflow_model_server", f"--port={free_port()}", f"--rest_api_port={port}"]
    command += [f"--model_config_file={tmp_path / 'models.config'}", "--enable_batching=true"]
    command += [f"--batching_parameters_file={tmp_path / 'batching_parameters.txt'}"]
    with subprocess.Popen(command, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"}) as server:
        try:
            wait_until_available(port)
            instances = [{"image_bytes": {"b64": b64encode(path.read_bytes()).decode()}} for path in jpegs]
            rows = rest(port, ":predict", {"instances": instances})["predictions"]
            arrays = (np.array([row[name] for row in rows]) for name in ("embedding", "pose_mm", "status"))
            assert_rows(*arrays, expected_rows)
            for name in ("embed", "pose"):
                rows = rest(port, ":predict", {"instances": instances, "signature_name": name})["predictions"]
                assert [row["status"] for row in rows] == [0, 0, 0, 1]
        finally:
            server.terminate()


def wait_until_available(port: int) -> None:
    for _ in range(120):
        try:
            (version,) = rest(port, "")["model_version_status"]
            if version["state"] == "AVAILABLE":
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.5)
    raise AssertionError("the server did not load the model within a minute")
