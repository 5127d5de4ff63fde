"""Which instants may supervise the pose head."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError


def labelled_rows(dataset: PreparedDataset, labels: Any, split: str = "train") -> np.ndarray:
    """Returns the rows whose 3D pose may supervise training (int64, ascending).

    Args:
        dataset: a prepared dataset.
        labels: "all", "none", a list of subjects, or {"subjects": "all" or a list, "fraction": 0..1,
            "seed": 0}: the fraction of each subject's posed instants, drawn with its own fixed seed.
        split: of the rows.

    Raises:
        InputError: if a subject is unknown or has no posed instant, or the fraction is not in (0, 1].
    """
    is_fraction = isinstance(labels, Mapping) or hasattr(labels, "to_dict")  # a ConfigDict is no Mapping
    options = dict(labels.items()) if is_fraction else {"subjects": labels}
    names, fraction = options.get("subjects", "all"), options.get("fraction", 1.0)
    if not 0 < fraction <= 1 or set(options) - {"subjects", "fraction", "seed"}:
        raise InputError(
            f"labels is a dict of subjects, fraction (above 0, at most 1) and seed. Received: {options}."
        )
    if names == "none":
        return np.zeros(0, np.int64)
    rows = dataset.split_rows(split)
    rows = rows[dataset.index.has_pose[rows]]
    if names == "all":
        names = [dataset.subjects[s] for s in np.unique(dataset.index.subject[rows])]
    if isinstance(names, str):
        raise InputError(f'labels is "all", "none", a list of subjects or a dict. Received: {names!r}.')
    chosen = [_subject_rows(dataset, rows, name, split) for name in names]
    seed = options.get("seed", 0)
    chosen = [_fraction(r, fraction, np.random.default_rng([seed, i])) for i, r in enumerate(chosen)]
    return np.sort(np.concatenate([*chosen, np.zeros(0, np.int64)]))


def _subject_rows(dataset: PreparedDataset, rows: np.ndarray, name: str, split: str) -> np.ndarray:
    posed = {dataset.subjects[s] for s in np.unique(dataset.index.subject[rows])}
    if name not in posed:
        raise InputError(
            f"Labels can only come from subjects of the {split} split that have 3D poses: "
            f"{sorted(posed) or 'there are none'}. Received: {name!r}."
        )
    return rows[dataset.index.subject[rows] == dataset.subjects.index(name)]


def _fraction(rows: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(rows)[: max(1, round(fraction * len(rows)))]
