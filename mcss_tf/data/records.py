"""Writes the records of a prepared dataset: one per instant, one shard per sequence and split."""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from mcss_tf.data.dataset import SPLITS, PreparedDataset
from mcss_tf.data.example import Instant, decode_instant, encode_instant, encode_jpeg, locate_images
from mcss_tf.data.manifest import SequenceResult, finish_dataset
from mcss_tf.data.shards import Shards
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.errors import InputError
from mcss_tf.geometry.canonical import canonical_pose
from mcss_tf.geometry.skeleton import Skeleton

__all__ = [
    "Instant",
    "PreparedDataset",
    "SequenceResult",
    "decode_instant",
    "finish_dataset",
    "write_sequence",
    "write_sequences",
]

_JPEG_QUALITY = 95


def write_sequence(
    output: str | Path, spec: SequenceSpec, instants: Iterable[Instant], skeleton: Skeleton, crop_size: int
) -> SequenceResult:
    """Writes one sequence; as `write_sequences`."""
    (result,) = write_sequences(output, [spec], instants, skeleton, crop_size)
    return result


def write_sequences(
    output: str | Path,
    specs: Sequence[SequenceSpec],
    instants: Iterable[Instant],
    skeleton: Skeleton,
    crop_size: int,
) -> list[SequenceResult]:
    """Writes the shards of sequences whose instants come together, each under another name until it is whole.

    Args:
        output: folder of the dataset.
        specs: the sequences.
        instants: of all of them, those of each in time order; they are consumed one by one.
        skeleton: joints of the poses.
        crop_size: side of the images, in pixels; 0 for a dataset of keypoints without images.

    Returns:
        By sequence, rows and checksums for `finish_dataset`; without instants, no shard.

    Raises:
        InputError: if an instant contradicts its spec, `skeleton` or `crop_size`, or the disk is full.
    """
    # While its shards are being replaced, what lies in the folder is no dataset.
    Path(output, "dataset.json").unlink(missing_ok=True)
    writers = {(s.subject, s.sequence): _Writer(Path(output), s, skeleton, crop_size) for s in specs}
    only = next(iter(writers.values()))
    try:
        for instant in instants:
            # An instant of another sequence is refused by any writer.
            writers.get((instant.subject, instant.sequence), only).write(instant)
        return [writer.finish() for writer in writers.values()]
    except (OSError, tf.errors.OpError) as error:
        raise InputError(
            f"The shards of {', '.join(spec.name for spec in specs)} must fit on the disk of {output}. "
            f"Received: {error}. Nothing was left behind; make room and run the same command again."
        ) from error
    finally:
        for writer in writers.values():
            writer.shards.remove_temporary()


class _Writer:
    """One sequence while it is written."""

    def __init__(self, output: Path, spec: SequenceSpec, skeleton: Skeleton, crop_size: int):
        self.shards = Shards(output, spec)
        self._spec, self._skeleton, self._crop_size = spec, skeleton, crop_size
        self._rows: list[dict] = []
        self._pixels = hashlib.sha256()
        self._dropped = {"undefined_canonical": 0}

    def write(self, instant: Instant) -> None:
        spec = self._spec
        _check_instant(instant, spec, self._skeleton, self._crop_size)
        canonical_mm, joint_mask, has_pose = _canonical(instant, self._skeleton)
        self._dropped["undefined_canonical"] += instant.joints_mm is not None and not has_pose
        for image in instant.images:
            self._pixels.update(image.tobytes())
        jpegs = [encode_jpeg(image, _JPEG_QUALITY) for image in instant.images]
        data = encode_instant(instant, jpegs, canonical_mm if has_pose else None)
        row = self.shards.write(instant.split, data)
        row.update(frame=int(instant.frame), time_s=float(instant.time_s), has_pose=has_pose)
        row.update(crc32=zlib.crc32(data))
        row.update(canonical_mm=canonical_mm, joint_mask=joint_mask)
        row.update(is_seen=[camera in instant.cameras for camera in spec.cameras])
        row.update(locate_images(data, instant.cameras if jpegs else (), jpegs, spec.cameras))
        self._rows.append(row)

    def finish(self) -> SequenceResult:
        return SequenceResult(
            self._spec, self.shards.close(), self._rows, self._dropped, self._pixels.hexdigest()
        )


