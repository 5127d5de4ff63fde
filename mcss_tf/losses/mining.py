"""Which rows of a batch make a triplet. Only indices come out: the losses differentiate what they gather."""

import tensorflow as tf
from keras import ops

from mcss_tf.losses.pairwise import paired_distance
from mcss_tf.ops import hardest_negatives


def label_groups(labels):
    """Numbers the distinct labels of a batch 0, 1, 2, ... in increasing order.

    Args:
      labels: integer or floating `[num_rows]` or `[num_rows, 1]`.

    Returns:
      int32 `[num_rows]`.
    """
    labels = ops.reshape(ops.convert_to_tensor(labels), [-1])
    order = ops.argsort(labels)
    ordered = ops.take(labels, order)
    is_new = ops.cast(ordered[1:] != ordered[:-1], "int32")
    numbers = ops.concatenate([ops.zeros_like(order[:1], dtype="int32"), ops.cumsum(is_new)])
    return ops.take(numbers, ops.argsort(order))


def hardest_euclidean(embeddings, groups):
    """Finds each row's farthest positive and nearest negative, in memory proportional to the batch.

    Args:
      embeddings: floating `[num_rows, dim]`.
      groups: int32 `[num_rows]`, what `label_groups` returns.

    Returns:
      `(positive_index, negative_index)`, int32 `[num_rows]`. A row without a positive is its own; for a
      missing negative row 0 stands in.
    """
    embeddings = ops.stop_gradient(embeddings)
    rows = ops.cast(embeddings, "float32")
    negatives = hardest_negatives(rows, rows, -1.0, row_groups=groups, column_groups=groups)
    return _farthest_positive(embeddings, groups), ops.maximum(negatives.anchor_index, 0)


def hardest_in_matrix(distances, groups):
    """Finds each row's farthest positive and nearest negative under any metric.

    Args:
      distances: floating `[num_rows, num_rows]`.
      groups: int32 `[num_rows]`.

    Returns:
      As `hardest_euclidean`.
    """
    distances = ops.stop_gradient(distances)
    is_same = groups[:, None] == groups[None, :]
    itself = ops.arange(ops.shape(distances)[0])
    is_positive = is_same & (itself[:, None] != itself[None, :])
    farthest = ops.argmax(ops.where(is_positive, distances, -float("inf")), axis=1)
    nearest = ops.argmin(ops.where(is_same, float("inf"), distances), axis=1)
    return ops.where(ops.any(is_positive, axis=1), farthest, itself), nearest


def semihard_negatives(distances, groups):
    """Finds, for every pair (i, k), the nearest negative of i farther than k, else i's farthest negative.

    n(i, k) = argmin_n { D(i, n) : n negative, D(i, n) > D(i, k) }; argmax_n D(i, n) where that set is empty.

    Sorting each row's negatives once makes this O(N^2 log N) time, O(N^2) memory; a mask per triplet is N^3.

    Args:
      distances: floating `[num_rows, num_rows]`.
      groups: int32 `[num_rows]`.

    Returns:
      int32 `[num_rows, num_rows]`; what it holds in a row without negatives means nothing.
    """
    distances = ops.stop_gradient(distances)
    is_other = groups[:, None] != groups[None, :]
    negatives = ops.where(is_other, distances, float("inf"))
    order = ops.argsort(negatives, axis=1)
    ordered = ops.take_along_axis(negatives, order, axis=1)
    # Keras searches one sequence only; TensorFlow searches each row in its own.
    place = tf.searchsorted(ordered, distances, side="right")
    num_negatives = ops.sum(ops.cast(is_other, "int32"), axis=1, keepdims=True)
    place = ops.clip(ops.minimum(place, num_negatives - 1), 0, ops.shape(distances)[0] - 1)
    return ops.take_along_axis(order, place, axis=1)


def _farthest_positive(embeddings, groups):
    """Compares every row with the one 1, 2, ... places further in the order of the groups.

    Two rows of one group are fewer places apart than the group has rows: small groups need few rounds.
    """
    num_rows = ops.shape(embeddings)[0]
    order = ops.argsort(groups)
    groups, embeddings = ops.take(groups, order), ops.take(embeddings, order, axis=0)
    places = ops.arange(num_rows)
    ends = ops.cast(ops.searchsorted(groups, groups, side="right"), "int32")
    largest_group = ops.max(ends - places)

    def compare(shift, farthest, index):
        # Both ends of a pair learn of each other: the later row at this step, the earlier at its opposite.
        for step in (shift, -shift):
            is_same = groups == ops.roll(groups, step)
            distance = paired_distance(embeddings, ops.roll(embeddings, step, axis=0), squared=True)
            is_farther = is_same & (distance > farthest)
            farthest = ops.where(is_farther, distance, farthest)
            index = ops.where(is_farther, ops.roll(places, step), index)
        return shift + 1, farthest, index

    start = (1, ops.full_like(embeddings[:, 0], -1), places)
    _, _, index = ops.while_loop(lambda shift, *_: shift < largest_group, compare, start)
    return ops.take(ops.take(order, index), ops.argsort(order))
