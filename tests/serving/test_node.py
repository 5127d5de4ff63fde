"""The export in Node.js: TensorFlow.js' binding, compiled against the libraries of the TensorFlow wheel.

Installing and compiling take a minute and a network, so this runs by `make test-node` only.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.conftest import assert_rows

HERE = Path(__file__).parent / "node"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("MCSS_TF_NODE"), reason="takes a minute and a network: make test-node"
    ),
    pytest.mark.skipif(not all(map(shutil.which, ("node", "npm", "g++"))), reason="needs node, npm and g++"),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Path:
    """A folder with the client, its packages and the compiled binding."""
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "client.js"):
        shutil.copy(HERE / name, folder)
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    result = subprocess.run(install, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"npm could not install the packages: {result.stderr[-300:]}")
    package = folder / "node_modules" / "@tensorflow" / "tfjs-node"
    # The folder is named after the version of Node's C interface that the package asks for.
    find = f"require('@mapbox/node-pre-gyp').find('{package / 'package.json'}')"
    found = subprocess.run(["node", "-p", find], cwd=folder, check=True, capture_output=True, text=True)
    binding = folder / found.stdout.strip()
    binding.parent.mkdir(parents=True, exist_ok=True)
    headers = subprocess.run(
        ["node", "-p", "path.resolve(process.execPath, '../../include/node')"],
        check=True,
        capture_output=True,
        text=True,
    )
    libraries = tf.sysconfig.get_lib()
    command = ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-w", "-o", binding]
    command += [*(package / "binding").glob("*.cc"), f"-I{headers.stdout.strip()}"]
    command += [f"-I{tf.sysconfig.get_include()}", f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
    subprocess.run([*command, "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"], check=True)
    return folder


def test_node_gets_the_keras_models_numbers(client, export_folder, jpegs, expected_rows) -> None:
    command = ["node", "client.js", export_folder / "1", "serving_default", *jpegs]
    result = subprocess.run(command, cwd=client, capture_output=True, text=True, check=True)
    outputs = {
        name: np.array(values, float) for name, values in json.loads(result.stdout.splitlines()[-1]).items()
    }
    embedding, pose_mm = outputs["embedding"].reshape(4, 128), outputs["pose_mm"].reshape(4, 16, 3)
    assert_rows(embedding, pose_mm, outputs["status"], expected_rows)
