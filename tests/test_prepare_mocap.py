"""`prepare --source=mocap` from the command line."""

import numpy as np
import pytest

from mcss_tf import prepare
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.keypoint_views import load_keypoint_views
from mcss_tf.geometry.cameras import save_calibration
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.studio import figure
from mcss_tf.studio.motion import procedural_takes
from tests.helpers import call
from tests.keypoint_data import make_cameras

CONFIG = """
from ml_collections import ConfigDict


def get_config():
    config = ConfigDict()
    config.mocap = ConfigDict({"train_subjects": ("P1",), "test_subjects": ("P2",), "fps": 10.0})
    config.mocap.noise = ConfigDict({"mean_error_px": 3.0})
    return config
"""


@pytest.fixture
def inputs(tmp_path):
    takes = procedural_takes(0, "anyone", 40, 20.0)
    clips = {
        f"{take.action}_0{n}": figure.pose_points(take.clip_of(), figure.LENGTHS_MM)[:, :17]
        for n, take in enumerate(takes)
    }
    motion, cameras, config = (tmp_path / name for name in ("motion.npz", "cameras.toml", "config.py"))
    np.savez(motion, _joints=np.array(HUMAN36M_17.joint_names), _fps=20, _up="z", _units="mm", **clips)
    save_calibration(cameras, make_cameras())
    config.write_text(CONFIG)
    return motion, cameras, config


def run(*arguments) -> int:
    return call(prepare, ["--source=mocap", "--workers=1", *arguments])


def test_a_dataset_of_keypoints(inputs, tmp_path, capsys):
    motion, cameras, config = inputs
    output = tmp_path / "out" / "data"
    assert run(f"--input={motion}", f"--cameras={cameras}", f"--config={config}", f"--output={output}") == 0
    assert "P1" in capsys.readouterr().out
    dataset = PreparedDataset.load(output, require=("train", "test"))
    dataset.verify()
    assert dataset.crop_size == 0
    assert dataset.subjects == ["P1", "P2"]
    assert (output / "contact_sheet.png").stat().st_size > 1000
    views = load_keypoint_views(dataset, "train")
    error = np.linalg.norm(views.keypoints_px[..., :2] - views.keypoints_true_px, axis=-1)
    assert error.mean() == pytest.approx(3.0, rel=0.2)


def test_what_is_missing_is_said(inputs, tmp_path, capsys):
    motion, _, config = inputs
    output = f"--output={tmp_path / 'out'}"
    assert run(output) == 2
    assert "needs --input and --cameras. Received: no --input and no --cameras" in capsys.readouterr().err
    assert run(output, f"--input={motion}") == 2
    assert "Received: no --cameras. Give motion capture" in capsys.readouterr().err
    config.write_text(CONFIG.replace('"fps"', '"rate"'))
    assert run(output, f"--input={motion}", f"--cameras={motion}", f"--config={config}") == 2
    assert "`mocap` in a config has the fields" in capsys.readouterr().err
