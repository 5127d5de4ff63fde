"""What the sources share whose videos come with 3D labels and calibration: options, one pass that crops."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcss_tf.data import video
from mcss_tf.data.boxes import square
from mcss_tf.data.example import Instant
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.frame_labels import Labels
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton

_log = logging.getLogger(__name__)
# A video that lacks more than this of its labels was cut off while it was copied.
_MAX_MISSING_FRAMES, _MAX_MISSING = 10, 0.02


@dataclasses.dataclass(frozen=True)
class CalibratedOptions:
    """How such a dataset is prepared.

    Attributes:
        root: folder of the download.
        crop_size: side of the crops in pixels.
        stride: every how many frames an instant is taken, the same in both splits; None: the protocol's.
        context: side of the square crop over the longer side of the box; None: the source's.
        cameras: names; empty: the protocol's.
        skeleton: onto which the joints are mapped by name; None: the source's own.
    """

    root: Path
    crop_size: int = 128
    stride: int | None = None
    context: float | None = None
    cameras: tuple[str, ...] = ()
    skeleton: Skeleton | None = None

    def __post_init__(self) -> None:
        rules = {"crop_size": 16, "stride": 1, "context": 1.0}
        for name, least in rules.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"--{name} must be at least {least}. Received: {value}. Raise it.")


@dataclasses.dataclass(frozen=True)
class CalibratedSequence(SequenceSpec):
    """A sequence of which frame i of every camera and row i of every label are one moment.

    Attributes:
        videos: by camera.
        num_frames: of the labels.
        frame_rate: frames per second of the videos.
        stride: of the frames that become instants.
        split: "train" or "test".
    """

    videos: dict[str, Path]
    num_frames: int
    frame_rate: float
    stride: int
    split: str

    @property
    def frames(self) -> np.ndarray:
        """Returns the frames that become instants, int64."""
        return np.arange(0, self.num_frames, self.stride)


def sequence_spec(
    subject: str,
    sequence: str,
    action: str,
    videos: dict[str, Path],
    num_frames: int,
    stride: int,
    split: str,
    image_rate: float | None = None,
) -> CalibratedSequence:
    """Builds the spec of a sequence after a look at the headers of all of its videos.

    Args:
        subject, sequence, action, videos, num_frames, stride, split: of the spec.
        image_rate: frames per second of folders of images, which do not state it.

    Raises:
        InputError: if a video cannot be read to its end, or runs at another rate than the others.
    """
    infos = {camera: video.probe(path, image_rate) for camera, path in videos.items()}
    rates = {camera: info.fps for camera, info in infos.items()}
    fps = next(iter(rates.values()))
    if any(abs(rate - fps) > 0.01 * fps for rate in rates.values()):
        listed = ", ".join(f"{camera} {rate:.4g}" for camera, rate in rates.items())
        raise InputError(
            f"Cameras of a sequence run at one frame rate. Received: {listed} frames per second in "
            f"{subject}/{sequence}. Download these videos again."
        )
    return CalibratedSequence(
        subject=subject,
        sequence=sequence,
        action=action,
        cameras=tuple(videos),
        fps=fps / stride,
        duration_s=num_frames / fps,
        videos=videos,
        num_frames=num_frames,
        frame_rate=fps,
        stride=stride,
        split=split,
    )


def cropped_instants(
    spec: CalibratedSequence, labels: Labels, crop_size: int, context: float, may_end_early: bool = False
) -> Iterator[Instant]:
    """Decodes and crops one sequence; as `cropped_together`."""
    yield from cropped_together([spec], [labels], crop_size, context, may_end_early)


def cropped_together(
    specs: list[CalibratedSequence],
    labels: list[Labels],
    crop_size: int,
    context: float,
    may_end_early: bool = False,
) -> Iterator[Instant]:
    """Decodes the videos of sequences once, side by side, and crops; only used frames become pixels.

    Args:
        specs: of the same videos and frames, such as the people of one recording.
        labels: by sequence, of its frames.
        crop_size: side of the crops in pixels.
        context: side of the square crop over the longer side of the box.
        may_end_early: whether a video is known to be shorter than its labels.

    Yields:
        An instant per frame and sequence that at least one camera shows.

    Raises:
        InputError: if a video is damaged or ends before its labels do.
    """
    first = specs[0]
    squares = [{c: square(boxes_px, context) for c, boxes_px in known.boxes_px.items()} for known in labels]
    streams = {camera: video.read_frames(path, first.frame_rate) for camera, path in first.videos.items()}
    for row, wanted in enumerate(first.frames):
        frames = {camera: _advance(stream, wanted) for camera, stream in streams.items()}
        ended = {camera for camera, frame in frames.items() if frame is None}
        _check_ended(first, ended, wanted, may_end_early)
        for spec, known, around in zip(specs, labels, squares, strict=True):
            seen = [c for c, f in frames.items() if f is not None and np.isfinite(around[c][row]).all()]
            if seen:
                views = {c: (around[c][row], frames[c].crop(around[c][row], crop_size)) for c in seen}
                yield _instant(spec, known, row, views)


def _instant(
    spec: CalibratedSequence, labels: Labels, row: int, views: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Instant:
    """Puts boxes and crops by camera together with the labels of one of the sequence's frames."""
    boxes_px, images = zip(*views.values(), strict=True)
    keypoints_px = labels.keypoints_px
    frame = int(spec.frames[row])
    return Instant(
        subject=spec.subject,
        sequence=spec.sequence,
        action=spec.action,
        frame=frame,
        time_s=frame / spec.frame_rate,
        split=spec.split,
        cameras=list(views),
        images=list(images),
        boxes_px=np.stack(boxes_px).astype(np.float32),
        joints_mm=labels.joints_mm[row].astype(np.float32),
        joint_mask=labels.joint_mask[row].astype(np.float32),
        keypoints_px=keypoints_px and np.stack([keypoints_px[c][row] for c in views]).astype(np.float32),
    )


def _advance(stream: Iterator[video.Frame], wanted: int) -> video.Frame | None:
    """Returns frame number `wanted`; None past the end of the video."""
    for frame in stream:
        if frame.index == wanted:
            return frame
    return None


def _check_ended(spec: CalibratedSequence, ended: set[str], frame: int, may_end_early: bool) -> None:
    missing = spec.num_frames - frame
    if ended and not may_end_early and missing > max(_MAX_MISSING_FRAMES, _MAX_MISSING * spec.num_frames):
        names = ", ".join(str(spec.videos[camera]) for camera in sorted(ended))
        raise InputError(
            f"A video must show all {spec.num_frames} labelled frames. Received: {names} with less than "
            f"{frame + 1}. It is cut off: download it again."
        )
