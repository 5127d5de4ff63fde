"""One exported network and two small datasets, embedded for all tests of retrieval."""

from pathlib import Path

import pytest

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.retrieval.building import Options, build
from mcss_tf.retrieval.embedder import Embedder
from tests.helpers import make_tiny_dataset
from tests.prediction.conftest import export_untrained


@pytest.fixture(scope="package")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_untrained(tmp_path_factory.mktemp("retrieval-model") / "mcss", 16)


@pytest.fixture(scope="package")
def embedder(model: Path) -> Embedder:
    return Embedder(model)


@pytest.fixture(scope="package")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """72 images: three people, one of them for testing, eight instants, three cameras."""
    path = tmp_path_factory.mktemp("retrieval-data")
    return make_tiny_dataset(path, subjects=("S1", "S2", "S3"), test_subjects=("S3",))


@pytest.fixture(scope="package")
def other(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """24 images of one more person and one known by name."""
    path = tmp_path_factory.mktemp("retrieval-other")
    return make_tiny_dataset(path, subjects=("S4", "S1"), instants=4, seed=7)


@pytest.fixture(scope="package")
def flat(embedder: Embedder, dataset: PreparedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flat") / "index"
    build(folder, embedder, dataset, Options(shard_size=30), say=lambda line: None)
    return folder
