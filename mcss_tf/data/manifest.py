"""Puts the results of all sequences together: `index.npz` and, last, `dataset.json`."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mcss_tf
from mcss_tf import files
from mcss_tf.data.dataset import (
    MAX_CAMERAS,
    SPLITS,
    Index,
    PreparedDataset,
    camera_to_json,
)
from mcss_tf.data.integrity import DTYPES, SCHEMA_VERSION, content_sha256
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton

if TYPE_CHECKING:
    from mcss_tf.data.sources.base import SequenceSpec
    from mcss_tf.geometry.cameras import Camera


@dataclasses.dataclass
class SequenceResult:
    """What `write_sequence` leaves for `finish_dataset`; picklable.

    Attributes:
        spec: the sequence.
        shards: entries of `dataset.json`, one per split that has instants.
        rows: per record, the columns of `Index`; `is_seen`, `image_offset` and `image_length` by
            `spec.cameras`.
        dropped: numbers of instants or labels left out, by reason.
        images_sha256: of the pixels of all images in order, before they were compressed.
    """

    spec: SequenceSpec
    shards: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    dropped: dict[str, int]
    images_sha256: str = ""


def finish_dataset(
    output: str | Path,
    *,
    source: str,
    skeleton: Skeleton,
    crop_size: int,
    results: Iterable[SequenceResult],
    crop_context: float | None = None,
    calibrations: Mapping[tuple[str, str], Mapping[str, Camera] | None] | None = None,
    notes: Sequence[str] = (),
) -> PreparedDataset:
    """Writes `index.npz` and, last, `dataset.json`; the outcome does not depend on the order of `results`.

    Args:
        output: folder of the dataset.
        source: name of the source.
        skeleton: joints of the poses.
        crop_size: side of the images, in pixels; 0 without images.
        results: of `write_sequence`, in any order.
        crop_context: side of the square crops over the longer side of the person; None: not known.
        calibrations: by (subject, sequence), the cameras by name; absent or None: not calibrated.
        notes: what whoever uses the dataset must know.

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
        "crop_context": crop_context,
        "skeleton": skeleton.to_json(),
        "cameras": cameras,
        "subjects": subjects,
        "sequences": [_describe_sequence(r, calibrations) for r in results],
        "splits": {split: _describe_split(index, split, subjects) for split in SPLITS},
        "counts": _count(index, results),
        "shards": [shard for r in results for shard in r.shards],
        "index_sha256": files.sha256(output / "index.npz"),
        # What was seen, whichever library compressed it.
        "images_sha256": hashlib.sha256("".join(r.images_sha256 for r in results).encode()).hexdigest(),
        "notes": list(notes),
    }
    metadata["content_sha256"] = content_sha256(metadata)
    files.write_json(output / "dataset.json", metadata)
    return PreparedDataset.load(output)


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
            for name in (
                "offset",
                "length",
                "frame",
                "time_s",
                "has_pose",
                "canonical_mm",
                "joint_mask",
                "crc32",
            ):
                columns[name].append(row[name])
            columns["shard"].append(shard_of[row["split"]])
            columns["subject"].append(subjects.index(result.spec.subject))
            columns["sequence"].append(sequence)
            columns["split"].append(SPLITS.index(row["split"]))
            columns["view_mask"].append(sum(1 << c for c, s in zip(ids, row["is_seen"], strict=True) if s))
            for name in ("image_offset", "image_length", "image_crc32"):
                values = np.zeros(len(cameras), DTYPES[name])
                values[ids] = row[name]
                columns[name].append(values)
    return Index(**{name: np.array(columns[name], dtype) for name, dtype in DTYPES.items()})


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
