"""What the losses of a whole batch share: the check of their input, precision, weights and saved options."""

from typing import Any

import keras
from keras import ops

from mcss_tf.errors import InputError
from mcss_tf.losses.mining import label_groups


class BatchLoss(keras.losses.Loss):
    """Base of the losses that give one number for a batch of labels and embeddings.

    The number is not averaged again (`reduction="none"`), and a sample weight is one number too: the terms
    belong to pairs and triplets, not to rows.
    """

    def __init__(self, name: str | None, dtype: Any, **options: Any):
        super().__init__(name=name, reduction="none", dtype=dtype)
        self.options = options

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None and len(ops.shape(sample_weight)) > 0:
            raise InputError(
                f"{type(self).__name__} gives one number for a whole batch, so its weight is one number. "
                f"Received: sample_weight of shape {tuple(ops.shape(sample_weight))}. "
                "Leave out the rows that are to weigh nothing."
            )
        # Keras casts every target to float32, where labels from 16777216 on merge; their numbers survive it.
        return super().__call__(label_groups(y_true), y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        options = {name: _saved(value) for name, value in self.options.items()}
        return {"name": self.name, "dtype": self.dtype, **options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BatchLoss":
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})


def batch_of(labels, embeddings):
    """Checks a batch and brings it to the form that the losses compute in.

    Returns:
      `(groups, embeddings, dtype)`: int32 `[num_rows]`, embeddings of at least 32 bits, and the type that the
      loss is to have, which is the one that the embeddings came in.

    Raises:
      InputError: unless embeddings are floating `[num_rows, dim]` with one label each.
    """
    labels, embeddings = ops.convert_to_tensor(labels), ops.convert_to_tensor(embeddings)
    dtype = keras.backend.standardize_dtype(embeddings.dtype)
    is_floating = keras.backend.is_float_dtype(dtype)
    if len(embeddings.shape) != 2 or not is_floating or not _is_one_each(labels.shape, embeddings.shape[0]):
        raise InputError(
            "A batch is floating embeddings [num_rows, dim] and labels [num_rows] or [num_rows, 1]. "
            f"Received: embeddings {dtype} {tuple(embeddings.shape)}, labels {tuple(labels.shape)}. "
            "Give each embedding one number as its label."
        )
    precise = ops.cast(embeddings, "float32") if dtype in ("float16", "bfloat16") else embeddings
    return label_groups(labels), precise, dtype


def _is_one_each(shape, num_rows: int | None) -> bool:
    is_column = len(shape) == 1 or (len(shape) == 2 and shape[1] in (1, None))
    return is_column and (None in (shape[0], num_rows) or shape[0] == num_rows)


def _saved(value: Any) -> Any:
    return keras.saving.serialize_keras_object(value) if callable(value) else value
