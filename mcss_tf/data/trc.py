"""The .trc of motion-capture programs: tab-separated markers by frame, Y up."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.geometry.canonical import from_z_up, to_z_up

MM_PER_UNIT = {"m": 1000.0, "cm": 10.0, "mm": 1.0}


def read_trc(path: Path, fps: float) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Reads a .trc: Y up, `Frame#` counts from 1 at `DataRate`; empty cells are markers not seen.

    Args:
        path: of the file.
        fps: of the video whose frames are labelled.

    Returns:
        Frame numbers int [L] from 0, markers [L, K, 3] in millimetres with Z up, and their K names.

    Raises:
        InputError: if it is no .trc, empty, or of another unit.
    """
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
    except (OSError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise InputError(
            "A .trc has five header lines (DataRate, Units, marker names) and one row a frame, separated by "
            f"tabs. Received: {path} ({type(error).__name__}: {error}). Export it again."
        ) from error
    if units not in MM_PER_UNIT or not len(rows) or not names:
        raise InputError(
            f"A .trc holds frames of markers in {', '.join(MM_PER_UNIT)}. Received: Units {units!r}, "
            f"{len(rows)} frames, {len(names)} markers in {path}. Export it again."
        )
    if not (0 < rate < 1e6 and np.abs(numbers).max() < 1e9):
        raise InputError(
            f"A .trc counts its frames at a positive DataRate. Received: DataRate {rate:g}, frames up to "
            f"{numbers.max() + 1} in {path}. Export it again."
        )
    # Motion capture is often faster than video: the row nearest in time labels a frame.
    frames = np.rint(numbers / rate * fps).astype(int)
    distance = np.abs(numbers / rate * fps - frames)
    nearest = {}
    for row in np.argsort(distance, kind="stable"):
        nearest.setdefault(int(frames[row]), int(row))
    chosen = sorted(nearest)
    joints = joints[[nearest[frame] for frame in chosen]]
    return np.array(chosen), to_z_up(joints * MM_PER_UNIT[units], "y"), names


def write_trc(
    path: Path, joints_mm: np.ndarray, frames: np.ndarray, joint_names: Sequence[str], fps: float
) -> None:
    """Writes markers as OpenSim and Pose2Sim read them: metres, Y up, one row a frame, atomically.

    Args:
        path: of the file.
        joints_mm: [L, K, 3] millimetres, Z up; NaN becomes an empty cell.
        frames: [L] numbers from 0; `Frame#` is one more.
        joint_names: [K].
        fps: of these frames.
    """
    header = {
        "DataRate": f"{fps:.10g}",
        "CameraRate": f"{fps:.10g}",
        "NumFrames": str(len(frames)),
        "NumMarkers": str(len(joint_names)),
        "Units": "m",
        "OrigDataRate": f"{fps:.10g}",
        "OrigDataStartFrame": str(int(frames[0]) + 1 if len(frames) else 1),
        "OrigNumFrames": str(len(frames)),
    }
    axes = [f"{axis}{number + 1}" for number in range(len(joint_names)) for axis in "XYZ"]
    lines = [
        ["PathFileType", "4", "(X/Y/Z)", path.name],
        list(header),
        list(header.values()),
        ["Frame#", "Time", *(cell for name in joint_names for cell in (name, "", ""))],
        ["", "", *axes],
    ]
    markers_m = from_z_up(joints_mm, "y") / MM_PER_UNIT["m"]
    for frame, row in zip(frames, markers_m.reshape(len(frames), -1), strict=True):
        cells = (f"{value:.6f}" if np.isfinite(value) else "" for value in row)
        lines.append([str(int(frame) + 1), f"{frame / fps:.6f}", *cells])
    files.write_text(path, "".join("\t".join(line) + "\n" for line in lines))
