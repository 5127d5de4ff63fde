"""The network as it is served: batch normalisation folded into the convolutions, in a chosen precision."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

PRECISIONS = ("float32", "bfloat16", "float16")
# What a precision applies to; pixel values, embedding and pose stay float32, as in mixed-precision training.
CONVOLUTIONAL = (layers.Conv2D, layers.ReLU, layers.Add, layers.ZeroPadding2D, layers.MaxPooling2D)


def fold_batch_norm(model: keras.Model, precision: str = "float32") -> keras.Model:
    """Returns the inference network without batch normalisation; the outputs are the same up to rounding.

    With moving mean m and variance v, scale s and offset b (1 and 0 in affine-free layers),
        s (W x - m) / sqrt(v + eps) + b = (g W) x + (b - g m),  g = s / sqrt(v + eps),
    so the convolution takes the kernel g W and the bias b - g m.

    Args:
        model: functional, in any dtype policy; it is left as it is.
        precision: one of `PRECISIONS`, in which the convolutional part is stored and computed.

    Raises:
        ValueError: a batch normalisation does not follow a linear convolution that nothing else reads.
    """
    norms = _norms_of_convolutions(model)
    dropped = {norm.name for norm in norms.values()}

    def convert(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        config["dtype"] = precision if isinstance(layer, CONVOLUTIONAL) else "float32"
        if layer.name in norms:
            config["use_bias"] = True
        # Training's products over patches are slower for one image, and a GPU wants convolutions.
        return (layers.Conv2D if isinstance(layer, layers.Conv2D) else type(layer)).from_config(config)

    def call(layer: layers.Layer, *inputs: Any, **_: Any) -> Any:
        return inputs[0] if layer.name in dropped else layer(*inputs)

    folded = keras.models.clone_model(model, clone_function=convert, call_function=call, recursive=True)
    sources = {layer.name: layer for layer in _layers(model)}
    for layer in _layers(folded):
        if not layer.weights:
            continue
        weights = [ops.convert_to_numpy(weight) for weight in sources[layer.name].weights]
        if layer.name in norms:
            weights = _fold(weights, norms[layer.name])
        layer.set_weights([weight.astype("float32") for weight in weights])
    return folded


def to_float32(model: keras.Model) -> None:
    """Lets a model trained in mixed precision compute in float32; its weights are float32 already."""
    model.dtype_policy = keras.DTypePolicy("float32")
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            to_float32(layer)
        else:
            layer.dtype_policy = keras.DTypePolicy("float32")


def _fold(weights: list[np.ndarray], norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Returns kernel (the output channel is its last axis) and bias."""
    kernel = weights[0].astype(np.float64)
    bias = weights[1] if len(weights) > 1 else 0.0
    mean, variance = (ops.convert_to_numpy(value) for value in (norm.moving_mean, norm.moving_variance))
    gain = 1.0 / np.sqrt(variance.astype(np.float64) + norm.epsilon)
    if norm.scale:
        gain = gain * ops.convert_to_numpy(norm.gamma)
    offset = ops.convert_to_numpy(norm.beta) if norm.center else 0.0
    return [kernel * gain, (bias - mean) * gain + offset]


def _layers(model: keras.Model) -> list[layers.Layer]:
    """Returns all layers, those of nested models among them."""
    found = []
    for layer in model.layers:
        found += _layers(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def _norms_of_convolutions(model: keras.Model) -> dict[str, layers.BatchNormalization]:
    """Returns every batch normalisation by the name of the convolution that feeds it."""
    pairs = {}
    for norm in _layers(model):
        if not isinstance(norm, layers.BatchNormalization):
            continue
        before = [node.parent_nodes[0].operation for node in norm._inbound_nodes]
        convolution = before[0]
        is_linear = isinstance(convolution, layers.Conv2D) and (
            convolution.activation is keras.activations.linear
        )
        if len(before) != 1 or not is_linear or len(convolution._outbound_nodes) != 1:
            raise ValueError(
                "A batch normalisation is folded into the linear convolution before it, which nothing else "
                f"reads. Received: {norm.name} after {convolution.name}. Change the network."
            )
        pairs[convolution.name] = norm
    return pairs
