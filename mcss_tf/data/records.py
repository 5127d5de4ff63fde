"""Writes a prepared dataset: one record per instant, one shard per sequence and split."""

from __future__ import annotations

import dataclasses
import os
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import tensorflow as tf

import mcss_tf
from mcss_tf import files
from mcss_tf.data.dataset import (
    MAX_CAMERAS,
    SCHEMA_VERSION,
    SPLITS,
    Index,
    PreparedDataset,
    camera_to_json,
)
from mcss_tf.errors import InputError
from mcss_tf.geometry.canonical import canonical_pose
from mcss_tf.geometry.skeleton import Skeleton

if TYPE_CHECKING:
    from mcss_tf.data.sources.base import SequenceSpec
    from mcss_tf.geometry.cameras import Camera

__all__ = [
    "Instant",
    "PreparedDataset",
    "SequenceResult",
    "decode_instant",
    "finish_dataset",
    "write_sequence",
]

# A TFRecord is: uint64 length, uint32 checksum of it, the data, uint32 checksum of the data.
_FRAME_HEADER_BYTES = 12
_FRAME_FOOTER_BYTES = 4


@dataclasses.dataclass
class Instant:
    """One moment of one sequence, seen by V cameras (J joints, S = crop size).

    Attributes:
        subject: name of the person.
        sequence: name of the sequence.
        action: what the person does; may be empty.
        frame: frame number of the reference camera.
        time_s: its time in seconds.
        split: "train" or "test".
        cameras: V names of the cameras that see this instant.
        images: V uint8 RGB images [S, S, 3].
        boxes_px: float32 [V, 4], x0, y0, x1, y1 of each crop in its full frame.
        joints_mm: float32 [J, 3], world, Z up; None without 3D labels.
        joint_mask: float32 [J], 1 where the joint was observed; None means all of them.
        keypoints_px: float32 [V, J, 3], x, y in the full frame and confidence; None where unknown.
    """

    subject: str
    sequence: str
    action: str
    frame: int
    time_s: float
    split: str
    cameras: Sequence[str]
    images: Sequence[np.ndarray]
    boxes_px: np.ndarray
    joints_mm: np.ndarray | None = None
    joint_mask: np.ndarray | None = None
    keypoints_px: np.ndarray | None = None


@dataclasses.dataclass
class SequenceResult:
    """What `write_sequence` leaves for `finish_dataset`; picklable.

    Attributes:
        spec: the sequence.
        shards: entries of `dataset.json`, one per split that has instants.
        rows: per record, the columns of `Index`; `image_offset` and `image_length` by `spec.cameras`.
        dropped: numbers of instants or labels left out, by reason.
    """

    spec: SequenceSpec
    shards: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    dropped: dict[str, int]


def write_sequence(
    output: str | Path,
    spec: SequenceSpec,
    instants: Iterable[Instant],
    skeleton: Skeleton,
    crop_size: int,
    jpeg_quality: int = 95,
) -> SequenceResult:
    """Writes the shards of one sequence, each under a temporary name until it is whole.

    Args:
        output: folder of the dataset.
        spec: the sequence.
        instants: its instants in time order; they are consumed one by one.
        skeleton: joints of the poses.
        crop_size: side of the images, in pixels.
        jpeg_quality: of the stored images, 1-100.

    Returns:
        Rows and checksums for `finish_dataset`; without instants, no shard.

    Raises:
        InputError: if an instant contradicts `spec`, `skeleton` or `crop_size`, or the disk is full.
    """
    # While its shards are being replaced, what lies in the folder is no dataset.
    Path(output, "dataset.json").unlink(missing_ok=True)
    shards = _Shards(Path(output), spec)
    rows = []
    dropped = {"undefined_canonical": 0}
    try:
        for instant in instants:
            _check_instant(instant, spec, skeleton, crop_size)
            canonical_mm, joint_mask, has_pose = _canonical(instant, skeleton)
            dropped["undefined_canonical"] += instant.joints_mm is not None and not has_pose
            jpegs = [_encode_jpeg(image, jpeg_quality) for image in instant.images]
            data = _encode(instant, jpegs, canonical_mm if has_pose else None)
            row = shards.write(instant.split, data)
            row.update(frame=int(instant.frame), time_s=float(instant.time_s), has_pose=has_pose)
            row.update(canonical_mm=canonical_mm, joint_mask=joint_mask)
            row.update(_locate_images(data, instant.cameras, jpegs, spec.cameras))
            rows.append(row)
        return SequenceResult(spec, shards.close(), rows, dropped)
    except (OSError, tf.errors.OpError) as error:
        raise InputError(
            f"The shards of {spec.name} must fit on the disk of {output}. Received: {error}. "
            "Nothing was left behind; make room and run the same command again."
        ) from error
    finally:
        shards.remove_temporary()


