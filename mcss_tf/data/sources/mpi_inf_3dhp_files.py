"""The files of MPI-INF-3DHP: annot.mat (MATLAB v5), annot_data.mat (v7.3) and two kinds of calibration."""

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera

NUM_CAMERAS = 14
_NUM_JOINTS = 28
_DOWNLOAD = "It is damaged: download it again with the owners' script."


@dataclasses.dataclass(frozen=True)
class Annotation:
    """2D and 3D joints of one camera (F frames, K joints).

    Attributes:
        points_px: float [F, K, 2].
        camera_mm: float [F, K, 3], in camera coordinates.
        universal_mm: float [F, K, 3], the same scaled to one height for all people.
    """

    points_px: np.ndarray
    camera_mm: np.ndarray
    universal_mm: np.ndarray


def read_annotations(path: Path, cameras: list[int]) -> dict[int, Annotation]:
    """Reads annot.mat of a sequence for some of its 14 cameras.

    Raises:
        InputError: if the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise InputError(f"Every sequence needs its annot.mat. Received: no {path}. Download it again.")
    keys = {"annot2": 2, "annot3": 3, "univ_annot3": 3}
    try:
        content = scipy.io.loadmat(path, variable_names=list(keys))
        arrays = {key: [np.asarray(content[key][c, 0], float) for c in cameras] for key in keys}
        arrays = {
            key: [a.reshape(len(a), _NUM_JOINTS, keys[key]) for a in found] for key, found in arrays.items()
        }
    except Exception as error:  # what scipy raises for a damaged file depends on where it broke
        raise InputError(
            f"annot.mat must be MATLAB v5 with the cells {', '.join(keys)} of {NUM_CAMERAS} cameras and "
            f"{_NUM_JOINTS} joints. Received: {path} ({type(error).__name__}: {error}). {_DOWNLOAD}"
        ) from error
    found = {c: Annotation(*(arrays[key][i] for key in keys)) for i, c in enumerate(cameras)}
    lengths = {len(a) for annotation in found.values() for a in dataclasses.astuple(annotation)}
    if len(lengths) != 1:
        raise InputError(
            f"annot.mat has as many frames for every camera. Received: {sorted(lengths)} in {path}. "
            f"{_DOWNLOAD}"
        )
    return found


@dataclasses.dataclass(frozen=True)
class TestAnnotation:
    """annot_data.mat of one test sequence.

    Attributes:
        annotation: of its camera, 17 joints.
        is_valid: bool [F], frames that count.
        activity: int [F], 1 to 7.
    """

    annotation: Annotation
    is_valid: np.ndarray
    activity: np.ndarray


def read_test_annotation(path: Path) -> TestAnnotation:
    """Reads annot_data.mat of a test sequence.

    Raises:
        InputError: if the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise InputError(
            f"Every test sequence needs its annot_data.mat. Received: no {path}. Download it again."
        )
    try:
        with h5py.File(path, "r") as file:
            # MATLAB's [D, 17, 1, F] arrives as [F, 1, 17, D].
            joints = [np.asarray(file[key], float)[:, 0] for key in ("annot2", "annot3", "univ_annot3")]
            is_valid = np.asarray(file["valid_frame"]).ravel() > 0
            activity = np.asarray(file["activity_annotation"]).ravel().astype(int)
    except (OSError, KeyError, RuntimeError, ValueError, IndexError) as error:
        raise InputError(
            "annot_data.mat must be MATLAB v7.3 with annot2, annot3, univ_annot3, valid_frame and "
            f"activity_annotation. Received: {path} ({error}). {_DOWNLOAD}"
        ) from error
    expected = [(len(is_valid), 17, dims) for dims in (2, 3, 3)]
    if [array.shape for array in joints] != expected or len(activity) != len(is_valid):
        raise InputError(
            f"annot_data.mat holds 17 joints of {len(is_valid)} frames. Received: shapes "
            f"{[array.shape for array in joints]} in {path}. {_DOWNLOAD}"
        )
    return TestAnnotation(Annotation(*joints), is_valid, activity)


