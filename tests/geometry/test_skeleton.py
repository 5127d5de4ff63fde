"""Skeletons are checked, mirrored and mapped from other joint sets by name."""

import json

import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import BODY_25, BODY_25B, COCO_17, HUMAN36M_17, Skeleton, map_joints

STICK = Skeleton("stick", ("root", "left_hip", "right_hip"), (-1, 0, 0))


def test_human36m_joints_follow_the_documented_order():
    assert HUMAN36M_17.num_joints == 17
    assert HUMAN36M_17.root == 0
    assert HUMAN36M_17.left_hip == HUMAN36M_17.index("left_hip") == 4
    assert HUMAN36M_17.non_root == tuple(range(1, 17))
    assert HUMAN36M_17.edges[:4] == ((0, 1), (1, 2), (2, 3), (0, 4))
    assert len(HUMAN36M_17.edges) == 16


def test_mirror_swaps_sides_and_is_its_own_inverse():
    mirror = np.array(HUMAN36M_17.mirror)
    assert mirror[HUMAN36M_17.index("left_wrist")] == HUMAN36M_17.index("right_wrist")
    assert mirror[HUMAN36M_17.index("head")] == HUMAN36M_17.index("head")
    np.testing.assert_array_equal(mirror[mirror], np.arange(17))
    short = Skeleton("s", ("Root", "LHip", "RHip", "lFoot", "rFoot"), (-1, 0, 0, 1, 2))
    assert short.mirror == (0, 2, 1, 4, 3)


def test_json_round_trip():
    assert Skeleton.from_json(json.loads(json.dumps(HUMAN36M_17.to_json()))) == HUMAN36M_17


@pytest.mark.parametrize(
    ("names", "parents", "message"),
    [
        (("a", "b"), (-1,), "one parent per joint"),
        (("a", "a"), (-1, 0), "names of a skeleton must differ"),
        (("a", "b"), (-1, -1), "exactly one root"),
        (("a", "b"), (-1, 2), "indices below 2"),
        (("a", "b", "c"), (-1, 2, 1), "without a cycle"),
    ],
)
def test_a_wrong_skeleton_is_refused(names, parents, message):
    with pytest.raises(InputError, match=message):
        Skeleton("wrong", names, parents)


def test_missing_joints_are_named():
    with pytest.raises(InputError, match="Received: 'nose'"):
        STICK.index("nose")
    with pytest.raises(InputError, match="needs a left hip"):
        _ = Skeleton("s", ("a", "b"), (-1, 0)).left_hip
    with pytest.raises(InputError, match="without 'right_hip'"):
        _ = Skeleton("s", ("a", "left_hip"), (-1, 0)).mirror
    with pytest.raises(InputError, match=r"without \['parents'\]"):
        Skeleton.from_json({"name": "a", "joint_names": []})


def test_equal_names_are_only_reordered():
    joints = np.random.default_rng(0).normal(size=(4, 17, 3))
    order = np.random.default_rng(1).permutation(17)
    names = [HUMAN36M_17.joint_names[joint] for joint in order]
    mapped, mask = map_joints(joints[:, order], names, HUMAN36M_17)
    np.testing.assert_array_equal(mapped, joints)
    assert mask.all()


