"""3D labels beside a recording: poses.npz, or the .trc of a motion-capture program."""

import dataclasses
from pathlib import Path

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.geometry.canonical import to_z_up
from mcss_tf.geometry.skeleton import Skeleton, map_joints

_MM_PER_UNIT = {"m": 1000.0, "cm": 10.0, "mm": 1.0}
# How far the joint farthest from the pelvis is, in a person of any size and posture.
_PLAUSIBLE_REACH_MM = (250.0, 2500.0)
_NPZ_KEYS = {"joints_mm", "frames", "joint_names", "up_axis"}


@dataclasses.dataclass(frozen=True)
class Poses:
    """Labelled frames of one sequence (L frames, J joints).

    Attributes:
        frames: int [L], frame numbers of the reference camera.
        joints_mm: float32 [L, J, 3], world, Z up; 0 where not observed.
        joint_mask: float32 [L, J], 1 where observed.
    """

    frames: np.ndarray
    joints_mm: np.ndarray
    joint_mask: np.ndarray


def read_poses(path: Path, skeleton: Skeleton, num_frames: int, fps: float) -> Poses:
    """Reads the labels of one sequence and makes sure that they are plausible.

    Args:
        path: poses.npz, or a .trc.
        skeleton: onto which joints are mapped by name.
        num_frames: of the reference camera.
        fps: of the reference camera.

    Returns:
        At least one labelled frame.

    Raises:
        InputError: if joints, frames or units are wrong.
    """
    frames, joints, names = _read_npz(path) if path.suffix == ".npz" else _read_trc(path, fps)
    try:
        joints_mm, mask = map_joints(joints, names, skeleton)
    except InputError as error:
        raise InputError(f"{error} File: {path}.") from error
    unmapped = [skeleton.joint_names[joint] for joint in np.flatnonzero(~mask.any(0))]
    if unmapped:
        raise InputError(
            f"Labels must hold every joint of {skeleton.name}, or joints to derive it from. "
            f"Received: {path} without {', '.join(unmapped)}; it holds {', '.join(names)}. Rename the joints."
        )
    outside = frames[(frames < 0) | (frames >= num_frames)]
    if len(outside) or len(set(frames.tolist())) < len(frames):
        what = f"frame {outside[0]}" if len(outside) else "a frame twice"
        raise InputError(
            f"Labels belong to different frames of the reference camera, 0 to {num_frames - 1}. "
            f"Received: {what} in {path}. Correct the frame numbers, or the rate of the .trc."
        )
    _check_units(path, joints_mm, mask, skeleton)
    return Poses(frames, joints_mm.astype(np.float32), mask.astype(np.float32))


def find_pose_file(sequence: Path) -> Path | None:
    """Returns the label file of a sequence's folder; None where there is none.

    Raises:
        InputError: if there is more than one.
    """
    found = [*sequence.glob("poses.npz"), *sorted(sequence.glob("*.trc"))]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(
            f"A sequence has one label file, poses.npz or a .trc. Received: {names} in {sequence}. Keep one."
        )
    return found[0] if found else None


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    try:
        with np.load(path) as arrays:
            values = {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError) as error:
        raise InputError(
            f"poses.npz must be a NumPy archive. Received: {path} ({error}). Write it again."
        ) from error
    missing, unknown = _NPZ_KEYS - {"up_axis"} - set(values), set(values) - _NPZ_KEYS
    if missing or unknown:
        raise InputError(
            f"poses.npz holds {', '.join(sorted(_NPZ_KEYS))} (up_axis: 'z' where absent). "
            f"Received: {path} with {', '.join(sorted(values)) or 'nothing'}. Rename or add arrays."
        )
    joints, frames, names = values["joints_mm"], values["frames"], [str(n) for n in values["joint_names"]]
    if joints.shape != (len(frames), len(names), 3) or not len(frames) or frames.dtype.kind not in "iu":
        raise InputError(
            "poses.npz holds joints_mm [frames, joints, 3], whole numbers frames [frames] and "
            f"joint_names [joints], at least one frame. Received: joints_mm {joints.shape}, "
            f"{frames.dtype} frames {frames.shape}, {len(names)} joint_names in {path}. Write it again."
        )
    return frames.astype(int), to_z_up(joints.astype(float), str(values.get("up_axis", "z"))), names


def _read_trc(path: Path, fps: float) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Reads a .trc: Y up, `Frame#` counts from 1 at `DataRate`; empty cells are markers not seen."""
    try:
        lines = [line.rstrip("\r\n").split("\t") for line in path.read_text().splitlines()]
        header = dict(zip(lines[1], lines[2], strict=False))
        rate, units = float(header["DataRate"]), header["Units"].strip()
        names = [name.strip() for name in lines[3][2:] if name.strip()]
        rows = [line for line in lines[5:] if line[0].strip()]
        cells = [(line[2:] + [""] * 3 * len(names))[: 3 * len(names)] for line in rows]
        joints = np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in cells])
        joints = joints.reshape(-1, len(names), 3)
        numbers = np.array([int(line[0]) - 1 for line in rows], int)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(
            "A .trc has five header lines (DataRate, Units, marker names) and one row a frame, separated by "
            f"tabs. Received: {path} ({type(error).__name__}: {error}). Export it again."
        ) from error
    if units not in _MM_PER_UNIT or not len(rows) or not names:
        raise InputError(
            f"A .trc holds frames of markers in {', '.join(_MM_PER_UNIT)}. Received: Units {units!r}, "
            f"{len(rows)} frames, {len(names)} markers in {path}. Export it again."
        )
    # Motion capture is often faster than video: the row nearest in time labels a frame.
    frames = np.rint(numbers / rate * fps).astype(int)
    distance = np.abs(numbers / rate * fps - frames)
    nearest = {}
    for row in np.argsort(distance, kind="stable"):
        nearest.setdefault(int(frames[row]), int(row))
    chosen = sorted(nearest)
    joints = joints[[nearest[frame] for frame in chosen]]
    return np.array(chosen), to_z_up(joints * _MM_PER_UNIT[units], "y"), names


def _check_units(path: Path, joints_mm: np.ndarray, mask: np.ndarray, skeleton: Skeleton) -> None:
    """Metres taken for millimetres would train without complaint and mean nothing."""
    is_seen = (mask > 0) & (mask[:, [skeleton.root]] > 0)
    reach = np.linalg.norm(joints_mm - joints_mm[:, [skeleton.root]], axis=-1)[is_seen.any(1)]
    if not len(reach):
        raise InputError(
            f"Labels need the {skeleton.joint_names[skeleton.root]} in at least one frame. "
            f"Received: none in {path}. Check for NaN."
        )
    reach_mm = float(np.median(np.where(is_seen[is_seen.any(1)], reach, 0.0).max(1)))
    low, high = _PLAUSIBLE_REACH_MM
    if not low <= reach_mm <= high:
        likely = [unit for unit, scale in _MM_PER_UNIT.items() if low <= reach_mm * scale <= high]
        hint = f"They look like {likely[0]}: convert them" if likely else "Convert them"
        raise InputError(
            f"Labels are in millimetres: the joint farthest from the pelvis is {low:g} to {high:g} mm away. "
            f"Received: {reach_mm:.4g} in {path}. {hint} to mm, or correct the Units of a .trc."
        )
