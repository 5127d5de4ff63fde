"""Result files: the same numbers in every format, and never over existing ones."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.prediction.results import Prediction, new_folder, with_root, write_results
from tests.helpers import STANDING_MM


@pytest.fixture
def prediction() -> Prediction:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(3, 4)).astype(np.float32)
    poses_mm = np.float32([STANDING_MM, STANDING_MM * 1.1, STANDING_MM * 0.9]) + rng.normal(0, 20, (3, 17, 3))
    return Prediction(
        frames=np.array([4, 5, 9]),
        time_s=np.array([0.4, 0.5, 0.9]),
        boxes_px=np.array([[0, 0, 10, 10], [1, 0, 11, 10], [-2, 0, 8, 10]], float),
        embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
        poses_mm=(poses_mm - poses_mm[:, :1]).astype(np.float32),
        skeleton=HUMAN36M_17,
        fps=10.0,
    )


def test_npz_json_and_csv_hold_the_same_numbers(prediction: Prediction, tmp_path: Path) -> None:
    write_results(prediction, {"input": "walk.mp4"}, tmp_path)
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["poses_mm"], prediction.poses_mm)
        np.testing.assert_array_equal(arrays["embeddings"], prediction.embeddings)
        np.testing.assert_array_equal(arrays["frames"], [4, 5, 9])
        np.testing.assert_array_equal(arrays["boxes_px"], prediction.boxes_px)
        assert tuple(arrays["joint_names"]) == HUMAN36M_17.joint_names
        assert [tuple(edge) for edge in arrays["edges"]] == list(HUMAN36M_17.edges)
        assert str(arrays["units"]) == "mm"
    value = json.loads((tmp_path / "poses.json").read_text())
    assert (value["input"], value["units"], value["fps"]) == ("walk.mp4", "mm", 10.0)
    assert [frame["frame"] for frame in value["frames"]] == [4, 5, 9]
    np.testing.assert_allclose([f["pose_mm"] for f in value["frames"]], prediction.poses_mm, atol=1e-3)
    np.testing.assert_allclose([f["embedding"] for f in value["frames"]], prediction.embeddings, atol=1e-6)
    with open(tmp_path / "poses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["4", "5", "9"]
    for joint, name in enumerate(HUMAN36M_17.joint_names):
        columns = [[float(row[f"{name}_{axis}_mm"]) for axis in "xyz"] for row in rows]
        np.testing.assert_allclose(columns, prediction.poses_mm[:, joint], atol=1e-3)


def test_the_root_comes_back_at_its_place() -> None:
    pose_mm = np.arange(16 * 3, dtype=np.float32).reshape(1, 16, 3)
    joints_mm = with_root(pose_mm, HUMAN36M_17)
    np.testing.assert_array_equal(joints_mm[0, 0], 0)
    np.testing.assert_array_equal(joints_mm[0, 1:], pose_mm[0])


def test_existing_results_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "poses.npz").write_text("mine")
    with pytest.raises(
        InputError, match=r"never overwritten. Received: --output=.*out, which exists. Give a new"
    ):
        new_folder(tmp_path / "out").__enter__()
    assert (tmp_path / "out" / "poses.npz").read_text() == "mine"


def test_results_appear_whole_in_a_new_or_empty_folder_or_not_at_all(tmp_path: Path) -> None:
    def fill(fails: bool) -> None:
        with new_folder(tmp_path / "deep" / "out") as folder:
            (folder / "poses.npz").write_text("whole")
            if fails:
                raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill(fails=True)
    assert list((tmp_path / "deep").iterdir()) == []
    (tmp_path / "deep" / "out").mkdir()
    fill(fails=False)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert (tmp_path / "deep" / "out" / "poses.npz").read_text() == "whole"
