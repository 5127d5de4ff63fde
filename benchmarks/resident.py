"""Memory of another process."""

import os
from pathlib import Path


def resident(pid: int) -> float:
    """Returns the resident memory of a process in MiB, 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
