"""Filmed recordings are what the source `recordings` expects."""

import av
import numpy as np
import pytest

from mcss_tf.geometry.cameras import load_calibration, project
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.studio.recording import write_recordings


def test_videos_labels_and_calibration(tmp_path):
    write_recordings(
        tmp_path, subjects=("S1",), actions=("waving",), num_frames=6, num_cameras=2, frame_size=(96, 64)
    )
    cameras = load_calibration(tmp_path / "cameras.toml")
    folder = tmp_path / "S1" / "waving"
    assert sorted(path.stem for path in folder.glob("*.mp4")) == sorted(cameras)
    for name in cameras:
        with av.open(str(folder / f"{name}.mp4")) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert float(container.streams.video[0].average_rate) == pytest.approx(30)
        assert np.shape(frames) == (6, 64, 96, 3)
        assert np.std(frames[0]) > 10
    with np.load(folder / "poses.npz") as poses:
        assert poses["joints_mm"].shape == (6, 17, 3)
        assert tuple(poses["joint_names"]) == HUMAN36M_17.joint_names
        assert str(poses["up_axis"]) == "z"
        np.testing.assert_array_equal(poses["frames"], np.arange(6))
        for camera in cameras.values():
            pixels = project(camera, poses["joints_mm"])
            assert (pixels > 0).all()
            assert (pixels < camera.size).all()
