"""The files of Human3.6M as its owners ship them: CDF poses, box masks in MATLAB v7.3, metadata.xml."""

import re
import xml.etree.ElementTree
from pathlib import Path

import cdflib
import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import HUMAN36M_SIZES, Camera, load_human36m_cameras

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
_NUM_SUBJECTS = 11
_CALIBRATION_FILES = ("metadata.xml", "camera-parameters.json")


def read_positions(path: Path, num_dims: int) -> np.ndarray:
    """Reads `Pose` of a CDF of D3_Positions (`num_dims` 3, mm) or D2_Positions (2, px): [F, 32, num_dims].

    Raises:
        InputError: if the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise InputError(
            f"Every sequence needs its positions. Received: no {path}. Extract the archive of this subject."
        )
    try:
        pose = np.asarray(cdflib.CDF(str(path)).varget("Pose"))
    except Exception as error:  # what cdflib raises for a damaged file depends on where it broke
        raise InputError(
            f"Positions must be a whole CDF file with the variable Pose. Received: {path} "
            f"({type(error).__name__}: {error}). It is damaged: extract or download it again."
        ) from error
    if pose.ndim != 3 or len(pose) != 1 or pose.shape[2] != 32 * num_dims:
        raise InputError(
            f"Pose must have the shape [1, frames, {32 * num_dims}]: 32 joints. Received: {pose.shape} in "
            f"{path}. Take D3_Positions for 3D and D2_Positions for 2D, not another kind of pose."
        )
    return pose.reshape(pose.shape[1], 32, num_dims)


def read_boxes(path: Path, frames: np.ndarray) -> np.ndarray:
    """Reads the boxes of some frames from ground_truth_bb: a mask per frame, 1 inside of the box.

    Args:
        path: MATLAB v7.3 with the cell array `Masks`.
        frames: int [F], their numbers; beyond the last mask there is no box.

    Returns:
        float [F, 4], x0, y0, x1, y1 with x1, y1 exclusive; NaN where the mask is empty.

    Raises:
        InputError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise InputError(
            f"Every video needs its boxes. Received: no {path}. Extract Segments_mat_gt_bb of this subject."
        )
    boxes_px = np.full((len(frames), 4), np.nan)
    try:
        with h5py.File(path, "r") as file:
            references = file["Masks"][:].ravel()
            for row, frame in enumerate(frames):
                if frame < len(references):
                    # MATLAB stores columns first, so the array arrives as [width, height].
                    boxes_px[row] = _box_of(np.asarray(file[references[frame]]).T)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            f"Boxes must be a whole MATLAB v7.3 file with the cell array Masks. Received: {path} ({error}). "
            "It is damaged: extract or download it again."
        ) from error
    return boxes_px


def _box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return (np.nan,) * 4
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def find_calibration(root: Path) -> Path:
    """Returns metadata.xml or camera-parameters.json, in the root or in a folder of it.

    Raises:
        InputError: if there is neither.
    """
    for name in _CALIBRATION_FILES:
        found = sorted([*root.glob(name), *root.glob(f"*/{name}")])
        if found:
            return found[0]
    raise InputError(
        f"Human3.6M needs {' or '.join(_CALIBRATION_FILES)}. Received: {root} without them. Copy "
        "metadata.xml there from the code that its owners offer for download (Release-v1.x)."
    )


def read_cameras(path: Path) -> dict[str, dict[str, Camera]]:
    """Returns the cameras by subject and name.

    Raises:
        InputError: if the file is damaged or no calibration.
    """
    return _read_metadata(path) if path.suffix == ".xml" else load_human36m_cameras(path)


def _read_metadata(path: Path) -> dict[str, dict[str, Camera]]:
    """Reads <w0>: [4 cameras, 11 subjects, 6] angles and centres, then [4 cameras, 9] intrinsics."""
    try:
        text = xml.etree.ElementTree.parse(path).getroot().findtext("w0") or ""
        words = re.split(r"[\s,;]+", text.strip(" []\n\t"))
        numbers = np.array([float(word) for word in words if word])
    except (OSError, xml.etree.ElementTree.ParseError, ValueError) as error:
        raise InputError(
            f"metadata.xml must be XML as Human3.6M ships it. Received: {path} ({error}). Download it again."
        ) from error
    num_extrinsics = len(CAMERAS) * _NUM_SUBJECTS * 6
    num_finite = np.isfinite(numbers).sum()
    if not len(numbers) == num_finite == num_extrinsics + len(CAMERAS) * 9:
        raise InputError(
            f"<w0> of metadata.xml holds {num_extrinsics + len(CAMERAS) * 9} finite numbers: 4 cameras x 11 "
            f"subjects x 6, and 4 cameras x 9. Received: {len(numbers)}, {num_finite} of them finite, in "
            f"{path}. Download it again."
        )
    extrinsics = numbers[:num_extrinsics].reshape(len(CAMERAS), _NUM_SUBJECTS, 6)
    intrinsics = numbers[num_extrinsics:].reshape(len(CAMERAS), 9)
    return {
        f"S{subject + 1}": {
            name: _camera(name, extrinsics[c, subject], intrinsics[c]) for c, name in enumerate(CAMERAS)
        }
        for subject in range(_NUM_SUBJECTS)
    }


def _camera(name: str, pose: np.ndarray, lens: np.ndarray) -> Camera:
    """Angles turn about the moving x, y, z axes; the position is the camera's centre in the world, mm."""
    rotation = Rotation.from_euler("XYZ", pose[:3]).as_matrix()
    focal, centre, (k1, k2, k3), (p1, p2) = lens[:2], lens[2:4], lens[4:7], lens[7:9]
    matrix = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    size = HUMAN36M_SIZES[name]
    return Camera(name, size, matrix, np.array([k1, k2, p1, p2, k3]), rotation, -rotation @ pose[3:])
