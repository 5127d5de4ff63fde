"""What people point `predict` at: a video, an image, or a folder of images; and where the person is in it."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mcss_tf.data import boxes, video
from mcss_tf.data.images import decode_image
from mcss_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Crop:
    """One frame of an input, and the square around the person in it.

    Attributes:
        frame: number in the input.
        time_s: after the first frame.
        rgb: gives the whole frame, uint8 [H, W, 3].
        box_px: x0, y0, x1, y1 of the square; None where nobody was found.
        pixels: uint8 [size, size, 3], the crop; None where nobody was found.
    """

    frame: int
    time_s: float
    rgb: Callable[[], np.ndarray]
    box_px: np.ndarray | None
    pixels: np.ndarray | None


class Input:
    """A video, an image, or a folder of images taken one after the other.

    Attributes:
        path: what was given.
        info: frames, rate and size.
        box_mode: how boxes were found.
    """

    def __init__(self, path: Path, box_mode: str, context: float, fps: float):
        """Opens it and finds the person in every frame, exactly as `prepare` does.

        Args:
            path: a video, an image, or a folder of images.
            box_mode: auto, file, keypoints, motion or full; auto means full for a single image.
            context: side of the square over the longer side of the person.
            fps: of a folder of images; a video knows its own.

        Raises:
            InputError: not readable, or nobody found.
        """
        self.path = path
        self._fps = fps
        self.info = self._probe()
        if box_mode == "auto" and self.is_image:
            box_mode = "full"
        self.box_mode = boxes.choose_mode(box_mode, path.parent, (self._camera,))
        self._boxes_px = self._find_boxes(context)

    @property
    def is_image(self) -> bool:
        """Whether the input is one image file."""
        return self.path.is_file() and self.path.suffix.lower() in video.IMAGE_SUFFIXES

    @property
    def num_found(self) -> int:
        """Number of frames in which the person was found."""
        if self._boxes_px is None:
            return self.info.num_frames
        return int(np.isfinite(self._boxes_px).all(axis=1).sum())

    def crops(self, size: int) -> Iterator[Crop]:
        """Reads all frames in order, one at a time, with crops of `size` pixels."""
        for frame in self._frames():
            box_px = self._box(frame)
            pixels = None if box_px is None else frame.crop(box_px, size)
            yield Crop(frame.index, frame.time_s, frame.rgb, box_px, pixels)

    @property
    def _camera(self) -> str:
        return self.path.stem if self.path.is_file() else self.path.name

    def _probe(self) -> video.VideoInfo:
        if not self.path.exists():
            raise InputError(
                "--input is a video, an image or a folder of images. "
                f"Received: {self.path}, which does not exist. Check the path."
            )
        if self.is_image:
            height, width = self._read_image().shape[:2]
            return video.VideoInfo(self._fps, 1, 1 / self._fps, width, height)
        return video.probe(self.path, self._fps)

    def _frames(self) -> Iterator[video.Frame]:
        if self.is_image:
            return iter([video.Frame(0, 0.0, functools.cache(self._read_image))])
        return video.read_frames(self.path, self._fps)

    def _read_image(self) -> np.ndarray:
        return decode_image(self.path.read_bytes(), str(self.path))

    def _find_boxes(self, context: float) -> np.ndarray | None:
        """Returns squares [F, 4], or None where every frame is taken whole."""
        if self.box_mode == "full":
            return None
        if self.box_mode == "motion" and self.path.is_dir():
            self._check_one_size()
        paths = {self._camera: self.path}
        if self.box_mode == "file":
            # Rows of boxes.npz without names are the sequence's cameras in order.
            paths = {path.stem: path for path in _videos_beside(self.path)} | paths
        infos = {
            camera: self.info if path == self.path else video.probe(path) for camera, path in paths.items()
        }
        return boxes.find_boxes(self.box_mode, self.path.parent, paths, infos, context)[self._camera]

    def _box(self, frame: video.Frame) -> np.ndarray | None:
        if self._boxes_px is None:
            # Separate pictures may differ in size; frames of a video do not.
            is_video = frame.decoded is not None
            height, width = (self.info.height, self.info.width) if is_video else frame.rgb().shape[:2]
            return boxes.square(np.array([[0.0, 0.0, width, height]]), 1.0)[0]
        if frame.index >= len(self._boxes_px) or not np.isfinite(self._boxes_px[frame.index]).all():
            return None
        return self._boxes_px[frame.index]

    def _check_one_size(self) -> None:
        sizes = set()
        for path in self.path.iterdir():
            if path.suffix.lower() in video.IMAGE_SUFFIXES:
                with Image.open(path) as image:
                    sizes.add(image.size)
        if len(sizes) > 1:
            raise InputError(
                "A person is found by motion in images of one static camera. "
                f"Received: {self.path} with images of {len(sizes)} sizes. "
                "Give --boxes=full for separate pictures, each around one person."
            )


def _videos_beside(path: Path) -> list[Path]:
    videos = (child for child in path.parent.iterdir() if child.suffix.lower() in video.VIDEO_SUFFIXES)
    return sorted(videos, key=lambda child: video.natural_key(child.name))
