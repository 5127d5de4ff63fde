"""The shards of one sequence while they are written: whole under their name, or absent."""

import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from mcss_tf import files
from mcss_tf.data.dataset import SPLITS
from mcss_tf.data.sources.base import SequenceSpec

# A TFRecord is: uint64 length, uint32 checksum of it, the data, uint32 checksum of the data.
_FRAME_HEADER_BYTES = 12
_FRAME_FOOTER_BYTES = 4


class Shards:
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
