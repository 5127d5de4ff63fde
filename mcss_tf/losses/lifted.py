"""The lifted structured loss, as tensorflow-addons defined it."""

from typing import Any

import keras
from keras import ops

from mcss_tf.losses.batch_loss import BatchLoss, batch_of
from mcss_tf.losses.pairwise import pairwise_distance
from mcss_tf.losses.triplet import mean_over_positive_pairs

# Its exponential is 0 beside any real term; unlike -inf it has a gradient (0) in a row without negatives.
_NO_TERM = -1e30


@keras.saving.register_keras_serializable(package="mcss_tf")
def lifted_struct_loss(labels, embeddings, margin: float = 1.0):
    """Computes the lifted structured loss: each positive pair against all negatives of both its ends.

    L = 1/2 mean over positive pairs (i, j) of max(0, J(i, j))^2,
    J(i, j) = D(i, j) + log( sum_n exp(margin - D(i, n)) + sum_n exp(margin - D(j, n)) ).

    Args:
      labels: integer `[num_rows]` or `[num_rows, 1]`.
      embeddings: floating `[num_rows, dim]`; 16-bit ones are computed in float32.
      margin: the distance by which negatives are to be farther than positives.

    Returns:
      Scalar of the type of `embeddings`; 0 in a batch without a positive pair or without a negative.

    Raises:
      InputError: unless there is one label for each embedding.

    Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016, Eq. 4.
    """
    groups, embeddings, dtype = batch_of(labels, embeddings)
    distances = pairwise_distance(embeddings)
    is_other = groups[:, None] != groups[None, :]
    rows = ops.logsumexp(ops.where(is_other, margin - distances, _NO_TERM), axis=1)
    # log(e^a + e^b) = a + log(1 + e^(b-a)): one logarithm per row and one per pair, nothing per triplet.
    negatives = rows[:, None] + ops.softplus(rows[None, :] - rows[:, None])
    losses = 0.5 * ops.square(ops.maximum(distances + negatives, 0))
    return ops.cast(mean_over_positive_pairs(losses, groups), dtype)


@keras.saving.register_keras_serializable(package="mcss_tf")
class LiftedStructLoss(BatchLoss):
    """The loss `lifted_struct_loss` for `compile`; see there for the arguments."""

    def __init__(self, margin: float = 1.0, name: str | None = None, dtype: Any = None):
        super().__init__(name, dtype, margin=margin)

    def call(self, y_true, y_pred):
        return lifted_struct_loss(y_true, y_pred, **self.options)
