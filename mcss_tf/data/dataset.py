"""Reads a prepared dataset: its index in memory, its records and images by random access."""

import collections
import dataclasses
import json
import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera
from mcss_tf.geometry.skeleton import Skeleton

SCHEMA_VERSION = 1
SPLITS = ("train", "test")
VALIDATION = "validation"  # part of the train split that a run holds out; see `data.validation`
MAX_CAMERAS = 64  # bits of `Index.view_mask`
_MAX_OPEN_SHARDS = 128


@dataclasses.dataclass(frozen=True)
class Index:
    """What batches must know of every record, one row per record (N records, C cameras, J joints).

    Attributes:
        shard: int32 [N], position in the list of shards.
        offset: int64 [N], where the serialized Example starts in its shard, in bytes.
        length: int32 [N], its length in bytes.
        subject: int32 [N], position in `PreparedDataset.subjects`.
        sequence: int32 [N], position in `PreparedDataset.sequences`.
        split: int8 [N], position in `SPLITS`.
        frame: int64 [N], of the reference camera.
        time_s: float64 [N].
        view_mask: uint64 [N], bit c set where camera c saw this instant.
        has_pose: bool [N], the canonical pose is defined.
        image_offset: int32 [N, C], where the JPEG of camera c starts within the Example, in bytes.
        image_length: int32 [N, C], its length; 0 where camera c has no image of this instant.
        canonical_mm: float32 [N, J, 3], Eq. 3; 0 where undefined or not observed.
        joint_mask: float32 [N, J], 1 where `canonical_mm` is a label.
    """

    shard: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    subject: np.ndarray
    sequence: np.ndarray
    split: np.ndarray
    frame: np.ndarray
    time_s: np.ndarray
    view_mask: np.ndarray
    has_pose: np.ndarray
    image_offset: np.ndarray
    image_length: np.ndarray
    canonical_mm: np.ndarray
    joint_mask: np.ndarray

    def __len__(self) -> int:
        return len(self.shard)

    def is_present(self) -> np.ndarray:
        """Returns bool [N, C], True where there is a camera's image of an instant."""
        return self.image_length > 0

    def is_seen(self) -> np.ndarray:
        """Returns bool [N, C], True where a camera saw an instant, with an image or keypoints alone."""
        bits = np.arange(self.image_length.shape[1], dtype=np.uint64)
        return (self.view_mask[:, None] >> bits & np.uint64(1)).astype(bool)


