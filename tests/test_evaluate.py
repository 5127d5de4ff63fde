"""evaluate, from a trained run to metrics.json and report.html, through the real training loop."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from configs import tiny
from mcss_tf import methods
from mcss_tf.data.integrity import content_sha256
from mcss_tf.errors import InputError
from mcss_tf.evaluate import evaluate
from mcss_tf.training.loop import train
from mcss_tf.training.workdir import open_workdir
from tests.helpers import make_tiny_dataset

POSE_KEYS = {"mpjpe_mm", "n_mpjpe_mm", "pa_mpjpe_mm", "pck_150", "auc"}
RETRIEVAL_KEYS = {"model_mm", "oracle_mm", "difference_mm"}
SYNC_KEYS = {"hit_at_1", "chance", "median_error_ms"}


def make_run(path, dataset, **overrides):
    config = tiny.get_config()
    config.update_from_flattened_dict(overrides)
    train(methods.METHODS["mcss"](config, dataset), config, open_workdir(path, config, dataset, []))
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_tiny_dataset(
        tmp_path_factory.mktemp("data"),
        subjects=("S1", "S9", "S11"),
        instants=12,
        test_subjects=("S9", "S11"),
    )


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), dataset)


@pytest.fixture(scope="module")
def measured(run, dataset):
    return evaluate(run, dataset.path)


def test_metrics_of_a_run(measured, run):
    metrics = measured
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert metrics["pose"].keys() >= POSE_KEYS
    assert metrics["pose"]["per_action"]["walking"]["num_poses"] == 72
    for database in ("same", "cross"):
        assert list(metrics["retrieval"][database]) == ["1", "5", "10", "20"]
        for values in metrics["retrieval"][database].values():
            assert values.keys() == RETRIEVAL_KEYS
            assert values["model_mm"] >= values["oracle_mm"] - 1e-6
    # The oracle finds the same instant in another view.
    assert metrics["retrieval"]["same"]["1"]["oracle_mm"] < 0.1
    assert metrics["retrieval"]["cross"]["1"]["oracle_mm"] > 10
    assert metrics["sync"].keys() >= SYNC_KEYS
    assert metrics["sync"]["chance"] == pytest.approx(1 / 12)
    assert metrics["reasons"] == {}
    assert metrics["evaluated"]["subjects"] == ["S9", "S11"]
    assert metrics["evaluated"]["num_images"] == 72


def test_the_report_stands_alone(measured, run):
    report = (run / "report.html").read_text()
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", report))
    for heading in (
        "Canonical 3D pose",
        "Training",
        "Nearest images of other views",
        "Predicted and true poses",
        "Distances between instants and views",
        "Same instant, camera by camera",
        "What the numbers mean",
    ):
        assert f"<h2>{heading}" in report, heading
    assert "16 of Human3.6M" in report
    # 8 queries with 5 + 5 neighbours and 5 crops beside 5 skeletons, curves and two matrices.
    assert report.count("data:image/jpeg") == 8 * 11 + 5
    assert report.count("data:image/png") == 5 + 3


def test_numbers_do_not_depend_on_the_batch_size_and_queries_are_limited(measured, run, dataset, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    other = evaluate(copy, dataset.path, batch_size=7, max_queries=5)
    for key in POSE_KEYS:
        assert other["pose"][key] == pytest.approx(measured["pose"][key], rel=1e-4)
    assert measured["retrieval"]["num_queries"] == 72
    assert other["retrieval"]["num_queries"] == 5


def test_other_splits_and_datasets_get_their_own_files(measured, run, dataset, tmp_path):
    before = (run / "metrics.json").read_bytes()
    evaluate(run, dataset.path, split="train")
    assert json.loads((run / "metrics-train.json").read_text())["evaluated"]["subjects"] == ["S1"]
    other = make_tiny_dataset(tmp_path / "other", instants=4, test_subjects=("S2",), seed=5)
    metrics = evaluate(run, other.path)
    name = f"-other-{other.checksum[:8]}"
    assert json.loads((run / f"metrics{name}.json").read_text()) == metrics
    assert metrics["evaluated"]["is_training_dataset"] is False
    assert (run / f"report{name}.html").is_file()
    assert (run / "metrics.json").read_bytes() == before
    # One test subject: nobody else to retrieve.
    assert metrics["retrieval"]["cross"] is None
    assert metrics["reasons"]["retrieval.cross"] == "Only one subject has poses."


def test_a_baseline_is_shown_beside(measured, run, dataset, tmp_path, capsys):
    with pytest.raises(InputError, match="evaluated on the same split"):
        evaluate(run, dataset.path, baseline=tmp_path)
    baseline = {**measured, "pose": {**measured["pose"], "n_mpjpe_mm": 987.65}}
    (tmp_path / "metrics.json").write_text(json.dumps(baseline))
    copy = shutil.copytree(run, tmp_path / "run")
    evaluate(copy, dataset.path, baseline=tmp_path)
    printed = capsys.readouterr().out
    for text in ("baseline", "987.6", "N-MPJPE", "oracle", "times chance", "walking"):
        assert text in printed
    report = (copy / "report.html").read_text()
    assert "<th>baseline</th>" in report
    assert "<td>987.6</td>" in report


def test_without_any_labels_only_the_label_free_check_remains(tmp_path):
    dataset = make_tiny_dataset(
        tmp_path / "data", instants=8, test_subjects=("S2",), labelled=False, missing_views=True
    )
    run = make_run(tmp_path / "run", dataset)
    metrics = evaluate(run, dataset.path)
    assert metrics["pose"] is None
    assert metrics["retrieval"] is None
    assert metrics["reasons"] == {
        "pose": "The split has no 3D poses.",
        "retrieval": "The split has no 3D poses.",
    }
    assert 0 <= metrics["sync"]["hit_at_1"] <= 1
    report = (run / "report.html").read_text()
    assert "The split has no 3D poses." in report
    assert "Nearest images of other views" in report


def test_another_skeleton_is_refused(run, tmp_path):
    other = make_tiny_dataset(tmp_path / "other", instants=4, test_subjects=("S2",))
    content = json.loads((other.path / "dataset.json").read_text())
    content["skeleton"]["joint_names"][16] = "right_hand"
    content["content_sha256"] = content_sha256(content)
    (other.path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="poses of its own skeleton.*right_hand"):
        evaluate(run, other.path)


def test_a_run_knows_its_joints_without_its_dataset(run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "run")
    info = json.loads((moved / "run.json").read_text())
    info["dataset"]["path"] = str(tmp_path / "gone")
    (moved / "run.json").write_text(json.dumps(info))
    other = make_tiny_dataset(tmp_path / "other", instants=4, test_subjects=("S2",))
    assert evaluate(moved, other.path)["pose"]["mpjpe_mm"] > 0


def test_an_empty_split_and_an_unfinished_run_are_refused(run, dataset, tmp_path):
    with pytest.raises(InputError, match="test split"):
        evaluate(run, make_tiny_dataset(tmp_path / "train-only", instants=4).path)
    unfinished = shutil.copytree(run, tmp_path / "unfinished")
    (unfinished / "model.keras").unlink()
    with pytest.raises(InputError, match="must be finished"):
        evaluate(unfinished, dataset.path)


@pytest.mark.slow
def test_the_command_line(run, dataset, tmp_path):
    command = [sys.executable, "-m", "mcss_tf.evaluate", f"--workdir={run}", "--max_queries=3"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    good = subprocess.run(
        [*command, f"--data={dataset.path}"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert good.returncode == 0, good.stderr
    assert "wrote" in good.stdout
    assert json.loads((run / "metrics.json").read_text())["retrieval"]["num_queries"] == 3
    bad = subprocess.run(
        [*command, f"--data={tmp_path}"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert bad.returncode == 2
    assert bad.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in bad.stderr
