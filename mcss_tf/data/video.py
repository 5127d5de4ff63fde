"""Frames of a video, or of a folder of images, with the time at which each was taken."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

from mcss_tf.data import crops, planes, video_header
from mcss_tf.data.images import read_image
from mcss_tf.data.video_header import VideoInfo
from mcss_tf.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mpg", ".mpeg")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_decoder_threads = 0


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame: its number, its time after the first frame of its video, and how to get its pixels.

    Attributes:
        index: number of the frame.
        time_s: after the first frame.
        rgb: gives the whole frame, upright, uint8 [H, W, 3].
        decoded: what the decoder gave; None for an image.
    """

    index: int
    time_s: float
    rgb: Callable[[], np.ndarray]
    decoded: av.VideoFrame | None = None

    def crop(self, box_px: np.ndarray, size: int) -> np.ndarray:
        """Returns the square x0, y0, x1, y1 as uint8 [size, size, 3], black beyond the frame."""
        if self.decoded is None:
            return crops.crop(self.rgb(), box_px, size)
        return planes.crop_decoded(self.decoded, box_px, size)


def natural_key(name: str) -> tuple:
    """Sorts `cam2` before `cam10`."""
    return tuple(int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", name))


def set_decoder_threads(count: int) -> None:
    """Sets how many threads decode each video in this process; 0, the default: as many as there are cores.

    Where other processes keep the cores busy, one thread needs the least processor time for a frame.
    """
    global _decoder_threads
    _decoder_threads = count


def probe(path: Path, fps: float | None = None) -> VideoInfo:
    """Reads the header of a video and makes sure that its end is there, without decoding it.

    Args:
        path: a video, or a folder of images.
        fps: frames per second of a folder of images; a video knows its own.

    Returns:
        What was found; never of zero frames.

    Raises:
        InputError: if it is not readable or cut off, or images come without fps.
    """
    return _probe_images(path, fps) if path.is_dir() else video_header.probe(path)


def read_frames(path: Path, fps: float | None = None) -> Iterator[Frame]:
    """Decodes a video or a folder of images once, in order, holding one frame at a time.

    Times are presentation timestamps minus that of the first frame, never frame number over frame rate: a
    camera that runs at 29.97 instead of 30 frames per second is one frame late after 33 seconds.

    Raises:
        InputError: if a frame cannot be decoded or the video ends before its header says.
    """
    yield from (_read_images(path, fps) if path.is_dir() else _read_video(path))


def frame_times_s(path: Path, fps: float | None = None) -> np.ndarray:
    """Returns the time [F] of every frame as `read_frames` gives it, without decoding any.

    Raises:
        InputError: if the video cannot be read.
    """
    if path.is_dir():
        return np.arange(len(_image_paths(path))) / fps
    try:
        with video_header.open_video(path) as container:
            stream = container.streams.video[0]
            # Packets come in the order of decoding, which B-frames make another one than that of time.
            stamps = sorted(p.pts for p in container.demux(stream) if p.pts is not None and not p.is_discard)
            return (np.array(stamps) - stamps[0]) * float(stream.time_base)
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise video_header.unreadable(path, error) from error


def sample_frames(
    path: Path, num_samples: int, convert: Callable[[np.ndarray], np.ndarray], fps: float | None = None
) -> list[np.ndarray]:
    """Returns `convert(rgb)` of about `num_samples` frames spread evenly over a video.

    Key frames alone are decoded where there are enough of them; a short video may have a single one.
    """
    step_s = probe(path, fps).duration_s / num_samples
    if not path.is_dir():
        key_frames = _every(_read_video(path, only_key_frames=True), step_s)
        samples = [convert(frame.rgb()) for frame in key_frames]
        if 2 * len(samples) >= num_samples:
            return samples
    return [convert(frame.rgb()) for frame in _every(read_frames(path, fps), step_s)]


def _every(frames: Iterator[Frame], step_s: float) -> Iterator[Frame]:
    next_s = 0.0
    for frame in frames:
        if frame.time_s >= next_s:
            yield frame
            next_s = frame.time_s + step_s


def _read_video(path: Path, only_key_frames: bool = False) -> Iterator[Frame]:
    count, first_s, expected = 0, 0.0, 0
    try:
        with video_header.open_video(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = _decoder_threads
            if only_key_frames:
                stream.codec_context.skip_frame = "NONKEY"
            else:
                expected = stream.frames
            for decoded in container.decode(stream):
                time_s = decoded.time if decoded.time is not None else count / float(stream.average_rate)
                first_s = time_s if count == 0 else first_s
                yield Frame(count, time_s - first_s, functools.partial(planes.upright, decoded), decoded)
                count += 1
    except (av.error.FFmpegError, OSError) as error:
        raise video_header.unreadable(path, error) from error
    if count == 0 or count < video_header.MIN_FRACTION * expected:
        raise video_header.truncated(path, f"{count} frames", f"{expected} frames")


def _image_paths(path: Path) -> list[Path]:
    images = (child for child in path.iterdir() if child.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(images, key=lambda image: natural_key(image.name))


def _probe_images(path: Path, fps: float | None) -> VideoInfo:
    images = _image_paths(path)
    if not images:
        raise InputError(
            f"A camera's folder must hold images ({', '.join(IMAGE_SUFFIXES)}). "
            f"Received: {path} with none. Fill or remove it."
        )
    if fps is None:
        raise InputError(
            f"A folder of images has no frame rate of its own. Received: {path}. "
            "Write `fps = 30.0` (its true rate) into recordings.toml."
        )
    height, width = read_image(images[0]).shape[:2]
    return VideoInfo(fps, len(images), len(images) / fps, width, height)


def _read_images(path: Path, fps: float | None) -> Iterator[Frame]:
    for index, image in enumerate(_image_paths(path)):
        yield Frame(index, index / fps, functools.cache(functools.partial(read_image, image)))
