"""From a pose to the shapes it is drawn with: trunk, head, limbs, and the clothes over them."""

import numpy as np

from mcss_tf.studio.body import Body
from mcss_tf.studio.figure import FACE, L_HAND, L_TOE, R_HAND, R_TOE
from mcss_tf.studio.shapes import Shapes
from mcss_tf.studio.wardrobe import HAIR, SHIRT, SHOES, SKIN, TROUSERS


def body_shapes(body: Body, points: np.ndarray) -> Shapes:
    """Dresses one pose.

    Args:
        body: The subject.
        points: [22, 3] pose of this body, mm.

    Returns:
        The shapes that `raycast` intersects.
    """
    rows: list[tuple] = []
    facing = _unit(points[FACE] - points[9])
    pelvis_front = _front(points[4], points[1], points[7] - points[0])
    chest_front = _front(points[11], points[14], points[8] - points[7])

    def add(start, end, radius_start, radius_end, front, depth, part):
        scale = body.girth
        rows.append((start, end, radius_start * scale, radius_end * scale, front, depth, part))

    _add_torso(add, body, points, pelvis_front, chest_front)
    _add_head(add, body, points, facing)
    for side in ("right", "left"):
        _add_arm(add, body, points, side, chest_front)
        _add_leg(add, body, points, side, pelvis_front)
    columns = list(zip(*rows, strict=True))
    return Shapes(*(np.array(column, np.float64) for column in columns[:6]), np.array(columns[6], np.int64))


def _add_torso(add, body: Body, p: np.ndarray, pelvis_front: np.ndarray, chest_front: np.ndarray) -> None:
    outfit, build = body.outfit, body.build
    up = _unit(p[7] - p[0])
    hips, belly, chest = 150 * build["hips"], 128 * build["belly"], 148 * build["chest"]
    waist = p[7] - 0.15 * (p[7] - p[0])
    add(p[0] - 15 * up, waist, hips, belly - 14, pelvis_front, 0.68, TROUSERS)
    add(
        p[0] - 25 * up - 35 * pelvis_front,
        p[0] + 20 * up - 25 * pelvis_front,
        120,
        95,
        pelvis_front,
        0.8,
        TROUSERS,
    )
    collar = p[8] - 0.38 * (p[8] - p[7])
    ribs = 0.5 * (belly + chest)
    belly_depth = 0.72 + 0.2 * (build["belly"] - 1)
    low = p[0] + 0.62 * (p[7] - p[0])
    add(low, p[7] + 0.3 * (p[8] - p[7]), belly + 5, ribs, chest_front, belly_depth, SHIRT)
    add(p[7] + 0.15 * (p[8] - p[7]), collar, ribs, chest, chest_front, 0.68, SHIRT)
    if outfit.has_bust:
        for shoulder in (p[11], p[14]):
            centre = collar + 0.36 * (shoulder - p[8]) + 55 * chest_front - 20 * up
            add(centre - 10 * up, centre + 14 * up, 64, 50, chest_front, 1.0, SHIRT)
    drop = 22 * _unit(p[8] - p[7])
    inward = 0.12 * (p[14] - p[11])
    add(p[11] - drop + inward, p[14] - drop - inward, 60, 60, chest_front, 0.9, SHIRT)


def _add_head(add, body: Body, p: np.ndarray, facing: np.ndarray) -> None:
    outfit = body.outfit
    centre = 0.45 * p[9] + 0.55 * p[10] - 22 * facing
    up = _unit(p[10] - p[8])
    crown = centre + 22 * up - 8 * facing
    add(p[8] - 10 * up, centre - 30 * up - 15 * facing, 56, 52, facing, 1.0, SKIN)
    add(centre - 38 * up + 14 * facing, crown, 62, 84, facing, 1.15, HAIR)
    add(centre - 8 * up + 96 * facing, centre - 24 * up + 104 * facing, 9, 13, facing, 1.0, SKIN)
    if outfit.hair_style == "long":
        add(crown - 22 * facing, centre - 150 * up - 62 * facing, 80, 62, facing, 0.55, HAIR)
    elif outfit.hair_style == "tail":
        add(crown - 95 * facing, centre - 130 * up - 118 * facing, 34, 20, facing, 1.0, HAIR)
    elif outfit.hair_style == "bun":
        add(crown + 40 * up - 78 * facing, crown + 55 * up - 92 * facing, 42, 40, facing, 1.0, HAIR)
    elif outfit.hair_style == "cap":
        add(crown + 30 * up + 60 * facing, crown + 26 * up + 128 * facing, 62, 46, up, 0.25, HAIR)


