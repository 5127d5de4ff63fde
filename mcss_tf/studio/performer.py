"""The procedural performer: smooth random motion of a given action through joint angles."""

import numpy as np
from scipy.interpolate import PchipInterpolator

from mcss_tf.studio.actions import ACTIONS, STANDING, Action
from mcss_tf.studio.figure import FACE, L_HAND, L_TOE, NUM_POINTS, R_HAND, R_TOE, Clip

_CENTRAL = [name for name in STANDING if name.split("_")[0] in ("pelvis", "spine", "head")]
_LIMB = [name for name in STANDING if name not in _CENTRAL]
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


def perform(action: str, duration_s: float, fps: float, rng: np.random.Generator, name: str = "") -> Clip:
    """Performs an action once, differently for every state of `rng`.

    Args:
        action: A key of `actions.ACTIONS`.
        duration_s: Length in seconds.
        fps: Frames per second.
        rng: The only source of randomness.
        name: Name of the clip.

    Returns:
        The clip; angles lie within the action's ranges, widened by steps and beats.
    """
    recipe = ACTIONS[action]
    time_s = np.arange(max(round(duration_s * fps), 1)) / fps
    angles = _key_pose_tracks(recipe, time_s, rng)
    phase = _add_steps(angles, recipe, time_s, rng)
    heading = _heading(recipe, time_s, rng)
    directions = bone_directions({key: np.radians(track) for key, track in angles.items()}, heading)
    speed = np.abs(np.gradient(phase, time_s)) / (2 * np.pi) if len(time_s) > 1 else np.zeros(1)
    # A full cycle of the legs covers about four times the sine of the stride, in leg lengths.
    pace = speed * 4 * np.sin(np.radians(rng.uniform(*recipe.stride))) * 0.5
    step = np.stack([-np.sin(heading), np.cos(heading)], -1) * (pace / fps)[:, None]
    hops = recipe.hop * np.maximum(
        np.sin(2 * np.pi * rng.uniform(0.8, 1.4) * time_s + rng.uniform(0, 6.3)), 0
    )
    return Clip(name or action, action, fps, directions, np.cumsum(step, 0), hops)


def bone_directions(angles: dict[str, np.ndarray], heading: np.ndarray) -> np.ndarray:
    """Turns joint angles into bone directions (X right, Y forward, Z up before the heading turns them).

    Args:
        angles: Channel to [F] radians; limb channels carry a side: `right_elbow`.
        heading: [F] rotation about the vertical, radians.

    Returns:
        [F, 22, 3] unit vectors, row 0 zero.
    """
    out = np.zeros((len(heading), NUM_POINTS, 3))
    pelvis = _rotation(heading, "z") @ _rotation(angles["pelvis_pitch"], "x")
    pelvis = pelvis @ _rotation(angles["pelvis_roll"], "y")
    # The bend of the back is shared by two joints, so it becomes an arc instead of a hinge.
    flex = _rotation(-angles["spine_flex"] / 2, "x")
    bend = flex @ _rotation(angles["spine_side"] / 2, "y") @ _rotation(angles["spine_twist"] / 2, "z")
    waist = pelvis @ bend
    chest = waist @ bend
    head = chest @ _rotation(angles["head_turn"], "z") @ _rotation(-angles["head_flex"], "x")
    head = head @ _rotation(angles["head_tilt"], "y")
    out[:, 7], out[:, 8] = waist[..., 2], chest[..., 2]
    out[:, 9] = _unit(0.5 * chest[..., 2] + 0.5 * head[..., 2] + 0.4 * head[..., 1])
    out[:, 10] = _unit(head[..., 2] - 0.35 * head[..., 1])
    out[:, FACE] = head[..., 1]
    _limbs(out, angles, pelvis, chest, "right", 1.0, _RIGHT)
    _limbs(out, angles, pelvis, chest, "left", -1.0, _LEFT)
    return out


