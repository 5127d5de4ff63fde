"""Motion capture: positions to clips, and which clips belong together."""

import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.studio import figure, mocap

NAMES = (
    *(
        "pelvis",
        "right_hip",
        "right_knee",
        "right_ankle",
        "left_hip",
        "left_knee",
        "left_ankle",
        "spine",
        "thorax",
    ),
    *(
        "neck",
        "head",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
    ),
)


@pytest.fixture
def standing():
    """[2, 17, 3] mm: a person who stands upright and looks along y."""
    clip = figure.Clip("", "", 1.0, np.zeros((2, 22, 3)), np.zeros((2, 2)), np.zeros(2))
    for bones, direction in (
        ([1, 14], [1, 0, 0]),
        ([4, 11], [-1, 0, 0]),
        ([2, 3, 5, 6, 12, 13, 15, 16, 19, 20], [0, 0, -1]),
        ([7, 8, 10], [0, 0, 1]),
        ([9], [0, 0.6, 0.8]),
        ([17, 18, 21], [0, 1, 0]),
    ):
        clip.directions[:, bones] = direction
    return figure.pose_points(clip, figure.LENGTHS_MM)[:, :17]


@pytest.fixture
def write(tmp_path, standing):
    def write(**changes):
        content = {
            "walk_01": standing / 1000,
            "_joints": np.array(NAMES),
            "_fps": 30,
            "_up": "z",
            "_units": "m",
            **changes,
        }
        path = tmp_path / "motion.npz"
        np.savez(path, **{key: value for key, value in content.items() if value is not None})
        return path

    return write


def test_an_npz_with_the_17_joints(write, standing):
    path = write()
    assert mocap.clip_lengths_s(path) == {"walk_01": pytest.approx(2 / 30)}
    clip = mocap.load_clip(path, "walk_01")
    assert (clip.action, clip.fps) == ("walk", 30)
    points = figure.pose_points(clip, figure.LENGTHS_MM)
    np.testing.assert_allclose(points[:, :17], standing, atol=1e-3)
    # Toes, hands and face are inferred: forward, along the forearm, and to the nose.
    forward = clip.directions[:, [figure.R_TOE, figure.L_TOE]]
    assert (forward[..., 1] > 0.99).all()
    np.testing.assert_allclose(clip.directions[:, figure.R_HAND], [[0, 0, -1]] * 2, atol=1e-6)
    np.testing.assert_allclose(clip.directions[:, figure.FACE, 0], 0, atol=1e-6)
    assert (clip.directions[:, figure.FACE, 1] > 0.7).all()


def test_y_up_centimetres_are_the_same_motion(write, standing):
    path = write(walk_01=standing[..., [1, 2, 0]] / 10, _up="y", _units="cm")
    clip = mocap.load_clip(path, "walk_01")
    np.testing.assert_allclose(figure.pose_points(clip, figure.LENGTHS_MM)[:, :17], standing, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_units": None, "_fps": None}, r"names its _joints.*Received: .*without _fps, _units. Add them"),
        ({"_up": "x"}, r"_up y or z.*Received: _up='x'"),
        ({"_fps": 0}, r"positive _fps. Received: .*_fps=0"),
        ({"_units": "inch"}, r"_units mm, cm or m.*Received: .*_units='inch'"),
        ({"walk_01": np.zeros((5, 16, 3))}, r"\[frames, 17, 3\].*Received: walk_01 of shape \(5, 16, 3\)"),
        ({"walk_01": np.full((5, 17, 3), np.nan)}, r"A clip is finite positions"),
        ({"walk_01": None}, r"at least one clip. Received: none in"),
    ],
)
def test_a_wrong_npz_says_what_is_wrong(write, changes, message):
    with pytest.raises(InputError, match=message):
        mocap.clip_lengths_s(write(**changes))


def test_a_missing_joint_is_named(write):
    names = np.array(["tail" if name == "left_knee" else name for name in NAMES])
    path = write(_joints=names)
    with pytest.raises(InputError, match=r"all 17 joints.*Received: .*walk_01 without left_knee"):
        mocap.load_clip(path, "walk_01")


def test_a_file_that_is_no_npz(tmp_path):
    path = tmp_path / "motion.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"must be an npz.*Received: .*cannot be read"):
        mocap.clip_lengths_s(path)


def test_a_folder_without_bvh(tmp_path):
    with pytest.raises(InputError, match=r"BVH file, a folder of BVH files or an npz. Received: .*none"):
        mocap.clip_lengths_s(tmp_path)


def test_partners_of_a_dance_are_one_group():
    lengths = {"salsa_01": 18.7, "salsa_16": 18.7, "salsa_02": 17.5, "walk_01": 18.7}
    assert mocap.partners(lengths) == [["salsa_01", "salsa_16"], ["salsa_02"], ["walk_01"]]


def test_the_real_collection(cmu_mocap):
    path = cmu_mocap / "cmu_bvh_30hz.npz"
    lengths = mocap.clip_lengths_s(path)
    assert len(lengths) == 43
    groups = {name: index for index, group in enumerate(mocap.partners(lengths)) for name in group}
    for number in range(1, 16):
        if f"salsa_{number:02d}" in lengths:
            assert groups[f"salsa_{number:02d}"] == groups[f"salsa_{number + 15:02d}"]
    clip = mocap.load_clip(path, "martial_04")
    points = figure.pose_points(clip, figure.LENGTHS_MM)
    # Feet are on the floor most of the time and never below it; the head is above the hips.
    lowest = figure.lowest_skin_mm(points)
    assert lowest.min() >= -1e-6
    assert np.median(lowest) < 40
    assert np.median(points[:, 10, 2] - points[:, 0, 2]) > 500
    # The face looks where the toes and the chest point, in the median frame.
    forward = np.cross(points[:, 11] - points[:, 14], points[:, 8] - points[:, 7])
    for point in (figure.FACE, figure.R_TOE, figure.L_TOE):
        assert np.median((clip.directions[:, point] * forward).sum(-1)) > 0


def test_the_t_pose_that_begins_a_real_file_is_left_out(cmu_mocap):
    path = cmu_mocap / "cmu_bvh_30hz.npz"
    for name in ("salsa_03", "indian_04", "martial_03"):
        clip = mocap.load_clip(path, name)
        np.testing.assert_array_equal(clip.directions[0], clip.directions[1])


def test_motion_that_begins_smoothly_keeps_its_first_frame(write, standing):
    moving = np.repeat(standing[:1], 4, axis=0)
    moving[:, 13, 0] += [0, 8, 20, 28]
    clip = mocap.load_clip(write(walk_01=moving / 1000), "walk_01")
    assert np.abs(clip.directions[0] - clip.directions[1]).max() > 0.01


def test_real_bvh_and_npz_give_the_same_clip(cmu_mocap):
    stored = mocap.load_clip(cmu_mocap / "cmu_bvh_30hz.npz", "martial_04")
    parsed = mocap.load_clip(cmu_mocap / "bvh", "martial_04")
    count = min(stored.num_frames, parsed.num_frames // 4)
    # The first frames are held ones, of different length.
    np.testing.assert_allclose(parsed.directions[4::4][: count - 1], stored.directions[1:count], atol=0.01)