def _add_arm(add, body: Body, p: np.ndarray, side: str, chest_front: np.ndarray) -> None:
    shoulder, elbow, wrist, tip = p[[14, 15, 16, R_HAND] if side == "right" else [11, 12, 13, L_HAND]]
    limbs, sleeve = body.build["limbs"], body.outfit.sleeve
    bend = _unit(wrist - elbow)
    add(shoulder, elbow, 50 * limbs, 38 * limbs, chest_front, 1.0, SKIN)
    add(elbow, elbow + 0.35 * (wrist - elbow), 37 * limbs, 40 * limbs, chest_front, 1.0, SKIN)
    add(elbow + 0.3 * (wrist - elbow), wrist, 40 * limbs, 27, chest_front, 1.0, SKIN)
    palm = _unit(np.cross(elbow - shoulder, bend) + 0.2 * chest_front)
    add(wrist + 25 * bend, tip - 0.25 * (tip - wrist), 34, 27, palm, 0.62, SKIN)
    if sleeve > 0:
        cuff = shoulder + min(sleeve, 1.0) * (elbow - shoulder)
        add(shoulder, cuff, 57 * limbs, (50 if sleeve < 1 else 44) * limbs, chest_front, 1.0, SHIRT)
    if sleeve > 1:
        add(elbow, elbow + (sleeve - 1) * (wrist - elbow), 44 * limbs, 36 * limbs, chest_front, 1.0, SHIRT)


def _add_leg(add, body: Body, p: np.ndarray, side: str, pelvis_front: np.ndarray) -> None:
    hip, knee, ankle, toe = p[[1, 2, 3, R_TOE] if side == "right" else [4, 5, 6, L_TOE]]
    limbs, leg, loose = body.build["limbs"], body.outfit.trouser_leg, body.outfit.looseness
    front = _unit(toe - ankle)
    # The joint sits far out in the pelvis; the thigh's flesh begins nearer to the middle.
    top = hip + 0.2 * (p[0] - hip) - 0.05 * (knee - hip)
    calf = knee + 0.32 * (ankle - knee) - 12 * front

    def cone(start, end, radius_start, radius_end, part):
        add(start, end, radius_start * limbs, radius_end * limbs, pelvis_front, 1.0, part)

    if leg < 1:
        cone(top, knee, 82, 56, SKIN)
    if leg < 1.4:
        cone(knee, calf, 54, 57, SKIN)
    cone(calf, ankle, 57, 36, SKIN)
    if leg > 0:
        cone(top, hip + min(leg, 1.0) * (knee - hip), 90, (66 if leg >= 1 else 74) + loose, TROUSERS)
    if leg > 1:
        cone(knee, calf, 63 + loose, 64 + loose, TROUSERS)
        cone(calf, knee + (leg - 1) * (ankle - knee) - 6 * front, 64 + loose, 52 + loose, TROUSERS)
    sole = _unit(ankle - knee)
    heel = ankle + 30 * sole - 34 * front
    add(ankle, heel, 40, 40, front, 1.0, SHOES)
    add(heel, toe + 4 * sole, 42, 32, knee - ankle, 0.85, SHOES)


def _front(left: np.ndarray, right: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Returns the forward direction of a trunk segment from its left-right line and its axis."""
    return _unit(np.cross(up, right - left))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
