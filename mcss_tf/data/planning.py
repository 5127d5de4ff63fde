"""Draws the batches of epochs from the index alone, part by part.

All of it is NumPy, so a plan can be made, tested and resumed without reading one image.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from mcss_tf.data.dataset import Index
from mcss_tf.data.pairs import resolve_min_gap
from mcss_tf.data.timelines import Timeline, draw_subject, microseconds, timelines
from mcss_tf.errors import InputError

# Instants planned at once: half a second's work.
PART_INSTANTS = 100_000
# A subject is shared out among parts of at least so many batches.
_MIN_BATCHES = 16

# Independent random streams of one (seed, epoch).
_INSTANTS, _VIEWS, _ORDER, _LABELS = range(4)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A part of an epoch's batches (K steps, M instants seen by V views each, L labelled images).

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

    With metric pairs: sum over subjects of ceil(n / M), n the subject's instants seen by two cameras or more
    (of each part of an epoch, see `Planner`); mixed: ceil(n / M) of all.
    Without: ceil(n / L), n the labelled images.
    """
    if num_pairs:
        sizes = [len(timeline) for timeline in timelines(index, rows, is_mixed)]
        return sum(map(_num_steps, _share_out(sizes, num_pairs, PART_INSTANTS)))
    return _num_label_steps(int(index.is_present()[labelled_rows].sum()), num_labelled)


