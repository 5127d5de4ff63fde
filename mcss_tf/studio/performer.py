"""The procedural performer: smooth random motion of a given action through joint angles."""

import numpy as np
from scipy.interpolate import PchipInterpolator

from mcss_tf.studio.actions import ACTIONS, STANDING, Action
from mcss_tf.studio.figure import Clip
from mcss_tf.studio.kinematics import bone_directions

_CENTRAL = [name for name in STANDING if name.split("_")[0] in ("pelvis", "spine", "head")]
_LIMB = [name for name in STANDING if name not in _CENTRAL]


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
