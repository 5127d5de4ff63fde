"""The command line of export: a real run becomes a model that gives its numbers, or a clear error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs import tiny
from mcss_tf import methods
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.serving.exported import ExportedModel
from mcss_tf.training.loop import train
from mcss_tf.training.workdir import load_run, open_workdir
from tests.helpers import make_tiny_dataset

ROOT = Path(__file__).resolve().parents[1]


def make_run(path: Path, labelled: bool) -> Path:
    """Trains the tiny network on the tiny dataset; returns the workdir."""
    dataset = make_tiny_dataset(path / "data", labelled=labelled)
    config = tiny.get_config()
    config.train.steps = 2
    train(methods.get(config, dataset), config, open_workdir(path / "run", config, dataset, []))
    return path / "run"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("labelled"), labelled=True)


def export(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mcss_tf.export", *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_a_run_is_exported_with_its_numbers_and_joint_names(run_folder: Path, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    data = run_folder.parent / "data"
    result = export(
        f"--workdir={run_folder}",
        f"--output={tmp_path / 'mcss'}",
        f"--gallery={data}",
        "--gallery_k=3",
        f"--kit={kit}",
    )
    assert result.returncode == 0, result.stderr
    names = "serving_default, boxes, images, embed, pose, retrieve"
    assert f"wrote {tmp_path / 'mcss' / '1'} with the signatures {names}" in result.stdout
    exported, run = ExportedModel(tmp_path / "mcss"), load_run(run_folder)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    expected, received = run.model(images.astype("float32"), training=False), exported(images)
    np.testing.assert_allclose(received["embedding"], expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(received["pose_mm"], expected["pose_mm"], rtol=1e-4, atol=1e-2)
    metadata = json.loads((tmp_path / "mcss" / "1" / "assets" / "mcss.json").read_text())
    assert metadata["pose"]["unit"] == "mm"
    assert metadata["pose"]["root_joint"] == "pelvis"
    assert len(metadata["pose"]["joint_names"]) == received["pose_mm"].shape[1] == 16
    assert "pelvis" not in metadata["pose"]["joint_names"]
    assert metadata["pose"]["edges"][0] == ["pelvis", "right_hip"]
    assert np.shape(metadata["pose"]["label_mean_mm"]) == (16, 3)
    assert metadata["image_size"] == metadata["crop"]["size"] == 32
    assert metadata["training"]["seed"] == run.info["seed"]
    served = {tensor["name"]: tensor["shape"] for tensor in metadata["signatures"]["images"]["outputs"]}
    assert served == {"embedding": ["batch", 8], "pose_mm": ["batch", 16, 3]}
    check_retrieval(tmp_path / "mcss" / "1", PreparedDataset.load(data))
    check_assets(tmp_path / "mcss" / "1", kit, data)


def check_retrieval(version: Path, dataset: PreparedDataset) -> None:
    """The images of the gallery find themselves, with their labels."""
    rows = dataset.split_rows("train")[:2]
    contents = dataset.read_images(rows, np.zeros(2, int))
    loaded = tf.saved_model.load(str(version))
    found = loaded.signatures["retrieve"](image_bytes=tf.constant([*contents, b"no image"]))
    np.testing.assert_array_equal(found["status"], [0, 0, 1])
    np.testing.assert_allclose(found["distance"][:2, 0], 0, atol=1e-4)
    assert np.isnan(found["distance"][2]).all()
    index = dataset.index
    for number, row in enumerate(rows):
        name = found["ids"][number, 0].numpy().decode()
        sequence = dataset.sequences[index.sequence[row]]["sequence"]
        subject = dataset.subjects[index.subject[row]]
        assert name == f"{subject}/{sequence}/{index.frame[row]}/{dataset.cameras[0]}"
        label = np.delete(index.canonical_mm[row], dataset.skeleton.root, axis=0)
        np.testing.assert_allclose(found["pose_mm"][number, 0], label, atol=1e-3)


def check_assets(version: Path, kit: Path, data: Path) -> None:
    card = (version / "assets.extra" / "MODEL_CARD.md").read_text()
    assert "# mcss\n" in card
    assert f"`{data.name}`" in card
    assert "Not evaluated" in card
    requests = list(tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests")))
    assert len(requests) == 12
    assert {path.name for path in kit.iterdir()} == {
        "models.config",
        "batching_parameters.txt",
        "docker-compose.yaml",
        "kubernetes.yaml",
    }
    ids = version / "assets" / "gallery_ids.txt"
    assert (
        len(ids.read_text().splitlines())
        == json.loads((version / "assets" / "mcss.json").read_text())["gallery"]["num_images"]
    )


def test_a_run_without_labels_is_exported_without_poses(tmp_path: Path) -> None:
    run_folder = make_run(tmp_path, labelled=False)
    for _ in range(2):
        result = export(f"--workdir={run_folder}", f"--output={tmp_path / 'mcss'}", "--keep=1")
        assert result.returncode == 0, result.stderr
    assert [path.name for path in (tmp_path / "mcss").iterdir()] == ["2"]
    assert "without 3D labels: it gives embeddings and no poses" in result.stdout
    exported = ExportedModel(tmp_path / "mcss")
    assert exported.skeleton is None
    assert exported(np.zeros((2, 32, 32, 3), np.uint8)).keys() == {"embedding"}
    outputs = exported.metadata["signatures"]["images"]["outputs"]
    assert [tensor["name"] for tensor in outputs] == ["embedding"]


def test_a_workdir_without_a_run_is_told_without_a_traceback(tmp_path: Path) -> None:
    result = export(f"--workdir={tmp_path}", f"--output={tmp_path / 'mcss'}")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: --workdir must be a folder that mcss_tf.train")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "mcss").exists()