class PreparedDataset:
    """A folder written by `prepare`.

    Attributes:
        path: the folder.
        metadata: the content of `dataset.json`.
        index: one row per record.
        skeleton: joints of the poses.
        crop_size: side of the stored square images, in pixels; 0 in a dataset of keypoints alone.
        crop_context: side of the crops over the longer side of the person; None where it is not known.
        cameras: names of the cameras; the position is the camera id.
        subjects: names of the subjects; the position is the subject id.
        sequences: entries of `dataset.json`; the position is the sequence id.
        checksum: SHA-256 of `dataset.json`, which itself holds the checksums of all other files.
    """

    def __init__(self, path: Path, metadata: dict[str, Any], index: Index, checksum: str):
        self.path = path
        self.metadata = metadata
        self.index = index
        self.checksum = checksum
        self.skeleton = Skeleton.from_json(metadata["skeleton"])
        self.crop_size: int = metadata["crop_size"]
        self.crop_context: float | None = metadata["crop_context"]
        self.cameras: list[str] = metadata["cameras"]
        self.subjects: list[str] = metadata["subjects"]
        self.sequences: list[dict[str, Any]] = metadata["sequences"]
        self._shard_paths = [path / shard["path"] for shard in metadata["shards"]]
        self._descriptors = _Descriptors(_MAX_OPEN_SHARDS)

    @classmethod
    def load(cls, path: str | Path, require: Sequence[str] = ()) -> "PreparedDataset":
        """Opens a prepared dataset and checks that it is whole.

        Checked are the schema version, that every shard is there in its full size, and the checksum of the
        index; `verify` reads the shards too.

        Args:
            path: the folder that `prepare` wrote.
            require: splits that must not be empty.

        Raises:
            InputError: if a file is missing, damaged or of another version, or a required split is empty.
        """
        path = Path(path)
        metadata, checksum = _load_metadata(path / "dataset.json")
        for shard in metadata["shards"]:
            _check_shard_size(path / shard["path"], shard["bytes"])
        index = _load_index(path / "index.npz", metadata["index_sha256"])
        dataset = cls(path, metadata, index, checksum)
        for split in require:
            dataset.require(split)
        return dataset

    def with_index(self, index: Index) -> "PreparedDataset":
        """Returns the same dataset seen through another index of the same records."""
        return PreparedDataset(self.path, self.metadata, index, self.checksum)

    def without_cameras(self, names: Sequence[str]) -> "PreparedDataset":
        """Returns the same dataset without the images of some cameras; nothing on disk changes.

        Raises:
            InputError: a camera is not the dataset's, or none is left.
        """
        unknown = [name for name in names if name not in self.cameras]
        if unknown or len(set(names)) == len(self.cameras):
            raise InputError(
                f"Cameras to leave out are some of {', '.join(self.cameras)}, not all. "
                f"Received: {', '.join(names)}. Correct data.without_cameras."
            )
        length = self.index.image_length.copy()
        length[:, [self.cameras.index(name) for name in names]] = 0
        return self.with_index(dataclasses.replace(self.index, image_length=length))

    def split_rows(self, split: str) -> np.ndarray:
        """Returns the rows of the index (int64, ascending) that belong to `split`."""
        names = (*SPLITS, VALIDATION)
        if split not in names:
            raise InputError(f"A split is one of {', '.join(names)}. Received: split={split!r}.")
        return np.flatnonzero(self.index.split == names.index(split))

    def require(self, split: str) -> None:
        """Raises InputError if a split is empty."""
        if not len(self.split_rows(split)):
            counts = {name: len(self.split_rows(name)) for name in SPLITS}
            raise InputError(
                f"The {split} split of {self.path} must not be empty. Received: instants per split {counts}. "
                "Assign subjects to the split in recordings.toml and run `prepare` again."
            )

    def calibration(self, sequence: int) -> dict[str, Camera] | None:
        """Returns the calibration of a sequence by camera name; None where it is not calibrated."""
        stored = self.sequences[sequence]["calibration"]
        return stored and {name: Camera(name=name, **fields) for name, fields in stored.items()}

    def read(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Returns the serialized Examples of `rows`; see `records.decode_instant`."""
        index = self.index
        return [self._pread(r, int(index.offset[r]), int(index.length[r])) for r in rows]

    def read_images(self, rows: np.ndarray, cameras: np.ndarray) -> list[bytes]:
        """Returns one JPEG per pair of a row and a camera id, reading nothing but that image.

        Raises:
            InputError: if a camera did not see its instant.
        """
        index = self.index
        images = []
        for row, camera in zip(rows, cameras, strict=True):
            length = int(index.image_length[row, camera])
            if not length:
                raise InputError(
                    "An image can only be read of a camera that saw the instant. "
                    f"Received: row={row}, camera={self.cameras[camera]!r}."
                )
            images.append(self._pread(row, int(index.offset[row] + index.image_offset[row, camera]), length))
        return images

    def verify(self) -> None:
        """Reads every shard and compares its SHA-256 with the one taken when it was written.

        Raises:
            InputError: if a shard has changed.
        """
        for path, shard in zip(self._shard_paths, self.metadata["shards"], strict=True):
            received = files.sha256(path)
            if received != shard["sha256"]:
                raise InputError(
                    f"{path} must be as `prepare` wrote it (sha256 {shard['sha256']}). "
                    f"Received: sha256 {received}. Copy the dataset again or run `prepare` again."
                )

    def _pread(self, row: int, offset: int, length: int) -> bytes:
        path = self._shard_paths[self.index.shard[row]]
        descriptor = self._descriptors.get(path)
        data = os.pread(descriptor.number, length, offset)
        if len(data) != length:
            raise InputError(
                f"{path} must hold {length} bytes at offset {offset}. Received: {len(data)} bytes. "
                "The file was cut after the dataset was opened; copy the dataset again."
            )
        return data


def camera_to_json(camera: Camera) -> dict[str, Any]:
    """Returns a camera as it stands in `dataset.json`, without its name."""
    fields = dataclasses.asdict(camera)
    del fields["name"]
    return {name: np.asarray(value).tolist() for name, value in fields.items()}


class _Descriptors:
    """Open files, shared by threads; at most `limit` of them are kept."""

    def __init__(self, limit: int):
        self._limit = limit
        self._lock = threading.Lock()
        self._open: collections.OrderedDict[Path, _Descriptor] = collections.OrderedDict()

    def get(self, path: Path) -> "_Descriptor":
        """Returns the open file of `path`; it stays open while the caller holds it."""
        with self._lock:
            descriptor = self._open.pop(path, None) or _Descriptor(path)
            self._open[path] = descriptor
            if len(self._open) > self._limit:
                self._open.popitem(last=False)
            return descriptor


class _Descriptor:
    """A file descriptor that closes when the cache and the last reader have let go of it."""

    def __init__(self, path: Path):
        self.number = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.number)


def _load_metadata(path: Path) -> tuple[dict[str, Any], str]:
    """Returns the content of `dataset.json` and its checksum."""
    if not path.is_file():
        raise InputError(
            f"A prepared dataset holds dataset.json, which is written last. Received: {path.parent}, "
            "without it. Run `python -m mcss_tf.prepare` into that folder (again, if it was interrupted)."
        )
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
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
    return metadata, files.sha256(path)


def _check_shard_size(path: Path, num_bytes: int) -> None:
    received = f"{path.stat().st_size} bytes" if path.is_file() else "no such file"
    if received != f"{num_bytes} bytes":
        raise InputError(
            f"{path} must have {num_bytes} bytes, as dataset.json says. Received: {received}. "
            "Copy the dataset again or run `prepare` again."
        )


def _load_index(path: Path, sha256: str) -> Index:
    received = files.sha256(path) if path.is_file() else "no such file"
    if received != sha256:
        raise InputError(
            f"{path} must have the sha256 {sha256}, as dataset.json says. Received: {received}. "
            "Copy the dataset again or run `prepare` again."
        )
    with np.load(path) as arrays:
        return Index(**{field.name: arrays[field.name] for field in dataclasses.fields(Index)})