def read_calibration(path: Path) -> dict[int, Camera]:
    """Reads camera.calibration of a sequence: X_cam = R X_world + t in mm, world as it is.

    Raises:
        InputError: if the file is missing or malformed.
    """
    cameras = {}
    for name, block in _blocks(path, "name"):
        if not name.isdecimal():
            raise InputError(f"Cameras are numbered. Received: {name!r} in {path}. {_DOWNLOAD}")
        intrinsic = np.reshape(block["intrinsic"][:16], (4, 4))
        extrinsic = np.reshape(block["extrinsic"][:16], (4, 4))
        cameras[int(name)] = Camera(
            str(int(name)),
            tuple(block["size"][:2]),
            intrinsic[:3, :3],
            np.zeros(4),
            extrinsic[:3, :3],
            extrinsic[:3, 3],
        )
    return cameras


def read_test_calibration(path: Path, size: tuple[int, int]) -> list[Camera]:
    """Reads ts1-4cameras.calib or ts5-6cameras.calib: position and axes in the world, lens in mm.

    Args:
        path: the file.
        size: width and height of the images in pixels.

    Raises:
        InputError: if the file is missing or malformed.
    """
    cameras = []
    for name, block in _blocks(path, "camera"):
        sensor_mm, right, up = (np.array(block[key][:3]) for key in ("sensorSize", "right", "up"))
        if not min(sensor_mm[:2]) > 1e-3 or not np.allclose(
            np.linalg.norm([right, up], axis=1), 1, atol=0.01
        ):
            raise InputError(
                "A camera has a sensorSize in mm, and axes up and right of length 1. Received: camera "
                f"{name} with {sensor_mm}, {up}, {right} in {path}. {_DOWNLOAD}"
            )
        px_per_mm = np.array(size) / sensor_mm[:2] * [1, block["pixelAspect"][0]]
        focal = px_per_mm * block["focalLength"][0]
        centre = px_per_mm * (sensor_mm[:2] / 2 + block["centerOffset"][:2])
        matrix = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
        rotation = _nearest_rotation(np.stack([right, -up, np.cross(up, right)]))
        cameras.append(
            Camera(
                name, size, matrix, np.array(block["distortion"]), rotation, -rotation @ block["origin"][:3]
            )
        )
    return cameras


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The axes are written with six digits."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _blocks(path: Path, first_key: str) -> list[tuple[str, dict[str, list[float]]]]:
    """Returns the blocks of `key value value ...` lines, each begun by a line `<first_key> <name>`."""
    blocks: list[tuple[str, dict[str, list[float]]]] = []
    try:
        for line in path.read_text().splitlines():
            key, *values = line.split("#")[0].split() or [""]
            if key == first_key and values:
                blocks.append((values[0], {}))
            elif blocks and values and all(map(_is_number, values)):
                blocks[-1][1][key] = [float(value) for value in values]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"A calibration must be a readable text file. Received: {path} ({error}). {_DOWNLOAD}"
        ) from error
    sizes = {"name": {"intrinsic": 16, "extrinsic": 16, "size": 2}}
    sizes["camera"] = {"sensorSize": 2, "focalLength": 1, "pixelAspect": 1, "centerOffset": 2}
    sizes["camera"] |= {"distortion": 5, "origin": 3, "up": 3, "right": 3}
    for name, block in blocks:
        wrong = [key for key, size in sizes[first_key].items() if len(block.get(key, [])) < size]
        if wrong:
            raise InputError(
                f"Each camera of a calibration has {', '.join(sizes[first_key])}. Received: camera {name} "
                f"without {', '.join(wrong)} in {path}. {_DOWNLOAD}"
            )
    if not blocks:
        raise InputError(f"A calibration holds at least one camera. Received: none in {path}. {_DOWNLOAD}")
    return blocks


def _is_number(value: str) -> bool:
    try:
        return np.isfinite(float(value))
    except ValueError:
        return False
