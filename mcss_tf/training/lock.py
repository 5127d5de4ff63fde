"""One process at a time in a workdir."""

import contextlib
import datetime
import fcntl
import json
import os
import platform
import threading
import time
from pathlib import Path
from typing import Any

from mcss_tf.errors import InputError

_HEARTBEAT_S = 20.0
# On a network file system a lock may not reach other machines; their heartbeat does.
_STALE_AFTER_S = 6 * _HEARTBEAT_S


class Lock:
    """Keeps a folder for this process; a context manager.

    The kernel holds the lock and lets go of it when the process ends in whatever way, so what a killed
    process left is free at once. The file says who holds it and is touched every 20 seconds: one that
    another machine has touched within two minutes is respected even where the file system does not carry
    locks between machines.

    Args:
        path: of the lock file.

    Raises:
        InputError: another process holds it, or the folder cannot be written to.

    Attributes:
        taken_over: who held it without letting go, described; None where it was free.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file: Any = None
        self._is_released = threading.Event()
        self.taken_over: str | None = None

    def __enter__(self) -> "Lock":
        while self._file is None:
            file = self._open()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                owner, age_s = _read(self._path)
                file.close()
                raise self._is_held(owner, age_s) from None
            # Its holder may have removed the file between our opening and our locking it.
            if _is_same_file(file, self._path):
                self._file = file
            else:
                file.close()
        owner, age_s = _read(self._path)
        if owner and owner.get("host") != platform.node() and age_s < _STALE_AFTER_S:
            self._file.close()
            raise self._is_held(owner, age_s)
        self.taken_over = _describe(owner, age_s) if owner else None
        self._write_owner()
        threading.Thread(target=self._beat, daemon=True, name="lock heartbeat").start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._is_released.set()
        self._path.unlink(missing_ok=True)
        self._file.close()
        with contextlib.suppress(OSError):  # a folder with anything in it stays
            self._path.parent.rmdir()

    def _open(self) -> Any:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return open(self._path, "a+", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"The output folder must be writable. Received: {self._path.parent} ({error}). Give another."
            ) from error

    def _write_owner(self) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._file.truncate(0)
        json.dump({"pid": os.getpid(), "host": platform.node(), "since": now}, self._file)
        self._file.flush()

    def _beat(self) -> None:
        while not self._is_released.wait(_HEARTBEAT_S):
            os.utime(self._file.fileno())

    def _is_held(self, owner: dict[str, Any], age_s: float) -> InputError:
        return InputError(
            f"One process at a time works in a folder. Received: {self._path.parent}, held by "
            f"{_describe(owner, age_s)}. Wait for it or stop it, or give another folder."
        )


def _read(path: Path) -> tuple[dict[str, Any], float]:
    """Returns what a lock file says of its holder, {} if nothing, and seconds since its last heartbeat."""
    try:
        age_s = max(0.0, time.time() - path.stat().st_mtime)
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, 0.0
    return owner if isinstance(owner, dict) else {}, age_s


def _describe(owner: dict[str, Any], age_s: float) -> str:
    return (
        f"process {owner.get('pid', 'unknown')} on {owner.get('host', 'an unknown machine')} since "
        f"{owner.get('since', 'an unknown time')} (last sign of life {age_s:.0f} s ago)"
    )


def _is_same_file(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
