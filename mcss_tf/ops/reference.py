"""Hardest negatives in plain TensorFlow: the fallback of the compiled op, and its oracle in tests."""

import tensorflow as tf

# Below this share of the squared norms the product form of a distance lost too many digits even in float64.
_CANCELLATION = 1e-6


def hardest_negatives(anchors, positives, threshold, row_groups, column_groups):
    """Index and distance of each row's and each column's nearest admissible candidate.

    Args:
      anchors: float32 or bfloat16 `[num_anchors, dim]`.
      positives: the same type, `[num_positives, dim]`.
      threshold: float32 scalar.
      row_groups: int32 `[num_anchors]`.
      column_groups: int32 `[num_positives]`.

    Returns:
      `anchor_index, anchor_distance, positive_index, positive_distance`; -1 and +inf where there is none.
    """
    # A last row that is never admissible gives the minimum over no candidates something to look at.
    anchors, positives = (_pad(tf.cast(tf.stop_gradient(x), tf.float64)) for x in (anchors, positives))
    is_other = _pad(row_groups)[:, None] != _pad(column_groups)[None, :]
    distance = _distances(anchors, positives, is_other)
    # A comparison with NaN is false: an embedding that is not finite is no negative and has none.
    is_admissible = is_other & tf.math.is_finite(distance) & (distance > tf.stop_gradient(threshold))
    masked = tf.where(is_admissible, distance, tf.constant(float("inf"), tf.float32))
    return *_argmin(masked, axis=1), *_argmin(masked, axis=0)


def _pad(values):
    filler = float("nan") if values.dtype.is_floating else -1
    return tf.pad(values, [[0, 1]] + [[0, 0]] * (values.shape.rank - 1), constant_values=filler)


def _distances(anchors, positives, is_other):
    """`[num_anchors, num_positives]` Euclidean distances, computed in float64, rounded to float32 once.

    |a - p|^2 = |a|^2 + |p|^2 - 2 a.p is one matrix product, but cancels where a and p nearly coincide.
    If any pair that counts does, all are computed from differences instead, a row at a time.
    """
    squared_norms = tf.reduce_sum(anchors**2, axis=1)[:, None] + tf.reduce_sum(positives**2, axis=1)[None, :]
    squared = squared_norms - 2 * tf.matmul(anchors, positives, transpose_b=True)
    is_cancelled = is_other & tf.math.is_finite(squared_norms) & (squared <= _CANCELLATION * squared_norms)

    def by_differences():
        return tf.map_fn(lambda anchor: tf.reduce_sum((anchor[None, :] - positives) ** 2, axis=1), anchors)

    squared = tf.cond(tf.reduce_any(is_cancelled), by_differences, lambda: squared)
    # Between excluded pairs the product form may round below zero; no NaN is to come of it.
    return tf.cast(tf.sqrt(tf.where(squared < 0, tf.zeros_like(squared), squared)), tf.float32)


def _argmin(distance, axis):
    """Position (lowest of equals, -1 if none is finite) and value of the minimum, without the padding."""
    smallest = tf.reduce_min(distance, axis=axis)
    index = tf.argmin(distance, axis=axis, output_type=tf.int32)
    return tf.where(tf.math.is_finite(smallest), index, -1)[:-1], smallest[:-1]
