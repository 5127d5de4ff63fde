"""Pairs the frames of several cameras by the time at which they were taken."""

from collections.abc import Iterator, Mapping

import numpy as np

from mcss_tf.data.video import Frame


def default_tolerance_s(rates: list[float]) -> float:
    """Half a frame interval of the slower camera: nearest frames cannot be further apart."""
    return 0.5 / min(rates)


def paired(
    streams: Mapping[str, Iterator[Frame]],
    offsets_s: Mapping[str, float],
    reference: str,
    stride: int,
    tolerance_s: float,
) -> Iterator[tuple[float, dict[str, Frame]]]:
    """Pairs every `stride`-th frame of the reference camera with the nearest frame of each other camera.

    Every stream is read once, and at most two frames of each are held.

    Args:
        streams: frames by camera, in time order.
        offsets_s: by camera, seconds to add to its times; absent means 0.
        reference: the camera that says when instants are.
        stride: of the frames of the reference.
        tolerance_s: a nearest frame further away in time than this is left out.

    Yields:
        The time of the instant on the common clock and the frames by camera, the reference's among them.
    """
    others = {
        camera: _Nearest(frames, offsets_s.get(camera, 0.0))
        for camera, frames in streams.items()
        if camera != reference
    }
    for frame in streams[reference]:
        if frame.index % stride:
            continue
        time_s = frame.time_s + offsets_s.get(reference, 0.0)
        found = {reference: frame}
        for camera, nearest in others.items():
            candidate = nearest.at(time_s)
            # A nanosecond of slack: half an interval must pass when it is computed in another order.
            if candidate is not None and abs(nearest.time_s(candidate) - time_s) <= tolerance_s + 1e-9:
                found[camera] = candidate
        yield time_s, {camera: found[camera] for camera in streams if camera in found}
    for nearest in others.values():
        nearest.finish()


def nearest_frames(times_s: np.ndarray, instants_s: np.ndarray, tolerance_s: float) -> np.ndarray:
    """Returns the number [I] of the frame nearest to each instant; -1 where none is within the tolerance.

    What `paired` does for frames, for ascending times [F] alone, on one clock with the instants [I].
    """
    after = np.clip(np.searchsorted(times_s, instants_s), 1, max(len(times_s) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(times_s) - 1)
    is_before = np.abs(times_s[before] - instants_s) <= np.abs(times_s[after] - instants_s)
    nearest = np.where(is_before, before, after)
    return np.where(np.abs(times_s[nearest] - instants_s) <= tolerance_s + 1e-9, nearest, -1)


class _Nearest:
    """The frame nearest to a time that only moves forward."""

    def __init__(self, frames: Iterator[Frame], offset_s: float):
        self._frames = frames
        self._offset_s = offset_s
        self._before: Frame | None = None
        self._after: Frame | None = next(frames, None)

    def time_s(self, frame: Frame) -> float:
        return frame.time_s + self._offset_s

    def at(self, time_s: float) -> Frame | None:
        while self._after is not None and self.time_s(self._after) < time_s:
            self._before, self._after = self._after, next(self._frames, None)
        around = [frame for frame in (self._before, self._after) if frame is not None]
        return min(around, key=lambda frame: abs(self.time_s(frame) - time_s), default=None)

    def finish(self) -> None:
        """Reads to the end, where a truncated video is noticed."""
        for _ in self._frames:
            pass
