"""Numbered versions of a SavedModel in one folder, as TensorFlow Serving expects them."""

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mcss_tf.errors import InputError


def versions(folder: Path) -> list[int]:
    """Returns the version numbers in a folder, ascending; none if it is absent."""
    if not folder.is_dir():
        return []
    return sorted(int(child.name) for child in folder.iterdir() if child.is_dir() and child.name.isdecimal())


def newest(folder: Path) -> Path:
    """Returns the newest version in a folder.

    Raises:
        InputError: there is no such folder, or no version in it.
    """
    if not folder.is_dir():
        raise InputError(
            f"A model is the folder that mcss_tf.export wrote. Received: {folder}, which does not exist. "
            "Make it with: python -m mcss_tf.export --workdir=DIR --output=DIR/mcss"
        )
    if not (numbers := versions(folder)):
        raise InputError(
            "An exported model holds numbered versions (1, 2, ...). "
            f"Received: {folder}, which holds none. Give the folder named by --output of mcss_tf.export."
        )
    return folder / str(numbers[-1])


def remove_old(folder: Path, keep: int) -> list[Path]:
    """Removes all but the newest versions; returns what was removed.

    Args:
        folder: of the versions.
        keep: how many stay, at least 1.
    """
    removed = [folder / str(number) for number in versions(folder)[:-keep]]
    for version in removed:
        # Renamed first: a server or a reader sees a version whole or not at all.
        leaving = version.with_name(f".removing-{version.name}")
        version.rename(leaving)
        shutil.rmtree(leaving)
    return removed


@contextlib.contextmanager
def new_version(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder that becomes the next free version when the block succeeds."""
    folder.mkdir(parents=True, exist_ok=True)
    # A server that watches the folder ignores names that are not numbers.
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".writing-"))
    try:
        yield temporary
        temporary.chmod(0o755)
        _claim_next(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _claim_next(temporary: Path, folder: Path) -> None:
    while True:
        target = folder / str(max(versions(folder), default=0) + 1)
        try:
            temporary.rename(target)
            return
        except OSError as error:
            # Another export took this number meanwhile; a folder with something in it is never replaced.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
