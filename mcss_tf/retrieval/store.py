"""The files of an index: shards of vectors, who they are, and a manifest that is written last.

index.json            what is in it; without it there is no index
plan.json             what is being built or added; gone when done
empty.faiss           trained, without vectors: every shard starts from it
00000.vectors.npy     float32 [N, D] embeddings
00000.ids.npz         who they are, see `Ids`
00000.faiss           the index over them
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from mcss_tf import files
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError

FORMAT_VERSION = 1
_SUFFIXES = (".vectors.npy", ".ids.npz", ".faiss")


@dataclasses.dataclass(frozen=True)
class Ids:
    """Who N images are.

    Attributes:
        id: str [N], subject/sequence/frame/camera.
        dataset: int32 [N], position in the manifest's datasets.
        row: int64 [N], of the instant in that dataset's index.
        camera: int32 [N], position in the manifest's cameras.
        subject: int32 [N], position in the manifest's subjects.
    """

    id: np.ndarray
    dataset: np.ndarray
    row: np.ndarray
    camera: np.ndarray
    subject: np.ndarray

    def __len__(self) -> int:
        return len(self.id)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads index.json and makes sure that all files are there in their sizes.

    Raises:
        InputError: there is no whole index of this version.
    """
    path = folder / "index.json"
    if not path.is_file():
        raise InputError(
            f"An index is a folder that mcss_tf.retrieve built. Received: {folder} without index.json. "
            "Build it (again, if that was interrupted): python -m mcss_tf.retrieve build."
        )
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"This version reads indexes of format_version {FORMAT_VERSION}. "
            f"Received: {manifest['format_version']} in {path}. Build the index again."
        )
    for shard in manifest["shards"]:
        for name, num_bytes in shard["files"].items():
            received = (folder / name).stat().st_size if (folder / name).is_file() else None
            if received != num_bytes:
                raise InputError(
                    f"{folder / name} must have {num_bytes} bytes. Received: {received or 'no such file'}. "
                    "Copy the index again, or build it again into a new folder."
                )
    return manifest


def describe_shard(folder: Path, name: str, num_images: int) -> dict[str, Any]:
    """Returns a shard's entry in the manifest."""
    sizes = {name + suffix: (folder / (name + suffix)).stat().st_size for suffix in _SUFFIXES}
    return {"name": name, "num_images": num_images, "files": sizes}


def write_vectors(folder: Path, name: str, vectors: np.ndarray, ids: Ids) -> None:
    """Writes one shard's vectors, then its ids: where these are, the vectors are whole."""
    with files.atomic_write(folder / f"{name}.vectors.npy") as file:
        np.save(file, vectors)
    with files.atomic_write(folder / f"{name}.ids.npz") as file:
        np.savez_compressed(file, **dataclasses.asdict(ids))


def has_vectors(folder: Path, name: str) -> bool:
    """Returns whether a shard's vectors are whole."""
    return (folder / f"{name}.ids.npz").is_file()


def read_vectors(folder: Path, name: str) -> np.ndarray:
    """Returns a shard's vectors [N, D], left on disk until they are used."""
    return np.load(folder / f"{name}.vectors.npy", mmap_mode="r")


def read_ids(folder: Path, names: list[str]) -> Ids:
    """Returns who the images of some shards are, in order."""
    parts = []
    for name in names:
        with np.load(folder / f"{name}.ids.npz") as arrays:
            parts.append({field.name: arrays[field.name] for field in dataclasses.fields(Ids)})
    return Ids(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def name_images(
    dataset: PreparedDataset, position: int, row: np.ndarray, camera: np.ndarray, names: dict[str, list[str]]
) -> Ids:
    """Says who the images of a dataset are.

    Args:
        dataset: where they come from.
        position: of the dataset in the manifest.
        row: [N] of the dataset's index.
        camera: [N] id in the dataset.
        names: the manifest's `cameras` and `subjects`, among which are the dataset's.
    """
    index = dataset.index
    ids = [
        f"{dataset.subjects[index.subject[r]]}/{dataset.sequences[index.sequence[r]]['sequence']}"
        f"/{index.frame[r]}/{dataset.cameras[c]}"
        for r, c in zip(row, camera, strict=True)
    ]
    cameras = np.array([names["cameras"].index(name) for name in dataset.cameras], np.int32)
    subjects = np.array([names["subjects"].index(name) for name in dataset.subjects], np.int32)
    return Ids(
        np.array(ids),
        np.full(len(ids), position, np.int32),
        row.astype(np.int64),
        cameras[camera],
        subjects[index.subject[row]],
    )
