"""The room: floor, walls, furniture and posters, drawn once per camera as its background."""

import dataclasses

import numpy as np

from mcss_tf.geometry.cameras import Camera, look_at, world_to_camera

ROOM_MM = np.array([8200.0, 7600.0, 3100.0])
FLOOR, CEILING, WALL_X, WALL_Y, BOX = range(5)


@dataclasses.dataclass(frozen=True)
class Room:
    """One room, centred on the stage.

    Attributes:
        seed: Seed of all its textures.
        wall_rgb, floor_rgb: [3] paint, 0..255.
        is_tiled: Tiles instead of planks.
        box_low, box_high: [B, 3] corners of furniture and posters, mm.
        box_rgb: [B, 3] their colours.
        light: [3] unit vector towards the main light.
    """

    seed: int
    wall_rgb: np.ndarray
    floor_rgb: np.ndarray
    is_tiled: bool
    box_low: np.ndarray
    box_high: np.ndarray
    box_rgb: np.ndarray
    light: np.ndarray


def make_room(seed: int) -> Room:
    """Draws a room: its paint, furniture along the walls, posters, and where the light comes from."""
    rng = np.random.default_rng([seed, 2])
    low, high, rgb = [], [], []
    for wall in range(4):
        spots = rng.permutation(5)[: rng.integers(3, 5)]
        for spot in spots:
            place = (spot - 2) * 1450 + rng.uniform(-200, 200)
            is_poster = rng.random() < 0.5
            size = rng.uniform((500, 30, 400), (1000, 40, 1000)) if is_poster else rng.uniform(
                (500, 350, 450), (1100, 600, 1500)
            )  # fmt: skip
            bottom = rng.uniform(900, 1500) if is_poster else 0.0
            corner = _against_wall(wall, place, size, bottom)
            low.append(corner[0])
            high.append(corner[1])
            rgb.append(rng.uniform(50, 225, 3) if is_poster else _wood(rng))
    angle = rng.uniform(0, 2 * np.pi)
    light = np.array([0.55 * np.cos(angle), 0.55 * np.sin(angle), 1.0])
    return Room(
        seed=seed,
        wall_rgb=rng.uniform(165, 225) * rng.uniform(0.88, 1.05, 3),
        floor_rgb=_wood(rng) * 1.1,
        is_tiled=bool(rng.random() < 0.4),
        box_low=np.array(low),
        box_high=np.array(high),
        box_rgb=np.clip(np.array(rgb), 0, 255),
        light=light / np.linalg.norm(light),
    )


def make_cameras(seed: int, num_cameras: int, size: tuple[int, int]) -> dict[str, Camera]:
    """Places cameras around the stage, at different heights and distances, all looking at it.

    Args:
        seed: Of the placement.
        num_cameras: How many.
        size: Width and height of their frames in pixels.

    Returns:
        Cameras by name, in order; a person anywhere on the stage is inside every frame.
    """
    rng = np.random.default_rng([seed, 3])
    cameras = {}
    for index in range(num_cameras):
        angle = 2 * np.pi * (index + 0.5 + rng.uniform(-0.16, 0.16)) / num_cameras
        distance, height = rng.uniform(3350, 3650), rng.uniform(1150, 1900)
        position = (distance * np.cos(angle), distance * np.sin(angle), height)
        target = (rng.uniform(-80, 80), rng.uniform(-80, 80), rng.uniform(960, 1080))
        focal = min(size) * rng.uniform(0.86, 0.94)
        name = f"cam{index + 1:02d}"
        cameras[name] = look_at(name, size, focal, position, target)
    return cameras


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
        rgb[at] = _box_paint(room, eye + rays[at] * near[:, None], face, low, high, colour)
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


