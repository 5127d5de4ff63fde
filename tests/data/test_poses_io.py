import numpy as np
import pytest

from mcss_tf.data import keypoints_io, poses_io
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import load_calibration, project
from mcss_tf.geometry.joint_names import BODY_25B
from mcss_tf.geometry.skeleton import HUMAN36M_17
from tests.data import synthetic

NAMES = list(HUMAN36M_17.joint_names)


def _write(path, **changes):
    values = {
        "joints_mm": np.stack([synthetic.pose_mm(t) for t in (0.0, 0.5, 1.0)]),
        "frames": np.array([0, 5, 10]),
        "joint_names": NAMES,
    }
    values |= changes
    np.savez(path, **{key: value for key, value in values.items() if value is not None})
    return path


def _read(path, num_frames=20, fps=10.0):
    return poses_io.read_poses(path, HUMAN36M_17, num_frames, fps)


def test_npz(tmp_path):
    poses = _read(_write(tmp_path / "poses.npz"))
    assert poses.frames.tolist() == [0, 5, 10]
    np.testing.assert_allclose(poses.joints_mm[1], synthetic.pose_mm(0.5), rtol=1e-6)
    assert poses.joint_mask.all()


def test_joints_are_found_by_name_and_the_up_axis_is_turned(tmp_path):
    order = np.random.default_rng(0).permutation(17)
    joints = np.stack([synthetic.pose_mm(t) for t in (0.0, 0.5, 1.0)])
    y_up = joints[:, order][..., [1, 2, 0]]  # (x, y, z) of Z up is (z, x, y) of Y up
    names = [NAMES[joint] for joint in order]
    poses = _read(_write(tmp_path / "poses.npz", joints_mm=y_up, joint_names=names, up_axis="y"))
    np.testing.assert_allclose(poses.joints_mm, joints, rtol=1e-6)


