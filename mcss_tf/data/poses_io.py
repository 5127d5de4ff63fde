"""3D labels beside a recording: poses.npz, or the .trc of a motion-capture program."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcss_tf import files
from mcss_tf.data.trc import MM_PER_UNIT, read_trc
from mcss_tf.errors import InputError
from mcss_tf.geometry.canonical import to_z_up
from mcss_tf.geometry.skeleton import Skeleton, map_joints

# How far the joint farthest from the pelvis is, in a person of any size and posture.
_PLAUSIBLE_REACH_MM = (250.0, 2500.0)
_MAX_MM = 1e8
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
    frames, joints, names = _read_npz(path) if path.suffix == ".npz" else read_trc(path, fps)
    if (np.abs(joints) > _MAX_MM).any():
        raise InputError(
            f"Joints are within {_MAX_MM / 1e6:g} km of the origin, or NaN. "
            f"Received: {np.nanmax(np.abs(joints)):.3g} mm in {path}. Correct the file."
        )
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


def write_npz(
    path: Path, joints_mm: np.ndarray, frames: np.ndarray, joint_names: Sequence[str], up_axis: str
) -> None:
    """Writes labels that `read_poses` reads: joints [L, J, 3], NaN where not observed, atomically."""
    with files.atomic_write(path) as file:
        np.savez(
            file,
            joints_mm=joints_mm.astype(np.float32),
            frames=np.asarray(frames, np.int64),
            joint_names=np.array(joint_names),
            up_axis=np.array(up_axis),
        )


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    values = files.load_npz(path, "poses.npz")
    missing, unknown = _NPZ_KEYS - {"up_axis"} - set(values), set(values) - _NPZ_KEYS
    if missing or unknown:
        raise InputError(
            f"poses.npz holds {', '.join(sorted(_NPZ_KEYS))} (up_axis: 'z' where absent). "
            f"Received: {path} with {', '.join(sorted(values)) or 'nothing'}. Rename or add arrays."
        )
    joints, frames = values["joints_mm"], values["frames"]
    names = [str(name) for name in np.atleast_1d(values["joint_names"])]
    if (
        frames.ndim != 1
        or joints.shape != (len(frames), len(names), 3)
        or not len(frames)
        or frames.dtype.kind not in "iu"
    ):
        raise InputError(
            "poses.npz holds joints_mm [frames, joints, 3], whole numbers frames [frames] and "
            f"joint_names [joints], at least one frame. Received: joints_mm {joints.shape}, "
            f"{frames.dtype} frames {frames.shape}, {len(names)} joint_names in {path}. Write it again."
        )
    return frames.astype(int), to_z_up(joints.astype(float), str(values.get("up_axis", "z"))), names


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
        likely = [unit for unit, scale in MM_PER_UNIT.items() if low <= reach_mm * scale <= high]
        hint = f"They look like {likely[0]}: convert them" if likely else "Convert them"
        raise InputError(
            f"Labels are in millimetres: the joint farthest from the pelvis is {low:g} to {high:g} mm away. "
            f"Received: {reach_mm:.4g} in {path}. {hint} to mm, or correct the Units of a .trc."
        )
