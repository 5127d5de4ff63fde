"""Square crops of decoded video frames, cut out of their planes before anything becomes RGB.

A decoder gives a plane of brightness and two of colour, mostly at half the resolution. Converting a whole
frame to RGB and averaging three channels over areas costs a good part of decoding it; of planes, only what
lies in the square is looked at. Averaging and conversion are linear: both ways lead to the same picture.
"""

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from mcss_tf.data import crops

# Pixels of brightness, down and across, that share a sample of colour, by format.
_STEPS = {"yuv420p": (2, 2), "yuv422p": (1, 2), "yuv444p": (1, 1)}
# What red and blue add to brightness, by FFmpeg's number of the colour space. 2 is unknown: taken for BT.601.
_BT601, _BT709, _BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)
_WEIGHTS = {1: _BT709, 2: _BT601, 5: _BT601, 6: _BT601, 9: _BT2020}
_FULL_RANGE = 2  # as FFmpeg numbers it


def upright(decoded: av.VideoFrame) -> np.ndarray:
    """Returns uint8 [H, W, 3], RGB as a player shows it: phones store portrait videos lying down."""
    return np.ascontiguousarray(np.rot90(decoded.to_ndarray(format="rgb24"), _quarter_turns(decoded)))


def crop_decoded(decoded: av.VideoFrame, box_px: np.ndarray, size: int) -> np.ndarray:
    """Does what `crops.crop` does to the upright frame, in a fraction of the time.

    Args:
        decoded: as it came from the decoder; what is not 8-bit YUV in planes takes the way over RGB.
        box_px: x0, y0, x1, y1 in the upright frame, whole numbers, square; may lie partly or wholly outside.
        size: side of the result in pixels.

    Returns:
        uint8 [size, size, 3], RGB; within rounding of the way over RGB, which FFmpeg rounds down.
    """
    name = decoded.format.name.replace("yuvj", "yuv")  # j: full range, in the name
    if name not in _STEPS or decoded.colorspace not in _WEIGHTS:
        return crops.crop(upright(decoded), box_px, size)
    height, width, turns = decoded.height, decoded.width, _quarter_turns(decoded)
    box = _before_turning([round(float(edge)) for edge in box_px], turns, height, width)
    if max(box[0], 0) >= min(box[2], width) or max(box[1], 0) >= min(box[3], height):
        return np.zeros((size, size, 3), np.uint8)
    is_full = name != decoded.format.name or decoded.color_range == _FULL_RANGE
    steps = (1, 1), _STEPS[name], _STEPS[name]
    blacks = 0 if is_full else 16, 128, 128
    scaler = VideoReformatter()
    small = [
        _resized(_cut(_samples(plane), box, step, (height, width), black), size, scaler)
        for plane, step, black in zip(decoded.planes, steps, blacks, strict=True)
    ]
    rgb = cv2.transform(cv2.merge(small), _to_rgb(*_WEIGHTS[decoded.colorspace], is_full))
    return np.ascontiguousarray(np.rot90(rgb, turns))


def _quarter_turns(decoded: av.VideoFrame) -> int:
    return round(decoded.rotation / 90) % 4


def _before_turning(box: list[int], turns: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Returns where a box of the upright frame lies in the frame [height, width] as it is stored."""
    x0, y0, x1, y1 = box
    return (
        (x0, y0, x1, y1),
        (width - y1, x0, width - y0, x1),
        (width - x1, height - y1, width - x0, height - y0),
        (y0, height - x1, y1, height - x0),
    )[turns]


def _samples(plane: av.video.plane.VideoPlane) -> np.ndarray:
    """Returns uint8 [H, W], the decoder's own memory."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _cut(
    samples: np.ndarray,
    box: tuple[int, int, int, int],
    step: tuple[int, int],
    frame_size: tuple[int, int],
    black: int,
) -> np.ndarray:
    """Cuts a box, in pixels of brightness, out of a plane of which each sample is `step` such pixels."""
    x0, y0, x1, y1 = box
    (down, across), (height, width) = step, frame_size
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    part = samples[top // down : -(-bottom // down), left // across : -(-right // across)]
    is_inside = (left, top, right, bottom) == box
    if is_inside and not (x0 % across or x1 % across or y0 % down or y1 % down):
        return part  # at its own resolution: means over areas are the same
    if across == 2:
        part = (part.astype(np.uint16) * 257).view(np.uint8)  # every sample twice
    part = part.repeat(down, 0)[top % down :, left % across :][: bottom - top, : right - left]
    if is_inside:
        return part
    margins = top - y0, y1 - bottom, left - x0, x1 - right
    return cv2.copyMakeBorder(part, *margins, cv2.BORDER_CONSTANT, value=black)


def _resized(samples: np.ndarray, size: int, scaler: VideoReformatter) -> np.ndarray:
    """Resizes as `crops.crop` does; FFmpeg takes a sixth of OpenCV's time for means over areas."""
    if min(samples.shape) <= size:
        shrinks = samples.shape[0] > size
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(samples, (size, size), interpolation=method)
    frame = av.VideoFrame.from_numpy_buffer(samples, format="gray")
    return scaler.reformat(frame, size, size, interpolation=Interpolation.AREA, threads=1).to_ndarray()


def _to_rgb(red: float, blue: float, is_full: bool) -> np.ndarray:
    """Returns the matrix [3, 4] of Y, Cb, Cr, 1 to R, G, B (ITU-R BT.601, 709, 2020).

    R = Y + 2 (1 - red) Cr, B = Y + 2 (1 - blue) Cb, and Y = red R + green G + blue B.
    """
    green = 1 - red - blue
    matrix = np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    )
    matrix *= 1 if is_full else np.array([255 / 219, 255 / 224, 255 / 224])
    return np.c_[matrix, -matrix @ [0 if is_full else 16, 128, 128]]
