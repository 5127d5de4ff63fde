"""The skeletons by name, and a user's own from a TOML file."""

import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.geometry import joint_names
from mcss_tf.geometry.skeleton import map_joints
from mcss_tf.geometry.skeletons import SKELETONS, find_skeleton

ARMLESS = """name = "armless"
[joints]
pelvis = ""
left_hip = "pelvis"
left_knee = "left_hip"
right_hip = "pelvis"
right_knee = "right_hip"
thorax = "pelvis"
"""


@pytest.mark.parametrize("name", SKELETONS)
def test_every_skeleton_can_be_canonical_and_mirrored(name):
    skeleton = SKELETONS[name]
    mirror = np.array(skeleton.mirror)
    np.testing.assert_array_equal(mirror[mirror], np.arange(skeleton.num_joints))
    assert mirror[skeleton.root] == skeleton.root
    assert mirror[skeleton.left_hip] != skeleton.left_hip


@pytest.mark.parametrize(
    ("name", "num_joints", "root"),
    [
        ("human36m_17", 17, "pelvis"),
        ("mpi_inf_3dhp_17", 17, "pelvis"),
        ("mpi_inf_3dhp_28", 28, "pelvis"),
        ("coco_17", 18, "pelvis"),
        ("coco_19", 19, "BodyCenter"),
        ("body_25", 25, "MidHip"),
        ("body_25b", 26, "MidHip"),
    ],
)
def test_sizes_and_roots(name, num_joints, root):
    skeleton = find_skeleton(name)
    assert skeleton.num_joints == num_joints
    assert skeleton.joint_names[skeleton.root] == root


def test_sides_by_any_spelling():
    sides = {name: [SKELETONS[name].side(j) for j in range(SKELETONS[name].num_joints)] for name in SKELETONS}
    assert all(found.count("left") == found.count("right") for found in sides.values())
    assert sides["human36m_17"][4] == "left"
    assert sides["coco_19"][3:6] == ["left"] * 3
    assert sides["body_25"][:4] == ["", "", "right", "right"]


def test_3dhp_joints_follow_the_documented_order():
    """The 17 joints of the test set are numbers 8 6 15 16 17 10 11 12 24 25 26 19 20 21 5 4 7 of the 28."""
    numbers = [8, 6, 15, 16, 17, 10, 11, 12, 24, 25, 26, 19, 20, 21, 5, 4, 7]
    assert tuple(joint_names.MPI_INF_3DHP_28[n - 1] for n in numbers) == joint_names.MPI_INF_3DHP_17


def test_human36m_takes_17_of_32_joints():
    kept = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
    joints = np.arange(32 * 3.0).reshape(32, 3)
    mapped, mask = map_joints(joints, joint_names.HUMAN36M_32, SKELETONS["human36m_17"])
    np.testing.assert_array_equal(mapped, joints[kept])
    assert mask.all()


def test_3dhp_on_human36m_names_what_its_neck_and_head_are():
    """3DHP's "neck" is the thorax of Human3.6M, the middle of its head the neck/nose, its top the head."""
    joints = np.arange(28 * 3.0).reshape(28, 3)
    target = SKELETONS["human36m_17"]
    mapped, mask = map_joints(joints, joint_names.MPI_INF_3DHP_28, target)
    for ours, theirs in (("thorax", 5), ("neck", 6), ("head", 7), ("spine", 3), ("left_ankle", 20)):
        np.testing.assert_array_equal(mapped[target.index(ours)], joints[theirs])
    np.testing.assert_array_equal(mapped[0], (joints[18] + joints[23]) / 2)
    assert mask.all()


def test_joints_that_another_set_lacks_are_masked():
    """Human3.6M has no middle of the head, and no eyes or toes of COCO and BODY_25."""
    target = SKELETONS["mpi_inf_3dhp_17"]
    _, mask = map_joints(np.ones((17, 3)), SKELETONS["human36m_17"].joint_names, target)
    assert [target.joint_names[j] for j in np.flatnonzero(mask == 0)] == ["neck_base", "mid_head"]
    _, mask = map_joints(np.ones((17, 3)), SKELETONS["human36m_17"].joint_names, SKELETONS["body_25"])
    assert mask.sum() == 14


def test_a_skeleton_from_toml(tmp_path):
    path = tmp_path / "armless.toml"
    path.write_text(ARMLESS)
    skeleton = find_skeleton(str(path))
    assert skeleton.name == "armless"
    assert skeleton.joint_names == ("pelvis", "left_hip", "left_knee", "right_hip", "right_knee", "thorax")
    assert skeleton.parents == (-1, 0, 1, 0, 3, 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "armless"\n', "", "has a `name` and a table"),
        ('thorax = "pelvis"', "thorax = 3", "has a `name` and a table"),
        ("[joints]", "[bones]", "has a `name` and a table"),
        ('thorax = "pelvis"', 'thorax = "back"', "Parents are joints of the same skeleton.*'back'"),
        ('pelvis = ""', 'pelvis = "thorax"', "exactly one root"),
        ("left_hip", "hip_of_the_left_leg", "left hip"),
        ('right_knee = "right_hip"\n', "", "partner for every left and right"),
        ('thorax = "pelvis"', 'thorax = "pelvis', "valid TOML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, old, new, message):
    path = tmp_path / "skeleton.toml"
    assert old in ARMLESS
    path.write_text(ARMLESS.replace(old, new))
    with pytest.raises(InputError, match=message) as error:
        find_skeleton(str(path))
    assert str(path) in str(error.value)


def test_an_unknown_name(tmp_path):
    with pytest.raises(InputError, match=r"--skeleton is one of human36m_17, .*Received: 'smpl'"):
        find_skeleton("smpl")
