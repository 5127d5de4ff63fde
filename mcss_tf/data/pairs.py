"""Which instants, views and labelled images form each batch: drawn from the index alone, by seed and epoch.

One subject per metric batch, or any; M distinct instants, pairwise at least `min_gap_s` apart within a
sequence; two distinct views of each (MCSS, Section 3.1). All of it is NumPy, so a plan can be made, tested
and resumed without reading one image.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mcss_tf.data.dataset import Index
from mcss_tf.data.labels import labelled_rows
from mcss_tf.data.timelines import draw_subject, microseconds, timelines
from mcss_tf.errors import InputError

__all__ = ["EpochPlan", "labelled_rows", "num_instants", "plan_epoch", "resolve_min_gap", "steps_per_epoch"]

MAX_AUTO_GAP_S = 1.0

# Independent random streams of one (seed, epoch).
_INSTANTS, _VIEWS, _ORDER, _LABELS = range(4)


@dataclasses.dataclass(frozen=True)
class EpochPlan:
    """One epoch of batches (K steps, M instants seen by V views each, L labelled images).

    Attributes:
        subject: int32 [K], subject of the metric batch; -1 where it is mixed or there is none.
        rows: int64 [K, M], rows of the index.
        cameras: int32 [K, M, V], camera ids of the views of each.
        labelled_rows: int64 [K, L].
        labelled_cameras: int32 [K, L].
    """

    subject: np.ndarray
    rows: np.ndarray
    cameras: np.ndarray
    labelled_rows: np.ndarray
    labelled_cameras: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def num_instants(num_pairs: int, num_views: int, num_replicas: int = 1) -> int:
    """Returns how many instants, in `num_views` views each, make the 2 M images of M pairs.

    Raises:
        InputError: the number of views is not even, or the replicas' shares are not whole instants.
    """
    if num_views < 2 or num_views % 2 or 2 * num_pairs % (num_views * num_replicas):
        raise InputError(
            "batch.views is even, and the images of a batch are whole instants with that many views each. "
            f"Received: views={num_views}, num_pairs={num_pairs}, replicas={num_replicas}. Change one."
        )
    return 2 * num_pairs // num_views


def resolve_min_gap(
    index: Index,
    rows: np.ndarray,
    num_pairs: int,
    requested: float | str,
    subjects: Sequence[str] | None = None,
    is_mixed: bool = False,
) -> float:
    """Returns the gap between the instants of a batch, and makes sure that every subject can fill a batch.

    Args:
        index: of the dataset.
        rows: int [N], rows that may be drawn.
        num_pairs: M, instants per metric batch.
        requested: seconds; or "auto", the largest gap up to 1 s with which every subject has M instants.
        subjects: names for the error message.
        is_mixed: whether a batch takes instants of any subject.

    Returns:
        Seconds, to a microsecond.

    Raises:
        InputError: if a subject has fewer than M instants that far apart ("auto": M instants at all).
    """
    subject_timelines = timelines(index, rows, is_mixed)
    if requested == "auto":
        low, high = 0, microseconds(MAX_AUTO_GAP_S)
        while low < high:  # the number of instants falls as the gap grows
            middle = (low + high + 1) // 2
            if all(t.capacity(middle, num_pairs) >= num_pairs for t in subject_timelines):
                low = middle
            else:
                high = middle - 1
        gap = low
    elif isinstance(requested, str) or not requested >= 0:
        raise InputError(f'min_gap_s must be seconds >= 0, or "auto". Received: {requested!r}.')
    else:
        gap = microseconds(requested)
    names = ["all subjects" if is_mixed else _name(t.subject, subjects) for t in subject_timelines]
    counts = {name: t.capacity(gap) for name, t in zip(names, subject_timelines, strict=True)}
    short = {name: count for name, count in counts.items() if count < num_pairs}
    if short or not counts:
        raise InputError(
            f"A metric batch needs {num_pairs} instants of one subject, seen by two cameras or more and at "
            f"least {gap / 1e6:g} s apart. Received: at most {short or 'no such instants at all'}. "
            f"Lower num_pairs or min_gap_s, leave these subjects out, or record more."
        )
    return gap / 1e6


def steps_per_epoch(
    index: Index,
    rows: np.ndarray,
    *,
    num_pairs: int,
    num_labelled: int,
    labelled_rows: np.ndarray,
    is_mixed: bool = False,
) -> int:
    """Returns K, the steps of an epoch.

    With metric pairs: sum over subjects of ceil(n / M), n the subject's instants seen by two cameras or more;
    mixed: ceil(n / M) of all.
    Without: ceil(n / L), n the labelled images.
    """
    if num_pairs:
        return sum(-(-len(t.rows) // num_pairs) for t in timelines(index, rows, is_mixed))
    if num_labelled:
        return -(-int(index.is_present()[labelled_rows].sum()) // num_labelled)
    raise InputError("A batch needs metric pairs or labelled images. Received: num_pairs=0, num_labelled=0.")


def plan_epoch(
    index: Index,
    rows: np.ndarray,
    *,
    num_pairs: int,
    num_labelled: int,
    labelled_rows: np.ndarray,
    min_gap_s: float,
    seed: int,
    epoch: int,
    is_mixed: bool = False,
    num_views: int = 2,
) -> EpochPlan:
    """Draws all batches of one epoch, the same ones for the same arguments.

    What is guaranteed: within a batch all instants are of one subject, distinct, and pairwise at least
    `min_gap_s` apart within a sequence (times are compared to a microsecond). Of a subject's instants the
    least used in this epoch come first, in random order; one is passed over for a more used one only where
    taking it would break the gap or leave no room for M. Without conflicts their numbers of uses differ by at
    most one. The views are in random order, uniformly drawn from those present; where fewer than V are, they
    repeat in turn. Labelled images run through all (row, view), shuffled anew each pass, across epochs.

    Args:
        index: of the dataset.
        rows: int [N], rows of metric pairs; those seen by one camera alone are left out.
        num_pairs: M, instants of a batch; 0 for none.
        num_labelled: L; 0 for no labelled images.
        labelled_rows: int [n], rows whose images are labelled; see `labelled_rows`.
        min_gap_s: as `resolve_min_gap` returned it.
        seed: of the run.
        epoch: from 0.
        is_mixed: takes the instants of a batch from all subjects together; `subject` is then -1.
        num_views: V.

    Raises:
        InputError: if a subject has too few instants, or no image is labelled where L > 0.
    """
    num_steps = steps_per_epoch(
        index,
        rows,
        num_pairs=num_pairs,
        num_labelled=num_labelled,
        labelled_rows=labelled_rows,
        is_mixed=is_mixed,
    )
    subject, drawn = _draw_instants(index, rows, num_pairs, min_gap_s, seed, epoch, num_steps, is_mixed)
    images = _labelled_images(index, labelled_rows, num_labelled)
    labelled = images[_cycle(len(images), epoch * num_steps * num_labelled, num_steps * num_labelled, seed)]
    labelled = labelled.reshape(num_steps, num_labelled, 2)
    return EpochPlan(
        subject=subject,
        rows=drawn,
        cameras=_draw_views(index, drawn, num_views, np.random.default_rng([seed, epoch, _VIEWS])),
        labelled_rows=labelled[..., 0],
        labelled_cameras=labelled[..., 1].astype(np.int32),
    )


def _draw_instants(
    index: Index,
    rows: np.ndarray,
    num_pairs: int,
    min_gap_s: float,
    seed: int,
    epoch: int,
    num_steps: int,
    is_mixed: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns subjects [K] and rows [K, M] of the metric batches in shuffled order."""
    if not num_pairs:
        return np.full(num_steps, -1, np.int32), np.zeros((num_steps, 0), np.int64)
    resolve_min_gap(index, rows, num_pairs, min_gap_s, is_mixed=is_mixed)
    subjects, batches = [], []
    for timeline in timelines(index, rows, is_mixed):
        rng = np.random.default_rng([seed, epoch, _INSTANTS, timeline.subject])
        positions = draw_subject(timeline.successors(microseconds(min_gap_s)), num_pairs, rng)
        batches.append(timeline.rows[positions])
        subjects.append(np.full(len(positions), -1 if is_mixed else timeline.subject, np.int32))
    order = np.random.default_rng([seed, epoch, _ORDER]).permutation(num_steps)
    return np.concatenate(subjects)[order], np.concatenate(batches)[order]


