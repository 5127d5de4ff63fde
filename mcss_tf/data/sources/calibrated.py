"""What the sources share whose videos come with 3D labels, boxes and calibration, frame by frame."""

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
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton, map_joints

_log = logging.getLogger(__name__)
# A video that lacks more than this of its labels was cut off while it was copied.
_MAX_MISSING_FRAMES, _MAX_MISSING = 10, 0.02
# Of the joints that are known, so many must lie in the picture.
_MIN_INSIDE = 0.75


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


@dataclasses.dataclass
class Labels:
    """What is known of some frames of a sequence (F frames, J joints).

    Attributes:
        joints_mm: float [F, J, 3], world, Z up.
        joint_mask: float [F, J], 1 where observed.
        boxes_px: by camera, float [F, 4], x0, y0, x1, y1; NaN where the person is not seen.
        keypoints_px: by camera, float [F, J, 3], x, y, confidence; None where the dataset has none.
    """

    joints_mm: np.ndarray
    joint_mask: np.ndarray
    boxes_px: dict[str, np.ndarray]
    keypoints_px: dict[str, np.ndarray] | None = None


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


def map_labels(
    joints: np.ndarray, names: tuple[str, ...], skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Maps joints [F, K, 3] onto the skeleton; joints that cannot be had are masked.

    Raises:
        InputError: if the root or the left hip cannot be had, on which canonical poses stand.
    """
    joints_mm, mask = map_joints(joints, names, skeleton)
    is_there = _mapped(names, skeleton)
    needed = [skeleton.joint_names[j] for j in (skeleton.root, skeleton.left_hip) if not is_there[j]]
    if needed:
        raise InputError(
            "A skeleton's root and left hip must be among the dataset's joints, or be derived from them. "
            f"Received: {skeleton.name!r}, whose {', '.join(needed)} is not among {', '.join(names)}. "
            "Rename the joint in the skeleton."
        )
    return joints_mm, mask


def boxes_of_points(points_px: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the boxes [F, 4] around points [F, K, 2]; NaN where the person is mostly out of the picture.

    Args:
        points_px: the joints; NaN where not known.
        size: width and height of the picture.
    """
    is_known = np.isfinite(points_px).all(-1)
    is_inside = is_known & (points_px >= 0).all(-1) & (points_px < np.array(size)).all(-1)
    is_seen = is_inside.sum(1) >= np.maximum(_MIN_INSIDE * is_known.sum(1), 2)
    boxes_px = np.full((len(points_px), 4), np.nan)
    for row in np.flatnonzero(is_seen):
        known = points_px[row, is_known[row]]
        boxes_px[row] = *known.min(0), *known.max(0)
    return boxes_px


def unmapped_notes(names: tuple[str, ...], skeleton: Skeleton) -> list[str]:
    """Returns a sentence on the joints of the skeleton that a dataset with these joints cannot give."""
    absent = [skeleton.joint_names[joint] for joint in np.flatnonzero(~_mapped(names, skeleton))]
    if not absent:
        return []
    return [f"joints of {skeleton.name} that are not among the dataset's, and masked: {', '.join(absent)}"]


def _mapped(names: tuple[str, ...], skeleton: Skeleton) -> np.ndarray:
    return map_joints(np.zeros((len(names), 3)), names, skeleton)[1] > 0


def map_keypoints(points_px: np.ndarray, names: tuple[str, ...], skeleton: Skeleton) -> np.ndarray:
    """Maps exact 2D joints [F, K, 2] onto the skeleton: [F, J, 3] with confidence 1, or 0 where unknown."""
    mapped, mask = map_joints(points_px, names, skeleton)
    return np.concatenate([mapped, mask[..., None]], -1).astype(np.float32)


def cropped_instants(
    spec: CalibratedSequence, labels: Labels, crop_size: int, context: float, may_end_early: bool = False
) -> Iterator[Instant]:
    """Decodes the videos of a sequence once, side by side, and crops; only used frames become pixels.

    Args:
        spec: the sequence.
        labels: of `spec.frames`.
        crop_size: side of the crops in pixels.
        context: side of the square crop over the longer side of the box.
        may_end_early: whether a video is known to be shorter than its labels.

    Yields:
        An instant per frame of `spec.frames` that at least one camera shows.

    Raises:
        InputError: if a video is damaged or ends before its labels do.
    """
    squares = {camera: square(boxes_px, context) for camera, boxes_px in labels.boxes_px.items()}
    streams = {camera: video.read_frames(path, spec.frame_rate) for camera, path in spec.videos.items()}
    for row, wanted in enumerate(spec.frames):
        frames = {camera: _advance(stream, wanted) for camera, stream in streams.items()}
        ended = {camera for camera, frame in frames.items() if frame is None}
        _check_ended(spec, ended, wanted, may_end_early)
        seen = [c for c, f in frames.items() if f is not None and np.isfinite(squares[c][row]).all()]
        if seen:
            yield Instant(
                subject=spec.subject,
                sequence=spec.sequence,
                action=spec.action,
                frame=int(wanted),
                time_s=float(wanted / spec.frame_rate),
                split=spec.split,
                cameras=seen,
                images=[frames[c].crop(squares[c][row], crop_size) for c in seen],
                boxes_px=np.stack([squares[c][row] for c in seen]).astype(np.float32),
                joints_mm=labels.joints_mm[row].astype(np.float32),
                joint_mask=labels.joint_mask[row].astype(np.float32),
                keypoints_px=labels.keypoints_px
                and np.stack([labels.keypoints_px[c][row] for c in seen]).astype(np.float32),
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
