"""Checks a request before it is sent."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from mcss_tf.serving.client_errors import WrongRequestError


def to_array(value: Any) -> np.ndarray:
    """Returns an array; of bytes as one of objects."""
    if isinstance(value, np.ndarray):
        return value
    value = list(value) if isinstance(value, Iterable) else [value]
    # NumPy's own type for bytes drops zeros at their end.
    return np.array(value, object) if value and isinstance(value[0], bytes) else np.asarray(value)


def check(signature: str, definition: SignatureDef, inputs: dict[str, np.ndarray]) -> None:
    """Compares inputs with what the model takes, so that nothing is sent in vain.

    Raises:
        WrongRequestError: other names, dtypes or shapes, or not one number of rows.
    """
    wanted = definition.inputs
    if inputs.keys() != wanted.keys():
        raise WrongRequestError(
            f"{signature} takes {', '.join(sorted(wanted))}. Received: {', '.join(inputs) or 'nothing'}."
        )
    for name, value in inputs.items():
        if not _fits(value, wanted[name]):
            shape = [dim.size if dim.size >= 0 else "any" for dim in wanted[name].tensor_shape.dim]
            raise WrongRequestError(
                f"{name} is {tf.as_dtype(wanted[name].dtype).name} {shape}. "
                f"Received: {value.dtype} {list(value.shape)}. Convert it first (docs/serving.md)."
            )
    counts = {name: len(value) for name, value in inputs.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise WrongRequestError(f"All inputs have the same number of rows, at least 1. Received: {counts}.")


def _fits(value: np.ndarray, wanted: TensorInfo) -> bool:
    dtype = tf.as_dtype(wanted.dtype)
    if dtype == tf.string:
        is_type = value.dtype == object and all(isinstance(item, bytes) for item in value.ravel())
    else:
        is_type = value.dtype == dtype.as_numpy_dtype
    return is_type and tf.TensorShape(wanted.tensor_shape).is_compatible_with(value.shape)
