"""Finds the images of an index nearest to a query, among all, other views, or other people."""

import dataclasses
from pathlib import Path

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.retrieval import indexes, store
from mcss_tf.retrieval.building import open_index

DATABASES = ("all", "views", "people")


@dataclasses.dataclass(frozen=True)
class Found:
    """One image of an index: its position there and its Euclidean distance to the query."""

    image: int
    distance: float


class Searcher:
    """An index in memory.

    Attributes:
        manifest: the content of index.json.
        ids: who its images are.
    """

    def __init__(self, folder: str | Path):
        """Opens the index in a folder.

        Raises:
            InputError: there is no whole index.
        """
        self._folder = Path(folder)
        self.manifest = store.read_manifest(self._folder)
        self.ids = store.read_ids(self._folder, [shard["name"] for shard in self.manifest["shards"]])
        self._index = open_index(self._folder, self.manifest)
        self._vectors = [store.read_vectors(self._folder, shard["name"]) for shard in self.manifest["shards"]]

    def position(self, image_id: str) -> int:
        """Returns the position of an image by its id.

        Raises:
            InputError: there is no such image.
        """
        found = np.flatnonzero(self.ids.id == image_id)
        if not len(found):
            raise InputError(
                "A query is an image file, or the id of an image in the index. "
                f"Received: {image_id!r}, which is neither. An id is, e.g., {str(self.ids.id[0])!r}."
            )
        return int(found[0])

    def vector(self, image: int) -> np.ndarray:
        """Returns the embedding [D] of an image of the index."""
        for part in self._vectors:
            if image < len(part):
                return np.array(part[image])
            image -= len(part)
        raise IndexError(image)

    def nearest(self, vector: np.ndarray, k: int) -> list[Found]:
        """Finds the k nearest of all images, fewer if there are fewer, nearest first."""
        squared, places = self._index.search(vector[None].astype(np.float32), min(k, len(self.ids)))
        return [
            Found(int(place), float(np.sqrt(max(value, 0.0))))
            for value, place in zip(squared[0], places[0], strict=True)
            if place >= 0
        ]

    def nearest_to(self, image: int, k: int, database: str) -> list[Found]:
        """Finds the k images nearest to one of the index, nearest first.

        Args:
            image: the query's position.
            k: how many; fewer come back only where the database holds fewer.
            database: "all" others, other "views" than the query's, or those of other "people" among these.
        """
        vector, allowed = self.vector(image), self._allowed(image, database)
        # Which are allowed is known only after the search, so it is widened until enough are.
        for asked in (4 * k, 16 * k, 64 * k):
            found = [item for item in self.nearest(vector, asked) if allowed[item.image]]
            if len(found) >= k:
                return found[:k]
        return self._nearest_allowed(vector, k, allowed)

    def _nearest_allowed(self, vector: np.ndarray, k: int, allowed: np.ndarray) -> list[Found]:
        """Finds the nearest of a few images that lie too far away for the index to find."""
        places = np.flatnonzero(allowed)
        parts = np.split(allowed, np.cumsum([len(part) for part in self._vectors])[:-1])
        blocks = (part[chosen] for part, chosen in zip(self._vectors, parts, strict=True) if chosen.any())
        k = min(k, len(places))
        if not k:
            return []
        squared, order = indexes.exact_neighbours(vector[None], blocks, k)
        return [
            Found(int(places[place]), float(np.sqrt(max(value, 0.0))))
            for value, place in zip(squared[0], order[0], strict=True)
        ]

    def _allowed(self, image: int, database: str) -> np.ndarray:
        ids = self.ids
        if database == "all":
            return np.arange(len(ids)) != image
        allowed = ids.camera != ids.camera[image]
        return allowed & (ids.subject != ids.subject[image]) if database == "people" else allowed
