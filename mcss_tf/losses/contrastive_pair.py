"""The contrastive loss of pairs whose distances are given, as tensorflow-addons defined it."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mcss_tf")
def contrastive_loss(y_true, y_pred, margin: float = 1.0):
    """Computes the contrastive loss of each pair: near if alike, farther than a margin if not.

    L = y d^2 + (1 - y) max(0, margin - d)^2.

    Args:
      y_true: `[num_pairs]`, 1 where the pair is alike and 0 where not.
      y_pred: floating `[num_pairs]`, the distances d.
      margin: the distance beyond which unlike pairs are no longer pushed.

    Returns:
      `[num_pairs]` of the type of `y_pred`.

    Hadsell et al., Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, Eq. 4, not halved.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    return y_true * ops.square(y_pred) + (1 - y_true) * ops.square(ops.maximum(margin - y_pred, 0))


@keras.saving.register_keras_serializable(package="mcss_tf")
class ContrastiveLoss(keras.losses.Loss):
    """The loss `contrastive_loss` for `compile`, with Keras' reductions and sample weights."""

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "contrastive_loss",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.margin = margin

    def call(self, y_true, y_pred):
        return contrastive_loss(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin, "dtype": self.dtype}
