"""The command line of predict: a video becomes files and pictures, or a clear error."""

import csv
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from mcss_tf import predict as command
from mcss_tf.data import video
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.prediction.infer import predict_input
from mcss_tf.prediction.inputs import Input
from mcss_tf.prediction.results import new_folder, write_results
from mcss_tf.serving.client_errors import ModelNotFoundError
from mcss_tf.serving.exported import ExportedModel
from mcss_tf.serving.remote import RemoteModel
from tests.prediction.conftest import NUM_FRAMES, export_untrained, write_video
from tests.prediction.test_bvh import read_bvh
from tests.serving import grpc_server
from tests.serving.rest_server import RestServer

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pose_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_untrained(tmp_path_factory.mktemp("pose") / "mcss", num_joints=16)


@pytest.fixture(scope="module")
def embedding_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_untrained(tmp_path_factory.mktemp("embedding") / "mcss", num_joints=None)


def predict(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mcss_tf.predict", *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_a_video_becomes_poses_motion_and_overlay(pose_model: Path, tmp_path: Path) -> None:
    walk = write_video(tmp_path / "walk.mp4")
    output = tmp_path / "out"
    result = predict(f"--model={pose_model}", f"--input={walk}", f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert f"{NUM_FRAMES} of {NUM_FRAMES} frames show the person, by boxes=motion" in result.stdout
    names = {path.name for path in output.iterdir()}
    assert names == {"poses.npz", "poses.json", "poses.csv", "motion.bvh", "overlay.mp4"}
    poses_mm = np.load(output / "poses.npz")["poses_mm"]
    assert poses_mm.shape == (NUM_FRAMES, 17, 3)
    assert json.loads((output / "poses.json").read_text())["model"] == str(pose_model / "1")
    with open(output / "poses.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + NUM_FRAMES
    # The file's bones have the predicted lengths, and its joints lie where predicted up to how these vary.
    motion = read_bvh((output / "motion.bvh").read_text())
    played = np.stack([motion[name] for name in HUMAN36M_17.joint_names], axis=1) * 10
    predicted = poses_mm[..., [0, 2, 1]] * [1, 1, -1]
    for parent, joint in HUMAN36M_17.edges:
        lengths = np.linalg.norm(poses_mm[:, joint] - poses_mm[:, parent], axis=-1)
        np.testing.assert_allclose(
            np.linalg.norm(played[:, joint] - played[:, parent], axis=-1), lengths.mean(), rtol=1e-3, atol=0.1
        )
    assert np.linalg.norm(played - predicted, axis=-1).mean() < 50
    assert video.probe(output / "overlay.mp4").num_frames == NUM_FRAMES
    again = predict(f"--model={pose_model}", f"--input={walk}", f"--output={output}")
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1].startswith("error: Results are never overwritten")
    assert "Traceback" not in again.stderr


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_served_model_gives_the_same_results(pose_model: Path, tmp_path: Path, scheme: str) -> None:
    walk = write_video(tmp_path / "walk.mp4")
    served = grpc_server.ServedModel(pose_model)
    server, port = grpc_server.start(served)
    outputs = {name: tmp_path / name for name in ("here", "there")}
    with RestServer(served) as rest:
        address = f"{scheme}127.0.0.1:{rest.port if scheme else port}"
        for name, model in (
            ("here", ExportedModel(pose_model)),
            ("there", RemoteModel(address, "mcss", pose_model)),
        ):
            given = Input(walk, "auto", model.crop_context, 30.0)
            with new_folder(outputs[name]) as folder:
                write_results(predict_input(model, given, 8, lambda count: None), {}, folder)
    server.stop(None)
    assert served.batches == [8, 8, 8, 6]
    here, there = (np.load(folder / "poses.npz") for folder in outputs.values())
    assert here.files == there.files
    for name in ("frames", "joint_names", "edges", "boxes_px"):
        np.testing.assert_array_equal(here[name], there[name])
    np.testing.assert_allclose(there["embeddings"], here["embeddings"], atol=1e-5)
    np.testing.assert_allclose(there["poses_mm"], here["poses_mm"], rtol=1e-4, atol=1e-2)


def test_the_command_line_takes_a_server_in_place_of_a_model(pose_model: Path, tmp_path: Path) -> None:
    walk = write_video(tmp_path / "walk.mp4")
    server, port = grpc_server.start(grpc_server.ServedModel(pose_model))
    given = (f"--input={walk}", f"--output={tmp_path / 'out'}", f"--metadata={pose_model}")
    result = predict(f"--server=127.0.0.1:{port}", *given)
    assert result.returncode == 0, result.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"poses.npz", "poses.json", "poses.csv", "motion.bvh", "overlay.mp4"}
    head = json.loads((tmp_path / "out" / "poses.json").read_text())
    assert head["model"] == f"127.0.0.1:{port}/mcss"
    server.stop(None)


def test_a_server_without_the_model(pose_model: Path) -> None:
    server, port = grpc_server.start(grpc_server.ServedModel(pose_model))
    with pytest.raises(ModelNotFoundError, match=r"Latest\(other\)"):
        RemoteModel(f"127.0.0.1:{port}", "other", pose_model)
    server.stop(None)


def test_a_server_needs_metadata_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"server": "127.0.0.1:8500", "metadata": None, "model": None}
    monkeypatch.setattr(command, "FLAGS", types.SimpleNamespace(**given))
    with pytest.raises(
        InputError, match=r"its signatures and nothing else.*--server without --metadata. Give that"
    ):
        command.open_model()


@pytest.mark.slow
def test_a_real_video_with_a_model_without_poses(
    embedding_model: Path, balancing: Path, tmp_path: Path
) -> None:
    camera = balancing / "videos" / "cam01.mp4"
    output = tmp_path / "out"
    result = predict(
        f"--model={embedding_model}", f"--input={camera}", f"--output={output}", "--boxes=motion"
    )
    assert result.returncode == 0, result.stderr
    assert "without 3D labels: embeddings and overlay, but no poses, CSV or BVH" in result.stdout
    assert {path.name for path in output.iterdir()} == {"poses.npz", "poses.json", "overlay.mp4"}
    arrays = np.load(output / "poses.npz")
    assert len(arrays["frames"]) > 80
    np.testing.assert_allclose(np.linalg.norm(arrays["embeddings"], axis=1), 1, atol=1e-5)
    assert video.probe(output / "overlay.mp4").num_frames == 100


@pytest.mark.slow
def test_a_real_video_with_its_keypoints_beside_it(pose_model: Path, balancing: Path, tmp_path: Path) -> None:
    folder = tmp_path / "balancing"
    (folder / "keypoints").mkdir(parents=True)
    shutil.copy(balancing / "videos" / "cam01.mp4", folder)
    (folder / "keypoints" / "cam01").symlink_to(balancing / "pose-associated" / "cam01_json")
    output = tmp_path / "out"
    result = predict(f"--model={pose_model}", f"--input={folder / 'cam01.mp4'}", f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert "100 of 100 frames show the person, by boxes=keypoints" in result.stdout
    assert (output / "motion.bvh").is_file()
    boxes_px = np.load(output / "poses.npz")["boxes_px"]
    # The person stands in the middle of the frame and fills most of its height.
    assert ((boxes_px[:, 3] - boxes_px[:, 1]) > 500).all()
