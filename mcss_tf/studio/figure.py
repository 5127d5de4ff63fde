"""The studio's stick figure: the 17 joints of Human3.6M and five points that drawing a body needs.

A pose is stored as unit bone directions, so the same motion can be given to a body of any proportions.
"""

import dataclasses

import numpy as np

NUM_JOINTS = 17
# fmt: off
PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15, 3, 6, 13, 16, 9])
# Bone to the parent of an average adult, mm; the last five are toes, hand tips and the facing direction.
LENGTHS_MM = np.array([0, 133, 443, 440, 133, 443, 440, 233, 257, 118, 115, 151, 279, 252, 151, 279, 252,
                       175, 175, 165, 165, 100], np.float64)
# fmt: on
NUM_POINTS = len(PARENTS)
R_TOE, L_TOE, L_HAND, R_HAND, FACE = 17, 18, 19, 20, 21

# How far skin reaches below a point that carries the body, mm: skin rests on the floor, not joints.
_REST_MM = np.full(NUM_POINTS, 60.0)
_REST_MM[[0, 1, 4]] = 110.0
_REST_MM[[3, 6]] = 75.0
_REST_MM[[R_TOE, L_TOE, L_HAND, R_HAND]] = 25.0


@dataclasses.dataclass(frozen=True)
class Clip:
    """One motion, free of any body's proportions.

    Attributes:
        name: Unique name of the clip.
        action: What is done in it.
        fps: Frames per second.
        directions: [F, 22, 3] unit vectors from each point's parent to it (row 0, the pelvis, is zero).
        root_xy: [F, 2] horizontal position of the pelvis, in leg lengths.
        clearance: [F] height of the lowest skin above the floor, in leg lengths (0: something touches it).
    """

    name: str
    action: str
    fps: float
    directions: np.ndarray
    root_xy: np.ndarray
    clearance: np.ndarray

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.directions)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_frames / self.fps


def leg_length_mm(lengths_mm: np.ndarray) -> float:
    """Returns thigh plus shin of a body with bone lengths [22] mm."""
    return float(lengths_mm[2] + lengths_mm[3])


def lowest_skin_mm(points_mm: np.ndarray) -> np.ndarray:
    """Returns the height [...] of the lowest skin of figures [..., 22, 3] mm."""
    return (points_mm[..., 2] - _REST_MM).min(-1)


def pose_points(clip: Clip, lengths_mm: np.ndarray) -> np.ndarray:
    """Gives a clip to a body: bone directions are kept, bone lengths are the body's, feet stay on the floor.

    Args:
        clip: The motion.
        lengths_mm: [22] bone lengths of the body, mm.

    Returns:
        [F, 22, 3] points, mm, world Z up.
    """
    points = np.zeros((clip.num_frames, NUM_POINTS, 3))
    for point in range(1, NUM_POINTS):
        points[:, point] = points[:, PARENTS[point]] + lengths_mm[point] * clip.directions[:, point]
    leg = leg_length_mm(lengths_mm)
    points[..., :2] += leg * clip.root_xy[:, None]
    # Longer legs lift the pelvis, not the feet: the height follows from what touches the floor.
    points[..., 2] += (leg * clip.clearance - lowest_skin_mm(points))[:, None]
    return points


def clip_from_points(name: str, action: str, fps: float, points_mm: np.ndarray) -> Clip:
    """Takes the proportions out of measured points [F, 22, 3] (mm, Z up, the floor anywhere)."""
    bones = points_mm - points_mm[:, PARENTS]
    lengths = np.linalg.norm(bones, axis=-1, keepdims=True)
    leg = leg_length_mm(np.median(lengths[..., 0], axis=0))
    lowest = lowest_skin_mm(points_mm)
    # The floor is where the figure stands most of the time; single low frames are measurement noise.
    clearance = np.maximum(lowest - np.percentile(lowest, 10), 0)
    directions = bones / np.maximum(lengths, 1e-9)
    return Clip(name, action, fps, directions, points_mm[:, 0, :2] / leg, clearance / leg)


def resample(clip: Clip, fps: float) -> Clip:
    """Returns the clip at another frame rate, interpolated linearly in time."""
    num_frames = max(int(clip.duration_s * fps + 1e-6), 1)
    place = np.arange(num_frames) * (clip.fps / fps)
    before = np.clip(place.astype(int), 0, clip.num_frames - 1)
    after = np.minimum(before + 1, clip.num_frames - 1)
    part = place - before

    def blend(track: np.ndarray) -> np.ndarray:
        weight = part.reshape((-1,) + (1,) * (track.ndim - 1))
        return track[before] * (1 - weight) + track[after] * weight

    directions = blend(clip.directions)
    directions /= np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-9)
    return dataclasses.replace(
        clip, fps=fps, directions=directions, root_xy=blend(clip.root_xy), clearance=blend(clip.clearance)
    )


def place(clip: Clip, heading_rad: float, radius: float) -> Clip:
    """Turns a clip about the vertical and brings it into a circle of `radius` leg lengths around the origin.

    A clip that wanders farther is drawn together, not cut: the room and the cameras' view end there.
    """
    cos, sin = np.cos(heading_rad), np.sin(heading_rad)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    centre = (clip.root_xy.min(0) + clip.root_xy.max(0)) / 2
    root = (clip.root_xy - centre) @ turn[:2, :2].T
    farthest = np.linalg.norm(root, axis=-1).max()
    root = root * min(1.0, radius / max(farthest, 1e-9))
    return dataclasses.replace(clip, directions=clip.directions @ turn.T, root_xy=root)
