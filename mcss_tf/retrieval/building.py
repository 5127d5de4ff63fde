"""Builds an index of a dataset's images, and adds further datasets to it; both resume."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mcss_tf
from mcss_tf import files
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError
from mcss_tf.retrieval import indexes, store
from mcss_tf.retrieval.embedder import Embedder
from mcss_tf.retrieval.indexes import faiss

RECALL_AT = 10
_RECALL_QUERIES = 1000


@dataclasses.dataclass(frozen=True)
class Options:
    """How an index is made.

    Attributes:
        kind: flat, ivfpq or hnsw.
        splits: of the dataset.
        shard_size: images of one shard, at most (a shard has at least one instant).
        batch_size: images per call of the model; speed and memory only.
        target: recall that the search is set to reach.
    """

    kind: str = "flat"
    splits: tuple[str, ...] = ("train", "test")
    shard_size: int = 500_000
    batch_size: int = 64
    target: float = 0.95


def build(
    folder: Path, embedder: Embedder, dataset: PreparedDataset, options: Options, say: Callable = print
) -> dict[str, Any]:
    """Builds an index; the same call resumes where it was interrupted.

    Returns:
        The manifest.

    Raises:
        InputError: there is an index already, another one was begun here, or there are no images.
    """
    indexes.check_installed()
    if (folder / "index.json").exists():
        raise InputError(
            f"An index is never overwritten. Received: {folder}, which holds one. "
            "Use `retrieve add` for further datasets, or give a new folder."
        )
    manifest = {
        "format_version": store.FORMAT_VERSION,
        "created_by": f"mcss_tf {mcss_tf.__version__}",
        "kind": options.kind,
        "model": {"path": str(embedder.path.resolve()), "checksum": embedder.checksum},
        "datasets": [],
        "cameras": [],
        "subjects": [],
        "shards": [],
    }
    return _extend(folder, manifest, embedder, dataset, options, say)


def add(
    folder: Path, embedder: Embedder, dataset: PreparedDataset, options: Options, say: Callable = print
) -> dict[str, Any]:
    """Adds the images of another dataset to an index; the same call resumes where it was interrupted.

    Until it is done, the index is what it was before.

    Raises:
        InputError: no index, another model than the index's, or a dataset that it has already.
    """
    indexes.check_installed()
    manifest = store.read_manifest(folder)
    check_model(manifest, embedder)
    for entry in manifest["datasets"]:
        if entry["checksum"] == dataset.checksum and set(entry["splits"]) & set(options.splits):
            raise InputError(
                f"A dataset is added once. Received: {dataset.path}, splits {', '.join(options.splits)}, "
                f"of which {folder} has {', '.join(entry['splits'])}. Give another, or other splits."
            )
    options = dataclasses.replace(options, kind=manifest["kind"])
    return _extend(folder, manifest, embedder, dataset, options, say)


def check_model(manifest: dict[str, Any], embedder: Embedder) -> None:
    """Raises InputError for another model than the one whose vectors are in the index."""
    if embedder.checksum != manifest["model"]["checksum"]:
        raise InputError(
            f"An index holds the embeddings of one model, {manifest['model']['path']}. Received: "
            f"{embedder.path}, whose weights differ. Give that model, or build another index."
        )


def _extend(folder, manifest, embedder, dataset, options, say) -> dict[str, Any]:
    chunks = _chunks(dataset, options)
    first = len(manifest["shards"])
    _check_plan(folder, manifest, embedder, dataset, options)
    for key, names in (("cameras", dataset.cameras), ("subjects", dataset.subjects)):
        manifest[key] = manifest[key] + [name for name in names if name not in manifest[key]]
    names = [f"{first + number:05d}" for number in range(len(chunks))]
    for number, (name, (split, rows)) in enumerate(zip(names, chunks, strict=True)):
        if not store.has_vectors(folder, name):
            vectors, row, camera = embedder.rows(dataset, split, rows, options.batch_size)
            ids = store.name_images(dataset, len(manifest["datasets"]), row, camera, manifest)
            store.write_vectors(folder, name, vectors, ids)
        say(f"embedded shard {number + 1} of {len(chunks)}")
    _index(folder, names, manifest, options)
    sizes = [len(store.read_vectors(folder, name)) for name in names]
    manifest["shards"] = manifest["shards"] + [
        store.describe_shard(folder, name, size) for name, size in zip(names, sizes, strict=True)
    ]
    manifest["datasets"] = manifest["datasets"] + [
        {
            "path": str(dataset.path.resolve()),
            "checksum": dataset.checksum,
            "splits": list(options.splits),
            "num_images": sum(sizes),
        }
    ]
    manifest["search"] = tune(folder, manifest, options.target)
    files.write_json(folder / "index.json", manifest)
    (folder / "plan.json").unlink()
    return manifest


def tune(folder: Path, manifest: dict[str, Any], target: float, seed: int = 0) -> dict[str, Any]:
    """Sets the search of an index by its own recall: images of it ask for their nearest others.

    Returns:
        `effort` in FAISS's words, `recall` at `k` against exact search, `target`, `num_queries`.
    """
    names = [shard["name"] for shard in manifest["shards"]]
    vectors = [store.read_vectors(folder, name) for name in names]
    count = sum(len(part) for part in vectors)
    k = min(RECALL_AT, count - 1)
    if not k:
        return {"effort": "", "recall": None, "k": 0, "target": target, "num_queries": 0}
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:_RECALL_QUERIES])
    starts = np.cumsum([0] + [len(part) for part in vectors])
    queries = np.concatenate(
        [part[chosen[(chosen >= a) & (chosen < b)] - a]
         for part, a, b in zip(vectors, starts[:-1], starts[1:], strict=True)]
    )  # fmt: skip
    # Every query finds itself first, which would flatter: k others are asked for.
    _, nearest = indexes.exact_neighbours(queries, vectors, k + 1)
    true = np.array([row[row != own][:k] for row, own in zip(nearest, chosen, strict=True)])
    index = open_index(folder, manifest)
    effort, reached = indexes.choose_effort(index, manifest["kind"], queries, true, k + 1, target)
    return {"effort": effort, "recall": reached, "k": k, "target": target, "num_queries": len(chosen)}


def open_index(folder: Path, manifest: dict[str, Any]) -> "faiss.Index":
    """Loads all shards as one index, set to search as hard as the manifest says."""
    shards = [faiss.read_index(str(folder / f"{shard['name']}.faiss")) for shard in manifest["shards"]]
    index = indexes.join(shards)
    indexes.set_effort(index, manifest.get("search", {}).get("effort", ""))
    return index


def _index(folder: Path, names: Sequence[str], manifest: dict[str, Any], options: Options) -> None:
    """Writes the index of every shard that has none yet."""
    vectors = [store.read_vectors(folder, name) for name in names]
    if not (folder / "empty.faiss").is_file():
        _write(indexes.empty_index(options.kind, _Joined(vectors)), folder / "empty.faiss")
    for name, part in zip(names, vectors, strict=True):
        if not (folder / f"{name}.faiss").is_file():
            index = faiss.read_index(str(folder / "empty.faiss"))
            index.add(np.ascontiguousarray(part))
            _write(index, folder / f"{name}.faiss")


class _Joined:
    """Arrays one after the other, indexed by ascending positions as one, without a copy of them all."""

    def __init__(self, parts: Sequence[np.ndarray]):
        self._parts = parts
        self.shape = (sum(len(part) for part in parts), parts[0].shape[1])

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        picked, start = [], 0
        for part in self._parts:
            inside = places[(places >= start) & (places < start + len(part))] - start
            picked.append(part[inside])
            start += len(part)
        return np.concatenate(picked)


def _write(index: "faiss.Index", path: Path) -> None:
    with files.atomic_write(path) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def _chunks(dataset: PreparedDataset, options: Options) -> list[tuple[str, np.ndarray]]:
    """Returns (split, rows) of every new shard: whole instants, in the dataset's order."""
    chunks = []
    for split in options.splits:
        rows = dataset.split_rows(split)
        counts = dataset.index.is_present()[rows].sum(axis=1)
        rows, counts = rows[counts > 0], counts[counts > 0]
        shard = (np.cumsum(counts) - 1) // options.shard_size
        chunks += [(split, rows[shard == number]) for number in np.unique(shard)]
    if not chunks:
        raise InputError(
            f"An index needs images. Received: {dataset.path} with none in {', '.join(options.splits)}. "
            "Give other --splits, or a dataset with images."
        )
    return chunks


def _check_plan(folder: Path, manifest, embedder, dataset, options) -> None:
    """Makes sure that what was begun in this folder is what is asked for now."""
    plan = {
        "model": embedder.checksum,
        "dataset": dataset.checksum,
        "kind": options.kind,
        "splits": list(options.splits),
        "shard_size": options.shard_size,
        "num_shards_before": len(manifest["shards"]),
    }
    path = folder / "plan.json"
    if path.is_file():
        begun = json.loads(path.read_text(encoding="utf-8"))
        if differing := [key for key in plan if plan[key] != begun.get(key)]:
            raise InputError(
                "An interrupted build is resumed with what it was begun with. "
                f"Received: other {', '.join(differing)} for {folder}. Give the same again; "
                "to give it up, remove plan.json and the shards that index.json does not name."
            )
    elif folder.exists() and not manifest["shards"] and any(folder.iterdir()):
        raise InputError(
            f"An index is built in a new or empty folder. Received: {folder}, which holds other files."
        )
    files.write_json(path, plan)
