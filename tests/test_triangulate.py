"""Keypoints and calibration to labels: exact on a person one knows, no worse than published on a real one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mcss_tf.data import keypoints_io, poses_io, trc
from mcss_tf.data.keypoint_poses import Thresholds
from mcss_tf.data.sources.recordings import RecordingOptions, RecordingsSource
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import load_calibration, project, save_calibration
from mcss_tf.geometry.joint_names import BODY_25B, COCO_17
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.triangulate import triangulate_recordings
from tests import calibrated_recordings as recordings

ROOT = Path(__file__).resolve().parents[1]


def _run(root, output=None, **thresholds):
    return triangulate_recordings(root, output or root, Thresholds(**thresholds))


def test_exact_keypoints_give_the_person_back(tmp_path):
    recordings.write(tmp_path / "r")
    report = _run(tmp_path / "r", tmp_path / "out")
    with np.load(tmp_path / "out" / "S1" / "walk" / "poses.npz") as labels:
        assert labels["joint_names"].tolist() == list(COCO_17)
        np.testing.assert_array_equal(labels["frames"], np.arange(recordings.NUM_FRAMES))
        expected = np.stack([recordings.coco_mm(frame) for frame in range(recordings.NUM_FRAMES)])
        np.testing.assert_allclose(labels["joints_mm"], expected, atol=0.01)
    sequence = report["sequences"]["S1/walk"]
    assert (sequence["num_frames"], sequence["valid_fraction"]) == (recordings.NUM_FRAMES, 1.0)
    for camera in sequence["cameras"].values():
        assert camera["median_error_px"] < 1e-3
        assert camera["used_fraction"] == 1.0
    assert json.loads((tmp_path / "out" / "triangulation.json").read_text()) == report


def test_both_files_are_labels(tmp_path):
    recordings.write(tmp_path / "r")
    _run(tmp_path / "r", tmp_path / "out")
    by_npz, by_trc = (
        poses_io.read_poses(
            tmp_path / "out" / "S1" / name, HUMAN36M_17, recordings.NUM_FRAMES, recordings.FPS
        )
        for name in ("walk/poses.npz", "walk.trc")
    )
    np.testing.assert_array_equal(by_npz.frames, by_trc.frames)
    np.testing.assert_allclose(by_npz.joints_mm, by_trc.joints_mm, atol=1e-2)


def test_prepare_takes_the_labels_from_the_recordings_folder_itself(tmp_path):
    recordings.write(tmp_path)
    _run(tmp_path)
    source = RecordingsSource(RecordingOptions(root=tmp_path, crop_size=32, boxes="full"))
    (spec,) = source.sequences()
    instants = list(source.instants(spec))
    assert len(instants) == recordings.NUM_FRAMES
    left_wrist = HUMAN36M_17.index("left_wrist")
    for instant in instants:
        assert instant.joint_mask.all()
        expected = recordings.coco_mm(instant.frame)[COCO_17.index("left_wrist")]
        np.testing.assert_allclose(instant.joints_mm[left_wrist], expected, atol=0.01)
    with pytest.raises(InputError, match=r"never overwritten\. Received: .*S1/walk has poses\.npz"):
        _run(tmp_path)


def test_frames_are_paired_by_time(tmp_path):
    """Camera b was started 0.3 s late: its frame 0 shows what the others show in frame 3."""
    cameras = recordings.write(tmp_path / "r")
    folder = tmp_path / "r" / "S1" / "walk" / "keypoints" / "b"
    for frame in range(recordings.NUM_FRAMES):
        seen = np.c_[project(cameras["b"], recordings.coco_mm(frame + 3)), np.ones(len(COCO_17))]
        recordings.write_keypoints(folder, frame, seen)
    with open(tmp_path / "r" / "recordings.toml", "a") as file:
        file.write("[offsets_s]\nb = 0.3\n")
    report = _run(tmp_path / "r", tmp_path / "out")
    values = report["sequences"]["S1/walk"]["cameras"]
    assert all(camera["median_error_px"] < 1e-3 for camera in values.values())
    with np.load(tmp_path / "out" / "S1" / "walk" / "poses.npz") as labels:
        expected = np.stack([recordings.coco_mm(frame) for frame in labels["frames"]])
        np.testing.assert_allclose(labels["joints_mm"], expected, atol=0.01)


def test_an_outlying_detection_is_left_out(tmp_path):
    cameras = recordings.write(tmp_path / "r")
    wrong = np.c_[project(cameras["c"], recordings.coco_mm(5)), np.ones(len(COCO_17))]
    wrong[9, :2] += 120
    recordings.write_keypoints(tmp_path / "r" / "S1" / "walk" / "keypoints" / "c", 5, wrong)
    _run(tmp_path / "r", tmp_path / "out")
    with np.load(tmp_path / "out" / "S1" / "walk" / "poses.npz") as labels:
        np.testing.assert_allclose(labels["joints_mm"][5], recordings.coco_mm(5), atol=0.01)


def test_joints_that_one_camera_sees_are_not_observed(tmp_path):
    cameras = recordings.write(tmp_path / "r")
    for name in ("a", "b"):
        hidden = np.c_[project(cameras[name], recordings.coco_mm(4)), np.ones(len(COCO_17))]
        hidden[10, 2] = 0.05
        recordings.write_keypoints(tmp_path / "r" / "S1" / "walk" / "keypoints" / name, 4, hidden)
    _run(tmp_path / "r", tmp_path / "out")
    with np.load(tmp_path / "out" / "S1" / "walk" / "poses.npz") as labels:
        assert np.isnan(labels["joints_mm"][4, 10]).all()
        assert np.isfinite(np.delete(labels["joints_mm"][4], 10, axis=0)).all()


def _mirror(root):
    text = (root / "cameras.toml").read_text()
    lines = text.splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("rotation"))
    lines[row] = "rotation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]"
    (root / "cameras.toml").write_text("\n".join(lines))


def _uncalibrate(root):
    cameras = load_calibration(root / "cameras.toml")
    del cameras["b"]
    save_calibration(root / "cameras.toml", cameras)


def _keep(root, num_files):
    for path in sorted((root / "S1" / "walk" / "keypoints" / "b").glob("*.json"))[num_files:]:
        path.unlink()


def _blind(root):
    for camera in ("b", "c"):
        shutil.rmtree(root / "S1" / "walk" / "keypoints" / camera)


def _shuffle(root):
    """Keypoints that no point in front of the cameras explains."""
    rng = np.random.default_rng(0)
    for camera in ("a", "b", "c"):
        for frame in range(recordings.NUM_FRAMES):
            noise = np.c_[rng.uniform(-1e6, 1e6, (len(COCO_17), 2)), np.full(len(COCO_17), 0.05)]
            noise[:4, 2] = 0.2 if camera == "a" else 0.05
            recordings.write_keypoints(root / "S1" / "walk" / "keypoints" / camera, frame, noise)


def _halve_joints(root):
    for frame in range(recordings.NUM_FRAMES):
        recordings.write_keypoints(root / "S1" / "walk" / "keypoints" / "c", frame, np.ones((9, 3)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_uncalibrate, r"The calibration must hold every camera once\. Received: .* for camera b"),
        (lambda root: (root / "cameras.toml").unlink(), r"needs cameras\.toml .* Received: none for"),
        (_mirror, r"The rotation of camera 'a' must not mirror\. Received: determinant -1"),
        (
            lambda root: _keep(root, 8),
            r"one keypoint file per frame .* Received: a 20 for 20 frames, b 8 for",
        ),
        (_blind, r"of two or more cameras\. Received: a of a, b, c"),
        (
            lambda root: (root / "recordings.toml").write_text(""),
            r"which joints the keypoints are\. Received: recordings\.toml without",
        ),
        (_halve_joints, r"a person has 17 keypoints\. Received: 9"),
        (_shuffle, r"none of 340 points is valid"),
    ],
)
def test_bad_input(tmp_path, damage, message):
    recordings.write(tmp_path / "r")
    damage(tmp_path / "r")
    with pytest.raises(InputError, match=message):
        _run(tmp_path / "r", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_confidence": 1.5}, "--min_confidence must lie in 0 to 1. Received: 1.5"),
        ({"max_error_px": -1.0}, "--max_error_px must lie in 0 to inf. Received: -1.0"),
        ({"min_angle_deg": 100.0}, "--min_angle_deg must lie in 0 to 90. Received: 100.0"),
    ],
)
def test_bad_thresholds(values, message):
    with pytest.raises(InputError, match=message):
        Thresholds(**values)


def test_the_command_line_on_a_single_camera(tmp_path):
    recordings.write(tmp_path / "r", num_cameras=1)
    command = [sys.executable, "-m", "mcss_tf.triangulate", f"--input={tmp_path}/r", f"--output={tmp_path}/o"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: A sequence needs videos of at least two cameras" in done.stderr
    assert "Traceback" not in done.stderr


def test_real_recording_is_no_worse_than_the_published_labels(tmp_path, balancing):
    """The same keypoints, joints and frames: median reprojection error of each camera, theirs and ours."""
    script = ROOT / "examples" / "pose2sim_to_recordings.py"
    subprocess.run([sys.executable, script, balancing, tmp_path / "r"], check=True)
    command = [sys.executable, "-m", "mcss_tf.triangulate", f"--input={tmp_path}/r", f"--output={tmp_path}/o"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "100.0%" in done.stdout
    (ours_path,) = (tmp_path / "o").glob("*/*.trc")
    frames, ours, our_names = trc.read_trc(ours_path, 60.0)
    _, published, names = trc.read_trc(balancing / "pose-3d.trc", 60.0)
    assert len(frames) == 100
    # Pose2Sim calls two keypoints otherwise.
    detected = [{"Neck": "UpperNeck", "Head": "HeadTop"}.get(name, name) for name in names]
    ours = ours[:, [our_names.index(name) for name in detected]]
    columns = [BODY_25B.index(name) for name in detected]
    for number, camera in enumerate(load_calibration(balancing / "calibration.toml").values(), 1):
        folder = balancing / "pose-associated" / f"cam0{number}_json"
        keypoints = keypoints_io.read_keypoints(folder, 100)[:, columns]
        is_seen = np.isfinite(keypoints).all(-1) & (keypoints[..., 2] > 0.1) & np.isfinite(ours).all(-1)
        errors = [
            np.linalg.norm(project(camera, np.nan_to_num(points)) - keypoints[..., :2], axis=-1)[is_seen]
            for points in (ours, published)
        ]
        assert is_seen.mean() > 0.85
        assert np.median(errors[0]) <= np.median(errors[1])
