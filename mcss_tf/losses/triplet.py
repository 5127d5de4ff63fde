"""Triplet losses with hard and semi-hard mining, as tensorflow-addons defined them."""

from typing import Any

import keras
from keras import ops

from mcss_tf.losses.batch_loss import BatchLoss, batch_of
from mcss_tf.losses.mining import hardest_euclidean, hardest_in_matrix, semihard_negatives
from mcss_tf.losses.pairwise import DistanceMetric, check_metric, distance_matrix, paired_distance


@keras.saving.register_keras_serializable(package="mcss_tf")
def triplet_hard_loss(
    y_true, y_pred, margin: float = 1.0, soft: bool = False, distance_metric: DistanceMetric = "L2"
):
    """Computes the triplet loss of each row with its farthest positive and nearest negative.

    L = mean_i max(0, margin + max_p D(i, p) - min_n D(i, n)); soft: mean_i log(1 + exp(max_p D - min_n D)).

    Args:
      y_true: integer labels `[num_rows]` or `[num_rows, 1]`.
      y_pred: floating embeddings `[num_rows, dim]`; 16-bit ones are computed in float32.
      margin: the distance by which negatives are to be farther than positives.
      soft: whether the margin is the smooth one above, which leaves `margin` unused.
      distance_metric: "L2", "squared-L2", "angular", or a function from embeddings to `[num_rows, num_rows]`.

    Returns:
      Scalar of the type of `y_pred`. A row without a positive is its own; a row without a negative adds 0.

    Raises:
      InputError: unless there is one label for each embedding and the metric is known.

    Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, 2017, Eq. 5.
    """
    check_metric(distance_metric)
    groups, embeddings, dtype = batch_of(y_true, y_pred)
    positive, negative = _hardest_distances(embeddings, groups, distance_metric)
    difference = positive - negative
    losses = ops.softplus(difference) if soft else ops.maximum(difference + margin, 0)
    return ops.cast(ops.mean(losses * _has_negatives(groups, losses.dtype)), dtype)


@keras.saving.register_keras_serializable(package="mcss_tf")
def triplet_semihard_loss(y_true, y_pred, margin: float = 1.0, distance_metric: DistanceMetric = "L2"):
    """Computes the triplet loss of each positive pair with its semi-hard negative.

    L = mean over positive pairs (i, k) of max(0, margin + D(i, k) - D(i, n)), where n is the nearest negative
    of i that is farther than k, or the farthest negative of i where none is.

    Args:
      y_true: integer labels `[num_rows]` or `[num_rows, 1]`.
      y_pred: floating embeddings `[num_rows, dim]`; 16-bit ones are computed in float32.
      margin: the distance by which negatives are to be farther than positives.
      distance_metric: "L2", "squared-L2", "angular", or a function from embeddings to `[num_rows, num_rows]`.

    Returns:
      Scalar of the type of `y_pred`; 0 in a batch without a positive pair or without a negative.

    Raises:
      InputError: unless there is one label for each embedding and the metric is known.

    Schroff et al., FaceNet, CVPR 2015, Section 3.2.
    """
    check_metric(distance_metric)
    groups, embeddings, dtype = batch_of(y_true, y_pred)
    distances = distance_matrix(embeddings, distance_metric)
    negative = ops.take_along_axis(distances, semihard_negatives(distances, groups), axis=1)
    losses = ops.maximum(margin + distances - negative, 0) * _has_negatives(groups, distances.dtype)
    return ops.cast(mean_over_positive_pairs(losses, groups), dtype)


def mean_over_positive_pairs(values, groups):
    """Averages `[num_rows, num_rows]` over the ordered pairs of one group; 0 where there is no such pair."""
    is_positive = (groups[:, None] == groups[None, :]) & ~ops.eye(ops.shape(groups)[0], dtype="bool")
    total = ops.sum(ops.where(is_positive, values, ops.zeros_like(values)))
    return ops.divide_no_nan(total, ops.sum(ops.cast(is_positive, values.dtype)))


@keras.saving.register_keras_serializable(package="mcss_tf")
class TripletHardLoss(BatchLoss):
    """The loss `triplet_hard_loss` for `compile`; see there for the arguments."""

    def __init__(
        self,
        margin: float = 1.0,
        soft: bool = False,
        distance_metric: DistanceMetric = "L2",
        name: str | None = None,
        dtype: Any = None,
    ):
        check_metric(distance_metric)
        super().__init__(name, dtype, margin=margin, soft=soft, distance_metric=distance_metric)

    def call(self, y_true, y_pred):
        return triplet_hard_loss(y_true, y_pred, **self.options)


@keras.saving.register_keras_serializable(package="mcss_tf")
class TripletSemiHardLoss(BatchLoss):
    """The loss `triplet_semihard_loss` for `compile`; see there for the arguments."""

    def __init__(
        self,
        margin: float = 1.0,
        distance_metric: DistanceMetric = "L2",
        name: str | None = None,
        dtype: Any = None,
    ):
        check_metric(distance_metric)
        super().__init__(name, dtype, margin=margin, distance_metric=distance_metric)

    def call(self, y_true, y_pred):
        return triplet_semihard_loss(y_true, y_pred, **self.options)


def _hardest_distances(embeddings, groups, distance_metric: DistanceMetric):
    """Returns the distances `[num_rows]` of every row to its farthest positive and its nearest negative."""
    if distance_metric in ("L2", "squared-L2"):
        # Euclidean neighbours are found without a matrix, and the backward pass sees only the gathered pairs.
        indices = hardest_euclidean(embeddings, groups)
        is_squared = distance_metric == "squared-L2"
        return [paired_distance(embeddings, ops.take(embeddings, i, axis=0), is_squared) for i in indices]
    distances = distance_matrix(embeddings, distance_metric)
    indices = hardest_in_matrix(distances, groups)
    return [ops.take_along_axis(distances, i[:, None], axis=1)[:, 0] for i in indices]


def _has_negatives(groups, dtype):
    """Returns 1 where the batch has more than one group, so that every row has negatives, else 0."""
    return ops.cast(ops.max(groups) > 0, dtype)
