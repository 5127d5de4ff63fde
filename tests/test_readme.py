"""The README's commands, run as they stand: only paths and the length of the training are replaced."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mcss_tf.data.background import find_backgrounds, replace_backgrounds
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.images import decode_image
from mcss_tf.studio.recording import write_recordings

ROOT = Path(__file__).resolve().parents[1]
SHORT = "--config.image_size=32 --config.batch.num_pairs=4 --config.train.steps=3"


def commands(heading: str) -> list[str]:
    """Returns the Python commands in the code blocks of a section, continued lines joined."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split(heading)[1].split("\n## ")[0]
    blocks = "\n".join(re.findall(r"```\n(.*?)```", section, re.DOTALL)).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if line.startswith("python ")]


def run(command: str) -> str:
    arguments = [sys.executable, *shlex.split(command)[1:]]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_your_own_videos(tmp_path):
    write_recordings(
        tmp_path / "videos", subjects=("anna",), actions=("walking",), num_frames=40, num_cameras=2
    )
    video = next((tmp_path / "videos").rglob("*.mp4"))
    own = [line for line in commands("## Your own videos") if "mine" in line]
    assert [re.search(r"mcss_tf\.(\w+)", line)[1] for line in own] == [
        "prepare", "train", "evaluate", "export", "predict",
    ]  # fmt: skip
    for line in own:
        line = line.replace("my_videos/anna/walk/left.mp4", str(video)).replace(
            "my_videos", f"{tmp_path}/videos"
        )
        line = line.replace("out/mine", str(tmp_path / "out"))
        run(f"{line} {SHORT}" if "mcss_tf.train" in line else line)
    assert {p.name for p in (tmp_path / "out" / "walk").iterdir()} >= {
        "poses.npz",
        "poses.json",
        "overlay.mp4",
    }
    assert (tmp_path / "out" / "mcss" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_the_real_recording_without_labels_is_above_chance(balancing, tmp_path):
    for line in [line for line in commands("## Your own videos") if "balancing" in line]:
        run(
            line.replace("../shared/data/pose2sim_balancing", str(balancing)).replace(
                "out/", f"{tmp_path}/out/"
            )
        )
    metrics = json.loads((tmp_path / "out" / "balancing" / "run" / "metrics.json").read_text())
    assert metrics["pose"] is None, "no labels were given"
    # The last quarter of the take: 25 instants, of which chance finds one in 25.
    assert metrics["sync"]["chance"] == pytest.approx(1 / 25)
    assert metrics["sync"]["hit_at_1"] > 1.2 * metrics["sync"]["chance"]
    _check_backgrounds(PreparedDataset.load(tmp_path / "out" / "balancing" / "data"))


def _check_backgrounds(dataset):
    """One person on one spot: what is beside them can be replaced, and nothing of where they always are."""
    rows = dataset.split_rows("train")
    backgrounds = find_backgrounds(dataset, rows)
    rows, cameras, size = np.repeat(rows[::10], 4), np.tile(np.arange(4), len(rows[::10])), dataset.crop_size
    images = np.stack([decode_image(jpeg, "a crop") for jpeg in dataset.read_images(rows, cameras)])
    behind, instead = (backgrounds.look(rows, c, size) for c in (cameras, (cameras + 1) % 4))
    changed = replace_backgrounds(images, behind, instead, np.ones(len(rows), bool)).numpy()
    share = (changed != images).any(-1).mean(axis=(0, 1))  # of each column of pixels
    middle = size // 2
    assert share[middle - size // 16 : middle + size // 16].max() < 0.1
    assert share[: size // 4].mean() > 0.5
    assert share[-size // 4 :].mean() > 0.5
