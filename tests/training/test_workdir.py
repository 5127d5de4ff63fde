"""A workdir holds one run: it can be reopened by the same one only, and loaded when finished."""

import json
import types

import numpy as np
import pytest
from ml_collections import ConfigDict

from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.models.heads import build_mcss_model
from mcss_tf.training.workdir import load_run, open_workdir


@pytest.fixture
def config():
    return ConfigDict({"method": "mcss", "seed": 3, "loss": {"margin": 1.0}, "names": ("S1", "S2")})


@pytest.fixture
def dataset(tmp_path):
    return types.SimpleNamespace(
        path=tmp_path / "data",
        checksum="c0ffee" * 8,
        skeleton=HUMAN36M_17,
        crop_size=64,
        crop_context=1.25,
    )


def open_checkpointed(path, config, dataset):
    workdir = open_workdir(path, config, dataset, ["a"])
    workdir.checkpoints.mkdir()
    (workdir.checkpoints / "ckpt-3.npz").touch()
    return workdir


def test_a_run_says_what_it_is(tmp_path, config, dataset):
    workdir = open_workdir(tmp_path / "run", config, dataset, ["train", "--x"])
    info = json.loads((workdir.path / "run.json").read_text())
    assert info["dataset"] == {
        "path": str(dataset.path),
        "checksum": dataset.checksum,
        "skeleton": HUMAN36M_17.to_json(),
        "crop": {"size": 64, "context": 1.25},
    }
    assert info["command"] == ["train", "--x"]
    assert info["seed"] == 3
    assert {"mcss_tf", "tensorflow", "keras", "numpy", "python"} == set(info["versions"])
    assert json.loads((workdir.path / "config.json").read_text()) == {
        **config.to_dict(),
        "names": ["S1", "S2"],
    }
    assert not workdir.is_finished()


def test_the_same_run_reopens_its_workdir(tmp_path, config, dataset):
    first = open_checkpointed(tmp_path / "run", config, dataset)
    before = (first.path / "run.json").read_text()
    dataset.path = tmp_path / "moved"
    assert open_workdir(tmp_path / "run", config, dataset, ["b"]) == first
    assert (first.path / "run.json").read_text() == before


def test_another_config_is_refused_by_key(tmp_path, config, dataset):
    open_checkpointed(tmp_path / "run", config, dataset)
    config.loss.margin = 0.6
    with pytest.raises(InputError, match=r"holds one run. Received: .*loss.margin: 1.0 there, 0.6 here"):
        open_workdir(tmp_path / "run", config, dataset, [])


def test_another_dataset_is_refused(tmp_path, config, dataset):
    open_checkpointed(tmp_path / "run", config, dataset)
    dataset.checksum = "beef" * 12
    with pytest.raises(InputError, match=r"dataset: checksum c0ffeec0ffee there, beefbeefbeef here"):
        open_workdir(tmp_path / "run", config, dataset, [])


def test_a_run_that_never_reached_a_checkpoint_gives_way(tmp_path, config, dataset):
    open_workdir(tmp_path / "run", config, dataset, [])
    config.loss.margin = 0.6
    workdir = open_workdir(tmp_path / "run", config, dataset, [])
    assert json.loads((workdir.path / "config.json").read_text())["loss"]["margin"] == 0.6


def test_only_a_finished_run_loads(tmp_path, config, dataset):
    with pytest.raises(
        InputError, match=r"must be a folder that mcss_tf.train has written. Received: .*absent"
    ):
        load_run(tmp_path / "absent")
    workdir = open_workdir(tmp_path / "run", config, dataset, [])
    with pytest.raises(InputError, match=r"run must be finished. Received: .*without model.keras"):
        load_run(workdir.path)
    model = build_mcss_model(32, num_joints=2, hidden_dim=8, embedding_dim=4)
    workdir.save_model(model)
    assert sorted(p.name for p in workdir.path.iterdir()) == ["config.json", "model.keras", "run.json"]
    run = load_run(workdir.path)
    assert (run.config.seed, run.config.loss.margin) == (3, 1.0)
    with pytest.raises(AttributeError):
        run.config.loss.margn = 2.0
    assert run.info["dataset"]["checksum"] == dataset.checksum
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(run.model(images)["pose_mm"], model(images)["pose_mm"])