def finish_dataset(
    output: str | Path,
    *,
    source: str,
    skeleton: Skeleton,
    crop_size: int,
    results: Iterable[SequenceResult],
    calibrations: Mapping[tuple[str, str], Mapping[str, Camera] | None] | None = None,
) -> PreparedDataset:
    """Writes `index.npz` and, last, `dataset.json`; the outcome does not depend on the order of `results`.

    Args:
        output: folder of the dataset.
        source: name of the source.
        skeleton: joints of the poses.
        crop_size: side of the images, in pixels.
        results: of `write_sequence`, in any order.
        calibrations: by (subject, sequence), the cameras by name; absent or None: not calibrated.

    Returns:
        The dataset, loaded.

    Raises:
        InputError: if there is no instant at all, or there are more cameras than a view mask has bits.
    """
    output = Path(output)
    results = sorted(results, key=lambda r: (_natural(r.spec.subject), _natural(r.spec.sequence)))
    cameras = list(dict.fromkeys(camera for r in results for camera in r.spec.cameras))
    subjects = list(dict.fromkeys(r.spec.subject for r in results))
    if not any(r.rows for r in results):
        dropped = {k: v for k, v in _sum_dropped(results).items() if v}
        raise InputError(
            "A dataset needs at least one instant. "
            f"Received: {len(results)} sequences without any; dropped: {dropped or 'nothing'}."
        )
    if len(cameras) > MAX_CAMERAS:
        raise InputError(
            f"A dataset has at most {MAX_CAMERAS} cameras. Received: {len(cameras)}: {', '.join(cameras)}. "
            "Use the same camera names in every sequence."
        )
    for left_by_a_killed_worker in output.glob("records/*/.*.tmp"):
        left_by_a_killed_worker.unlink()
    index = _build_index(results, subjects, cameras)
    with files.atomic_write(output / "index.npz") as file:
        np.savez(file, **{field.name: getattr(index, field.name) for field in dataclasses.fields(index)})
    calibrations = calibrations or {}
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "source": source,
        "created_by": f"mcss_tf {mcss_tf.__version__}",
        "crop_size": crop_size,
        "skeleton": skeleton.to_json(),
        "cameras": cameras,
        "subjects": subjects,
        "sequences": [_describe_sequence(r, calibrations) for r in results],
        "splits": {split: _describe_split(index, split, subjects) for split in SPLITS},
        "counts": _count(index, results),
        "shards": [shard for r in results for shard in r.shards],
        "index_sha256": files.sha256(output / "index.npz"),
    }
    files.write_json(output / "dataset.json", metadata)
    return PreparedDataset.load(output)


def decode_instant(data: bytes) -> dict[str, Any]:
    """Decodes a serialized Example into its features.

    Returns:
        `subject`, `sequence`, `action`: str; `frame`: int; `time_s`: float; `cameras`: list of str;
        `images`: list of uint8 RGB [S, S, 3]; `boxes_px`: float32 [V, 4]; `joints_mm`, `canonical_mm`:
        float32 [J, 3] or None; `joint_mask`: float32 [J] or None; `keypoints_px`: float32 [V, J, 3] or None.
    """
    feature = tf.train.Example.FromString(data).features.feature
    decoded: dict[str, Any] = {k: feature[k].bytes_list.value[0].decode() for k in _NAMES}
    decoded["frame"] = feature["frame"].int64_list.value[0]
    decoded["time_s"] = feature["time_s"].float_list.value[0]
    decoded["cameras"] = [name.decode() for name in feature["cameras"].bytes_list.value]
    decoded["images"] = [_decode_jpeg(image) for image in feature["images"].bytes_list.value]
    num_views = len(decoded["cameras"])
    shapes = {
        "boxes_px": (num_views, 4),
        "joints_mm": (-1, 3),
        "canonical_mm": (-1, 3),
        "joint_mask": (-1,),
        "keypoints_px": (num_views, -1, 3),
    }
    for name, shape in shapes.items():
        values = np.array(feature[name].float_list.value, np.float32) if name in feature else None
        decoded[name] = None if values is None else values.reshape(shape)
    return decoded


