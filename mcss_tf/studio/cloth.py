"""The colour of every visible point of a body: skin, face, hair, and the patterns of clothes."""

import numpy as np

from mcss_tf.studio.raycast import Hits
from mcss_tf.studio.shapes import Shapes
from mcss_tf.studio.wardrobe import CHECKS, HAIR, HOOPS, PRINT, SHIRT, SKIN, SPECKLES, STRIPES, Outfit


def surface_colours(outfit: Outfit, shapes: Shapes, hits: Hits) -> np.ndarray:
    """Returns unlit colours [N, 3], RGB 0..255, of hit points."""
    part = shapes.part[hits.shape]
    rgb = outfit.colours[part]
    is_second = np.zeros(len(part), bool)
    x, y, z = hits.local.T
    for cloth in range(len(outfit.pattern)):
        at = part == cloth
        if outfit.pattern[cloth] and at.any():
            period = outfit.period_mm[cloth]
            is_second[at] = _pattern(int(outfit.pattern[cloth]), x[at], y[at], z[at], period)
    rgb = np.where(is_second[:, None], outfit.second[part], rgb)
    if outfit.pattern[SHIRT] != PRINT:
        # A placket: clothes open at the front only.
        front = (part == SHIRT) & (y > 0) & (np.abs(x) < 9) & (shapes.depth[hits.shape] < 0.95)
        rgb[front] *= 0.55
    head = part == HAIR
    if head.any():
        rgb[head] = _head_colours(outfit, hits, head)
    return rgb


def _pattern(pattern: int, x: np.ndarray, y: np.ndarray, z: np.ndarray, period: float) -> np.ndarray:
    """Returns where the second colour of a pattern shows, from a point's place on its shape."""
    around = np.arctan2(x, y) * 110
    if pattern == HOOPS:
        return np.mod(z, period) < 0.5 * period
    if pattern == STRIPES:
        return np.mod(around, 0.6 * period) < 0.25 * period
    if pattern == CHECKS:
        return (np.mod(around, period) < 0.5 * period) ^ (np.mod(z, period) < 0.5 * period)
    if pattern == SPECKLES:
        return (
            np.sin(around * 5.1 / period) + np.sin(z * 6.3 / period) * np.sin(around * 2.7 / period + 1) > 0.9
        )
    # A print on the chest: only trunk shapes are wide enough to show it.
    return (y > 45) & (np.abs(x) < 0.75 * period) & (np.mod(z, 160) < 110)


def _head_colours(outfit: Outfit, hits: Hits, head: np.ndarray) -> np.ndarray:
    """Colours a head: a face in front, hair behind and above; eyes and mouth on it."""
    x, y, z = hits.local[head].T
    skin, hair = outfit.colours[SKIN], outfit.colours[HAIR]
    # The skull is the head's first shape; whatever else belongs to hair is all hair.
    is_skull = hits.shape[head] == hits.shape[head].min()
    face = is_skull & (y > 12 - 90 * outfit.hair_line) & (z < 78 + 60 * outfit.hair_line)
    if outfit.hair_style == "bald":
        face = is_skull
    rgb = np.where(face[:, None], skin, hair)
    eyes = face & (y > 40) & (np.abs(np.abs(x) - 32) < 13) & (np.abs(z - 46) < 9)
    mouth = face & (y > 40) & (np.abs(x) < 24) & (np.abs(z + 18) < 7)
    rgb[eyes] = (35, 28, 26)
    rgb[mouth] = skin * (0.75, 0.5, 0.5)
    return rgb
