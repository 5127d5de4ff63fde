"""Shared fixtures: real data where it is present; a process that runs many files stays small."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

GROWTH_BYTES = 1e9
_kept_bytes = 0  # after the last time
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """Returns `../shared/data/<name>`, or skips the test where it is absent."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"real data is absent: {path}")
    return path


@pytest.fixture(autouse=True)
def memory_is_given_back() -> Iterator[None]:
    """Frees what tests leave, whenever the process has grown by a gigabyte.

    TensorFlow keeps what it has compiled, with all constants of an export; models lie in cycles; and the C
    library keeps what both have freed.
    """
    global _kept_bytes
    yield
    if _resident_bytes() < _kept_bytes + GROWTH_BYTES:
        return
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim:
        trim(0)
    _kept_bytes = _resident_bytes()


def _resident_bytes() -> int:
    """Returns the memory of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


@pytest.fixture
def balancing() -> Path:
    """The real recording of four synchronised cameras."""
    return shared_data("pose2sim_balancing")


@pytest.fixture
def cmu_mocap() -> Path:
    """Real motion capture."""
    return shared_data("cmu_mocap")


@pytest.fixture
def human36m_cameras() -> Path:
    """The calibration of the Human3.6M cameras."""
    return shared_data("human36m_cameras") / "camera-parameters.json"
