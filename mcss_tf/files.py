"""Files that are either whole or absent."""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mcss_tf.errors import InputError

MAX_NPZ_BYTES = 2**32  # unpacked


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path` and renames it to `path` when the block succeeds.

    After a failure (a full disk, a kill) `path` is what it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno and error.filename is None:  # of a write
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 `text` to `path` atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads JSON from anywhere.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON in UTF-8, or nested so deeply that Python's reader gives up.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def load_npz(path: str | Path, what: str, max_bytes: int | None = MAX_NPZ_BYTES) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz from anywhere: nothing is unpickled, and nothing unpacks beyond 4 GiB.

    Args:
        path: of the file.
        what: what it is called in messages.
        max_bytes: how much it may unpack to; None, any, for files of our own.

    Raises:
        InputError: it is no .npz, damaged, holds objects, or is too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            num_bytes = sum(member.file_size for member in archive.infolist())
        if max_bytes is not None and num_bytes > max_bytes:
            raise ValueError(f"{num_bytes} bytes when unpacked, more than {max_bytes}")
        with np.load(path, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
        strange = [name for name, array in content.items() if not isinstance(array, np.ndarray)]
        if strange:
            raise ValueError(f"{strange[0]} is no array")
        for name, array in content.items():
            if array.dtype.kind == "U" and (_code_points(array) > sys.maxunicode).any():
                raise ValueError(f"{name} holds what are no characters")
        return content
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds on damaged bytes
        raise InputError(
            f"{what} must be a NumPy archive of plain arrays. Received: {path} "
            f"({type(error).__name__}: {error}). Write it again with numpy.savez."
        ) from error


def _code_points(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.astype(array.dtype.newbyteorder("="), order="C").tobytes(), np.uint32)


def sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file as hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
