"""The instants of one subject on one time axis, and batches drawn from it that keep the gap exactly."""

import bisect
import heapq

import numpy as np

from mcss_tf.data.dataset import Index


class Timeline:
    """The instants of one subject on one axis of integer microseconds, sequence after sequence.

    Integers make the gap exact; sequences lie so far apart that no gap joins them.

    Args:
        subject: id.
        rows: int64 [n], rows of the index, in the order of their sequences and times.
        times: int64 [n], microseconds.
        sequences: int [n].
    """

    def __init__(self, subject: int, rows: np.ndarray, times: np.ndarray, sequences: np.ndarray):
        self.subject, self.rows = subject, rows
        self._times, self._sequences = times, sequences
        is_first = np.append(True, sequences[1:] != sequences[:-1])
        self._starts = np.append(np.flatnonzero(is_first), len(rows))

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, positions: np.ndarray) -> "Timeline":
        """Returns the timeline of some of the instants; positions ascend."""
        return Timeline(
            self.subject, self.rows[positions], self._times[positions], self._sequences[positions]
        )

    def successors(self, gap: int) -> list[int]:
        """Returns for each instant the first later one that may stand beside it in a batch."""
        gap = _certain(gap)
        first, last = self._starts[:-1], self._starts[1:] - 1
        lengths = np.diff(self._starts)
        durations = self._times[last] - self._times[first]
        shift = np.concatenate([[0], np.cumsum(durations[:-1] + gap + 1)]) - self._times[first]
        axis = self._times + np.repeat(shift, lengths)
        after = np.searchsorted(axis, axis + gap, side="left")
        return np.maximum(after, np.arange(1, len(axis) + 1)).tolist()

    def capacity(self, gap: int, enough: int) -> int:
        """Returns the largest number of instants pairwise `gap` apart; stops counting at `enough`.

        Takes the earliest instant that fits, again and again, which is optimal.
        """
        gap = _certain(gap)
        count = position = 0
        while position < len(self.rows) and count < enough:
            count += 1
            end = self._starts[np.searchsorted(self._starts, position, side="right")]
            ahead = np.searchsorted(self._times[position:end], self._times[position] + gap, side="left")
            position += max(int(ahead), 1)
        return count


def timelines(index: Index, rows: np.ndarray, is_mixed: bool = False) -> list[Timeline]:
    """Returns the timeline of every subject, or one of all subjects together, named after the first."""
    rows = np.asarray(rows, np.int64)
    rows = rows[index.is_present()[rows].sum(1) >= 2]
    times = np.round(index.time_s[rows] * 1e6).astype(np.int64)
    subjects, sequences = index.subject[rows], index.sequence[rows]
    if not _is_sorted(times, sequences):
        order = np.lexsort((rows, times, sequences))
        rows, times, subjects, sequences = (x[order] for x in (rows, times, subjects, sequences))
    if is_mixed:
        return [Timeline(int(subjects[0]), rows, times, sequences)] if len(rows) else []
    return [
        Timeline(int(s), rows[is_of], times[is_of], sequences[is_of])
        for s in np.unique(subjects)
        for is_of in [subjects == s]
    ]


def draw_subject(
    successors: list[int], num_pairs: int, rng: np.random.Generator, first: np.ndarray | None = None
) -> np.ndarray:
    """Returns positions [ceil(n / M), M]: batches that use each of n instants about equally.

    Args:
        successors: of each instant of a timeline.
        num_pairs: M.
        rng: drawn from.
        first: positions of n instants that are to be used, others only where those leave no room for M;
            None for all.
    """
    num_uses = np.zeros(len(successors))
    if first is not None:
        num_uses += 1
        num_uses[first] = 0
    num_batches = -(-int((num_uses == 0).sum()) // num_pairs)
    capacity = pack(successors, 0, len(successors), 2 * num_pairs)
    # Number of uses plus a random fraction: the least used come first, in random order.
    num_uses += rng.random(len(successors))
    queue = list(zip(num_uses.tolist(), range(len(successors)), strict=True))
    heapq.heapify(queue)
    batches = []
    for _ in range(num_batches):
        chosen, waiting = _draw_batch(successors, capacity, num_pairs, queue)
        fresh = rng.random(num_pairs).tolist()
        for (used, position), fraction in zip(chosen, fresh, strict=True):
            heapq.heappush(queue, (int(used) + 1 + fraction, position))
        for item in waiting:
            heapq.heappush(queue, item)
        batches.append([position for _, position in chosen])
    return np.array(batches, np.int64)


def _draw_batch(
    successors: list[int], capacity: int, num_pairs: int, queue: list[tuple[float, int]]
) -> tuple[list, list]:
    """Takes M items off the queue that fit together; returns them and those passed over."""
    chosen, waiting = [], []
    taken: list[int] = []
    end = len(successors)
    # An instant conflicts with at most two of any batch, so a batch that cannot grow has half the capacity
    # at least. With twice the room there is nothing to look ahead for.
    is_tight = capacity < 2 * num_pairs
    while len(chosen) < num_pairs:
        item = heapq.heappop(queue)
        position = item[1]
        at = bisect.bisect(taken, position)
        left = successors[taken[at - 1]] if at else 0
        right = taken[at] if at < len(taken) else end
        fits = left <= position and successors[position] <= right
        if fits and is_tight:
            around = pack(successors, left, position) + 1 + pack(successors, successors[position], right)
            loss = pack(successors, left, right) - around
            fits = capacity - loss >= num_pairs
            capacity -= loss * fits
        if fits:
            taken.insert(at, position)
            chosen.append(item)
        else:
            waiting.append(item)
    return chosen, waiting


def pack(successors: list[int], first: int, end: int, enough: int | None = None) -> int:
    """Returns how many instants fit from `first` on so that `end` may follow: greedily, which is optimal."""
    count = 0
    while first < end and successors[first] <= end and count != enough:
        count += 1
        first = successors[first]
    return count


def microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _certain(gap: int) -> int:
    """Returns the gap less what rounding both times may have taken from a difference that was the gap."""
    return max(gap - 1, 0)


def _is_sorted(times: np.ndarray, sequences: np.ndarray) -> bool:
    """Whether instants already lie in the order of sequence and time, as those that `prepare` wrote do."""
    later = np.diff(times) > 0
    return bool(np.all(np.where(np.diff(sequences) == 0, later, np.diff(sequences) > 0)))
