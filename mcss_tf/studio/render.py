"""The renderer: one dressed pose, seen by one camera, as a square crop around the person."""

import dataclasses

import cv2
import numpy as np

from mcss_tf.geometry.cameras import Camera
from mcss_tf.studio.anatomy import body_shapes
from mcss_tf.studio.backdrop import background
from mcss_tf.studio.body import Body
from mcss_tf.studio.cloth import surface_colours
from mcss_tf.studio.lighting import brightness, floor_shadow
from mcss_tf.studio.raycast import cast
from mcss_tf.studio.room import Room
from mcss_tf.studio.shapes import Shapes, bounds

# Rays per output pixel and axis; the crop is averaged down, which smooths the outlines.
_OVERSAMPLING = 2
# Side of the square crop over the longer side of the person's box.
CROP_CONTEXT = 1.12


@dataclasses.dataclass(frozen=True)
class _View:
    """What is fixed about one camera: its empty room, where the floor is, its exposure and white balance."""

    camera: Camera
    empty: np.ndarray
    is_floor: np.ndarray
    gain: np.ndarray
    noise: float


class Renderer:
    """Renders people in a room; draws every camera's background once, when it is made.

    Args:
        room: The room.
        cameras: The cameras by name.
        crop_size: Width and height of crops in pixels.
        seed: Of exposure, white balance and noise.
        tint: How much cameras differ in exposure and white balance: the exponent of their gains.
    """

    def __init__(self, room: Room, cameras: dict[str, Camera], crop_size: int, seed: int, tint: float = 1.0):
        self.room = room
        self.crop_size = crop_size
        self._seed = seed
        self._views = {}
        for index, (name, camera) in enumerate(cameras.items()):
            rng = np.random.default_rng([seed, 4, index])
            gain = (rng.uniform(0.88, 1.1) * rng.uniform(0.95, 1.05, 3)) ** tint
            empty, is_floor = background(room, camera)
            self._views[name] = _View(camera, empty, is_floor.astype(np.float32), gain, rng.uniform(2.0, 4.5))
        tile = np.random.default_rng([seed, 5]).standard_normal((512, 512, 3))
        self._grain = tile.astype(np.float32)

    def crops(
        self, body: Body, points_mm: np.ndarray, key: tuple[int, ...]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Renders one pose for every camera.

        Args:
            body: The subject.
            points_mm: [22, 3] its pose.
            key: Integers that name this instant; they alone decide about its noise.

        Returns:
            uint8 RGB images [S, S, 3] in the cameras' order, and float32 [V, 4] their square boxes
            x0, y0, x1, y1 in pixels of the full frames.
        """
        shapes = body_shapes(body, points_mm)
        images, boxes = [], []
        for index, view in enumerate(self._views.values()):
            box = square_box(bounds(shapes, view.camera))
            rng = np.random.default_rng([self._seed, 6, index, *key])
            images.append(self._draw(view, body, shapes, box, self.crop_size, rng))
            boxes.append(box)
        return images, np.array(boxes, np.float32)

    def frame(self, name: str, body: Body, points_mm: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
        """Renders the full frame [H, W, 3] uint8 RGB of one camera."""
        view = self._views[name]
        shapes = body_shapes(body, points_mm)
        # The square over the longer side of the frame holds all of it.
        width, height = view.camera.size
        side = max(width, height)
        rng = np.random.default_rng([self._seed, 6, list(self._views).index(name), *key])
        return self._draw(view, body, shapes, np.array([0, 0, side, side]), side, rng)[:height, :width]

    def _draw(
        self, view: _View, body: Body, shapes: Shapes, box: np.ndarray, size: int, rng: np.random.Generator
    ) -> np.ndarray:
        fine = size * _OVERSAMPLING
        scale = fine / (box[2] - box[0])
        # OpenCV's pixel centres are whole numbers; the box counts pixel edges, half a pixel earlier.
        matrix = np.diag([scale, scale, 1]) @ (
            view.camera.matrix + np.array([[0, 0, 0.5 - box[0]], [0, 0, 0.5 - box[1]], [0, 0, 0]])
        )
        canvas = _resize(_cut(view.empty, box), fine).copy()
        shade = floor_shadow(shapes, self.room.light, view.camera, matrix, fine)
        shade *= _resize(_cut(view.is_floor, box), fine)
        canvas *= (1 - shade)[..., None]
        hits = cast(shapes, view.camera, fine, matrix)
        rgb = (
            surface_colours(body.outfit, shapes, hits)
            * brightness(hits, self.room.light, matrix, fine)[:, None]
        )
        canvas.reshape(-1, 3)[hits.pixel] = rgb
        return self._finish(_resize(canvas, size), view, rng)

    def _finish(self, image: np.ndarray, view: _View, rng: np.random.Generator) -> np.ndarray:
        """Applies the camera's exposure, white balance and sensor noise."""
        height, width = image.shape[:2]
        top, left = rng.integers(0, 512, 2)
        rows, columns = (np.arange(height) + top) % 512, (np.arange(width) + left) % 512
        noisy = image * view.gain.astype(np.float32) + view.noise * self._grain[rows[:, None], columns]
        return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)


def square_box(rectangles: np.ndarray) -> np.ndarray:
    """Returns the square [4] int x0, y0, x1, y1 (pixel edges) with context around rectangles [P, 4]."""
    x0, y0 = rectangles[:, :2].min(0)
    x1, y1 = rectangles[:, 2:].max(0)
    side = int(np.ceil(CROP_CONTEXT * max(x1 - x0, y1 - y0)))
    left, top = round(float(x0 + x1 - side) / 2), round(float(y0 + y1 - side) / 2)
    return np.array([left, top, left + side, top + side])


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    shrinks = image.shape[0] > size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _cut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Cuts a box out of an image; beyond the frame its edge pixels are repeated."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (int(edge) for edge in box)
    inside = image[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    margins = [max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0)]
    if not any(margins):
        return inside
    return cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REPLICATE)
