"""How a user is told what is wrong: with what they gave, and with the disk."""

import errno
import functools
import os
import sys
from collections.abc import Callable, Sequence

_DISK_IS_FULL_OR_READ_ONLY = tuple(
    os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
)


class InputError(ValueError):
    """Bad input: the message states the rule, then `Received: ...`, then what to do."""


def tells_disk_errors(main: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """Lets an entry point end with a line and status 1, not a traceback, where a file cannot be written."""

    @functools.wraps(main)
    def told(argv: Sequence[str]) -> int:
        try:
            return main(argv)
        except Exception as error:
            reason = _find_disk_error(error)
            if reason is None:
                raise
            print(f"stopped: {reason}", file=sys.stderr)
            return 1

    return told


def _find_disk_error(error: Exception) -> str | None:
    """Returns what an error, or one that led to it, says of the disk; None where none is about it."""
    if isinstance(error, OSError):
        return _first_line(error)
    cause: BaseException | None = error
    while cause is not None:
        # TensorFlow, HDF5 and zip archives have errors of their own, with the system's text within.
        if any(reason in str(cause) for reason in _DISK_IS_FULL_OR_READ_ONLY):
            return _first_line(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
