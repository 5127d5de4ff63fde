"""Fused pairwise distances with thresholded hardest-negative selection (Eq. 1 of MCSS)."""

from typing import NamedTuple

import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.ops import library, reference, xla_call


class HardestNegatives(NamedTuple):
    """What `hardest_negatives` returns; see there."""

    anchor_index: tf.Tensor
    anchor_distance: tf.Tensor
    positive_index: tf.Tensor
    positive_distance: tf.Tensor


def hardest_negatives(
    anchors, positives, threshold, *, row_groups=None, column_groups=None
) -> HardestNegatives:
    """Finds, for every anchor and every positive, its nearest negative that is farther than `threshold`.

    D(i, j) = ||a_i - p_j||; (i, j) is admissible if row_groups[i] != column_groups[j] and D > threshold;
    anchor_index[i] = argmin_j D(i, j) and positive_index[j] = argmin_i D(i, j), over the admissible pairs.
    Of equal distances the lowest index wins. The selection is not differentiated: gather the pairs and
    differentiate their distances.

    Args:
      anchors: `[num_anchors, dim]`, float32 or bfloat16 (computed in float32 or better).
      positives: `[num_positives, dim]`, of the same type.
      threshold: scalar, float32; a tensor, so that a schedule does not recompile.
      row_groups: int32 `[num_anchors]`; default 0, 1, 2, ...: only the diagonal is excluded.
      column_groups: int32 `[num_positives]`; default 0, 1, 2, ....

    Returns:
      `HardestNegatives(anchor_index, anchor_distance, positive_index, positive_distance)`: int32 and float32,
      per anchor and per positive; -1 and +inf where nothing is admissible. A distance that is not finite
      (NaN or inf in an embedding) never is.

    Raises:
      InputError: if the shapes or types do not fit together.

    Mitra et al., Multiview-Consistent Semi-Supervised Learning for 3D Human Pose Estimation, CVPR 2020,
    Eq. 1.
    """
    anchors, positives = tf.convert_to_tensor(anchors), tf.convert_to_tensor(positives)
    _check_embeddings(anchors, positives)
    threshold = tf.cast(threshold, tf.float32)
    row_groups = _checked_groups(row_groups, anchors, "row_groups")
    column_groups = _checked_groups(column_groups, positives, "column_groups")
    compiled = library.load()
    if compiled is not None:
        selected = xla_call.hardest_negatives(
            anchors, positives, threshold, row_groups, column_groups, compiled.has_cuda
        )
    else:
        row_groups = tf.range(tf.shape(anchors)[0]) if row_groups is None else row_groups
        column_groups = tf.range(tf.shape(positives)[0]) if column_groups is None else column_groups
        selected = reference.hardest_negatives(anchors, positives, threshold, row_groups, column_groups)
    return HardestNegatives(*selected)


def _check_embeddings(anchors, positives):
    if anchors.dtype != positives.dtype or anchors.dtype not in (tf.float32, tf.bfloat16):
        raise InputError(
            "hardest_negatives needs anchors and positives of one type, float32 or bfloat16. "
            f"Received: anchors {anchors.dtype.name}, positives {positives.dtype.name}. Use tf.cast."
        )
    if (
        anchors.shape.rank != 2
        or positives.shape.rank != 2
        or not anchors.shape[1:].is_compatible_with(positives.shape[1:])
    ):
        raise InputError(
            "hardest_negatives needs anchors [num_anchors, dim] and positives [num_positives, dim]. "
            f"Received: anchors {anchors.shape}, positives {positives.shape}. Put one embedding in each row."
        )


def _checked_groups(groups, embeddings, name):
    if groups is None:
        return None
    groups = tf.convert_to_tensor(groups, tf.int32)
    if not groups.shape.is_compatible_with(embeddings.shape[:1]):
        raise InputError(
            f"{name} needs one int32 for each embedding. "
            f"Received: {name} {groups.shape} for embeddings {embeddings.shape}. Give one each."
        )
    return groups
