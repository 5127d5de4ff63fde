"""Which instants, views and labelled images form each batch: drawn from the index alone, by seed and epoch.

One subject per metric batch, or any; M distinct instants, pairwise at least `min_gap_s` apart within a
sequence; two distinct views of each (MCSS, Section 3.1). All of it is NumPy, so a plan can be made, tested
and resumed without reading one image.
"""

from collections.abc import Sequence

import numpy as np

from mcss_tf.data.dataset import Index
from mcss_tf.data.labels import labelled_rows
from mcss_tf.data.timelines import microseconds, timelines
from mcss_tf.errors import InputError

__all__ = ["labelled_rows", "num_instants", "resolve_min_gap"]

MAX_AUTO_GAP_S = 1.0


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
    counts = {name: t.capacity(gap, num_pairs) for name, t in zip(names, subject_timelines, strict=True)}
    short = {name: count for name, count in counts.items() if count < num_pairs}
    if short or not counts:
        raise InputError(
            f"A metric batch needs {num_pairs} instants of one subject, seen by two cameras or more and at "
            f"least {gap / 1e6:g} s apart. Received: at most {short or 'no such instants at all'}. "
            f"Lower num_pairs or min_gap_s, leave these subjects out, or record more."
        )
    return gap / 1e6


def _name(subject: int, subjects: Sequence[str] | None) -> str:
    return subjects[subject] if subjects is not None else f"subject {subject}"
