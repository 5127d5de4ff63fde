"""Finds the moving person in a static camera, with nothing but a background model."""

from pathlib import Path

import cv2
import numpy as np

from mcss_tf.data import tracking, video

_SIDE = 320  # longest side at which motion is judged
_NUM_SAMPLES = 61
_MIN_DIFFERENCE = 30  # grey levels; soft shadows and compression noise stay below
_MIN_AREA = 0.001  # of the frame
_STILL_FRACTION = 0.25  # of the time at which every pixel must show the background
_TRACE = 0.01  # of the difference of a body, left out at each side
_JOIN = 0.07  # of the longest side: limbs that far apart belong to one body


def find_boxes(path: Path, fps: float | None = None) -> np.ndarray:
    """Returns the box of the moving person in every frame of a static camera.

    The background is what each pixel shows most constantly (`still_background`). What differs from it is
    joined into bodies; of several, the one that differs most and stays together in time is the person, so
    that a bystander at the back of the room is not followed.

    Args:
        path: a video, or a folder of images.
        fps: of a folder of images.

    Returns:
        float [F, 4], x0, y0, x1, y1 in pixels of the full frame; NaN where nothing moved.
    """
    background = still_background(np.stack(video.sample_frames(path, _NUM_SAMPLES, _shrink, fps)))
    candidates = []
    scale = 1.0
    for frame in video.read_frames(path, fps):
        pixels = frame.rgb()
        scale = max(pixels.shape[:2]) / _SIDE
        candidates.append(bodies(_shrink(pixels), background))
    boxes_px = np.full((len(candidates), 4), np.nan)
    for index, choice in enumerate(tracking.choose_person(candidates)):
        if choice is not None:
            boxes_px[index] = candidates[index][choice].box * scale
    return boxes_px


def still_background(samples: np.ndarray) -> np.ndarray:
    """Returns the colour that each pixel shows most constantly: the middle of the shortest quarter.

    A room behind a person is still to within noise while a body in front varies; so the room wins even where
    the person stands most of the time, which the median gets wrong.

    Args:
        samples: uint8 [T, H, W, 3], frames of a static camera.

    Returns:
        uint8 [H, W, 3].
    """
    ordered = np.sort(samples, axis=0)
    share = max(1, round(_STILL_FRACTION * len(samples)))
    widths = ordered[share - 1 :].astype(np.int16) - ordered[: len(ordered) - share + 1]
    middle = widths.argmin(0) + share // 2
    return np.take_along_axis(ordered, middle[None], axis=0)[0]


def bodies(pixels: np.ndarray, background: np.ndarray) -> list[tracking.Candidate]:
    """Returns what stands out from the background.

    Args:
        pixels: uint8 [H, W, 3].
        background: uint8 [H, W, 3].

    Returns:
        Boxes in pixels; the score of a body is its share of all the difference. Empty where nothing differs.
    """
    difference = cv2.medianBlur(cv2.absdiff(pixels, background).max(-1), 3)
    mask = (difference > _MIN_DIFFERENCE).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    reach = max(3, round(_JOIN * max(mask.shape)))
    joined = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    num_labels, labels = cv2.connectedComponents(joined)
    total = float(difference[mask > 0].sum())
    found = []
    for label in range(1, num_labels):
        body = (labels == label) & (mask > 0)
        if body.sum() >= _MIN_AREA * mask.size:
            score = float(difference[body].sum()) / total
            excess = np.where(body, difference - float(_MIN_DIFFERENCE), 0.0)
            found.append(tracking.Candidate(_extent(excess), score))
    return found


def _extent(weight: np.ndarray) -> np.ndarray:
    """Returns the box that holds the weight but for a trace at each side: reflections are faint."""
    edges = []
    for axis in (0, 1):
        cumulated = np.cumsum(weight.sum(axis)) / weight.sum()
        edges.append((np.searchsorted(cumulated, _TRACE), np.searchsorted(cumulated, 1 - _TRACE) + 1))
    (x0, x1), (y0, y1) = edges
    return np.array([x0, y0, x1, y1], float)


def _shrink(pixels: np.ndarray) -> np.ndarray:
    scale = _SIDE / max(pixels.shape[:2])
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
