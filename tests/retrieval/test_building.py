"""Indexes on disk: what is in them, resuming, adding, and what is refused."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.images import decode_image
from mcss_tf.errors import InputError
from mcss_tf.retrieval import building, store
from mcss_tf.retrieval.building import Options, add, build
from mcss_tf.retrieval.embedder import Embedder
from mcss_tf.retrieval.searching import DATABASES, Searcher
from tests.helpers import make_tiny_dataset


def quiet(line: str) -> None:
    del line


def embed_all(embedder: Embedder, dataset: PreparedDataset) -> dict[str, np.ndarray]:
    """Embeds image after image, as a reference: vector by id."""
    vectors, index = {}, dataset.index
    for row, camera in zip(*np.nonzero(index.is_present()), strict=True):
        (jpeg,) = dataset.read_images([row], [camera])
        name = (
            f"{dataset.subjects[index.subject[row]]}/{dataset.sequences[index.sequence[row]]['sequence']}"
            f"/{index.frame[row]}/{dataset.cameras[camera]}"
        )
        vectors[name] = embedder.photo(decode_image(jpeg, name))["embedding"]
    return vectors


def plain_search(searcher: Searcher, image: int, k: int, database: str) -> list[str]:
    """Sorts the ids by distance, in Python, of those that the database allows."""
    names = searcher.ids.id.tolist()
    subject, _, _, camera = names[image].split("/")
    distances = []
    for other, name in enumerate(names):
        other_subject, _, _, other_camera = name.split("/")
        is_allowed = {
            "all": other != image,
            "views": other_camera != camera,
            "people": other_camera != camera and other_subject != subject,
        }[database]
        if is_allowed:
            distances.append((float(np.linalg.norm(searcher.vector(other) - searcher.vector(image))), name))
    return [name for _, name in sorted(distances)[:k]]


def test_an_index_holds_every_image_once(flat: Path, embedder: Embedder, dataset: PreparedDataset) -> None:
    searcher, expected = Searcher(flat), embed_all(embedder, dataset)
    assert sorted(searcher.ids.id) == sorted(expected)
    for image, name in enumerate(searcher.ids.id):
        np.testing.assert_allclose(searcher.vector(image), expected[name], atol=2e-3)
        assert searcher.position(name) == image
    manifest = searcher.manifest
    assert [shard["num_images"] for shard in manifest["shards"]] == [30, 18, 24]
    assert manifest["datasets"][0]["num_images"] == 72
    assert manifest["search"] == {"effort": "", "recall": 1.0, "k": 10, "target": 0.95, "num_queries": 72}
    assert not (flat / "plan.json").exists()


@pytest.mark.parametrize("database", DATABASES)
def test_the_nearest_are_those_of_a_plain_search(flat: Path, database: str) -> None:
    searcher = Searcher(flat)
    for image in (0, 29, 30, 71):
        found = searcher.nearest_to(image, 5, database)
        expected = plain_search(searcher, image, 5, database)
        distances = [np.linalg.norm(searcher.vector(f.image) - searcher.vector(image)) for f in found]
        np.testing.assert_allclose([item.distance for item in found], distances, atol=1e-3)
        assert distances == sorted(distances)
        assert {searcher.ids.id[item.image] for item in found} == set(expected)


def test_all_that_is_allowed_is_found_however_far_it_is(flat: Path) -> None:
    searcher = Searcher(flat)
    assert len(searcher.nearest_to(0, 500, "all")) == 71
    assert len(searcher.nearest_to(0, 500, "views")) == 48
    assert len(searcher.nearest_to(0, 500, "people")) == 32


@pytest.mark.parametrize("kind", ["ivfpq", "hnsw"])
def test_other_kinds_find_the_same(
    kind: str, flat: Path, embedder: Embedder, dataset: PreparedDataset, tmp_path: Path
) -> None:
    manifest = build(tmp_path / "index", embedder, dataset, Options(kind, shard_size=40), say=quiet)
    assert manifest["search"]["recall"] >= 0.95
    exact, searcher = Searcher(flat), Searcher(tmp_path / "index")
    for name in exact.ids.id[::10]:
        expected = [exact.ids.id[f.image] for f in exact.nearest_to(exact.position(name), 3, "views")]
        found = [searcher.ids.id[f.image] for f in searcher.nearest_to(searcher.position(name), 3, "views")]
        assert len(set(found) & set(expected)) >= 2


def test_an_interrupted_build_resumes(
    flat: Path, embedder: Embedder, dataset: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, options = tmp_path / "index", Options(shard_size=30)
    calls = []

    def rows(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return Embedder.rows(embedder, *arguments)

    monkeypatch.setattr(embedder, "rows", rows)
    with pytest.raises(KeyboardInterrupt):
        build(folder, embedder, dataset, options, say=quiet)
    assert not (folder / "index.json").exists()
    with pytest.raises(InputError, match=r"without index.json. Build it \(again, if that was interrupted\)"):
        Searcher(folder)
    with pytest.raises(InputError, match=r"begun with. Received: other kind, shard_size for"):
        build(folder, embedder, dataset, Options("hnsw", shard_size=31), say=quiet)
    build(folder, embedder, dataset, options, say=quiet)
    assert len(calls) == 4  # one shard was there already
    resumed, whole = Searcher(folder), Searcher(flat)
    np.testing.assert_array_equal(resumed.ids.id, whole.ids.id)
    np.testing.assert_allclose(resumed.vector(71), whole.vector(71), atol=1e-6)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in flat.iterdir())


@pytest.mark.parametrize("kind", ["flat", "ivfpq"])
def test_a_dataset_is_added(
    kind: str, embedder: Embedder, dataset: PreparedDataset, other: PreparedDataset, tmp_path: Path
) -> None:
    folder = tmp_path / "index"
    build(folder, embedder, dataset, Options(kind), say=quiet)
    before = {path.name: path.read_bytes() for path in folder.glob("0*")}
    add(folder, embedder, other, Options(splits=("train",)), say=quiet)
    assert all((folder / name).read_bytes() == data for name, data in before.items())
    searcher = Searcher(folder)
    assert len(searcher.ids) == 96
    assert searcher.manifest["subjects"] == ["S1", "S2", "S3", "S4"]
    # S1 of the new dataset is the S1 of the old: nobody else.
    added = np.flatnonzero(searcher.ids.dataset == 1)
    image = int(added[searcher.ids.subject[added] == 0][0])
    assert searcher.ids.id[image].startswith("S1/")
    found = searcher.nearest_to(image, 50, "people")
    assert found
    assert not [item for item in found if searcher.ids.id[item.image].startswith("S1/")]
    with pytest.raises(InputError, match=r"added once. Received: .*splits test, of which .* has train, test"):
        add(folder, embedder, dataset, Options(splits=("test",)), say=quiet)


def test_what_is_refused(
    flat: Path, embedder: Embedder, dataset: PreparedDataset, other: PreparedDataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"never overwritten. Received: .*Use `retrieve add`"):
        build(flat, embedder, dataset, Options(), say=quiet)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("mine")
    with pytest.raises(InputError, match=r"new or empty folder. Received: .*full, which holds other files"):
        build(tmp_path / "full", embedder, dataset, Options(), say=quiet)
    with pytest.raises(InputError, match=r"needs images. Received: .* with none in test"):
        build(tmp_path / "none", embedder, other, Options(splits=("test",)), say=quiet)
    stranger = copy.copy(embedder)
    stranger.checksum = "of other weights"
    with pytest.raises(InputError, match=r"embeddings of one model.*Received: .*whose weights differ"):
        add(flat, stranger, other, Options(splits=("train",)), say=quiet)
    with pytest.raises(InputError, match=r"Received: 'S9/x/1/y', which is neither. .*e.g., 'S1/walk0/"):
        Searcher(flat).position("S9/x/1/y")


def test_a_damaged_index_is_refused(flat: Path, tmp_path: Path) -> None:
    shutil.copytree(flat, tmp_path / "cut")
    path = tmp_path / "cut" / "00001.faiss"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"00001.faiss must have \d+ bytes. Received: \d+. Copy"):
        Searcher(tmp_path / "cut")
    path.unlink()
    with pytest.raises(InputError, match=r"00001.faiss must have \d+ bytes. Received: no such file"):
        Searcher(tmp_path / "cut")
    manifest = json.loads((flat / "index.json").read_text())
    (tmp_path / "cut" / "index.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(InputError, match=r"format_version 1. Received: 99"):
        Searcher(tmp_path / "cut")


def test_a_recall_that_is_not_reached_is_reported_as_it_is(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = store.read_manifest(flat)
    monkeypatch.setattr(building.indexes, "_recalls", lambda found, true: [0.25] * len(true))
    assert building.tune(flat, manifest, 0.95)["recall"] == 0.25


def test_one_image_alone_has_no_recall(embedder: Embedder, tmp_path: Path) -> None:
    single = make_tiny_dataset(tmp_path / "data", subjects=("S1",), instants=1, cameras=1)
    manifest = build(tmp_path / "index", embedder, single, Options(splits=("train",)), say=quiet)
    assert manifest["search"]["recall"] is None
    assert Searcher(tmp_path / "index").nearest_to(0, 5, "all") == []
