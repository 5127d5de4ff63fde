"""One small download of each shipped dataset, written once."""

from pathlib import Path

import pytest

from tests.data.sources import downloads

NAMES = ("human36m", "mpi_inf_3dhp", "mpi_inf_3dhp_test", "panoptic", "videopose3d")


@pytest.fixture(scope="session")
def roots(tmp_path_factory) -> dict[str, Path]:
    """Folders by the name of the source; nothing in a test may change them."""
    root = tmp_path_factory.mktemp("downloads")
    return {
        "human36m": downloads.write_human36m(root / "human36m", downloads.human36m_cameras()),
        "mpi_inf_3dhp": downloads.write_3dhp(root / "mpi_inf_3dhp"),
        "mpi_inf_3dhp_test": downloads.write_3dhp_test(root / "mpi_inf_3dhp_test"),
        "panoptic": downloads.write_panoptic(root / "panoptic"),
        "videopose3d": downloads.write_videopose3d(root / "videopose3d"),
    }


@pytest.fixture
def damaged(roots, tmp_path):
    """Returns a function that copies a download, so that a test may damage it."""
    return lambda name: downloads.copy_of(roots[name], tmp_path / name)