def _check_instant(instant: Instant, spec: SequenceSpec, skeleton: Skeleton, crop_size: int) -> None:
    where = f"Instant {instant.frame} of {spec.name}"
    num_views, num_joints = len(instant.cameras), len(skeleton.joint_names)
    unknown = [camera for camera in instant.cameras if camera not in spec.cameras]
    if unknown or len(set(instant.cameras)) != num_views or not num_views:
        raise InputError(
            f"{where} must be seen by distinct cameras out of {list(spec.cameras)}. "
            f"Received: cameras={list(instant.cameras)}."
        )
    if (instant.subject, instant.sequence) != (spec.subject, spec.sequence) or instant.split not in SPLITS:
        raise InputError(
            f"{where} must belong to it and to one of the splits {SPLITS}. Received: "
            f"subject={instant.subject!r}, sequence={instant.sequence!r}, split={instant.split!r}."
        )
    if "/" in f"{spec.subject}{spec.sequence}" or spec.subject.startswith("."):
        raise InputError(
            "Names of subjects and sequences become names of files: no slash, no leading dot. "
            f"Received: subject={spec.subject!r}, sequence={spec.sequence!r}."
        )
    for image in instant.images:
        if image.shape != (crop_size, crop_size, 3) or image.dtype != np.uint8:
            raise InputError(
                f"{where} must have uint8 RGB images of {crop_size} x {crop_size} pixels. "
                f"Received: {image.dtype} {image.shape}."
            )
    if not crop_size and instant.keypoints_px is None:
        raise InputError(
            f"{where} must have keypoints where it has no images. Received: keypoints_px=None, crop_size=0. "
            "Give keypoints, or images and their size."
        )
    boxes = np.shape(instant.boxes_px) if crop_size else _shape(instant.boxes_px)
    shapes = {
        "images": (len(instant.images), num_views if crop_size else 0),
        "boxes_px": (boxes, (num_views, 4)),
        "joints_mm": (_shape(instant.joints_mm), (num_joints, 3)),
        "joint_mask": (_shape(instant.joint_mask), (num_joints,)),
        "keypoints_px": (_shape(instant.keypoints_px), (num_views, num_joints, 3)),
        "keypoints_true_px": (_shape(instant.keypoints_true_px), (num_views, num_joints, 2)),
    }
    for name, (received, expected) in shapes.items():
        if received is not None and received != expected:
            raise InputError(f"{where}: {name} must have the shape {expected}. Received: {received}.")


def _shape(array: np.ndarray | None) -> tuple[int, ...] | None:
    return None if array is None else np.shape(array)


def _canonical(instant: Instant, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray, bool]:
    """Returns the canonical pose, the mask of its labels and whether it is defined; zeros where it is not."""
    num_joints = len(skeleton.joint_names)
    absent = np.zeros((num_joints, 3), np.float32), np.zeros(num_joints, np.float32), False
    if instant.joints_mm is None:
        return absent
    joints_mm = np.asarray(instant.joints_mm, np.float64)
    mask = np.ones(num_joints) if instant.joint_mask is None else np.asarray(instant.joint_mask)
    mask = (mask > 0) & np.isfinite(joints_mm).all(-1)
    # The frame stands on the root and the left hip: without either there is no canonical pose.
    if not (mask[skeleton.root] and mask[skeleton.left_hip]):
        return absent
    canonical_mm, valid = canonical_pose(np.where(mask[:, None], joints_mm, 0.0), skeleton)
    if not valid:
        return absent
    return np.where(mask[:, None], canonical_mm, 0.0).astype(np.float32), mask.astype(np.float32), True
