"""Each shipped dataset: check, prepare, five training steps, evaluate; and a skeleton of one's own."""

import numpy as np
import pytest

from configs import lifting, tiny
from mcss_tf import methods, prepare
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.poses_io import write_npz
from mcss_tf.data.sources.human36m import Human36mSource
from mcss_tf.evaluate import evaluate
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.training.loop import train
from mcss_tf.training.workdir import open_workdir
from tests import helpers
from tests.data import synthetic
from tests.data.sources import downloads


def call(source, root, output, *arguments) -> int:
    """Runs the command line in this process; returns its exit status."""
    arguments = [f"--source={source}", f"--input={root}", f"--output={output}", *arguments]
    return helpers.call(prepare, arguments)


def five_steps(dataset, workdir):
    config = tiny.get_config()
    config.train.steps = 5
    config.batch.num_pairs = 2
    train(methods.METHODS["mcss"](config, dataset), config, open_workdir(workdir, config, dataset, []))
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("name", ["human36m", "mpi_inf_3dhp", "panoptic"])
def test_check_prepare_train_evaluate(roots, tmp_path, capsys, name):
    output = tmp_path / "data"
    is_whole = name == "panoptic"  # of the others the fixtures hold a few sequences
    assert call(name, roots[name], output, "--check", "--crop_size=32") == (0 if is_whole else 1)
    printed = capsys.readouterr().out
    assert "problem" not in printed
    assert ("missing of S5" in printed) is not is_whole
    assert (tmp_path / "data.check.png").is_file()
    assert not output.exists()
    assert call(name, roots[name], output, "--crop_size=32", "--workers=1") == 0
    dataset = PreparedDataset.load(output, require=("train", "test"))
    printed = capsys.readouterr().out
    num_images = dataset.metadata["splits"]["train"]["num_images"]
    assert f"{num_images} images of" in printed
    expected = {"human36m": "312,188", "mpi_inf_3dhp": "106,535"}
    if name in expected:
        note = f"note: the release has {expected[name]} train images at this stride, here are {num_images}"
        assert note in printed
    run = five_steps(dataset, tmp_path / "run")
    metrics = evaluate(run, output)
    assert np.isfinite(metrics["pose"]["mpjpe_mm"])
    assert 0 <= metrics["pose"]["auc"] <= metrics["pose"]["pck_150"] <= 100
    assert metrics["retrieval"]["num_queries"] > 0
    if name == "mpi_inf_3dhp":
        _on_the_official_test_set(roots["mpi_inf_3dhp_test"], tmp_path, run)


def _on_the_official_test_set(root, tmp_path, run):
    assert call("mpi_inf_3dhp_test", root, tmp_path / "ts", "--crop_size=32", "--workers=1") == 0
    metrics = evaluate(run, tmp_path / "ts")
    assert metrics["pose"]["num_poses"] == PreparedDataset.load(tmp_path / "ts").metadata["counts"]["images"]
    assert set(metrics["pose"]["per_action"]) == {"Stand-Walk", "Exercise"}
    assert 0 <= metrics["pose"]["auc"] <= metrics["pose"]["pck_150"] <= 100
    assert metrics["sync"] is None


@pytest.mark.slow
def test_a_skeleton_of_ones_own_trains_and_evaluates(tmp_path):
    """Eight joints with names of their own, from poses.npz through training to the metrics."""
    skeleton = tmp_path / "eight.toml"
    skeleton.write_text(
        'name = "eight"\n[joints]\npelvis = ""\nleft_hip = "pelvis"\nleft_knee = "left_hip"\n'
        'right_hip = "pelvis"\nright_knee = "right_hip"\nthorax = "pelvis"\nhat = "thorax"\nfeather = "hat"\n'
    )
    root = synthetic.write_recordings(tmp_path / "in", ("S1/walk", "S2/walk"), has_clock=False)
    names = (*HUMAN36M_17.joint_names, "hat", "feather")
    for subject in ("S1", "S2"):
        poses = np.stack([synthetic.pose_mm(frame / 10) for frame in range(20)])
        extra = np.stack([poses[:, 10] + [0, 0, 100], poses[:, 10] + [0, 50, 250]], 1)
        joints = np.concatenate([poses, extra], 1)
        write_npz(root / subject / "walk" / "poses.npz", joints, np.arange(20), names, "z")
    arguments = ("--boxes=full", "--crop_size=32", "--workers=1", f"--skeleton={skeleton}")
    assert call("recordings", root, tmp_path / "data", *arguments) == 0
    dataset = PreparedDataset.load(tmp_path / "data", require=("train", "test"))
    assert dataset.skeleton.num_joints == 8
    assert dataset.index.canonical_mm.shape[1:] == (8, 3)
    np.testing.assert_allclose(dataset.index.canonical_mm[:, 7, 2], 1650 - 900 + 250, atol=1e-3)
    run = five_steps(dataset, tmp_path / "run")
    metrics = evaluate(run, tmp_path / "data")
    assert metrics["evaluated"]["joints"] == [n for n in dataset.skeleton.joint_names if n != "pelvis"]
    assert np.isfinite(metrics["pose"]["pa_mpjpe_mm"])


def test_workers_restart_at_the_sequence(roots, tmp_path, monkeypatch):
    """An interrupted preparation of Human3.6M goes on with the sequences that were not finished."""
    real, prepared = Human36mSource.instants, []

    def instants(self, spec):
        prepared.append(spec.name)
        if spec.name == "S9/Greeting" and prepared.count(spec.name) == 1:
            raise KeyboardInterrupt
        yield from real(self, spec)

    monkeypatch.setattr(Human36mSource, "instants", instants)
    arguments = ("--crop_size=32", "--workers=1")
    with pytest.raises(KeyboardInterrupt):
        call("human36m", roots["human36m"], tmp_path / "out", *arguments)
    assert call("human36m", roots["human36m"], tmp_path / "out", *arguments) == 0
    assert prepared == ["S1/Directions 1", "S9/Greeting", "S9/Greeting", "S11/Directions"]


@pytest.mark.slow
def test_videopose3d_checks_prepares_lifts(roots, tmp_path, capsys):
    """A dataset of keypoints alone, for the methods that need nothing else."""
    assert call("videopose3d", roots["videopose3d"], tmp_path / "out", "--check") == 0
    assert "problem" not in capsys.readouterr().out
    assert call("videopose3d", roots["videopose3d"], tmp_path / "out", "--workers=1", "--stride=2") == 0
    dataset = PreparedDataset.load(tmp_path / "out", require=("train", "test"))
    assert dataset.crop_size == 0
    assert dataset.metadata["counts"]["images"] == 0
    assert dataset.metadata["counts"]["instants"] == 3 * downloads.NUM_FRAMES // 2
    config = lifting.get_config()
    config.batch_size, config.train.steps = 4, 5
    config.model.width, config.model.num_blocks = 32, 1
    run = open_workdir(tmp_path / "run", config, dataset, [])
    train(methods.get(config, dataset), config, run)
    metrics = evaluate(tmp_path / "run", tmp_path / "out")
    assert np.isfinite(metrics["pose"]["mpjpe_mm"])
    assert metrics["pose"]["num_poses"] > 0
