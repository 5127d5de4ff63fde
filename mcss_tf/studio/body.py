"""Subjects: proportions, girths and clothes."""

import dataclasses

import numpy as np

from mcss_tf.studio.figure import FACE, L_HAND, L_TOE, LENGTHS_MM, R_HAND, R_TOE
from mcss_tf.studio.wardrobe import Outfit, make_outfit

# Bones of a region vary together more than alone: people have long legs, not one long thigh.
_REGIONS = ([1, 4], [2, 5, 3, 6], [7, 8], [9, 10, FACE], [11, 14], [12, 15, 13, 16], [17, 18, 19, 20])
_PAIRS = ((1, 4), (2, 5), (3, 6), (11, 14), (12, 15), (13, 16), (R_TOE, L_TOE), (R_HAND, L_HAND))


@dataclasses.dataclass(frozen=True)
class Body:
    """One subject.

    Attributes:
        name: Subject name.
        lengths_mm: [22] bone lengths; left and right are equal.
        girth: Factor of all radii.
        build: Factors of single girths (belly, chest, hips, limbs).
        outfit: Clothes, hair, skin and their colours.
    """

    name: str
    lengths_mm: np.ndarray
    girth: float
    build: dict[str, float]
    outfit: Outfit


def make_body(name: str, seed: int) -> Body:
    """Draws a subject; the same (name, seed) is the same person, whoever else is in the studio."""
    rng = np.random.default_rng([seed, 1, *name.encode()])
    factors = np.full(len(LENGTHS_MM), rng.normal(1.0, 0.045))
    for region in _REGIONS:
        factors[region] *= rng.normal(1.0, 0.035)
    for right, left in _PAIRS:
        factors[[right, left]] *= rng.normal(1.0, 0.025)
    lengths = LENGTHS_MM * np.clip(factors, 0.84, 1.16)
    build = {
        part: float(np.clip(rng.normal(1, 0.11), 0.82, 1.28)) for part in ("belly", "chest", "hips", "limbs")
    }
    return Body(name, lengths, float(np.clip(rng.normal(1.0, 0.07), 0.86, 1.2)), build, make_outfit(rng))
