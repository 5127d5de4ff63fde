"""Motion capture for the studio: BVH files, or an npz of joint positions, as clips free of proportions."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17, map_joints
from mcss_tf.studio import bvh
from mcss_tf.studio.figure import (
    FACE,
    L_HAND,
    L_TOE,
    NUM_JOINTS,
    NUM_POINTS,
    R_HAND,
    R_TOE,
    Clip,
    clip_from_points,
)

_UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
# Names of the points beyond the 17 joints: CMU's BVH, then other conventions.
_EXTRA = {
    R_TOE: ("rFoot_end", "RightToeBase", "RightFoot_end", "RToe", "right_toe"),
    L_TOE: ("lFoot_end", "LeftToeBase", "LeftFoot_end", "LToe", "left_toe"),
    R_HAND: ("rMid1", "RightHand_end", "RightHandIndex1", "right_hand"),
    L_HAND: ("lMid1", "LeftHand_end", "LeftHandIndex1", "left_hand"),
}


def clip_lengths_s(path: str | Path) -> dict[str, float]:
    """Returns the length in seconds of every clip of a BVH file, a folder of them, or an npz.

    Raises:
        InputError: Nothing there, or a file cannot be read; every file is checked.
    """
    path = Path(path)
    if path.suffix == ".npz":
        clips = _read_npz(path)
        return {name: len(points) / clips.fps for name, points in clips.positions.items()}
    return {file.stem: bvh.read(file).duration_s for file in _bvh_files(path)}


def load_clip(path: str | Path, name: str) -> Clip:
    """Reads one clip; feet stand on the floor wherever the recording had it."""
    path = Path(path)
    action = name.rstrip("0123456789").rstrip("_- ")
    if path.suffix == ".npz":
        clips = _read_npz(path)
        points = _to_studio(clips.positions[name] * clips.unit_mm, clips.joints, clips.up, f"{path}: {name}")
        return _without_rest_pose(clip_from_points(name, action, clips.fps, points))
    file = next(file for file in _bvh_files(path) if file.stem == name)
    motion = bvh.read(file)
    points = _to_studio(motion.positions() * _UNITS_MM["cm"], motion.names, "y", str(file))
    return _without_rest_pose(clip_from_points(name, action, motion.fps, points))


def _without_rest_pose(clip: Clip) -> Clip:
    """Replaces a first frame that is not of the motion: CMU's files begin with the skeleton's T-pose."""
    steps = np.linalg.norm(np.diff(clip.directions[:, :NUM_JOINTS], axis=0), axis=-1).mean(-1)
    if clip.num_frames < 3 or steps[0] <= 1.5 * steps[1:].max():
        return clip
    tracks = {name: getattr(clip, name).copy() for name in ("directions", "root_xy", "clearance")}
    for track in tracks.values():
        track[0] = track[1]
    return dataclasses.replace(clip, **tracks)


def partners(lengths_s: dict[str, float]) -> list[list[str]]:
    """Groups clips of one recording: the two partners of a dance were captured together.

    Files of one series (same name up to the number) with exactly the same length are taken for such; so are
    salsa N and salsa N+15 of the CMU collection, which this covers. Grouping too much does no harm.
    """
    groups: dict[tuple[str, int], list[str]] = {}
    for name in sorted(lengths_s):
        series = name.rstrip("0123456789")
        groups.setdefault((series, round(lengths_s[name] * 1e4)), []).append(name)
    return list(groups.values())


class _Npz:
    """The clips of one npz: positions by name, joint names, rate, up axis and unit."""

    def __init__(
        self, positions: dict[str, np.ndarray], joints: tuple[str, ...], fps: float, up: str, unit_mm: float
    ):
        self.positions, self.joints, self.fps, self.up, self.unit_mm = positions, joints, fps, up, unit_mm


@functools.lru_cache(maxsize=2)
def _read_npz(path: Path) -> _Npz:
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"Motion must be an npz of joint positions or BVH. Received: {path}, which cannot be read "
            f"({error}). Check the path and the file."
        ) from error
    missing = [key for key in ("_joints", "_fps", "_up", "_units") if key not in content]
    if missing:
        raise InputError(
            "An npz of motion names its _joints [J], _fps, _up (y or z) and _units (mm, cm or m) besides one "
            f"array per clip. Received: {path} without {', '.join(missing)}. Add them."
        )
    joints = tuple(str(name) for name in content["_joints"])
    fps, up, units = float(content["_fps"]), str(content["_up"]), str(content["_units"])
    if up not in ("y", "z") or units not in _UNITS_MM or not fps > 0:
        raise InputError(
            "Motion has _up y or z, _units mm, cm or m and a positive _fps. "
            f"Received: _up={up!r}, _units={units!r}, _fps={fps} in {path}. Correct them."
        )
    positions = {key: value for key, value in content.items() if not key.startswith("_")}
    for name, value in positions.items():
        if (
            value.ndim != 3
            or value.shape[1:] != (len(joints), 3)
            or not len(value)
            or not np.isfinite(value).all()
        ):
            raise InputError(
                f"A clip is finite positions [frames, {len(joints)}, 3], one row per joint of _joints. "
                f"Received: {name} of shape {value.shape} in {path}. Correct the clip."
            )
    if not positions:
        raise InputError(f"An npz of motion holds at least one clip. Received: none in {path}. Add clips.")
    return _Npz(positions, joints, fps, up, _UNITS_MM[units])


def _bvh_files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.bvh")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise InputError(
            f"Motion must be a BVH file, a folder of BVH files or an npz. Received: {path}, where there is "
            "none. Check the path, or leave it away for procedural motion."
        )
    return files


def _to_studio(positions_mm: np.ndarray, names: tuple[str, ...], up: str, where: str) -> np.ndarray:
    """Brings positions [F, K, 3] of named joints to the studio's 22 points, Z up."""
    positions_mm = np.asarray(positions_mm, np.float64)
    if up == "y":
        positions_mm = positions_mm[..., [2, 0, 1]]
    joints, mask = map_joints(positions_mm, names, HUMAN36M_17)
    if not mask.all():
        absent = [HUMAN36M_17.joint_names[j] for j in np.flatnonzero(mask.min(0) == 0)]
        raise InputError(
            f"Motion must have all 17 joints of the studio's figure. Received: {where} without "
            f"{', '.join(absent)} among {', '.join(names)}. Rename the joints."
        )
    out = np.zeros((len(joints), NUM_POINTS, 3))
    out[:, :NUM_JOINTS] = joints
    forward = np.cross(joints[:, 11] - joints[:, 14], joints[:, 8] - joints[:, 7])
    out[:, FACE] = joints[:, 9] + _facing(joints, forward)
    column = {name.lower(): index for index, name in enumerate(names)}
    for point, candidates in _EXTRA.items():
        found = next((column[name.lower()] for name in candidates if name.lower() in column), None)
        if found is not None:
            out[:, point] = positions_mm[:, found]
        elif point in (R_HAND, L_HAND):
            wrist, elbow = (16, 15) if point == R_HAND else (13, 12)
            out[:, point] = 1.4 * joints[:, wrist] - 0.4 * joints[:, elbow]
        else:
            ankle = 3 if point == R_TOE else 6
            out[:, point] = (
                joints[:, ankle] + 0.15 * forward / np.linalg.norm(forward, axis=-1, keepdims=True) * 1000
            )
    return out


def _facing(joints: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Returns where the face looks, [F, 3]: from the skull to the nose, else as the chest does."""
    up = joints[:, 10] - joints[:, 8]
    up = up / np.linalg.norm(up, axis=-1, keepdims=True)
    nose = joints[:, 9] - joints[:, 8]
    nose = nose - (nose * up).sum(-1, keepdims=True) * up
    chest = forward - (forward * up).sum(-1, keepdims=True) * up
    chest = chest / np.maximum(np.linalg.norm(chest, axis=-1, keepdims=True), 1e-9)
    clear = np.linalg.norm(nose, axis=-1, keepdims=True) > 30
    return np.where(clear, nose, chest * 100)
