"""Reads a prepared dataset: its index in memory, its records and images by random access."""

import collections
import dataclasses
import os
import threading
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcss_tf import files
from mcss_tf.data import damage, integrity
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera
from mcss_tf.geometry.skeleton import Skeleton

SPLITS = ("train", "test")
VALIDATION = "validation"  # part of the train split that a run holds out; see `data.validation`
LEFT_OUT = -1  # in `Index.split`: damaged, and in no split
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
        crc32: uint32 [N], of the serialized Example; None in datasets of earlier versions.
        image_crc32: uint32 [N, C], of the JPEG of camera c; None likewise.
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
    crc32: np.ndarray | None = None
    image_crc32: np.ndarray | None = None

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
        skipped: what is wrong with each record that was left out.
        faults: what was found wrong while reading.
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
        self.skipped: list[str] = []
        self.faults: list[InputError] = []

    @classmethod
    def load(
        cls, path: str | Path, require: Sequence[str] = (), on_bad_record: str = "fail"
    ) -> "PreparedDataset":
        """Opens a prepared dataset and checks that it is whole.

        Checked are the schema version, that every shard is there in its full size, and the checksum of the
        index; a record's checksum when it is read; `verify` reads the shards too.

        Args:
            path: the folder that `prepare` wrote.
            require: splits that must not be empty.
            on_bad_record: "fail", or "skip", which reads every record first and leaves the damaged ones out
                of the splits: `skipped` says which.

        Raises:
            InputError: if a file is missing, damaged or of another version, or a required split is empty.
        """
        path = Path(path)
        metadata, checksum = integrity.load_metadata(path / "dataset.json")
        if on_bad_record == "fail":
            for shard in metadata["shards"]:
                integrity.check_shard_size(path / shard["path"], shard["bytes"])
        optional = {field.name for field in dataclasses.fields(Index) if field.default is None}
        index = Index(**integrity.load_index_arrays(path / "index.npz", metadata, optional))
        try:
            dataset = cls(path, metadata, index, checksum)
            for sequence in range(len(dataset.sequences)):
                dataset.calibration(sequence)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{path / 'dataset.json'} must be as `prepare` writes it. Received: {error}. "
                "Copy the dataset again or run `prepare` again."
            ) from error
        if on_bad_record == "skip":
            dataset = dataset.without_damage()
        for split in require:
            dataset.require(split)
        return dataset

    def with_index(self, index: Index) -> "PreparedDataset":
        """Returns the same dataset seen through another index of the same records."""
        other = PreparedDataset(self.path, self.metadata, index, self.checksum)
        other.skipped, other.faults = self.skipped, self.faults
        return other

    def without_damage(self) -> "PreparedDataset":
        """Returns the dataset without the records that are damaged, which `skipped` then names.

        Every record is read and every image decoded: a minute for some hundred thousand images.
        """
        bad = dict(damage.find_damage(self))
        split = self.index.split.copy()
        split[list(bad)] = LEFT_OUT
        dataset = self.with_index(dataclasses.replace(self.index, split=split))
        dataset.skipped = list(bad.values())
        return dataset

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
        """Returns the serialized Examples of `rows`; see `records.decode_instant`.

        Raises:
            InputError: if one cannot be read or is not what was written; names file and record.
        """
        index = self.index
        records = []
        for row in rows:
            data = self._pread(row, int(index.offset[row]), int(index.length[row]))
            if index.crc32 is not None and zlib.crc32(data) != index.crc32[row]:
                raise self._fault(row, "other bytes than were written")
            records.append(data)
        return records

    def read_images(self, rows: np.ndarray, cameras: np.ndarray) -> list[bytes]:
        """Returns one JPEG per pair of a row and a camera id, reading nothing but that image.

        Raises:
            InputError: if a camera did not see its instant, or an image cannot be read or is not what was
                written; names file and record.
        """
        index = self.index
        found = []
        for row, camera in zip(rows, cameras, strict=True):
            length = int(index.image_length[row, camera])
            if not length:
                raise InputError(
                    "An image can only be read of a camera that saw the instant. "
                    f"Received: row={row}, camera={self.cameras[camera]!r}."
                )
            image = self._pread(row, int(index.offset[row] + index.image_offset[row, camera]), length)
            if index.image_crc32 is not None and zlib.crc32(image) != index.image_crc32[row, camera]:
                raise self._fault(row, f"other bytes than were written for camera {self.cameras[camera]}")
            found.append(image)
        return found

    def name_record(self, row: int) -> str:
        """Returns the file of a record and its number in it, for messages."""
        index, shard = self.index, self.index.shard[row]
        number = int((index.offset[index.shard == shard] < index.offset[row]).sum())
        return f"{self._shard_paths[shard]}, record {number} (frame {index.frame[row]})"

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
        try:
            descriptor = self._descriptors.get(self._shard_paths[self.index.shard[row]])
            data = os.pread(descriptor.number, length, offset)
        except OSError as error:
            raise self._fault(row, f"{type(error).__name__}: {error.strerror}") from error
        if len(data) != length:
            raise self._fault(row, f"{len(data)} of {length} bytes at offset {offset}")
        return data

    def _fault(self, row: int, what: str) -> InputError:
        """Returns the error, and keeps it: what is raised inside tf.data arrives as text in another one."""
        error = InputError(
            f"{self.name_record(row)} must be as it was written. Received: {what}. "
            "Copy the dataset again or run `prepare` again, or leave it out: --on_bad_record=skip."
        )
        self.faults.append(error)
        return error


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
