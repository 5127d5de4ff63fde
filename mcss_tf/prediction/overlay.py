"""The overlay video: frame and box, crop, 3D skeleton from two sides, distances of all frames."""

import fractions
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from PIL import Image

from mcss_tf import files
from mcss_tf.prediction.drawing import INK, PAPER, DistanceMatrix, SkeletonView, caption
from mcss_tf.prediction.infer import Advance
from mcss_tf.prediction.inputs import Crop, Input
from mcss_tf.prediction.results import Prediction

# The frame is scaled down into this box; the four panels together are as high as the frame.
_MAX_FRAME_WIDTH = 960
_MAX_FRAME_HEIGHT = 720
_MIN_FRAME_HEIGHT = 360
_BOX_COLOUR = (255, 196, 0)
# Exact for the frame rates in use (24, 25, 30000/1001, ...), and fine enough for any timestamp.
_TIME_BASE = fractions.Fraction(1, 90_000)


class OverlayPainter:
    """Paints one canvas per frame of the input, whether or not the person was found in it."""

    def __init__(self, prediction: Prediction, frame_width: int, frame_height: int):
        """Prepares panels for frames of one size, in pixels; other frames are fitted into it."""
        scale = min(_MAX_FRAME_WIDTH / frame_width, _MAX_FRAME_HEIGHT / frame_height)
        # Tiny inputs are enlarged, or the captions would not be legible.
        scale = min(scale, max(1.0, _MIN_FRAME_HEIGHT / frame_height))
        # Multiples of four: the panels halve the height, and video codecs want even sides.
        self._width, self._height = (
            max(4, round(side * scale / 4) * 4) for side in (frame_width, frame_height)
        )
        self._panel = self._height // 2
        self._prediction = prediction
        self._rows = {int(frame): row for row, frame in enumerate(prediction.frames)}
        self._similarity = DistanceMatrix(prediction.embeddings, self._panel)
        self._views = []
        if prediction.poses_mm is not None:
            self._views = [
                (title, SkeletonView(prediction.poses_mm, prediction.skeleton, azimuth, self._panel))
                for title, azimuth in (("3D pose, front", 0.0), ("3D pose, left side", 75.0))
            ]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the canvas, pixels."""
        return self._width + self._panel * (2 if self._views else 1), 2 * self._panel

    def paint(self, crop: Crop) -> np.ndarray:
        """Returns the canvas, uint8 [height, width, 3], of one frame."""
        canvas = np.full((self.size[1], self.size[0], 3), PAPER, np.uint8)
        canvas[: self._height, : self._width] = self._fit_frame(crop.rgb(), crop.box_px)
        text = f"frame {crop.frame}  {crop.time_s:.2f} s" + ("  no person" if crop.pixels is None else "")
        caption(canvas[: self._panel, : self._width], text)
        if crop.pixels is None:
            return canvas
        row = self._rows[crop.frame]
        self._place(canvas, 0, 0, cv2.resize(crop.pixels, (self._panel, self._panel)), "crop")
        self._place(canvas, 0, 1, self._similarity.draw(row), "distance of embeddings")
        for place, (title, view) in enumerate(self._views):
            self._place(canvas, 1, place, view.draw(self._prediction.poses_mm[row]), title)
        return canvas

    def _place(self, canvas: np.ndarray, column: int, line: int, picture: np.ndarray, title: str) -> None:
        left, top = self._width + column * self._panel, line * self._panel
        cell = canvas[top : top + self._panel, left : left + self._panel]
        cell[:] = picture
        caption(cell, title)

    def _fit_frame(self, rgb: np.ndarray, box_px: np.ndarray | None) -> np.ndarray:
        height, width = rgb.shape[:2]
        scale = min(self._width / width, self._height / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        shrunk = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        if box_px is not None:
            start, end = (
                tuple(round(float(value) * scale) for value in corner) for corner in (box_px[:2], box_px[2:])
            )
            cv2.rectangle(shrunk, start, end, INK, 4, cv2.LINE_AA)
            cv2.rectangle(shrunk, start, end, _BOX_COLOUR, 2, cv2.LINE_AA)
        fitted = np.full((self._height, self._width, 3), PAPER, np.uint8)
        fitted[: size[1], : size[0]] = shrunk[: self._height, : self._width]
        return fitted


def write_overlay(
    prediction: Prediction, given: Input, crop_size: int, folder: Path, advance: Advance
) -> None:
    """Writes overlay.mp4, or overlay.png for a single image, into a folder.

    The input is decoded a second time, because every frame shows its distance to all others.
    """
    painter = OverlayPainter(prediction, given.info.width, given.info.height)
    if given.is_image:
        (crop,) = given.crops(crop_size)
        with files.atomic_write(folder / "overlay.png") as file:
            Image.fromarray(painter.paint(crop)).save(file, format="PNG")
        return
    with VideoWriter(folder / "overlay.mp4", painter.size, given.info.fps) as writer:
        for crop in given.crops(crop_size):
            writer.write(painter.paint(crop), crop.time_s)
            advance(1)


class VideoWriter:
    """A context manager that writes RGB frames as H.264 with the times of the input: both play in step."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float):
        """Opens `path` for frames of `size` (width, height; even numbers)."""
        self._container = av.open(str(path), "w")
        rate = fractions.Fraction(fps).limit_denominator(1001)
        self._stream = self._container.add_stream(
            "libx264", rate=rate, options={"crf": "21", "preset": "veryfast"}
        )
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _TIME_BASE

    def write(self, rgb: np.ndarray, time_s: float) -> None:
        """Appends one frame; times must ascend."""
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = round(time_s / _TIME_BASE), _TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()
