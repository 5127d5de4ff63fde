"""The shapes that bodies are built of: rounded cones with elliptic cross-sections."""

import dataclasses

import numpy as np

from mcss_tf.geometry.cameras import Camera


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Rounded cones with elliptic cross-sections; all arrays have one row per shape.

    Attributes:
        start, end: [P, 3] centres of the two end spheres, mm.
        radius_start, radius_end: [P] mm, across (the local x axis).
        front: [P, 3] the direction that local y shall point to, as far as the axis allows.
        depth: [P] local y radius over local x radius.
        part: [P] which material of the outfit dresses it.
    """

    start: np.ndarray
    end: np.ndarray
    radius_start: np.ndarray
    radius_end: np.ndarray
    front: np.ndarray
    depth: np.ndarray
    part: np.ndarray


def local_frames(shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
    """Returns rotations [P, 3, 3] world to local (x across, y front, z axis) and axis lengths [P]."""
    axis = shapes.end - shapes.start
    # Neither end sphere may swallow the other: the side between them would not exist.
    slope = np.abs(shapes.radius_start - shapes.radius_end)
    height = np.maximum(np.linalg.norm(axis, axis=-1), 1.01 * slope + 1)
    z = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-6)
    y = shapes.front - (shapes.front * z).sum(-1, keepdims=True) * z
    # A front along the axis leaves the roll open; any perpendicular direction will do.
    spare = np.eye(3)[np.abs(z).argmin(-1)]
    spare = spare - (spare * z).sum(-1, keepdims=True) * z
    size = np.linalg.norm(y, axis=-1, keepdims=True)
    y = np.where(size > 1e-6, y, spare)
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([np.cross(y, z), y, z], axis=1), height


def bounds(shapes: Shapes, camera: Camera) -> np.ndarray:
    """Returns rectangles [P, 4] x0, y0, x1, y1 that hold each shape's picture."""
    widest = np.maximum(1.0, shapes.depth)
    boxes = []
    for centre, radius in ((shapes.start, shapes.radius_start), (shapes.end, shapes.radius_end)):
        inside = centre @ camera.rotation.T + camera.translation_mm
        boxes.append(_sphere_bounds(inside, radius * widest, camera.matrix))
    return np.concatenate([np.minimum(*(b[:, :2] for b in boxes)), np.maximum(*(b[:, 2:] for b in boxes))], 1)


def _sphere_bounds(centre: np.ndarray, radius: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Bounds of spheres [P, 3] in camera coordinates: the two tangents in the x-z and in the y-z plane."""
    out = np.empty((len(centre), 4))
    z2 = centre[:, 2] ** 2 - radius**2
    for axis, focal, middle in ((0, matrix[0, 0], matrix[0, 2]), (1, matrix[1, 1], matrix[1, 2])):
        product = centre[:, axis] * centre[:, 2]
        root = radius * np.sqrt(np.maximum(centre[:, axis] ** 2 + z2, 0))
        out[:, axis] = focal * (product - root) / z2 + middle
        out[:, axis + 2] = focal * (product + root) / z2 + middle
    return out