class Planner:
    """Draws the batches of every epoch, the same ones for the same arguments, a part of an epoch at a time.

    What is guaranteed: within a batch all instants are of one subject, distinct, and pairwise at least
    `min_gap_s` apart within a sequence (times are compared to a microsecond). An epoch's parts share out
    each subject's instants at random. Of those of a part the least used come first, in random order; one is
    passed over for a more used one only where taking it would break the gap or leave no room for M. Without
    conflicts their numbers of uses differ by at most one. The views are in random order, uniformly drawn
    from those present; where fewer than V are, they repeat in turn. Labelled images run through all
    (row, view), shuffled anew each pass, across epochs.

    Parts keep what planning takes small: a dataset of 100,000 instants is one part, and a part of a larger
    one takes as long. A subject with few instants is not in every part.

    Args:
        index: of the dataset.
        rows: int [N], rows of metric pairs; those seen by one camera alone are left out.
        num_pairs: M, instants of a batch; 0 for none.
        num_labelled: L; 0 for no labelled images.
        labelled_rows: int [n], rows whose images are labelled; see `labelled_rows`.
        min_gap_s: as `resolve_min_gap` returned it.
        seed: of the run.
        is_mixed: takes the instants of a batch from all subjects together; `subject` is then -1.
        num_views: V.
        part_instants: about how many instants a part has.

    Attributes:
        steps_per_epoch: K.
        num_parts: of an epoch.

    Raises:
        InputError: if a subject has too few instants, or no image is labelled where L > 0.
    """

    def __init__(
        self,
        index: Index,
        rows: np.ndarray,
        *,
        num_pairs: int,
        num_labelled: int,
        labelled_rows: np.ndarray,
        min_gap_s: float,
        seed: int,
        is_mixed: bool = False,
        num_views: int = 2,
        part_instants: int = PART_INSTANTS,
    ):
        self._index, self._seed, self._is_mixed = index, seed, is_mixed
        self._num_pairs, self._num_labelled, self._num_views = num_pairs, num_labelled, num_views
        self._gap = microseconds(min_gap_s)
        if num_pairs:
            resolve_min_gap(index, rows, num_pairs, min_gap_s, is_mixed=is_mixed)
        self._timelines = timelines(index, rows, is_mixed) if num_pairs else []
        self._labelled = _labelled_images(index, labelled_rows, num_labelled)
        self._shares = _share_out([len(t) for t in self._timelines], num_pairs, part_instants)
        if num_pairs:
            steps = [_num_steps(part) for part in self._shares]
        else:
            steps = [_num_label_steps(len(self._labelled), num_labelled)]
        self._first_steps = np.concatenate([[0], np.cumsum(steps)])
        self.steps_per_epoch, self.num_parts = int(self._first_steps[-1]), len(steps)
        # Two: the parts on both sides of the end of an epoch or of a pass.
        self._shuffled = functools.lru_cache(maxsize=2 * max(len(self._timelines), 1))(_shuffled)

    def locate(self, step: int) -> tuple[int, int, int]:
        """Returns a step's epoch, its part of that, and which of the part's batches it takes."""
        epoch, step = divmod(step, self.steps_per_epoch)
        part = int(np.searchsorted(self._first_steps, step, side="right")) - 1
        return epoch, part, step - int(self._first_steps[part])

    def part(self, epoch: int, part: int) -> Plan:
        """Draws the batches of a part; both count from 0."""
        first, end = (int(step) for step in self._first_steps[part : part + 2])
        subject, rows = self._draw_instants(epoch, part, end - first)
        labelled = self._draw_labelled(epoch * self.steps_per_epoch + first, end - first)
        rng = np.random.default_rng([self._seed, epoch, _VIEWS, part])
        return Plan(
            subject=subject,
            rows=rows,
            cameras=_draw_views(self._index, rows, self._num_views, rng),
            labelled_rows=labelled[..., 0],
            labelled_cameras=labelled[..., 1].astype(np.int32),
        )

    def _draw_instants(self, epoch: int, part: int, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns subjects [K] and rows [K, M] of the metric batches in shuffled order."""
        if not self._num_pairs:
            return np.full(num_steps, -1, np.int32), np.zeros((num_steps, 0), np.int64)
        subjects, batches = [], []
        for share in self._shares[part]:
            timeline = self._timelines[share.timeline]
            key = self._seed, epoch, _INSTANTS, timeline.subject
            positions = self._draw_share(timeline, share, key)
            batches.append(timeline.rows[positions])
            subjects.append(np.full(len(positions), -1 if self._is_mixed else timeline.subject, np.int32))
        order = np.random.default_rng([self._seed, epoch, _ORDER, part]).permutation(num_steps)
        return np.concatenate(subjects)[order], np.concatenate(batches)[order]

    def _draw_share(self, timeline: Timeline, share: "_Share", key: tuple[int, ...]) -> np.ndarray:
        """Returns positions [K, M] on the timeline of a share's batches."""
        rng = np.random.default_rng([*key, share.number])
        if share.count == 1:
            return draw_subject(timeline.successors(self._gap), self._num_pairs, rng)
        own = np.sort(self._shuffled(len(timeline), (*key, share.count))[share.number :: share.count])
        alone = timeline.only(own)
        if alone.capacity(self._gap, self._num_pairs) == self._num_pairs:
            return own[draw_subject(alone.successors(self._gap), self._num_pairs, rng)]
        return draw_subject(timeline.successors(self._gap), self._num_pairs, rng, own)

    def _draw_labelled(self, first_step: int, num_steps: int) -> np.ndarray:
        """Returns [K, L, 2], items of an endless stream of random orders of all (row, camera)."""
        num_items, count = len(self._labelled), num_steps * self._num_labelled
        passes, items = np.divmod(first_step * self._num_labelled + np.arange(count), num_items)
        which = np.zeros(count, np.int64)
        for number in np.unique(passes):
            order = self._shuffled(num_items, (self._seed, int(number), _LABELS))
            which[passes == number] = order[items[passes == number]]
        return self._labelled[which].reshape(num_steps, self._num_labelled, 2)


@dataclasses.dataclass(frozen=True)
class _Share:
    """What a part of an epoch has of a timeline: the instants `number` of `count` shares."""

    timeline: int
    number: int
    count: int
    num_steps: int


def _share_out(sizes: Sequence[int], num_pairs: int, part_instants: int) -> list[list[_Share]]:
    """Returns the shares of every part, of timelines with so many instants."""
    wanted = -(-sum(sizes) // part_instants)
    counts = [max(1, min(wanted, size // (_MIN_BATCHES * num_pairs))) for size in sizes]
    parts: list[list[_Share]] = [[] for _ in range(max(counts, default=1))]
    for timeline, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        for number in range(count):
            num_instants = -(-(size - number) // count)
            num_steps = -(-num_instants // num_pairs)
            parts[number * len(parts) // count].append(_Share(timeline, number, count, num_steps))
    return parts


def _num_steps(part: Sequence[_Share]) -> int:
    return sum(share.num_steps for share in part)


def _num_label_steps(num_images: int, num_labelled: int) -> int:
    """Returns the steps of an epoch without metric pairs."""
    if not num_labelled:
        raise InputError(
            "A batch needs metric pairs or labelled images. Received: num_pairs=0, num_labelled=0."
        )
    return -(-num_images // num_labelled)


def _shuffled(count: int, key: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(key).permutation(count)


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
