"""What subjects wear: cuts, colours and patterns of clothes, hair and skin."""

import colorsys
import dataclasses

import numpy as np

# Parts of a body that share one material; the row numbers of `Outfit.colours`.
SKIN, HAIR, SHIRT, TROUSERS, SHOES = range(5)
NUM_PARTS = 5
# Patterns of cloth.
PLAIN, HOOPS, STRIPES, CHECKS, SPECKLES, PRINT = range(6)

_SKIN_TONES = [
    (241, 205, 178),
    (228, 184, 150),
    (205, 155, 118),
    (174, 124, 88),
    (136, 92, 64),
    (104, 72, 54),
]
_HAIR_TONES = [
    (28, 22, 20),
    (58, 40, 28),
    (98, 66, 40),
    (152, 110, 62),
    (205, 172, 110),
    (120, 52, 30),
    (150, 148, 145),
]


@dataclasses.dataclass(frozen=True)
class Outfit:
    """Clothes and colours of one subject.

    Attributes:
        colours: [5, 3] base colour per part, RGB 0..255.
        second: [5, 3] colour of the pattern per part.
        pattern: [5] pattern per part.
        period_mm: [5] repeat of the pattern.
        hair_style: One of short, long, tail, bun, cap, bald.
        hair_line: Where the hair begins: larger shows more face.
        sleeve: Covered part of the arm: 0 none, 1 to the elbow, 2 to the wrist.
        trouser_leg: Covered part of the leg: 0 none, 1 to the knee, 2 to the ankle.
        looseness: Extra radius of trouser legs, mm; short wide legs fall together like a skirt.
        has_bust: Whether the chest is drawn with a bust.
    """

    colours: np.ndarray
    second: np.ndarray
    pattern: np.ndarray
    period_mm: np.ndarray
    hair_style: str
    hair_line: float
    sleeve: float
    trouser_leg: float
    looseness: float
    has_bust: bool


def make_outfit(rng: np.random.Generator) -> Outfit:
    """Draws an outfit; left and right are always dressed alike, so colour never tells the sides apart."""
    colours = np.zeros((NUM_PARTS, 3))
    colours[SKIN] = np.array(_SKIN_TONES[rng.integers(len(_SKIN_TONES))]) * rng.uniform(0.94, 1.05)
    colours[HAIR] = np.array(_HAIR_TONES[rng.integers(len(_HAIR_TONES))]) * rng.uniform(0.85, 1.15)
    colours[SHIRT] = _cloth(rng, (0.25, 0.95))
    colours[TROUSERS] = _cloth(rng, (0.15, 0.75), saturation=0.5)
    colours[SHOES] = _cloth(rng, (0.1, 0.9), saturation=0.35)
    second = np.clip(colours * rng.uniform(0.35, 0.7, (NUM_PARTS, 1)), 0, 255)
    second[SHIRT] = _cloth(rng, (0.2, 1.0))
    pattern = np.full(NUM_PARTS, PLAIN)
    pattern[SHIRT] = rng.choice(
        [PLAIN, HOOPS, STRIPES, CHECKS, SPECKLES, PRINT], p=[0.2, 0.18, 0.12, 0.12, 0.13, 0.25]
    )
    pattern[TROUSERS] = rng.choice([PLAIN, STRIPES, CHECKS, SPECKLES], p=[0.6, 0.12, 0.12, 0.16])
    bare = rng.random()
    is_flared, is_short = bare < 0.18, bare < 0.42
    return Outfit(
        colours=np.clip(colours, 0, 255),
        second=second,
        pattern=pattern,
        period_mm=rng.uniform(60, 150, NUM_PARTS),
        hair_style=str(
            rng.choice(["short", "long", "tail", "bun", "cap", "bald"], p=[0.32, 0.2, 0.16, 0.1, 0.14, 0.08])
        ),
        hair_line=float(rng.uniform(-0.12, 0.15)),
        sleeve=float(
            rng.choice([0.0, rng.uniform(0.35, 0.8), rng.uniform(1.2, 1.6), 1.95], p=[0.15, 0.4, 0.15, 0.3])
        ),
        trouser_leg=float(rng.uniform(0.5, 0.95) if is_short else rng.choice([1.45, 1.9])),
        looseness=float(rng.uniform(24, 42) if is_flared else rng.uniform(-4, 12)),
        has_bust=bool(rng.random() < 0.45),
    )


def _cloth(rng: np.random.Generator, value: tuple[float, float], saturation: float = 0.85) -> np.ndarray:
    """Draws a cloth colour, RGB 0..255, more often muted than loud."""
    drawn = colorsys.hsv_to_rgb(rng.random(), saturation * rng.beta(1.6, 1.6), rng.uniform(*value))
    return 255 * np.array(drawn)
