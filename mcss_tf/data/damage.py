"""Which records of a prepared dataset are damaged, by checksum and by decoding them."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mcss_tf.data.images import decode_image
from mcss_tf.errors import InputError

if TYPE_CHECKING:
    from mcss_tf.data.dataset import PreparedDataset


def find_damage(dataset: PreparedDataset) -> Iterator[tuple[int, str]]:
    """Yields the row of every record that cannot be read or decoded, and what is wrong with it."""
    index, size = dataset.index, dataset.crop_size

    def check(row: int) -> str | None:
        try:
            dataset.read([row])
            seen = np.flatnonzero(index.image_length[row])
            for camera, jpeg in zip(seen, dataset.read_images(np.full(len(seen), row), seen), strict=True):
                try:
                    decode_image(jpeg, f"camera {dataset.cameras[camera]}", (size, size))
                except InputError as error:
                    return f"{dataset.name_record(row)}: {error}"
        except InputError as error:
            return str(error)
        return None

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for row, what in enumerate(pool.map(check, range(len(index)), chunksize=64)):
            if what is not None:
                yield row, what
    dataset.faults.clear()


def print_skipped(dataset: PreparedDataset) -> None:
    """Says how many records were left out as damaged, and which."""
    if dataset.skipped:
        print(f"{len(dataset.skipped)} of {len(dataset.index)} records are damaged and left out:")
        for what in dataset.skipped:
            print(f"  {what}")


@contextlib.contextmanager
def named_faults(dataset: PreparedDataset) -> Iterator[None]:
    """Raises the error that names a damaged record where tf.data fails on it, which passes a text on.

    Raises:
        InputError: names file and record.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow"):
            raise
        if dataset.faults:
            raise dataset.faults[0] from error
        bad = next(find_damage(dataset), None)
        if bad is None:
            raise
        raise InputError(
            f"Images must be decodable. Received: {bad[1]} Or leave it out: --on_bad_record=skip."
        ) from error