def _against_wall(wall: int, place: float, size: np.ndarray, bottom: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners of a box of (width along the wall, depth, height) at one of the four walls."""
    axis, sign = wall // 2, 1 if wall % 2 else -1
    low, high = np.zeros(3), np.zeros(3)
    edge = sign * ROOM_MM[axis] / 2
    low[axis], high[axis] = sorted((edge, edge - sign * size[1]))
    low[1 - axis], high[1 - axis] = place - size[0] / 2, place + size[0] / 2
    low[2], high[2] = bottom, bottom + size[2]
    return low, high


def _wood(rng: np.random.Generator) -> np.ndarray:
    return np.array([150, 112, 78]) * rng.uniform(0.5, 1.35) * rng.uniform(0.85, 1.15, 3)


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
    rgb[floor] = _floor_paint(room, hit[floor])
    rgb[kind == CEILING] = 235
    for wall in (WALL_X, WALL_Y):
        on = kind == wall
        along, up = hit[on, 1 if wall == WALL_X else 0], hit[on, 2]
        tone = (0.9 if wall == WALL_X else 1.0) * (0.82 + 0.18 * np.clip(up / 2200, 0, 1))
        tone = tone * (1 + 0.05 * (_noise(along / 420, up / 420, room.seed + wall) - 0.5))
        rgb[on] = room.wall_rgb * tone[:, None]
        rgb[on] = np.where((up < 95)[:, None], 0.45 * room.wall_rgb, rgb[on])
    # Corners receive less light.
    gap = np.sort(np.minimum(ROOM_MM / 2 - np.abs(hit * [1, 1, 0]), [1e9, 1e9, 1e9])[:, :2], -1)
    height = np.where(floor, 1e9, hit[:, 2])
    edge = np.where(floor, gap[:, 0], np.minimum(gap[:, 1], height))
    return rgb * (0.72 + 0.28 * np.clip(edge / 600, 0, 1) ** 0.6)[:, None]


def _floor_paint(room: Room, hit: np.ndarray) -> np.ndarray:
    x, y = hit[:, 0], hit[:, 1]
    grain = _noise(x / 260, y / 30, room.seed + 11) - 0.5
    if room.is_tiled:
        cell = np.floor(x / 480) + 57 * np.floor(y / 480)
        seam = np.minimum(np.mod(x, 480), np.mod(y, 480)) < 12
    else:
        plank = np.floor(y / 170)
        shift = 900 * _hash(plank, room.seed + 5)
        cell = plank + 131 * np.floor((x + shift) / 1300)
        seam = (np.mod(y, 170) < 6) | (np.mod(x + shift, 1300) < 6)
    tone = 0.86 + 0.22 * _hash(cell, room.seed + 7) + 0.16 * grain
    return room.floor_rgb * np.where(seam, 0.62 * tone, tone)[:, None]


def _box_paint(
    room: Room, hit: np.ndarray, face: np.ndarray, low: np.ndarray, high: np.ndarray, colour: np.ndarray
) -> np.ndarray:
    """Paints furniture with doors and grain, and posters (thin boxes) with a motif."""
    light = np.where(face == 2, 1.12, np.where(face == 0, 0.82, 0.94))
    part = (hit - low) / (high - low)
    flat = int((high - low)[:2].argmax())
    u, v = part[:, flat], part[:, 2]
    if low[2] > 0:
        motif = _noise(3 * u, 3 * v, room.seed + int(high[2]))
        other = 255 - colour[[1, 2, 0]]
        rgb = np.where((motif > 0.5)[:, None], colour, other)
        frame = (np.minimum(u, 1 - u) < 0.05) | (np.minimum(v, 1 - v) < 0.05)
        return np.where(frame[:, None], 240.0, rgb)
    seam = (np.abs(np.mod(3 * v, 1) - 0.5) > 0.47) | (np.abs(u - 0.5) < 0.008)
    grain = 0.9 + 0.2 * _noise(2 * u, 14 * v, room.seed + int(low[flat]))
    return colour * (light * grain * np.where(seam, 0.6, 1.0))[:, None]


def _hash(value: np.ndarray, seed: int) -> np.ndarray:
    """Returns a number in 0..1 that looks random but depends only on a whole number and the seed."""
    mixed = value.astype(np.int64).astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32(
        seed % 65536 * 0x85EB
    )
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    mixed = (mixed ^ (mixed >> np.uint32(12))) * np.uint32(0x297A2D39)
    return (mixed >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


def _noise(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Smooth value noise in 0..1 on the unit grid."""
    column, row = np.floor(x), np.floor(y)
    u, v = x - column, y - row
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    corners = [_hash(column + dx + 57 * (row + dy), seed) for dy in (0, 1) for dx in (0, 1)]
    return (corners[0] * (1 - u) + corners[1] * u) * (1 - v) + (corners[2] * (1 - u) + corners[3] * u) * v
