"""Files of CMU Panoptic: calibration and tracked people."""

import functools
from pathlib import Path

import numpy as np

from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera

POSES = "hdPose3d_stage1_coco19"
MM_PER_CM = 10.0


def read_calibration(path: Path) -> dict[str, Camera]:
    """Reads calibration_<recording>.json: the HD cameras by name, world as it is, in mm.

    Raises:
        InputError: if the file is missing or malformed.
    """
    try:
        entries = files.read_json(path)["cameras"]
        return {
            entry["name"]: Camera(
                entry["name"],
                entry["resolution"],
                np.array(entry["K"]),
                np.array(entry["distCoef"]),
                np.array(entry["R"]),
                np.array(entry["t"]) * MM_PER_CM,
            )
            for entry in entries
            if entry["type"] == "hd"
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "A recording needs its calibration: JSON with cameras of name, type, resolution, K, distCoef, R, "
            f"t. Received: {path} ({type(error).__name__}: {error}). Download it again."
        ) from error


@functools.lru_cache(maxsize=2)
def read_people(folder: Path) -> dict[int, dict[int, np.ndarray]]:
    """Reads body3DScene_*.json: by frame and person, joints [19, 4] of x, y, z in cm and confidence.

    Raises:
        InputError: if there is none, or one is malformed.
    """
    people = {}
    paths = sorted(folder.glob("body3DScene_*.json"))
    if not paths:
        raise InputError(
            f"{POSES} must hold body3DScene_*.json. Received: {folder} with none. Extract {POSES}.tar again."
        )
    for path in paths:
        try:
            bodies = files.read_json(path)["bodies"]
            people[int(path.stem.split("_")[1])] = {
                int(body["id"]): np.array(body["joints19"], float).reshape(19, 4) for body in bodies
            }
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "body3DScene_*.json holds bodies of id and joints19 (19 x 4 numbers). "
                f"Received: {path} ({type(error).__name__}: {error}). Extract {POSES}.tar again."
            ) from error
    return people
