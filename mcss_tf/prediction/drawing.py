"""Small pictures drawn with OpenCV: a skeleton seen from one side, a matrix of distances."""

import cv2
import numpy as np

from mcss_tf.geometry.skeleton import Skeleton

PAPER = (250, 250, 248)
INK = (60, 60, 66)
FAINT = (222, 222, 220)
_COLOURS = {"right": (214, 84, 50), "left": (46, 108, 196), "": (110, 110, 118)}
_ELEVATION_DEG = 12.0


class SkeletonView:
    """Draws poses of one motion at one scale, from one side, over a floor that stays where it is."""

    def __init__(self, poses_mm: np.ndarray, skeleton: Skeleton, azimuth_deg: float, size: int):
        """Prepares the view.

        Args:
            poses_mm: [F, J, 3] canonical poses; they set the scale and the floor.
            skeleton: of the J joints.
            azimuth_deg: 0 sees the person from the front, 90 from the person's left.
            size: side of the picture, pixels.
        """
        self._skeleton = skeleton
        self._size = size
        self._axes = _view_axes(azimuth_deg)
        # Single wild frames must not shrink all others.
        radius_mm = np.percentile(np.linalg.norm(poses_mm, axis=-1).max(axis=1), 95)
        self._scale = 0.44 * size / max(float(radius_mm), 1.0)
        self._floor_mm = float(np.percentile(poses_mm[..., 2].min(axis=1), 5))
        self._colours = [_COLOURS[skeleton.side(joint)] for joint in range(skeleton.num_joints)]
        self._background = self._draw_floor(max(float(radius_mm), 1.0))

    def draw(self, pose_mm: np.ndarray) -> np.ndarray:
        """Returns uint8 [size, size, 3]."""
        image = self._background.copy()
        points, depth = self._project(pose_mm)
        width = max(2, self._size // 80)
        # Far bones first, so that near ones cover them.
        edges = sorted(self._skeleton.edges, key=lambda edge: -(depth[edge[0]] + depth[edge[1]]))
        for parent, joint in edges:
            start, end = tuple(map(int, points[parent])), tuple(map(int, points[joint]))
            cv2.line(image, start, end, self._colours[joint], width, cv2.LINE_AA)
        for joint in np.argsort(-depth):
            centre = tuple(map(int, points[joint]))
            cv2.circle(image, centre, width, self._colours[joint], -1, cv2.LINE_AA)
        return image

    def _project(self, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns pixels [N, 2] and depth [N] (larger is farther) of an orthographic view."""
        right, down, forward = self._axes
        pixels = np.stack([points_mm @ right, points_mm @ down], axis=-1) * self._scale + self._size / 2
        return np.round(pixels), points_mm @ forward

    def _draw_floor(self, radius_mm: float) -> np.ndarray:
        image = np.full((self._size, self._size, 3), PAPER, np.uint8)
        reach = 0.7 * radius_mm
        for offset in np.linspace(-reach, reach, 5):
            for line in (
                [[offset, -reach, self._floor_mm], [offset, reach, self._floor_mm]],
                [[-reach, offset, self._floor_mm], [reach, offset, self._floor_mm]],
            ):
                (start, end), _ = self._project(np.array(line))
                cv2.line(image, tuple(map(int, start)), tuple(map(int, end)), FAINT, 1, cv2.LINE_AA)
        return image


class DistanceMatrix:
    """Draws how far every frame's embedding is from every other's, with a cross at the current frame."""

    def __init__(self, embeddings: np.ndarray, size: int):
        """Prepares the picture of [F, D] unit embeddings; long inputs are thinned to one row per pixel."""
        rows = np.unique(np.linspace(0, len(embeddings) - 1, min(len(embeddings), size)).round().astype(int))
        kept = embeddings[rows].astype(np.float64)
        # Unit vectors: |a - b|^2 = 2 - 2 a.b
        distance = np.sqrt(np.maximum(2 - 2 * kept @ kept.T, 0))
        shade = np.uint8(255 * (1 - distance / max(float(distance.max()), 1e-9)))
        picture = cv2.applyColorMap(shade, cv2.COLORMAP_VIRIDIS)
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        self._picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_NEAREST)
        self._num_frames = len(embeddings)

    def draw(self, row: int) -> np.ndarray:
        """Returns uint8 [size, size, 3] with row and column `row` marked."""
        image = self._picture.copy()
        size = len(image)
        centre = int((row + 0.5) / self._num_frames * size)
        cv2.line(image, (centre, 0), (centre, size - 1), (255, 255, 255), 1)
        cv2.line(image, (0, centre), (size - 1, centre), (255, 255, 255), 1)
        return image


def caption(image: np.ndarray, text: str) -> None:
    """Writes one line on a light band along the upper edge, in place."""
    scale = max(len(image) / 620, 0.4)
    band = image[: round(34 * scale)]
    # Translucent: the band covers part of a crop that people want to judge.
    band[:] = 0.3 * band + 0.7 * np.array(PAPER)
    origin = (round(10 * scale), round(24 * scale))
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, INK, 1, cv2.LINE_AA)


def _view_axes(azimuth_deg: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns unit vectors right, down and forward of a camera that looks a little down at the person.

    A canonical pose has the left hip at +x and faces -y, so from the front forward is +y and right is +x.
    """
    azimuth, elevation = np.radians(azimuth_deg), np.radians(_ELEVATION_DEG)
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    level = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    forward = np.cos(elevation) * level - np.sin(elevation) * np.array([0.0, 0.0, 1.0])
    return right, np.cross(forward, right), forward
