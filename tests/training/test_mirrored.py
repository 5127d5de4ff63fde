"""Replicas that share a batch do what one device does with all of it: loss, gradients, statistics."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mcss_tf.training.workdir import load_run

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ("mcss", "mcss in float64", "lifting", "supervised", "refinement")


def run(folder, num_replicas):
    command = [sys.executable, "-m", "tests.training.mirrored_steps", str(folder / "found.npz"), num_replicas]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stderr[-3000:]
    with np.load(folder / "found.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(folder):
    return run(folder, "2")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return run(tmp_path_factory.mktemp("three"), "3")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["False 0.0", "False 0.9", "True 0.9"])
@pytest.mark.parametrize("num_replicas", [2, 3])
def test_global_mining_is_the_loss_of_the_whole_batch(request, num_replicas, case):
    found = request.getfixturevalue({2: "two", 3: "three"}[num_replicas])
    assert found["num_replicas"] == num_replicas
    for what in ("terms", "gradient"):
        one = found[f"pairs {case}/one/{what}"]
        assert np.abs(one).max() > 0.1
        np.testing.assert_allclose(found[f"pairs {case}/global/{what}"], one, atol=1e-6)
        # Negatives of a replica's own pairs are another, easier choice: the comparison above can fail.
        assert np.abs(found[f"pairs {case}/local/{what}"] - one).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_with_synchronised_statistics_whole_networks_agree(two, name):
    scalars = [key.rpartition("/")[2] for key in two if key.startswith(f"{name}/one/scalar")]
    assert "scalar total" in scalars
    for what in scalars:
        np.testing.assert_allclose(
            two[f"{name}/synchronised/{what}"], two[f"{name}/one/{what}"], rtol=1e-5, atol=1e-6, err_msg=what
        )
    one, gradient = two[f"{name}/one/gradient"], two[f"{name}/synchronised/gradient"]
    assert np.linalg.norm(one) > 0
    # Twenty normalisations one after the other multiply float32's rounding, 3.5e-5 measured; that it is
    # rounding and no other sum shows the same backbone in float64.
    tolerance = 1e-4 if name == "mcss" else 1e-5
    assert np.linalg.norm(gradient - one) < tolerance * np.linalg.norm(one)
    np.testing.assert_allclose(
        two[f"{name}/synchronised/moving"], two[f"{name}/one/moving"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_unsynchronised_statistics_differ(two):
    one, own = two["lifting/one/scalar total"], two["lifting/unsynchronised/scalar total"]
    assert abs(own - one) > 1e-4 * abs(one)


@pytest.mark.slow
def test_a_mirrored_run_logs_validates_draws_and_resumes(folder, two):
    with open(folder / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "3", "4"]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    with open(folder / "run" / "validation.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]
    events = list((folder / "run" / "tensorboard").iterdir())
    assert any(b"hardest_negatives" in path.read_bytes() for path in events)
    model = load_run(folder / "run").model
    moving = [v.numpy() for v in model.weights if v.name == "moving_mean"]
    assert any(np.abs(values).max() > 0 for values in moving)
