"""The instants of one subject on one time axis, and batches drawn from it that keep the gap exactly."""

import bisect
import heapq

import numpy as np

from mcss_tf.data.dataset import Index


class Timeline:
    """The instants of one subject on one axis of integer microseconds, sequence after sequence.

    Integers make the gap exact; sequences lie so far apart that no gap joins them.
    """

    def __init__(self, index: Index, rows: np.ndarray):
        times = np.round(index.time_s[rows] * 1e6).astype(np.int64)
        sequences = index.sequence[rows]
        order = np.lexsort((rows, times, sequences))
        times, sequences = times[order], sequences[order]
        self.subject = int(index.subject[rows[0]])
        self.rows = rows[order]
        is_first = np.append(True, sequences[1:] != sequences[:-1])
        starts = times[is_first]
        ends = times[np.append(is_first[1:], True)]
        self._sequence = np.cumsum(is_first) - 1
        self._since_start = times - starts[self._sequence]
        self._durations = ends - starts

    def successors(self, gap: int) -> list[int]:
        """Returns for each instant the first later one that may stand beside it in a batch."""
        # Rounding both times may take a microsecond from a difference that was the gap.
        gap = max(gap - 1, 0)
        shift = np.concatenate([[0], np.cumsum(self._durations[:-1] + gap + 1)])
        axis = self._since_start + shift[self._sequence]
        after = np.searchsorted(axis, axis + gap, side="left")
        return np.maximum(after, np.arange(1, len(axis) + 1)).tolist()

    def capacity(self, gap: int, enough: int | None = None) -> int:
        """Returns the largest number of instants pairwise `gap` apart; stops counting at `enough`."""
        return pack(self.successors(gap), 0, len(self.rows), enough)


def timelines(index: Index, rows: np.ndarray, is_mixed: bool = False) -> list[Timeline]:
    """Returns the timeline of every subject, or one of all subjects together, named after the first."""
    rows = np.asarray(rows, np.int64)
    rows = rows[index.is_present()[rows].sum(1) >= 2]
    if is_mixed:
        return [Timeline(index, rows)] if len(rows) else []
    return [Timeline(index, rows[index.subject[rows] == s]) for s in np.unique(index.subject[rows])]


def draw_subject(successors: list[int], num_pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Returns positions [ceil(n / M), M]: batches that use each of n instants about equally."""
    num_batches = -(-len(successors) // num_pairs)
    capacity = pack(successors, 0, len(successors))
    # Number of uses plus a random fraction: the least used come first, in random order.
    queue = list(zip(rng.random(len(successors)).tolist(), range(len(successors)), strict=True))
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
