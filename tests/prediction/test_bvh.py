"""BVH: rotations that give the positions back, through a reader that knows nothing of the writer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mcss_tf.geometry.skeleton import HUMAN36M_17, Skeleton
from mcss_tf.prediction.bvh import Motion, fit_motion, forward_kinematics, to_bvh
from mcss_tf.studio import bvh
from tests.helpers import STANDING_MM


def random_motion(seed: int, num_frames: int = 5, max_angle: float = 3.0) -> Motion:
    """A body of fixed bones in random poses; leaves have no rotation of their own."""
    rng = np.random.default_rng(seed)
    parents = np.maximum(HUMAN36M_17.parents, 0)
    offsets = (STANDING_MM - STANDING_MM[parents]).astype(np.float64)
    axes = rng.normal(size=(num_frames * 17, 3))
    vectors = axes / np.linalg.norm(axes, axis=1, keepdims=True) * rng.uniform(0, max_angle, (len(axes), 1))
    rotations = Rotation.from_rotvec(vectors).as_matrix().reshape(num_frames, 17, 3, 3)
    return Motion(offsets, rotations, rng.normal(0, 500, (num_frames, 3)))


def read_bvh(text: str) -> dict[str, np.ndarray]:
    """Plays a BVH file line by line: world positions [F, 3] of each joint, in the file's units and axes."""
    lines = [line.split() for line in text.splitlines()]
    start = next(index for index, words in enumerate(lines) if words[0] == "MOTION")
    num_frames = int(lines[start + 1][1])
    frames = np.array([[float(value) for value in words] for words in lines[start + 3 :]])
    assert len(frames) == num_frames
    positions: dict[str, list[np.ndarray]] = {}
    for frame in frames:
        stack: list[tuple[np.ndarray, np.ndarray]] = []
        values = iter(frame)
        is_end, name, offset = False, "", np.zeros(3)
        for words in lines[1:start]:
            if words[0] in ("ROOT", "JOINT"):
                name, is_end = words[1], False
            elif words[0] == "End":
                is_end = True
            elif words[0] == "OFFSET":
                offset = np.array([float(value) for value in words[1:]])
                if is_end:
                    stack.append(stack[-1])
            elif words[0] == "CHANNELS":
                position, rotation = offset.copy(), np.eye(3)
                for channel in words[2:]:
                    value, axis = next(values), "XYZ".index(channel[0])
                    if channel.endswith("position"):
                        position[axis] += value
                    else:
                        rotation = (
                            rotation @ Rotation.from_euler("xyz"[axis], value, degrees=True).as_matrix()
                        )
                if stack:
                    above, turn = stack[-1]
                    position, rotation = above + turn @ position, turn @ rotation
                positions.setdefault(name, []).append(position)
                stack.append((position, rotation))
            elif words[0] == "}":
                stack.pop()
    return {name: np.array(values) for name, values in positions.items()}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_body_of_fixed_bones_is_reproduced_exactly(seed: int) -> None:
    joints_mm = forward_kinematics(random_motion(seed), HUMAN36M_17)
    again = forward_kinematics(fit_motion(joints_mm, HUMAN36M_17), HUMAN36M_17)
    np.testing.assert_allclose(again, joints_mm, atol=1e-6)


def test_an_independent_reader_of_the_file_finds_the_same_positions() -> None:
    joints_mm = forward_kinematics(random_motion(1), HUMAN36M_17)
    played = read_bvh(to_bvh(fit_motion(joints_mm, HUMAN36M_17), HUMAN36M_17, fps=25))
    assert set(played) == set(HUMAN36M_17.joint_names)
    for joint, name in enumerate(HUMAN36M_17.joint_names):
        x, y, z = joints_mm[:, joint].T
        # Y up, centimetres: our up (z) is the file's y, our back (y) its -z.
        np.testing.assert_allclose(played[name], np.stack([x, z, -y], axis=1) / 10, atol=1e-3)


def test_the_studio_can_play_what_predict_writes(tmp_path: Path) -> None:
    joints_mm = forward_kinematics(random_motion(4), HUMAN36M_17)
    path = tmp_path / "motion.bvh"
    path.write_text(to_bvh(fit_motion(joints_mm, HUMAN36M_17), HUMAN36M_17, fps=25))
    played = bvh.read(path)
    assert played.fps == pytest.approx(25)
    order = [played.names.index(name) for name in HUMAN36M_17.joint_names]
    expected = joints_mm[..., [0, 2, 1]] * [1, 1, -1] / 10
    np.testing.assert_allclose(played.positions()[:, order], expected, atol=1e-3)


def test_noisy_bones_get_their_mean_length_and_the_observed_direction() -> None:
    rng = np.random.default_rng(2)
    joints_mm = forward_kinematics(random_motion(3, num_frames=30, max_angle=0.5), HUMAN36M_17)
    noisy = joints_mm + rng.normal(0, 10, joints_mm.shape)
    again = forward_kinematics(fit_motion(noisy, HUMAN36M_17), HUMAN36M_17)
    several = [joint for joint in range(17) if HUMAN36M_17.parents.count(joint) > 1]
    for parent, joint in HUMAN36M_17.edges:
        before, after = noisy[:, joint] - noisy[:, parent], again[:, joint] - again[:, parent]
        lengths = np.linalg.norm(before, axis=1)
        np.testing.assert_allclose(np.linalg.norm(after, axis=1), lengths.mean(), rtol=1e-6)
        if parent not in several:
            np.testing.assert_allclose(after / lengths.mean(), before / lengths[:, None], atol=1e-6)
    assert np.linalg.norm(again - noisy, axis=-1).mean() < 30


def test_a_limb_that_flips_over_and_a_bone_without_length() -> None:
    skeleton = Skeleton("arm", ("root", "elbow", "hand", "tip"), (-1, 0, 1, 2))
    straight = np.array([[0, 0, 0], [0, 0, 100], [0, 0, 200], [0, 0, 200]], float)
    joints_mm = np.stack([straight, straight, straight * [1, 1, -1]])
    again = forward_kinematics(fit_motion(joints_mm, skeleton), skeleton)
    np.testing.assert_allclose(again, joints_mm, atol=1e-6)


def test_the_file_states_hierarchy_frames_and_time() -> None:
    motion = fit_motion(STANDING_MM[None], HUMAN36M_17)
    text = to_bvh(motion, HUMAN36M_17, fps=50)
    lines = text.splitlines()
    assert lines[:2] == ["HIERARCHY", "ROOT pelvis"]
    assert "Frames: 1" in lines
    assert "Frame Time: 0.02000000" in lines
    # 17 joints and an end site for each of the five leaves.
    assert text.count("{") == text.count("}") == 17 + 5
    assert [float(value) for value in lines[-1].split()] == pytest.approx([0] * 54, abs=1e-6)
