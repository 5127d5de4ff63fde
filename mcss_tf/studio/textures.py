"""Procedural textures of the room: every colour is a function of the place and the seed."""

import numpy as np

from mcss_tf.studio.room import Room


def floor_paint(room: Room, hit: np.ndarray) -> np.ndarray:
    x, y = hit[:, 0], hit[:, 1]
    grain = noise(x / 260, y / 30, room.seed + 11) - 0.5
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


def box_paint(
    room: Room, hit: np.ndarray, face: np.ndarray, low: np.ndarray, high: np.ndarray, colour: np.ndarray
) -> np.ndarray:
    """Paints furniture with doors and grain, and posters (thin boxes) with a motif."""
    light = np.where(face == 2, 1.12, np.where(face == 0, 0.82, 0.94))
    part = (hit - low) / (high - low)
    flat = int((high - low)[:2].argmax())
    u, v = part[:, flat], part[:, 2]
    if low[2] > 0:
        motif = noise(3 * u, 3 * v, room.seed + int(high[2]))
        other = 255 - colour[[1, 2, 0]]
        rgb = np.where((motif > 0.5)[:, None], colour, other)
        frame = (np.minimum(u, 1 - u) < 0.05) | (np.minimum(v, 1 - v) < 0.05)
        return np.where(frame[:, None], 240.0, rgb)
    seam = (np.abs(np.mod(3 * v, 1) - 0.5) > 0.47) | (np.abs(u - 0.5) < 0.008)
    grain = 0.9 + 0.2 * noise(2 * u, 14 * v, room.seed + int(low[flat]))
    return colour * (light * grain * np.where(seam, 0.6, 1.0))[:, None]


def _hash(value: np.ndarray, seed: int) -> np.ndarray:
    """Returns a number in 0..1 that looks random but depends only on a whole number and the seed."""
    mixed = value.astype(np.int64).astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32(
        seed % 65536 * 0x85EB
    )
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    mixed = (mixed ^ (mixed >> np.uint32(12))) * np.uint32(0x297A2D39)
    return (mixed >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


def noise(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Smooth value noise in 0..1 on the unit grid."""
    column, row = np.floor(x), np.floor(y)
    u, v = x - column, y - row
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    corners = [_hash(column + dx + 57 * (row + dy), seed) for dy in (0, 1) for dx in (0, 1)]
    return (corners[0] * (1 - u) + corners[1] * u) * (1 - v) + (corners[2] * (1 - u) + corners[3] * u) * v
