"""One person's box through time, out of the boxes of everybody and everything."""

import dataclasses

import numpy as np
from scipy import ndimage

# What leaving the last place by a whole body size costs, in units of a candidate's score (0 to 1).
_JUMP_COST = 2.0
_MAX_GAP_S = 0.5
_MEDIAN_S = 0.25
_SMOOTHING_S = 0.1


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A box x0, y0, x1, y1 that may be the person, and how much speaks for it (0 to 1)."""

    box: np.ndarray
    score: float


def choose_person(candidates: list[list[Candidate]]) -> list[int | None]:
    """Chooses one candidate a frame: the person who scores high and does not jump (Viterbi).

    Args:
        candidates: per frame, any number of them.

    Returns:
        Per frame the index of the chosen one; None where there was none.
    """
    frames = [frame for frame, found in enumerate(candidates) if found]
    best: list[np.ndarray] = []  # per frame and candidate: value of the best path that ends there
    came_from: list[np.ndarray] = []
    for position, frame in enumerate(frames):
        score = np.array([candidate.score for candidate in candidates[frame]])
        origin = np.zeros(len(score), int)
        if position:
            before = [candidate.box for candidate in candidates[frames[position - 1]]]
            now = [candidate.box for candidate in candidates[frame]]
            # The longer nobody was seen, the farther the person may have walked.
            patience = frame - frames[position - 1]
            value = best[-1][:, None] - _JUMP_COST * _jumps(before, now) / patience
            origin = value.argmax(0)
            score = score + value.max(0)
        best.append(score)
        came_from.append(origin)
    chosen: list[int | None] = [None] * len(candidates)
    last = int(best[-1].argmax()) if best else 0
    for frame, origin in zip(reversed(frames), reversed(came_from), strict=True):
        chosen[frame] = last
        last = int(origin[last])
    return chosen


def fill_and_smooth(boxes_px: np.ndarray, fps: float) -> np.ndarray:
    """Closes short gaps and takes the jitter out of a track of boxes.

    Centre and size pass a median filter of 0.25 s, which forgets single wrong boxes, and a Gaussian of
    sigma 0.1 s. Gaps up to 0.5 s are interpolated; longer ones stay.

    Args:
        boxes_px: float [F, 4], x0, y0, x1, y1; NaN where nobody was found.
        fps: frames per second.

    Returns:
        float [F, 4], NaN in long gaps and before the first and after the last found box.
    """
    found = np.flatnonzero(np.isfinite(boxes_px).all(1))
    smooth = np.full(boxes_px.shape, np.nan)
    if not len(found):
        return smooth
    gaps = np.diff(found) > max(1.0, _MAX_GAP_S * fps)
    for run in np.split(found, np.flatnonzero(gaps) + 1):
        frames = np.arange(run[0], run[-1] + 1)
        filled = np.stack([np.interp(frames, run, boxes_px[run, side]) for side in range(4)], 1)
        centre_size = np.concatenate([filled[:, :2] + filled[:, 2:], filled[:, 2:] - filled[:, :2]], 1) / 2
        median = ndimage.median_filter(centre_size, (2 * round(_MEDIAN_S * fps / 2) + 1, 1), mode="nearest")
        centre_size = ndimage.gaussian_filter1d(median, _SMOOTHING_S * fps, axis=0, mode="nearest")
        centre, half = centre_size[:, :2], centre_size[:, 2:]
        smooth[frames] = np.concatenate([centre - half, centre + half], 1)
    return smooth


def _jumps(before: list[np.ndarray], now: list[np.ndarray]) -> np.ndarray:
    """Distances [B, N] between centres in units of the body size, at most 1."""
    before, now = np.stack(before), np.stack(now)
    distance = np.linalg.norm(_centres(before)[:, None] - _centres(now)[None], axis=-1)
    size = np.maximum((before[:, 2:] - before[:, :2]).max(1), 1.0)
    return np.minimum(distance / size[:, None], 1.0)


def _centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
