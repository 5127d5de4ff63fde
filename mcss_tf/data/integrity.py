"""What the files of a prepared dataset must be like before anything in them is trusted.

A dataset may have been damaged on its way, or come from somebody else: checksums find the former; the shapes,
ranges and paths are checked for the latter, so that nothing outside the folder is read.
"""

import hashlib
import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mcss_tf import files
from mcss_tf.errors import InputError

SCHEMA_VERSION = 1
_MAX_PIXELS = 8192  # side of a crop

_NUMBER = (int, float)
_NULL = type(None)
_TOP = {
    "source": str,
    "crop_size": int,
    "crop_context": (*_NUMBER, _NULL),
    "skeleton": dict,
    "cameras": [str],
    "subjects": [str],
    "sequences": [dict],
    "splits": dict,
    "counts": dict,
    "shards": [dict],
    "index_sha256": str,
}
_SHARD = {
    "path": str,
    "subject": str,
    "sequence": str,
    "split": str,
    "num_records": int,
    "bytes": int,
    "sha256": str,
}
_SEQUENCE = {
    "subject": str,
    "sequence": str,
    "action": str,
    "cameras": [str],
    "fps": _NUMBER,
    "duration_s": _NUMBER,
    "calibration": (dict, _NULL),
}


def content_sha256(metadata: dict[str, Any]) -> str:
    """Returns the checksum of the content of `dataset.json`, but for the checksum itself."""
    rest = {key: value for key, value in metadata.items() if key != "content_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def load_metadata(path: Path) -> tuple[dict[str, Any], str]:
    """Returns the content of `dataset.json`, checked, and the file's checksum.

    Raises:
        InputError: it is absent, changed, of another version, or a shard lies outside its folder.
    """
    if not path.is_file():
        raise InputError(
            f"A prepared dataset holds dataset.json, which is written last. Received: {path.parent}, "
            "without it. Run `python -m mcss_tf.prepare` into that folder (again, if it was interrupted)."
        )
    try:
        metadata = files.read_json(path)
        version = metadata["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} must be JSON with a schema_version. Received: {error!r}. Run `prepare` again."
        ) from error
    if version != SCHEMA_VERSION:
        raise InputError(
            f"This version of mcss_tf reads datasets of schema_version {SCHEMA_VERSION}. "
            f"Received: schema_version={version!r} in {path}. Run `prepare` again with this version."
        )
    expected = metadata.get("content_sha256")
    if expected is not None and expected != content_sha256(metadata):
        raise InputError(
            f"{path} must be as `prepare` wrote it. Received: content whose checksum is not the one that the "
            "file states. Copy the dataset again or run `prepare` again."
        )
    _check_fields(path, "", metadata, _TOP)
    _check_fields(
        path, "skeleton.", metadata["skeleton"], {"name": str, "joint_names": [str], "parents": [int]}
    )
    for number, shard in enumerate(metadata["shards"]):
        _check_fields(path, f"shards[{number}].", shard, _SHARD)
        _check_path(path, shard["path"])
    for number, sequence in enumerate(metadata["sequences"]):
        _check_fields(path, f"sequences[{number}].", sequence, _SEQUENCE)
    if not 0 <= metadata["crop_size"] <= _MAX_PIXELS:
        raise InputError(
            f"A crop has at most {_MAX_PIXELS} pixels a side. Received: crop_size={metadata['crop_size']} in "
            f"{path}. Run `prepare` again."
        )
    return metadata, files.sha256(path)


def check_shard_size(path: Path, num_bytes: int) -> None:
    """Raises InputError where a shard is missing or of another size."""
    try:
        received = f"{path.stat().st_size} bytes" if path.is_file() else "no such file"
    except OSError as error:  # a name that is too long, a folder that may not be entered
        received = str(error.strerror)
    if received != f"{num_bytes} bytes":
        raise InputError(
            f"{path} must have {num_bytes} bytes, as dataset.json says. Received: {received}. "
            "Copy the dataset again or run `prepare` again, or leave its records out: --on_bad_record=skip."
        )


def load_index_arrays(path: Path, metadata: dict[str, Any], optional: set[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of `index.npz`, checked against `dataset.json`.

    Args:
        path: of the npz.
        metadata: the content of `dataset.json`.
        optional: names that datasets of earlier versions lack.

    Raises:
        InputError: it is absent or changed, or names what is not there.
    """
    sha256 = metadata["index_sha256"]
    received = files.sha256(path) if path.is_file() else "no such file"
    if received != sha256:
        raise InputError(
            f"{path} must have the sha256 {sha256}, as dataset.json says. Received: {received}. "
            "Copy the dataset again or run `prepare` again."
        )
    arrays = files.load_npz(path, "index.npz")
    missing = set(DTYPES) - optional - arrays.keys()
    if missing:
        raise InputError(
            f"{path} holds the columns of the index. Received: none of the name {sorted(missing)[0]}. "
            "Run `prepare` again."
        )
    arrays = {name: arrays[name] for name in DTYPES if name in arrays}
    _check_index(path, arrays, metadata)
    return arrays


def _check_fields(path: Path, prefix: str, value: dict[str, Any], fields: dict[str, Any]) -> None:
    for name, kind in fields.items():
        received = value.get(name, Ellipsis)
        if isinstance(kind, list):
            is_right = isinstance(received, list) and all(isinstance(item, kind[0]) for item in received)
        else:
            is_right = isinstance(received, kind) and not isinstance(received, bool)
        if isinstance(received, float):
            is_right = is_right and math.isfinite(received)
        if not is_right:
            shown = "nothing" if received is Ellipsis else repr(received)[:80]
            raise InputError(
                f"{path} must be as `prepare` writes it, see docs/architecture.md. Received: {prefix}{name}"
                f" = {shown}. Copy the dataset again or run `prepare` again."
            )


def _check_path(path: Path, name: str) -> None:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\0" in name or "\\" in name or not parts.parts:
        raise InputError(
            f"The shards of a dataset lie in its folder. Received: path {name!r} in {path}. "
            "Do not use this dataset: it names files that are none of its own."
        )


DTYPES = {
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
    "crc32": np.uint32,
    "image_crc32": np.uint32,
}


def _check_index(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Checks dtypes, shapes and ranges: what the index points to must be there."""
    num, cameras = len(np.atleast_1d(arrays["shard"])), len(metadata["cameras"])
    joints = len(metadata["skeleton"]["joint_names"])
    shapes = {
        "image_offset": (num, cameras),
        "image_length": (num, cameras),
        "image_crc32": (num, cameras),
        "canonical_mm": (num, joints, 3),
        "joint_mask": (num, joints),
    }
    for name, array in arrays.items():
        shape = shapes.get(name, (num,))
        if array.shape != shape or array.dtype != DTYPES[name]:
            raise InputError(
                f"{path}: {name} must be {np.dtype(DTYPES[name])} {shape}. Received: {array.dtype} "
                f"{array.shape}. Run `prepare` again."
            )
    limits = {
        "shard": len(metadata["shards"]),
        "subject": len(metadata["subjects"]),
        "sequence": len(metadata["sequences"]),
        "split": 2,
    }
    for name, limit in limits.items():
        outside = (arrays[name] < 0) | (arrays[name] >= limit)
        if outside.any():
            raise InputError(
                f"{path}: {name} must be 0 to {limit - 1}. Received: {arrays[name][outside][0]}. "
                "Run `prepare` again."
            )
    _check_extents(path, arrays, np.array([shard["bytes"] for shard in metadata["shards"]], np.float64))


def _check_extents(path: Path, arrays: dict[str, np.ndarray], shard_bytes: np.ndarray) -> None:
    """A record lies in its shard, an image in its record."""
    offset, length = arrays["offset"].astype(float), arrays["length"].astype(float)
    is_inside = (offset >= 0) & (length >= 0) & (offset + length <= shard_bytes[arrays["shard"]])
    start, size = arrays["image_offset"].astype(float), arrays["image_length"].astype(float)
    is_inside &= ((start >= 0) & (size >= 0) & (start + size <= length[:, None])).all(1)
    if not is_inside.all():
        raise InputError(
            f"{path}: a record lies in its shard, an image in its record. Received: row "
            f"{int(np.argmin(is_inside))}, which does not. Run `prepare` again."
        )
    if not np.isfinite(arrays["time_s"]).all() or not np.isfinite(arrays["canonical_mm"]).all():
        raise InputError(
            f"{path}: times and poses are finite. Received: NaN or infinity. Run `prepare` again."
        )