def _draw_views(index: Index, rows: np.ndarray, num_views: int, rng: np.random.Generator) -> np.ndarray:
    """Returns [..., V] camera ids of the views present in random order, in turn where there are fewer."""
    is_present = index.is_present()[rows]
    keys = np.where(is_present, rng.random(is_present.shape), 2.0)
    turns = np.arange(num_views) % np.maximum(is_present.sum(-1, keepdims=True), 1)
    return np.take_along_axis(np.argsort(keys, axis=-1), turns, axis=-1).astype(np.int32)


def _labelled_images(index: Index, rows: np.ndarray, num_labelled: int) -> np.ndarray:
    """Returns [n, 2] all (row, camera) of labelled rows."""
    if not num_labelled:
        return np.zeros((1, 2), np.int64)
    if not len(rows):
        raise InputError(
            f"num_labelled={num_labelled} needs labelled instants in the train split. Received: none. "
            "Set num_labelled to 0, or give 3D poses and name their subjects in labels."
        )
    which, cameras = np.nonzero(index.is_present()[rows])
    return np.stack([np.asarray(rows)[which], cameras], -1)


def _cycle(num_items: int, start: int, count: int, seed: int) -> np.ndarray:
    """Returns items start .. start+count-1 of an endless stream of random orders of all items."""
    first, last = start // num_items, (start + max(count, 1) - 1) // num_items
    passes = [
        np.random.default_rng([seed, p, _LABELS]).permutation(num_items) for p in range(first, last + 1)
    ]
    offset = start - first * num_items
    return np.concatenate(passes)[offset : offset + count]


def _name(subject: int, subjects: Sequence[str] | None) -> str:
    return subjects[subject] if subjects is not None else f"subject {subject}"
