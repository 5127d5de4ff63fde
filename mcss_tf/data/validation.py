"""Takes instants out of training, so that training can be watched and stopped without the test split."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mcss_tf.data.dataset import SPLITS, VALIDATION, PreparedDataset
from mcss_tf.errors import InputError

_SEQUENCES = 34  # a random stream beside those of `pairs` and `keypoint_batches`


def hold_out(dataset: PreparedDataset, options: Any) -> PreparedDataset:
    """Returns the dataset with part of its train split as a split "validation"; nothing on disk changes.

    Without subjects and fraction it is the dataset as it was.

    Whole subjects or whole sequences: frames of one sequence resemble each other too much to be in both.

    Args:
        dataset: a prepared one.
        options: `subjects`, names like "S7,S8" or ""; or `fraction` of every training subject's sequences,
            drawn with `seed`, of those who have two or more at least one, and never all.

    Raises:
        InputError: both or bad values are given, a subject is not in the train split, or either split would
            be empty.
    """
    if options.subjects and options.fraction:
        raise InputError(
            "Validation takes subjects or a fraction. Received: "
            f"validation.subjects={options.subjects!r}, validation.fraction={options.fraction}. Give one."
        )
    if not options.subjects and not options.fraction:
        return dataset
    train = dataset.split_rows("train")
    if options.subjects:
        names = [name.strip() for name in options.subjects.split(",")]
        rows = _rows_of_subjects(dataset, train, names)
    else:
        rows = _rows_of_sequences(dataset, train, options.fraction, options.seed)
    split = dataset.index.split.copy()
    split[rows] = len(SPLITS)
    held_out = dataset.with_index(dataclasses.replace(dataset.index, split=split))
    for name in ("train", VALIDATION):
        if not len(held_out.split_rows(name)):
            raise InputError(
                f"The {name} split must not be empty. Received: validation.subjects={options.subjects!r}, "
                f"validation.fraction={options.fraction} of {len(np.unique(dataset.index.subject[train]))} "
                f"training subjects with {len(np.unique(dataset.index.sequence[train]))} sequences. "
                "A fraction takes whole sequences of subjects who have several; name subjects otherwise."
            )
    return held_out


def _rows_of_subjects(dataset: PreparedDataset, train: np.ndarray, names: Sequence[str]) -> np.ndarray:
    present = [dataset.subjects[subject] for subject in np.unique(dataset.index.subject[train])]
    unknown = [name for name in names if name not in present]
    if unknown:
        raise InputError(
            f"validation.subjects are subjects of the train split, {', '.join(present)}. "
            f"Received: {', '.join(unknown)}. Correct the names."
        )
    ids = [dataset.subjects.index(name) for name in names]
    return train[np.isin(dataset.index.subject[train], ids)]


def _rows_of_sequences(dataset: PreparedDataset, train: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    if not 0 < fraction < 1:
        raise InputError(
            f"validation.fraction is above 0 and below 1. Received: {fraction}. Give a share like 0.1."
        )
    index, held = dataset.index, [np.zeros(0, np.int32)]
    for subject in np.unique(index.subject[train]):
        sequences = np.unique(index.sequence[train[index.subject[train] == subject]])
        num = min(max(1, round(fraction * len(sequences))), len(sequences) - 1)
        order = np.random.default_rng([seed, _SEQUENCES, int(subject)]).permutation(sequences)
        held.append(order[:num])
    return train[np.isin(index.sequence[train], np.concatenate(held))]