def test_body_25b_derives_pelvis_thorax_spine_and_neck():
    """A drawn figure: hips at height 1, shoulders at 2, nose at 2.3, top of the head at 2.5."""
    points = dict.fromkeys(BODY_25B, (0.0, 0.0, 0.9))
    points |= {"LHip": (0.2, 1.0, 0.8), "RHip": (-0.2, 1.0, 0.6)}
    points |= {"LShoulder": (0.3, 2.0, 0.7), "RShoulder": (-0.3, 2.0, 0.5)}
    points |= {"Nose": (0.1, 2.3, 0.4), "HeadTop": (0.0, 2.5, 0.3)}
    keypoints = np.array([points[name] for name in BODY_25B])
    mapped, mask = map_joints(keypoints, BODY_25B, HUMAN36M_17, has_confidence=True)
    assert mask.all()
    for name, expected in {
        "pelvis": (0.0, 1.0, 0.6),
        "spine": (0.0, 1.5, 0.5),
        "thorax": (0.0, 2.0, 0.5),
        "neck": (0.1, 2.3, 0.4),
        "head": (0.0, 2.5, 0.3),
        "right_hip": (-0.2, 1.0, 0.6),
    }.items():
        np.testing.assert_allclose(mapped[HUMAN36M_17.index(name)], expected, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("names", [BODY_25, COCO_17])
def test_head_top_is_extrapolated_from_the_ears(names):
    points = dict.fromkeys(names, (0.0, 0.0))
    for name in names:
        side = -1.0 if name.startswith(("R", "right")) else 1.0
        if "ear" in name.lower():
            points[name] = (0.1 * side, 2.2)
        if "shoulder" in name.lower():
            points[name] = (0.3 * side, 2.0)
    mapped, mask = map_joints(np.array([points[name] for name in names]), names, HUMAN36M_17)
    assert mask.all()
    np.testing.assert_allclose(mapped[HUMAN36M_17.index("head")], (0.0, 2.32), atol=1e-12)


def test_unseen_joints_and_all_that_is_derived_from_them_are_masked():
    keypoints = np.ones((2, 25, 3))
    keypoints[0, BODY_25.index("LHip"), 2] = 0.0  # OpenPose: confidence 0
    keypoints[1, BODY_25.index("RWrist")] = np.nan
    mapped, mask = map_joints(keypoints, BODY_25, HUMAN36M_17, has_confidence=True)
    hidden = {HUMAN36M_17.joint_names[joint] for joint in np.flatnonzero(mask[0] == 0)}
    assert hidden == {"left_hip", "pelvis", "spine"}
    assert np.flatnonzero(mask[1] == 0).tolist() == [HUMAN36M_17.index("right_wrist")]
    assert np.isfinite(mapped).all()
    assert not mapped[mask == 0].any()


def test_a_joint_without_any_source_is_masked():
    mapped, mask = map_joints(np.ones((5, 2, 3)), ["LHip", "RHip"], HUMAN36M_17)
    assert mapped.shape == (5, 17, 3)
    assert np.flatnonzero(mask[0]).tolist() == [0, 1, 4]


def test_wrong_names_are_refused():
    with pytest.raises(InputError, match="one name per joint"):
        map_joints(np.ones((5, 3)), ["LHip"], HUMAN36M_17)
    with pytest.raises(InputError, match="No joint of skeleton 'human36m_17'"):
        map_joints(np.ones((2, 3)), ["marker_1", "marker_2"], HUMAN36M_17)


def test_cmu_mocap_maps_to_human_proportions(cmu_mocap):
    archive = np.load(cmu_mocap / "cmu_bvh_30hz.npz")
    joints = archive["indian_04"] * 1000
    mapped, mask = map_joints(joints, archive["_joints"].tolist(), HUMAN36M_17)
    assert mask.all()
    lengths = {
        (parent, child): np.linalg.norm(mapped[:, child] - mapped[:, parent], axis=-1)
        for parent, child in HUMAN36M_17.edges
    }
    # Rigid limbs keep their length; left and right agree.
    for parent, child in ((1, 2), (2, 3), (11, 12), (12, 13)):
        assert lengths[parent, child].std() < 1
        partner = HUMAN36M_17.mirror[parent], HUMAN36M_17.mirror[child]
        np.testing.assert_allclose(lengths[parent, child].mean(), lengths[partner].mean(), rtol=0.02)
    assert all(50 < length.mean() < 500 for length in lengths.values())
    height = mapped[0, HUMAN36M_17.index("head"), 1] - mapped[0, HUMAN36M_17.index("left_ankle"), 1]
    assert 1400 < height < 1700