_NAMES = ("subject", "sequence", "action")


class _Shards:
    """The shards of one sequence while they are written, by split."""

    def __init__(self, output: Path, spec: SequenceSpec):
        self._output = output
        self._spec = spec
        self._writers: dict[str, tf.io.TFRecordWriter] = {}
        self._ends: dict[str, int] = {}
        self._num_records: dict[str, int] = {}

    def write(self, split: str, data: bytes) -> dict[str, Any]:
        """Appends a record and returns where it is."""
        if split not in self._writers:
            self._temporary(split).parent.mkdir(parents=True, exist_ok=True)
            self._writers[split] = tf.io.TFRecordWriter(str(self._temporary(split)))
            self._ends[split] = self._num_records[split] = 0
        self._writers[split].write(data)
        offset = self._ends[split] + _FRAME_HEADER_BYTES
        self._ends[split] = offset + len(data) + _FRAME_FOOTER_BYTES
        self._num_records[split] += 1
        return {"split": split, "offset": offset, "length": len(data)}

    def close(self) -> list[dict[str, Any]]:
        """Renames the finished shards and returns their entries of `dataset.json`."""
        for split, writer in self._writers.items():
            writer.close()
            written = self._temporary(split).stat().st_size
            if written != self._ends[split]:
                raise OSError(f"{written} of {self._ends[split]} bytes were written")
        return [self._publish(split) for split in SPLITS if split in self._writers]

    def remove_temporary(self) -> None:
        """Removes what `close` did not rename."""
        for split in self._writers:
            self._temporary(split).unlink(missing_ok=True)

    def _publish(self, split: str) -> dict[str, Any]:
        path = self._path(split)
        with open(self._temporary(split), "rb") as file:
            os.fsync(file.fileno())
        os.replace(self._temporary(split), path)
        return {
            "path": path.relative_to(self._output).as_posix(),
            "subject": self._spec.subject,
            "sequence": self._spec.sequence,
            "split": split,
            "num_records": self._num_records[split],
            "bytes": self._ends[split],
            "sha256": files.sha256(path),
        }

    def _path(self, split: str) -> Path:
        return self._output / "records" / self._spec.subject / f"{self._spec.sequence}.{split}.tfrecord"

    def _temporary(self, split: str) -> Path:
        path = self._path(split)
        return path.with_name(f".{path.name}.{os.getpid()}.tmp")


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
    shapes = {
        "images": (len(instant.images), num_views),
        "boxes_px": (np.shape(instant.boxes_px), (num_views, 4)),
        "joints_mm": (_shape(instant.joints_mm), (num_joints, 3)),
        "joint_mask": (_shape(instant.joint_mask), (num_joints,)),
        "keypoints_px": (_shape(instant.keypoints_px), (num_views, num_joints, 3)),
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


def _encode(instant: Instant, jpegs: list[bytes], canonical_mm: np.ndarray | None) -> bytes:
    """Returns the serialized Example; equal instants give equal bytes."""
    feature = {k: _bytes([getattr(instant, k).encode()]) for k in _NAMES}
    feature["frame"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(instant.frame)]))
    feature["cameras"] = _bytes([name.encode() for name in instant.cameras])
    feature["images"] = _bytes(jpegs)
    values = {
        "time_s": instant.time_s,
        "boxes_px": instant.boxes_px,
        "joints_mm": instant.joints_mm,
        "canonical_mm": canonical_mm,
        "joint_mask": instant.joint_mask,
        "keypoints_px": instant.keypoints_px,
    }
    if instant.joints_mm is not None and instant.joint_mask is None:
        values["joint_mask"] = np.ones(len(instant.joints_mm))
    for name, value in values.items():
        if value is not None:
            flat = np.asarray(value, np.float32).ravel()
            feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=flat))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def _bytes(values: list[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _locate_images(
    data: bytes, cameras: Sequence[str], jpegs: list[bytes], all_cameras: Sequence[str]
) -> dict[str, np.ndarray]:
    """Returns where each camera's JPEG lies within the Example, so that one image can be read alone."""
    offsets = np.zeros(len(all_cameras), np.int32)
    lengths = np.zeros(len(all_cameras), np.int32)
    for camera, jpeg in zip(cameras, jpegs, strict=True):
        column = list(all_cameras).index(camera)
        # The length prefix belongs to the match: a JPEG alone could be the start of a longer field.
        offsets[column] = data.index(_varint(len(jpeg)) + jpeg) + len(_varint(len(jpeg)))
        lengths[column] = len(jpeg)
    return {"image_offset": offsets, "image_length": lengths}


def _varint(value: int) -> bytes:
    """Returns a length as Protocol Buffers write it: seven bits a byte, the high bit on all but the last."""
    head = b""
    while value > 127:
        head += struct.pack("B", value & 127 | 128)
        value >>= 7
    return head + struct.pack("B", value)


def _encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    is_encoded, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape}")
    return data.tobytes()


def _decode_jpeg(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].copy()


def _build_index(results: list[SequenceResult], subjects: list[str], cameras: list[str]) -> Index:
    columns: dict[str, list] = {field.name: [] for field in dataclasses.fields(Index)}
    num_shards = 0
    for sequence, result in enumerate(results):
        shard_of = {shard["split"]: num_shards + i for i, shard in enumerate(result.shards)}
        num_shards += len(shard_of)
        ids = [cameras.index(camera) for camera in result.spec.cameras]
        for row in sorted(
            result.rows, key=lambda row: shard_of[row["split"]]
        ):  # stable: order within a shard
            for name in ("offset", "length", "frame", "time_s", "has_pose", "canonical_mm", "joint_mask"):
                columns[name].append(row[name])
            columns["shard"].append(shard_of[row["split"]])
            columns["subject"].append(subjects.index(result.spec.subject))
            columns["sequence"].append(sequence)
            columns["split"].append(SPLITS.index(row["split"]))
            columns["view_mask"].append(
                sum(1 << c for c, n in zip(ids, row["image_length"], strict=True) if n)
            )
            for name in ("image_offset", "image_length"):
                values = np.zeros(len(cameras), np.int32)
                values[ids] = row[name]
                columns[name].append(values)
    return Index(**{name: np.array(columns[name], dtype) for name, dtype in _DTYPES.items()})


_DTYPES = {
    "shard": np.int32,
    "offset": np.int64,
    "length": np.int32,
    "subject": np.int32,
    "sequence": np.int32,
    "split": np.int8,
    "frame": np.int64,
    "time_s": np.float64,
    "view_mask": np.uint64,
    "has_pose": np.bool_,
    "image_offset": np.int32,
    "image_length": np.int32,
    "canonical_mm": np.float32,
    "joint_mask": np.float32,
}


def _describe_sequence(result: SequenceResult, calibrations: Mapping) -> dict[str, Any]:
    spec = result.spec
    calibration = calibrations.get((spec.subject, spec.sequence))
    return {
        "subject": spec.subject,
        "sequence": spec.sequence,
        "action": spec.action,
        "cameras": list(spec.cameras),
        "fps": spec.fps,
        "duration_s": spec.duration_s,
        "num_instants": {split: sum(row["split"] == split for row in result.rows) for split in SPLITS},
        "calibration": calibration and {name: camera_to_json(c) for name, c in calibration.items()},
    }


def _describe_split(index: Index, split: str, subjects: list[str]) -> dict[str, Any]:
    is_in = index.split == SPLITS.index(split)
    return {
        "subjects": [subjects[i] for i in np.unique(index.subject[is_in])],
        "num_instants": int(is_in.sum()),
        "num_images": int(index.is_present()[is_in].sum()),
    }


def _count(index: Index, results: list[SequenceResult]) -> dict[str, int]:
    counts = {
        "images": int(index.is_present().sum()),
        "instants": len(index),
        "posed_instants": int(index.has_pose.sum()),
    }
    return counts | {f"dropped_{reason}": n for reason, n in _sum_dropped(results).items()}


def _sum_dropped(results: list[SequenceResult]) -> dict[str, int]:
    total: dict[str, int] = {}
    for result in results:
        for reason, number in result.dropped.items():
            total[reason] = total.get(reason, 0) + number
    return total


def _natural(name: str) -> list:
    """Sorts S2 before S10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
