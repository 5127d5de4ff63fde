"""The graph that is served: decode, fit into the network's square, embed, look up."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mcss_tf.serving.decoding import decode_rows, fit_square
from mcss_tf.serving.gallery import Gallery
from mcss_tf.serving.signatures import IMAGE_BYTES, Status

Endpoint = Callable[..., dict[str, tf.Tensor]]


def endpoints(
    model: keras.Model, context: float, gallery: Gallery | None = None, k: int = 10
) -> dict[str, Endpoint]:
    """Returns one function per signature; each takes its inputs in order and returns a dict of outputs.

    Args:
        model: square images [B, S, S, 3] in 0..255 to a dict of outputs, without batch normalisation.
        context: side of the square around a person's box over the longer side of the box.
        gallery: to look up; None for a model without `retrieve`.
        k: images that `retrieve` finds, at most the gallery's.
    """
    size = model.input.shape[1]
    network = frozen(model)

    # One function for all signatures of files, so that it is built and stored once.
    decode = tf.function(
        lambda image_bytes: decode_rows(image_bytes, size),
        input_signature=[IMAGE_BYTES.spec()],
        autograph=False,
    )

    def embed_files(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        squares, status = decode(image_bytes)
        return {**_nan_where_refused(network(squares), status), "status": status}

    def embed_boxes(image_bytes: tf.Tensor, boxes_px: tf.Tensor) -> dict[str, tf.Tensor]:
        squares, status = decode_rows(image_bytes, size, boxes_px, context)
        return {**_nan_where_refused(network(squares), status), "status": status}

    def only(output: str) -> Endpoint:
        def endpoint(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            outputs = embed_files(image_bytes)
            return {output: outputs[output], "status": outputs["status"]}

        return endpoint

    served = {
        "serving_default": embed_files,
        "boxes": embed_boxes,
        "images": lambda images: network(fit_square(images, size)),
        "embed": only("embedding"),
    }
    if "pose_mm" in model.output:
        served["pose"] = only("pose_mm")
    if gallery is not None:
        search = gallery.search(k)

        def retrieve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            squares, status = decode(image_bytes)
            found = search(network(squares)["embedding"])
            return {**_nan_where_refused(found, status), "status": status}

        served["retrieve"] = retrieve
    return served


def frozen(model: keras.Model) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns the model as one graph function of uint8 squares, its weights constants.

    The CPU library lays the kernel of a convolution out anew at every call, unless it is a constant; and all
    signatures share the one function, so the weights are stored once.
    """
    size = model.input.shape[1]
    trainable = [_value(weight) for weight in model.trainable_variables]
    fixed = [_value(weight) for weight in model.non_trainable_variables]

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.uint8, name="squares")])
    def network(squares: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs, _ = model.stateless_call(trainable, fixed, squares, training=False)
        return {name: tf.cast(value, tf.float32) for name, value in outputs.items()}

    return network


def _value(weight: keras.Variable) -> Any:
    return keras.ops.convert_to_numpy(weight)


def _nan_where_refused(outputs: dict[str, tf.Tensor], status: tf.Tensor) -> dict[str, tf.Tensor]:
    """Replaces the rows of refused files, whose black square the network has seen all the same."""

    def masked(value: tf.Tensor) -> tf.Tensor:
        is_ok = tf.reshape(status == Status.OK, [-1] + [1] * (value.shape.rank - 1))
        return tf.where(is_ok, value, "" if value.dtype == tf.string else float("nan"))

    return {name: masked(value) for name, value in outputs.items()}
