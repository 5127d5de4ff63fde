"""Eq. 3: the canonical pose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mcss_tf.errors import InputError
from mcss_tf.geometry.canonical import canonical_pose, from_z_up, to_z_up
from mcss_tf.geometry.skeleton import HUMAN36M_17, Skeleton

THREE = Skeleton("three", ("root", "left_hip", "hand"), (-1, 0, 1))


def naive_canonical(pose: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    bone = pose[skeleton.left_hip] - pose[skeleton.root]
    theta = -np.arctan2(bone[1], bone[0])
    turn = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
    return np.stack([turn @ (joint - pose[skeleton.root]) for joint in pose])


def test_a_drawn_pose():
    """Left hip to the north of the pelvis, hand to the east: turned by -90 degrees."""
    pose = np.array([[10.0, 20, 5], [10, 23, 5], [14, 20, 9]])
    canonical, valid = canonical_pose(pose, THREE)
    np.testing.assert_allclose(canonical, [[0, 0, 0], [3, 0, 0], [0, -4, 4]], atol=1e-12)
    assert valid


def test_matches_the_naive_form():
    poses = np.random.default_rng(0).normal(size=(5, 4, 17, 3)) * 500
    canonical, valid = canonical_pose(poses, HUMAN36M_17)
    assert valid.all()
    assert valid.shape == (5, 4)
    for index in np.ndindex(5, 4):
        np.testing.assert_allclose(canonical[index], naive_canonical(poses[index], HUMAN36M_17), atol=1e-9)


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    angle=st.floats(-np.pi, np.pi),
    shift=st.tuples(*[st.floats(-1e4, 1e4)] * 3),
)
def test_is_invariant_to_heading_and_place_and_idempotent(seed, angle, shift):
    pose = np.random.default_rng(seed).normal(size=(17, 3)) * 300
    moved = Rotation.from_euler("z", angle).apply(pose) + np.array(shift)
    canonical, _ = canonical_pose(pose, HUMAN36M_17)
    np.testing.assert_allclose(canonical_pose(moved, HUMAN36M_17)[0], canonical, atol=1e-6)
    np.testing.assert_allclose(canonical_pose(canonical, HUMAN36M_17)[0], canonical, atol=1e-9)
    hip = canonical[HUMAN36M_17.left_hip]
    assert abs(hip[1]) < 1e-9
    assert hip[0] > 0


def test_vertical_zero_and_unknown_hip_bones_are_undefined():
    poses = np.zeros((4, 3, 3))
    poses[0, 1] = (0, 0, 100)
    poses[1, 1] = (0.05, 0, 100)
    poses[2, 1] = np.nan
    poses[3, 1] = (0.2, 0, 100)
    canonical, valid = canonical_pose(poses, THREE)
    assert valid.tolist() == [False, False, False, True]
    assert not canonical[:3].any()
    assert not canonical_pose(np.zeros((3, 3)), THREE)[1]


def test_float32_stays_float32():
    assert canonical_pose(np.ones((2, 17, 3), np.float32), HUMAN36M_17)[0].dtype == np.float32


def test_wrong_joint_count_is_refused():
    with pytest.raises(InputError, match=r"Received: shape \(16, 3\)"):
        canonical_pose(np.zeros((16, 3)), HUMAN36M_17)


@pytest.mark.parametrize("axis", ["x", "y", "z", "-x", "-y", "-z"])
def test_to_z_up_is_a_rotation_that_lifts_the_axis(axis):
    up = np.zeros(3)
    up["xyz".index(axis[-1])] = -1.0 if axis[0] == "-" else 1.0
    np.testing.assert_array_equal(to_z_up(up, axis), [0, 0, 1])
    matrix = to_z_up(np.eye(3), axis).T
    np.testing.assert_allclose(np.linalg.det(matrix), 1)


def test_y_up_follows_pose2sim():
    np.testing.assert_array_equal(to_z_up(np.array([[1.0, 2.0, 3.0]]), "y"), [[3.0, 1.0, 2.0]])


def test_unknown_axis_is_refused():
    with pytest.raises(InputError, match="Received: 'up'"):
        to_z_up(np.zeros(3), "up")


@pytest.mark.parametrize("axis", ["x", "y", "z", "-x", "-y", "-z"])
def test_from_z_up_undoes_to_z_up(axis):
    points = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(from_z_up(to_z_up(points, axis), axis), points)
