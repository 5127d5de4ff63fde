"""The room, what stands in it, and the cameras around the stage."""

import dataclasses

import numpy as np

from mcss_tf.geometry.cameras import Camera, look_at

ROOM_MM = np.array([8200.0, 7600.0, 3100.0])


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
