"""Forward kinematics of the studio's figure: joint angles to bone directions."""

import numpy as np

from mcss_tf.studio.figure import FACE, L_HAND, L_TOE, NUM_POINTS, R_HAND, R_TOE

_RIGHT = {
    "shoulder": 14,
    "elbow": 15,
    "wrist": 16,
    "hand": R_HAND,
    "hip": 1,
    "knee": 2,
    "ankle": 3,
    "toe": R_TOE,
}
_LEFT = {
    "shoulder": 11,
    "elbow": 12,
    "wrist": 13,
    "hand": L_HAND,
    "hip": 4,
    "knee": 5,
    "ankle": 6,
    "toe": L_TOE,
}


def bone_directions(angles: dict[str, np.ndarray], heading: np.ndarray) -> np.ndarray:
    """Turns joint angles into bone directions (X right, Y forward, Z up before the heading turns them).

    Args:
        angles: Channel to [F] radians; limb channels carry a side: `right_elbow`.
        heading: [F] rotation about the vertical, radians.

    Returns:
        [F, 22, 3] unit vectors, row 0 zero.
    """
    out = np.zeros((len(heading), NUM_POINTS, 3))
    stance = axis_rotation(heading, "z")
    pelvis = stance @ axis_rotation(angles["pelvis_pitch"], "x")
    pelvis = pelvis @ axis_rotation(angles["pelvis_roll"], "y")
    # The bend of the back is shared by two joints, so it becomes an arc instead of a hinge.
    flex = axis_rotation(-angles["spine_flex"] / 2, "x")
    bend = flex @ axis_rotation(angles["spine_side"] / 2, "y") @ axis_rotation(angles["spine_twist"] / 2, "z")
    waist = pelvis @ bend
    chest = waist @ bend
    head = chest @ axis_rotation(angles["head_turn"], "z") @ axis_rotation(-angles["head_flex"], "x")
    head = head @ axis_rotation(angles["head_tilt"], "y")
    out[:, 7], out[:, 8] = waist[..., 2], chest[..., 2]
    out[:, 9] = _unit(0.5 * chest[..., 2] + 0.5 * head[..., 2] + 0.4 * head[..., 1])
    out[:, 10] = _unit(head[..., 2] - 0.35 * head[..., 1])
    out[:, FACE] = head[..., 1]
    _limbs(out, angles, (stance, pelvis, chest), "right", 1.0, _RIGHT)
    _limbs(out, angles, (stance, pelvis, chest), "left", -1.0, _LEFT)
    return out


def _limbs(
    out: np.ndarray,
    angles: dict[str, np.ndarray],
    frames: tuple[np.ndarray, np.ndarray, np.ndarray],
    side: str,
    sign: float,
    index: dict[str, int],
) -> None:
    """Fills the directions of one arm and one leg; `sign` is +1 on the right, -1 on the left (its mirror)."""

    stance, pelvis, chest = frames

    def joint(frame: np.ndarray, name: str) -> np.ndarray:
        frame = frame @ axis_rotation(angles[f"{side}_{name}_flex"], "x")
        frame = frame @ axis_rotation(-sign * angles[f"{side}_{name}_abd"], "y")
        return frame @ axis_rotation(sign * angles[f"{side}_{name}_twist"], "z")

    arm = joint(chest, "shoulder")
    forearm = arm @ axis_rotation(angles[f"{side}_elbow"], "x")
    # A raised arm lifts the shoulder.
    shrug = 0.25 * np.clip(-arm[..., 2] @ np.array([0, 0, 1.0]), -0.3, 1)[:, None]
    out[:, index["shoulder"]] = _unit(sign * chest[..., 0] + (shrug - 0.12) * chest[..., 2])
    out[:, index["elbow"]] = -arm[..., 2]
    out[:, index["wrist"]] = -forearm[..., 2]
    out[:, index["hand"]] = _unit(-forearm[..., 2] + 0.15 * forearm[..., 1])
    # Who bows keeps the legs below: hips are measured from the vertical, not from the pelvis.
    thigh = joint(stance, "hip")
    shin = thigh @ axis_rotation(-angles[f"{side}_knee"], "x")
    foot = shin @ axis_rotation(angles[f"{side}_ankle"], "x")
    out[:, index["hip"]] = sign * pelvis[..., 0]
    out[:, index["knee"]] = -thigh[..., 2]
    out[:, index["ankle"]] = -shin[..., 2]
    # A foot below an upright shin carries weight and lies flat.
    flat = np.clip(shin[..., 2:, 2], 0, 1) * np.array([0, 0, 0.8])
    out[:, index["toe"]] = _unit((foot[..., 1] - 0.25 * foot[..., 2]) * (1 - flat))


def axis_rotation(angle: np.ndarray, axis: str) -> np.ndarray:
    """Returns rotation matrices [F, 3, 3] about one axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = np.zeros((*np.shape(angle), 3, 3))
    out[..., range(3), range(3)] = 1
    out[..., first, first] = out[..., second, second] = cos
    out[..., first, second], out[..., second, first] = -sin, sin
    return out


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)
