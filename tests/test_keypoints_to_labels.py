"""The real recording from keypoints to trained models, by the commands that a user gives."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import shared_data

ROOT = Path(__file__).resolve().parents[1]


def _run(*command: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """The recording, labelled by nothing but its own keypoints and calibration, prepared."""
    folder = tmp_path_factory.mktemp("real")
    balancing = shared_data("pose2sim_balancing")
    _run(ROOT / "examples" / "pose2sim_to_recordings.py", balancing, folder / "recordings")
    _run("-m", "mcss_tf.triangulate", f"--input={folder}/recordings", f"--output={folder}/recordings")
    _run(
        *("-m", "mcss_tf.prepare", "--source=recordings", f"--input={folder}/recordings"),
        *(f"--output={folder}/data", "--crop_size=32", "--stride=4"),
    )
    return folder / "data"


@pytest.mark.slow
def test_triangulated_keypoints_are_the_3d_labels_of_mcss(dataset, tmp_path):
    metadata = json.loads((dataset / "dataset.json").read_text())
    assert metadata["counts"]["posed_instants"] == metadata["counts"]["instants"] == 25
    _run(
        *(
            "-m",
            "mcss_tf.train",
            "--config=configs/tiny.py",
            f"--data={dataset}",
            f"--workdir={tmp_path}/run",
        ),
        "--config.train.steps=12",
    )
    _run("-m", "mcss_tf.evaluate", f"--workdir={tmp_path}/run", f"--data={dataset}")
    pose = json.loads((tmp_path / "run" / "metrics.json").read_text())["pose"]
    # 12 steps teach little, but labels of a metre's size and a balancing person's spread bound the error.
    assert pose["num_poses"] == 4 * metadata["splits"]["test"]["num_instants"]
    assert 1 < pose["pa_mpjpe_mm"] <= pose["n_mpjpe_mm"] <= pose["mpjpe_mm"] < 400
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert "pose" in rows[0].split(",")


@pytest.mark.slow
def test_refinement_of_ones_own_recording(dataset, tmp_path):
    run, model = tmp_path / "run", tmp_path / "model"
    _run(
        *("-m", "mcss_tf.train", "--config=configs/refinement.py", f"--data={dataset}", f"--workdir={run}"),
        *("--config.network.widths=(8,12,16)", "--config.batch.num_instants=8", "--config.train.steps=6"),
    )
    assert "two-view DLT" in _run("-m", "mcss_tf.evaluate", f"--workdir={run}", f"--data={dataset}")
    metrics = json.loads((run / "metrics.json").read_text())
    assert len(metrics["sets"]) == 6  # pairs of four cameras
    # Two views against the triangulation of all four: centimetres, not metres.
    assert 1 < metrics["all"]["dlt"]["median_error_mm"] < 100
    assert 1 < metrics["all"]["refined"]["median_error_mm"] < 100
    _run("-m", "mcss_tf.export", f"--workdir={run}", f"--output={model}")
    served = tf.saved_model.load(str(model / "1")).signatures["serving_default"]
    eye = np.tile(np.eye(3, dtype=np.float32), (1, 2, 1, 1))
    outputs = served(
        keypoints_px=tf.zeros((1, 2, 17, 3)),
        matrix=tf.constant(eye),
        distortion=tf.zeros((1, 2, 5)),
        rotation=tf.constant(eye),
        translation_mm=tf.zeros((1, 2, 3)),
    )
    # Nothing was seen: finite poses all the same.
    assert np.isfinite(outputs["world_mm"]).all()
