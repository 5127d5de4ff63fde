"""What is predicted for the frames of one input, and the files that hold it."""

import contextlib
import csv
import dataclasses
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton
from mcss_tf.prediction.bvh import fit_motion, to_bvh


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The frames of one input in which the person was found.

    Attributes:
        frames: int [F] numbers in the input, ascending.
        time_s: float [F] after the input's first frame.
        boxes_px: float [F, 4] x0, y0, x1, y1 of the square crop in the full frame.
        embeddings: float32 [F, D], unit length.
        poses_mm: float32 [F, J, 3] canonical, the root at the origin; None without a pose head.
        skeleton: of the J joints; None without a pose head.
        fps: frames per second of the input.
    """

    frames: np.ndarray
    time_s: np.ndarray
    boxes_px: np.ndarray
    embeddings: np.ndarray
    poses_mm: np.ndarray | None
    skeleton: Skeleton | None
    fps: float


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Gives a temporary folder that becomes `output` when the block succeeds, and vanishes when it does not.

    Raises:
        InputError: `output` exists and is not an empty folder.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise InputError(
            f"Results are never overwritten. Received: --output={output}, which exists. "
            "Give a new folder, or remove that one first."
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def with_root(pose_mm: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Puts the root, which the network leaves out, back at the origin: [F, J-1, 3] to [F, J, 3]."""
    joints_mm = np.zeros((len(pose_mm), skeleton.num_joints, 3), np.float32)
    joints_mm[:, list(skeleton.non_root)] = pose_mm
    return joints_mm


def write_results(prediction: Prediction, about: dict[str, Any], folder: Path) -> None:
    """Writes poses.npz and poses.json and, where there are poses, poses.csv and motion.bvh.

    Args:
        prediction: at least one frame.
        about: JSON-able lines on input and model, put into poses.json.
        folder: where to.
    """
    with files.atomic_write(folder / "poses.npz") as file:
        np.savez_compressed(file, **_arrays(prediction))
    files.write_text(folder / "poses.json", _json(prediction, about))
    if prediction.poses_mm is not None:
        files.write_text(folder / "poses.csv", _csv(prediction))
        motion = fit_motion(prediction.poses_mm, prediction.skeleton)
        files.write_text(folder / "motion.bvh", to_bvh(motion, prediction.skeleton, prediction.fps))


def _arrays(prediction: Prediction) -> dict[str, np.ndarray]:
    arrays = {
        "frames": prediction.frames,
        "time_s": prediction.time_s,
        "boxes_px": prediction.boxes_px,
        "embeddings": prediction.embeddings,
    }
    if prediction.poses_mm is not None:
        arrays |= {
            "poses_mm": prediction.poses_mm,
            "joint_names": np.array(prediction.skeleton.joint_names),
            "edges": np.array(prediction.skeleton.edges, np.int32),
            "units": np.array("mm"),
        }
    return arrays


def _json(prediction: Prediction, about: dict[str, Any]) -> str:
    head: dict[str, Any] = {**about, "fps": prediction.fps}
    if prediction.poses_mm is not None:
        head |= {
            "units": "mm",
            "joint_names": list(prediction.skeleton.joint_names),
            "edges": [list(edge) for edge in prediction.skeleton.edges],
        }
    # One frame per line: a file of thousands of frames stays readable and can be compared line by line.
    rows = [json.dumps(_json_frame(prediction, row)) for row in range(len(prediction.frames))]
    return json.dumps(head, ensure_ascii=False)[:-1] + ', "frames": [\n' + ",\n".join(rows) + "\n]}\n"


def _json_frame(prediction: Prediction, row: int) -> dict[str, Any]:
    frame = {
        "frame": int(prediction.frames[row]),
        "time_s": round(float(prediction.time_s[row]), 6),
        "box_px": np.round(prediction.boxes_px[row].astype(float), 2).tolist(),
        "embedding": np.round(prediction.embeddings[row].astype(float), 6).tolist(),
    }
    if prediction.poses_mm is not None:
        frame["pose_mm"] = np.round(prediction.poses_mm[row].astype(float), 3).tolist()
    return frame


def _csv(prediction: Prediction) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}_{axis}_mm" for name in prediction.skeleton.joint_names for axis in "xyz"]
    writer.writerow(["frame", "time_s", *columns])
    for frame, time_s, pose_mm in zip(prediction.frames, prediction.time_s, prediction.poses_mm, strict=True):
        writer.writerow([frame, f"{time_s:.6f}", *(f"{value:.3f}" for value in pose_mm.ravel())])
    return text.getvalue()
