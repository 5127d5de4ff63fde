"""Queries with their nearest images, as one HTML page."""

import dataclasses
from collections.abc import Sequence

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError
from mcss_tf.evaluation import page
from mcss_tf.retrieval.searching import Found, Searcher

TITLES = {"all": "all images", "views": "other views, anyone", "people": "other views, other people"}


@dataclasses.dataclass(frozen=True)
class Result:
    """A query and what was found.

    Attributes:
        name: file or id.
        image: position in the index; None for a file.
        data: the file; None for an image of the index.
        found: nearest first, by database.
    """

    name: str
    image: int | None
    data: bytes | None
    found: dict[str, list[Found]]


class Pictures:
    """The crops of an index's images, read from the datasets they came from."""

    def __init__(self, searcher: Searcher):
        """Opens nothing yet: only what is shown is needed."""
        self._searcher = searcher
        self._datasets: dict[int, PreparedDataset] = {}

    def view(self, image: int, kind: str, caption: str) -> str:
        """Returns an image of the index as HTML; see `page.view`."""
        dataset, row, camera = self.locate(image)
        (jpeg,) = dataset.read_images([row], [camera])
        return page.view(dataset, jpeg, row, camera, kind, caption)

    def locate(self, image: int) -> tuple[PreparedDataset, int, int]:
        """Returns the dataset of an image, its row there, and its camera's id there.

        Raises:
            InputError: the dataset is no longer where it was, or has changed.
        """
        ids, manifest = self._searcher.ids, self._searcher.manifest
        position = int(ids.dataset[image])
        if position not in self._datasets:
            entry = manifest["datasets"][position]
            dataset = PreparedDataset.load(entry["path"])
            if dataset.checksum != entry["checksum"]:
                raise InputError(
                    f"Images are shown from the dataset that was indexed. Received: {entry['path']}, which "
                    "has changed since. Build the index again."
                )
            self._datasets[position] = dataset
        dataset = self._datasets[position]
        camera = dataset.cameras.index(manifest["cameras"][ids.camera[image]])
        return dataset, int(ids.row[image]), camera

    def is_same_instant(self, one: int, other: int) -> bool:
        """Returns whether two images of the index show the same instant."""
        ids = self._searcher.ids
        return ids.dataset[one] == ids.dataset[other] and ids.row[one] == ids.row[other]


def page_of_rows(searcher: Searcher, results: Sequence[Result], title: str) -> str:
    """Returns a page with one row per query."""
    pictures = Pictures(searcher)
    rows = "".join(_row(pictures, result) for result in results)
    note = "Query in black, the same instant in green; numbers are distances of embeddings."
    return page.document(title, page.section("Nearest images", rows, note))


def _row(pictures: Pictures, result: Result) -> str:
    if result.image is None:
        shown = page.figure(result.data, "query", ("query", result.name))
    else:
        shown = pictures.view(result.image, "query", "query")
    lines = ""
    for database, found in result.found.items():
        views = ""
        for rank, item in enumerate(found, start=1):
            is_hit = result.image is not None and pictures.is_same_instant(result.image, item.image)
            views += pictures.view(item.image, "hit" if is_hit else "", f"{rank}: {item.distance:.3f}")
        lines += f'<div class="found"><h3>{TITLES[database]}</h3>{views}</div>' if views else ""
    return f'<div class="row">{shown}<div>{lines}</div></div>'