def _limbs(
    out: np.ndarray,
    angles: dict[str, np.ndarray],
    pelvis: np.ndarray,
    chest: np.ndarray,
    side: str,
    sign: float,
    index: dict[str, int],
) -> None:
    """Fills the directions of one arm and one leg; `sign` is +1 on the right, -1 on the left (its mirror)."""

    def joint(frame: np.ndarray, name: str) -> np.ndarray:
        frame = frame @ _rotation(angles[f"{side}_{name}_flex"], "x")
        frame = frame @ _rotation(-sign * angles[f"{side}_{name}_abd"], "y")
        return frame @ _rotation(sign * angles[f"{side}_{name}_twist"], "z")

    arm = joint(chest, "shoulder")
    forearm = arm @ _rotation(angles[f"{side}_elbow"], "x")
    # A raised arm lifts the shoulder.
    shrug = 0.25 * np.clip(-arm[..., 2] @ np.array([0, 0, 1.0]), -0.3, 1)[:, None]
    out[:, index["shoulder"]] = _unit(sign * chest[..., 0] + (shrug - 0.12) * chest[..., 2])
    out[:, index["elbow"]] = -arm[..., 2]
    out[:, index["wrist"]] = -forearm[..., 2]
    out[:, index["hand"]] = _unit(-forearm[..., 2] + 0.15 * forearm[..., 1])
    thigh = joint(pelvis, "hip")
    shin = thigh @ _rotation(-angles[f"{side}_knee"], "x")
    foot = shin @ _rotation(angles[f"{side}_ankle"], "x")
    out[:, index["hip"]] = sign * pelvis[..., 0]
    out[:, index["knee"]] = -thigh[..., 2]
    out[:, index["ankle"]] = -shin[..., 2]
    out[:, index["toe"]] = _unit(foot[..., 1] - 0.25 * foot[..., 2])


def _key_pose_tracks(recipe: Action, time_s: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws key poses and joins them smoothly without overshoot, so that no angle leaves its range."""
    keys = [-0.5]
    while keys[-1] < time_s[-1] + 0.5:
        keys.append(keys[-1] + rng.uniform(*recipe.hold_s))
    ranges = {**STANDING, **recipe.ranges}
    lead_is_right = rng.random(len(keys)) < 0.5
    beat = np.sin(2 * np.pi * recipe.beat_hz * time_s + rng.uniform(0, 6.3))

    def smooth(values: np.ndarray) -> np.ndarray:
        return PchipInterpolator(keys, values)(time_s)

    tracks = {name: smooth(rng.uniform(*ranges[name], len(keys))) for name in _CENTRAL}
    for name in _LIMB:
        shared = rng.uniform(*ranges[name], len(keys))
        for side, is_lead in (("right", lead_is_right), ("left", ~lead_is_right)):
            own = rng.uniform(*ranges[name], len(keys))
            drawn = recipe.likeness * shared + (1 - recipe.likeness) * own
            leading = rng.uniform(*ranges.get(f"lead_{name}", ranges[name]), len(keys))
            tracks[f"{side}_{name}"] = smooth(np.where(is_lead, leading, drawn))
            if name in recipe.beat:
                tracks[f"{side}_{name}"] += recipe.beat[name] * beat * smooth(is_lead.astype(float))
    return tracks


def _add_steps(
    angles: dict[str, np.ndarray], recipe: Action, time_s: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Adds the swing of legs and arms in place and returns the phase [F] of the step cycle."""
    if recipe.gait_hz[1] == 0:
        return np.zeros_like(time_s)
    phase = 2 * np.pi * rng.uniform(*recipe.gait_hz) * time_s + rng.uniform(0, 6.3)
    stride, swing = rng.uniform(*recipe.stride), rng.uniform(0.4, 1.1)
    for side, shift in (("right", 0.0), ("left", np.pi)):
        lift = np.maximum(np.cos(phase + shift), 0)
        angles[f"{side}_hip_flex"] += stride * (np.sin(phase + shift) + 0.35 * lift)
        angles[f"{side}_knee"] += 2.0 * stride * lift
        angles[f"{side}_shoulder_flex"] -= swing * stride * np.sin(phase + shift)
    return phase


def _heading(recipe: Action, time_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a start in any direction and slowly changing turns, [F] radians."""
    keys = np.arange(-1.0, time_s[-1] + 3.0, 1.5)
    rate = PchipInterpolator(keys, rng.uniform(-1, 1, len(keys)) * np.radians(recipe.turn_deg_s))
    antiderivative = rate.antiderivative()
    return rng.uniform(0, 2 * np.pi) + antiderivative(time_s) - antiderivative(time_s[0])


def _rotation(angle: np.ndarray, axis: str) -> np.ndarray:
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