def test_nan_joints_are_masked(tmp_path):
    joints = np.stack([synthetic.pose_mm(t) for t in (0.0, 0.5, 1.0)])
    joints[1, 16] = np.nan
    poses = _read(_write(tmp_path / "poses.npz", joints_mm=joints))
    assert poses.joint_mask[1].tolist() == [1.0] * 16 + [0.0]
    assert np.isfinite(poses.joints_mm).all()
    joints[:, 0] = np.nan
    with pytest.raises(InputError, match="without pelvis"):
        _read(_write(tmp_path / "poses.npz", joints_mm=joints))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint_names": [f"joint{i}" for i in range(17)]}, r"No joint of skeleton .*poses\.npz"),
        ({"joint_names": [*NAMES[:15], "left_thumb", "right_thumb"]}, r"without right_elbow, right_wrist"),
        ({"joint_names": NAMES[:16]}, r"joints_mm \(3, 17, 3\).*16 joint_names"),
        ({"frames": np.array([0, 5, 20])}, r"0 to 19. Received: frame 20"),
        ({"frames": np.array([-1, 5, 10])}, r"Received: frame -1"),
        ({"frames": np.array([0, 5, 5])}, r"a frame twice"),
        ({"frames": np.array([0.0, 0.5, 1.0])}, r"whole numbers.*float64 frames"),
        ({"frames": np.array([0, 5])}, r"joints_mm \(3, 17, 3\)"),
        (
            {"joints_mm": 0.001 * np.stack([synthetic.pose_mm(0)] * 3)},
            r"They look like m: convert them to mm",
        ),
        ({"joints_mm": 0.1 * np.stack([synthetic.pose_mm(0)] * 3)}, r"They look like cm"),
        ({"joints_mm": 99.0 * np.stack([synthetic.pose_mm(0)] * 3)}, r"250 to 2500 mm away"),
        ({"joint_names": None}, r"holds frames, joint_names, joints_mm, up_axis"),
        ({"confidence": np.ones(3)}, r"with confidence, frames"),
        ({"up_axis": "up"}, r"up_axis is one of"),
    ],
)
def test_wrong_npz(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        _read(_write(tmp_path / "poses.npz", **changes))


def test_file_that_is_no_npz(tmp_path):
    (tmp_path / "poses.npz").write_text("no archive")
    with pytest.raises(InputError, match=r"NumPy archive of plain arrays. Received: .*poses\.npz"):
        _read(tmp_path / "poses.npz")


def _write_trc(path, rate=10.0, units="m", num_rows=20, scale=0.001, missing=None):
    """Writes `synthetic.pose_mm` as a Y-up .trc, one row every 1 / rate seconds from time 0."""
    names = "\t\t\t".join(NAMES)
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{num_rows}\t17\t{units}\t{rate}\t0\t{num_rows}",
        f"Frame#\tTime\t{names}",
        "\t\t" + "\t".join(f"{axis}{i}" for i in range(1, 18) for axis in "XYZ"),
    ]
    for row in range(num_rows):
        values = (scale * synthetic.pose_mm(row / rate)[:, [1, 2, 0]]).ravel()
        cells = ["" if missing == (row, i // 3) else f"{v:.6f}" for i, v in enumerate(values)]
        lines.append("\t".join([str(row + 1), f"{row / rate:.4f}", *cells]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("units", "scale"), [("m", 0.001), ("mm", 1.0), ("cm", 0.1)])
def test_trc_units_and_axes(tmp_path, units, scale):
    poses = _read(_write_trc(tmp_path / "a.trc", units=units, scale=scale))
    assert poses.frames.tolist() == list(range(20))
    np.testing.assert_allclose(poses.joints_mm[7], synthetic.pose_mm(0.7), atol=0.05)


def test_faster_trc_labels_each_frame_with_its_nearest_row(tmp_path):
    poses = _read(_write_trc(tmp_path / "a.trc", rate=100.0, num_rows=191))
    assert poses.frames.tolist() == list(range(20))
    np.testing.assert_allclose(poses.joints_mm[13], synthetic.pose_mm(1.3), atol=0.05)


def test_empty_cells_of_a_trc_are_markers_not_seen(tmp_path):
    poses = _read(_write_trc(tmp_path / "a.trc", missing=(4, 12)))
    assert poses.joint_mask[4].tolist() == [1.0] * 12 + [0.0] + [1.0] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": "mm"}, "They look like m"),
        ({"units": "inch"}, "Units 'inch'"),
        ({"num_rows": 25}, "Received: frame 20"),
        ({"num_rows": 0}, "0 frames"),
    ],
)
def test_wrong_trc(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        _read(_write_trc(tmp_path / "a.trc", **arguments))


def test_file_that_is_no_trc(tmp_path):
    (tmp_path / "a.trc").write_text("1,2,3\n")
    with pytest.raises(InputError, match=r"five header lines.*a\.trc"):
        _read(tmp_path / "a.trc")


def test_one_label_file_a_sequence(tmp_path):
    assert poses_io.find_pose_file(tmp_path) is None
    _write_trc(tmp_path / "a.trc")
    assert poses_io.find_pose_file(tmp_path) == tmp_path / "a.trc"
    _write(tmp_path / "poses.npz")
    with pytest.raises(InputError, match=r"one label file.*Received: poses\.npz, a\.trc"):
        poses_io.find_pose_file(tmp_path)


def test_real_trc_lies_on_the_person_in_the_frame_it_labels(balancing):
    """Its reprojection fits the keypoints of the same frame better than those 4 frames before or after."""
    poses = poses_io.read_poses(balancing / "pose-3d.trc", HUMAN36M_17, 100, 60.0)
    camera = load_calibration(balancing / "calibration.toml")["cam_02"]
    folder = balancing / "pose-associated" / "cam02_json"
    keypoints = keypoints_io.on_skeleton(folder, 100, BODY_25B, HUMAN36M_17)
    wrists = [HUMAN36M_17.index("left_wrist"), HUMAN36M_17.index("right_wrist")]
    projected = project(camera, poses.joints_mm[:, wrists])

    def error_px(shift):
        frames = np.arange(10, 90)
        return np.median(
            np.linalg.norm(projected[frames] - keypoints[frames + shift][:, wrists, :2], axis=-1)
        )

    assert poses.frames.tolist() == list(range(100))
    assert error_px(0) < 20
    assert error_px(0) < min(error_px(-4), error_px(4))
