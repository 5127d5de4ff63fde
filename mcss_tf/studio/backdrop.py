"""The empty room as a camera sees it, drawn once per camera."""

import numpy as np

from mcss_tf.geometry.cameras import Camera, world_to_camera
from mcss_tf.studio.room import ROOM_MM, Room
from mcss_tf.studio.textures import box_paint, floor_paint, noise

FLOOR, CEILING, WALL_X, WALL_Y, BOX = range(5)


def background(room: Room, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Draws the empty room as a camera sees it.

    Returns:
        [H, W, 3] float32 RGB 0..255 before exposure and noise, and [H, W] bool: where the floor is seen.
    """
    width, height = camera.size
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([column, row, np.ones_like(row)], -1).reshape(-1, 3)
    rays = (pixels @ (camera.rotation.T @ np.linalg.inv(camera.matrix)).T).astype(np.float32)
    eye = camera.centre_mm.astype(np.float32)
    distance, axis = _leave(eye, rays)
    hit = eye + rays * distance[:, None]
    kind = np.where(axis == 2, np.where(hit[:, 2] < 1, FLOOR, CEILING), axis + WALL_X)
    rgb = _paint(room, hit, kind)
    for low, high, colour in zip(room.box_low, room.box_high, room.box_rgb, strict=True):
        at = _maybe_inside(camera, low, high)
        near, face = _enter_box(eye, rays[at], low, high)
        seen = near < distance[at]
        at, near, face = at[seen], near[seen], face[seen]
        distance[at], kind[at] = near, BOX
        rgb[at] = box_paint(room, eye + rays[at] * near[:, None], face, low, high, colour)
    image = np.clip(rgb, 0, 255).reshape(height, width, 3).astype(np.float32)
    return image, (kind == FLOOR).reshape(height, width)


def _maybe_inside(camera: Camera, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Returns the flat indices of the pixels around a box's picture; none if it lies behind the camera."""
    width, height = camera.size
    corners = np.array([[(low, high)[(i >> k) & 1][k] for k in range(3)] for i in range(8)])
    seen = world_to_camera(camera, corners)
    if (seen[:, 2] < 1).all():
        return np.zeros(0, np.int64)
    columns, rows = slice(0, width), slice(0, height)
    if (seen[:, 2] > 1).all():
        x, y, _ = ((seen / seen[:, 2:]) @ camera.matrix.T).T
        columns = slice(*np.clip([x.min() - 1, x.max() + 2], 0, width).astype(int))
        rows = slice(*np.clip([y.min() - 1, y.max() + 2], 0, height).astype(int))
    return np.arange(width * height).reshape(height, width)[rows, columns].ravel()


def _leave(eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where rays from inside leave the room, and through which pair of walls (2: floor, ceiling)."""
    half = (ROOM_MM / 2).astype(rays.dtype)
    wall = np.where(rays > 0, half, -half)
    wall[:, 2] = np.where(rays[:, 2] > 0, ROOM_MM[2], 0)
    with np.errstate(divide="ignore"):
        distance = (wall - eye) / rays
    axis = distance.argmin(-1)
    return distance[np.arange(len(rays)), axis], axis


def _enter_box(
    eye: np.ndarray, rays: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns where rays enter a box (inf: they miss it) and through which pair of faces."""
    with np.errstate(divide="ignore"):
        first, second = (low - eye) / rays, (high - eye) / rays
    enter = np.minimum(first, second)
    leave = np.maximum(first, second).min(-1)
    face = enter.argmax(-1)
    near = enter.max(-1)
    return np.where((near < leave) & (near > 0), near, np.inf), face


def _paint(room: Room, hit: np.ndarray, kind: np.ndarray) -> np.ndarray:
    rgb = np.empty_like(hit)
    floor = kind == FLOOR
    rgb[floor] = floor_paint(room, hit[floor])
    rgb[kind == CEILING] = 235
    for wall in (WALL_X, WALL_Y):
        on = kind == wall
        along, up = hit[on, 1 if wall == WALL_X else 0], hit[on, 2]
        tone = (0.9 if wall == WALL_X else 1.0) * (0.82 + 0.18 * np.clip(up / 2200, 0, 1))
        tone = tone * (1 + 0.05 * (noise(along / 420, up / 420, room.seed + wall) - 0.5))
        rgb[on] = room.wall_rgb * tone[:, None]
        rgb[on] = np.where((up < 95)[:, None], 0.45 * room.wall_rgb, rgb[on])
    # Corners receive less light.
    gap = np.sort(np.minimum(ROOM_MM / 2 - np.abs(hit * [1, 1, 0]), [1e9, 1e9, 1e9])[:, :2], -1)
    height = np.where(floor, 1e9, hit[:, 2])
    edge = np.where(floor, gap[:, 0], np.minimum(gap[:, 1], height))
    return rgb * (0.72 + 0.28 * np.clip(edge / 600, 0, 1) ** 0.6)[:, None]
