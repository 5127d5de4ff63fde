"""The procedural performer: plausible, varied, deterministic."""

import numpy as np
import pytest

from mcss_tf.studio import figure
from mcss_tf.studio.actions import ACTIONS, STANDING
from mcss_tf.studio.kinematics import bone_directions
from mcss_tf.studio.performer import perform


def _angles(**degrees):
    limb = [name for name in STANDING if name.split("_")[0] not in ("pelvis", "spine", "head")]
    names = [name for name in STANDING if name not in limb] + [
        f"{s}_{n}" for s in ("right", "left") for n in limb
    ]
    return {name: np.radians([degrees.get(name, 0.0)]) for name in names}


def _points(heading=0.0, **degrees):
    directions = bone_directions(_angles(**degrees), np.array([heading]))[0]
    points = np.zeros((figure.NUM_POINTS, 3))
    for point in range(1, figure.NUM_POINTS):
        points[point] = points[figure.PARENTS[point]] + directions[point]
    return points


def test_standing_straight_looks_forward_along_y_with_the_right_side_at_positive_x():
    points = _points()
    np.testing.assert_allclose(points[1], [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(points[3], [1, 0, -2], atol=1e-9)
    np.testing.assert_allclose(points[8], [0, 0, 2], atol=1e-9)
    np.testing.assert_allclose(points[16] - points[14], [0, 0, -2], atol=1e-9)
    np.testing.assert_allclose(points[figure.FACE] - points[9], [0, 1, 0], atol=1e-9)
    assert (points[[figure.R_TOE, figure.L_TOE], 1] > 0.9).all()


@pytest.mark.parametrize(
    ("degrees", "bone", "expected"),
    [
        ({"right_shoulder_flex": 90}, (14, 15), [0, 1, 0]),
        ({"right_shoulder_abd": 90}, (14, 15), [1, 0, 0]),
        ({"left_shoulder_abd": 90}, (11, 12), [-1, 0, 0]),
        ({"left_elbow": 90}, (12, 13), [0, 1, 0]),
        ({"right_hip_flex": 90}, (1, 2), [0, 1, 0]),
        ({"right_knee": 90}, (2, 3), [0, -1, 0]),
        ({"left_hip_abd": 30}, (4, 5), [-0.5, 0, -np.sqrt(0.75)]),
        ({"spine_flex": 90}, (7, 8), [0, 1, 0]),
        ({"pelvis_pitch": -90}, (0, 7), [0, 1, 0]),
        ({"head_turn": 90}, (9, figure.FACE), [-1, 0, 0]),
    ],
)
def test_each_angle_moves_its_bone_the_natural_way(degrees, bone, expected):
    points = _points(**degrees)
    np.testing.assert_allclose(points[bone[1]] - points[bone[0]], expected, atol=1e-9)


def test_heading_turns_the_whole_figure():
    turned = _points(heading=np.pi / 2, right_shoulder_flex=40, left_knee=70)
    x, y, z = _points(right_shoulder_flex=40, left_knee=70).T
    np.testing.assert_allclose(turned, np.stack([-y, x, z], -1), atol=1e-9)


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_moves_smoothly_and_repeats_by_seed(action):
    clip = perform(action, 3.0, 30.0, np.random.default_rng(5))
    again = perform(action, 3.0, 30.0, np.random.default_rng(5))
    other = perform(action, 3.0, 30.0, np.random.default_rng(6))
    assert clip.directions.shape == (90, figure.NUM_POINTS, 3)
    np.testing.assert_array_equal(clip.directions, again.directions)
    assert np.abs(clip.directions - other.directions).max() > 0.3
    # No bone jumps: 40 degrees in a thirtieth of a second would be inhuman.
    cosine = (clip.directions[1:, 1:] * clip.directions[:-1, 1:]).sum(-1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 40


def test_knees_and_elbows_never_bend_backwards():
    for action in ACTIONS:
        clip = perform(action, 4.0, 10.0, np.random.default_rng(1))
        for hip, knee, toe in ((2, 3, figure.R_TOE), (5, 6, figure.L_TOE)):
            thigh, shin, foot = (clip.directions[:, bone] for bone in (hip, knee, toe))
            # The knee's axis, from the foot that points forward: flexion turns the shin backwards about it.
            axis = np.cross(shin, foot)
            assert (np.einsum("fi,fi->f", np.cross(shin, thigh), axis) > -0.06).all(), action


def test_poses_seldom_repeat():
    poses = []
    for index, action in enumerate(ACTIONS):
        clip = perform(action, 10.0, 2.0, np.random.default_rng(index))
        poses.append(figure.pose_points(clip, figure.LENGTHS_MM)[:, :17])
    poses = np.concatenate(poses)
    poses = poses - poses[:, :1]
    distance = np.linalg.norm(poses[:, None] - poses[None], axis=-1).mean(-1)
    np.fill_diagonal(distance, np.inf)
    # Mean distance of joints to the most similar other pose, world axes.
    assert np.median(distance.min(1)) > 60
