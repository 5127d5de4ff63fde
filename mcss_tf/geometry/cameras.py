"""Cameras in OpenCV's convention: X_cam = R X_world + t, x right, y down, z forward; millimetres."""

import contextlib
import dataclasses
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.geometry.canonical import to_z_up

# Width and height of the Human3.6M videos, which its parameter file does not state.
HUMAN36M_SIZES = {
    "54138969": (1000, 1002),
    "55011271": (1000, 1000),
    "58860488": (1000, 1000),
    "60457274": (1000, 1002),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera.

    Attributes:
        name: of the camera.
        size: (width, height) of its images in pixels.
        matrix: [3, 3] intrinsics, pixels.
        distortion: [k] OpenCV coefficients k1, k2, p1, p2[, k3, ...].
        rotation: [3, 3] world to camera.
        translation_mm: [3] world to camera.

    Raises:
        InputError: a shape is wrong or `rotation` is not a rotation.
    """

    name: str
    size: tuple[int, int]
    matrix: np.ndarray
    distortion: np.ndarray
    rotation: np.ndarray
    translation_mm: np.ndarray

    def __post_init__(self) -> None:
        shapes = {"matrix": (3, 3), "rotation": (3, 3), "translation_mm": (3,), "distortion": (-1,)}
        for field, shape in shapes.items():
            value = np.asarray(getattr(self, field), np.float64)
            if not np.isfinite(value).all():
                raise InputError(
                    f"{field} of camera {self.name!r} must be finite. Received: {value.tolist()}. "
                    "Correct the calibration."
                )
            if value.size != np.prod(shape) and field != "distortion":
                raise InputError(
                    f"{field} of camera {self.name!r} has shape {shape}. "
                    f"Received: shape {value.shape}. Correct the calibration."
                )
            object.__setattr__(self, field, value.reshape(shape))
        if self.distortion.size not in (0, 4, 5, 8, 12, 14):
            raise InputError(
                f"distortion of camera {self.name!r} has 0, 4, 5, 8, 12 or 14 coefficients (OpenCV). "
                f"Received: {self.distortion.size}. Pad with zeros."
            )
        object.__setattr__(self, "size", tuple(int(side) for side in self.size))
        if len(self.size) != 2 or min(self.size) < 1:
            raise InputError(
                f"The size of camera {self.name!r} is its width and height in pixels. "
                f"Received: {self.size}. Correct the calibration."
            )
        self._check_rotation()

    def _check_rotation(self) -> None:
        error = np.abs(self.rotation @ self.rotation.T - np.eye(3)).max()
        determinant = np.linalg.det(self.rotation)
        if not error < 1e-3:
            raise InputError(
                f"The rotation of camera {self.name!r} must be orthonormal. "
                f"Received: {self.rotation.tolist()}, whose R R^T misses the identity by {error:.2g}. "
                "Correct the calibration."
            )
        if determinant < 0:
            raise InputError(
                f"The rotation of camera {self.name!r} must not mirror. Received: determinant "
                f"{determinant:.0f}. Check for a flipped axis or a left-handed world."
            )

    @property
    def centre_mm(self) -> np.ndarray:
        """Position [3] of the camera in the world."""
        return -self.rotation.T @ self.translation_mm


def world_to_camera(camera: Camera, world_mm: np.ndarray) -> np.ndarray:
    """Returns X_cam = R X_world + t of points [..., 3]."""
    return world_mm @ camera.rotation.T + camera.translation_mm


def camera_to_world(camera: Camera, camera_mm: np.ndarray) -> np.ndarray:
    """Returns X_world = R^T (X_cam - t) of points [..., 3]."""
    return (camera_mm - camera.translation_mm) @ camera.rotation


def project(camera: Camera, world_mm: np.ndarray) -> np.ndarray:
    """Projects world points with lens distortion (`cv2.projectPoints`).

    Args:
        camera: with intrinsics, distortion and pose.
        world_mm: [..., 3].

    Returns:
        pixels [..., 2] float64; points behind the camera are mirrored through its centre, as in OpenCV, so
        look at the depth of `world_to_camera` first where they occur.
    """
    world = np.asarray(world_mm, np.float64)
    if world.size == 0:
        return np.zeros((*world.shape[:-1], 2))
    rotation = cv2.Rodrigues(camera.rotation)[0]
    pixels, _ = cv2.projectPoints(
        world.reshape(-1, 1, 3), rotation, camera.translation_mm, camera.matrix, camera.distortion
    )
    return pixels.reshape(*world.shape[:-1], 2)


def undistort(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """Returns where pixels [..., 2] would lie without lens distortion, in the same intrinsics."""
    pixels = np.asarray(pixels, np.float64)
    if pixels.size == 0:
        return pixels
    straight = cv2.undistortPoints(
        pixels.reshape(-1, 1, 2), camera.matrix, camera.distortion, P=camera.matrix
    )
    return straight.reshape(pixels.shape)


def find_up_axis(cameras: Iterable[Camera]) -> str:
    """Returns which axis of the world points up, "x" to "-z", judged by how upright cameras stand.

    Raises:
        InputError: if no axis does, within about 30 degrees of the mean of the cameras.
    """
    up = np.mean([-camera.rotation[1] for camera in cameras], axis=0)
    axis = int(np.abs(up).argmax())
    if np.abs(up[axis]) < 0.85 * np.linalg.norm(up) or np.linalg.norm(up) < 0.5:
        raise InputError(
            "One axis of the world must point up, as upright cameras see it. "
            f"Received: cameras whose mean up is {np.round(up, 2).tolist()}. Correct the calibration."
        )
    return ("" if up[axis] > 0 else "-") + "xyz"[axis]


def with_z_up(camera: Camera, up_axis: str) -> Camera:
    """Returns the same camera in the world that `canonical.to_z_up` turned, which it sees alike."""
    return dataclasses.replace(camera, rotation=camera.rotation @ to_z_up(np.eye(3), up_axis))


def look_at(
    name: str,
    size: tuple[int, int],
    focal_px: float,
    position_mm: Sequence[float],
    target_mm: Sequence[float],
) -> Camera:
    """Builds an upright camera at `position_mm` whose optical axis meets `target_mm`.

    Args:
        name: of the camera.
        size: (width, height) in pixels; the principal point is the centre.
        focal_px: focal length in pixels.
        position_mm: [3] world.
        target_mm: [3] world.

    Returns:
        The camera, without distortion.

    Raises:
        InputError: the view is vertical or has no direction, so "upright" means nothing.
    """
    position = np.asarray(position_mm, np.float64)
    forward = np.asarray(target_mm, np.float64) - position
    right = np.cross(forward, (0.0, 0.0, 1.0))
    if np.linalg.norm(right) <= 1e-6 * np.linalg.norm(forward):
        raise InputError(
            f"An upright camera must not look straight up or down. Received: position {position.tolist()} "
            f"and target {list(target_mm)} for {name!r}. Move one of them sideways."
        )
    down = np.cross(forward, right)
    rotation = np.stack([axis / np.linalg.norm(axis) for axis in (right, down, forward)])
    centre = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    matrix = np.array([[focal_px, 0, centre[0]], [0, focal_px, centre[1]], [0, 0, 1]])
    return Camera(name, size, matrix, np.zeros(4), rotation, -rotation @ position)


def load_calibration(path: str | Path) -> dict[str, Camera]:
    """Reads the calibration TOML of Pose2Sim and anipose: metres, Rodrigues vectors.

    Args:
        path: of the TOML; each table with a `matrix` is one camera.

    Returns:
        Cameras by name, in the file's order, millimetres.

    Raises:
        InputError: no such file, not TOML, no camera, a field missing, fisheye, or not a rotation.
    """
    path = Path(path)
    tables = {
        key: table
        for key, table in _parse(path, tomllib.loads).items()
        if isinstance(table, dict) and key != "metadata"
    }
    if not tables:
        raise InputError(
            f"A calibration has one table per camera. Received: none in {path}. Give a Pose2Sim TOML."
        )
    with _told(path):
        return {camera.name: camera for camera in (_from_toml(path, key, tables[key]) for key in tables)}


def _from_toml(path: Path, key: str, table: Mapping[str, Any]) -> Camera:
    _require(path, key, table, ("size", "matrix", "distortions", "rotation", "translation"))
    if table.get("fisheye"):
        raise InputError(
            f"Cameras must be perspective. Received: fisheye = true for {key!r} in {path}. "
            "Undistort its video first."
        )
    rotation = np.asarray(table["rotation"], np.float64)
    if rotation.shape == (3,):
        rotation = cv2.Rodrigues(rotation)[0]
    return _build(
        path,
        name=str(table.get("name", key)),
        size=table["size"],
        matrix=table["matrix"],
        distortion=table["distortions"],
        rotation=rotation,
        translation_mm=1000.0 * np.asarray(table["translation"], np.float64),
    )


def save_calibration(path: str | Path, cameras: Mapping[str, Camera]) -> None:
    """Writes cameras as the TOML that `load_calibration` reads (metres, Rodrigues), atomically."""
    tables = []
    for camera in cameras.values():
        fields = {
            "name": camera.name,
            "size": [float(side) for side in camera.size],
            "matrix": camera.matrix.tolist(),
            "distortions": camera.distortion.tolist(),
            "rotation": cv2.Rodrigues(camera.rotation)[0].ravel().tolist(),
            "translation": (camera.translation_mm / 1000.0).tolist(),
            "fisheye": False,
        }
        # JSON's strings, numbers, lists and booleans are TOML's too.
        lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
        tables.append("\n".join([f"[{json.dumps(camera.name)}]", *lines]))
    files.write_text(path, "\n\n".join(tables) + "\n")


def load_human36m_cameras(path: str | Path) -> dict[str, dict[str, Camera]]:
    """Reads Human3.6M's `camera-parameters.json` (millimetres).

    Args:
        path: of the JSON with `intrinsics` by camera and `extrinsics` by subject and camera.

    Returns:
        Cameras by subject and name.

    Raises:
        InputError: no such file, not JSON, a field missing, or not a rotation.
    """
    path = Path(path)
    content = _parse(path, json.loads)
    _require(path, "the file", content, ("intrinsics", "extrinsics"))
    with _told(path):
        return {
            subject: _human36m_views(path, subject, extrinsics, content["intrinsics"])
            for subject, extrinsics in content["extrinsics"].items()
        }


def _human36m_views(
    path: Path, subject: str, extrinsics: Mapping[str, Any], all_intrinsics: Mapping[str, Any]
) -> dict[str, Camera]:
    cameras = {}
    for name, pose in extrinsics.items():
        intrinsics = all_intrinsics.get(name, {})
        _require(path, f"intrinsics of {name}", intrinsics, ("calibration_matrix", "distortion"))
        _require(path, f"extrinsics of {subject} {name}", pose, ("R", "t"))
        cameras[name] = _build(
            path,
            name=name,
            size=HUMAN36M_SIZES.get(name, (1000, 1000)),
            matrix=intrinsics["calibration_matrix"],
            distortion=intrinsics["distortion"],
            rotation=pose["R"],
            translation_mm=pose["t"],
        )
    return cameras


def _parse(path: Path, parse: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    try:
        return parse(path.read_text())
    except OSError as error:
        raise InputError(
            f"A calibration must be a readable file. Received: {path} ({error.strerror}). Check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        kind = "TOML" if parse is tomllib.loads else "JSON"
        raise InputError(
            f"A calibration must be valid {kind}. Received: {path} ({error}). Correct the file."
        ) from error


def _require(path: Path, what: str, table: Mapping[str, Any], fields: Sequence[str]) -> None:
    missing = [field for field in fields if field not in table]
    if missing:
        raise InputError(
            f"A camera of a calibration needs {list(fields)}. "
            f"Received: {what} without {missing} in {path}. Add the missing fields."
        )


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what values of another kind, text for numbers, say, raise into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError, AttributeError, KeyError, cv2.error) as error:
        raise InputError(
            f"The cameras of a calibration hold numbers and lists of numbers. Received: {path} ({error}). "
            "Correct the file."
        ) from error


def _build(path: Path, **fields: Any) -> Camera:
    """Builds a camera; an error names the file."""
    try:
        return Camera(**fields)
    except InputError as error:
        raise InputError(f"{error} File: {path}.") from error
