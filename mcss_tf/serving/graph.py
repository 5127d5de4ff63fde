"""The graph that is served: decode, fit into the network's square, embed."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Endpoint = Callable[..., dict[str, tf.Tensor]]


def fit_square(images: tf.Tensor, size: int) -> tf.Tensor:
    """Scales images to fit a square, keeping their aspect, and pads the rest with black.

    Antialiased when shrinking, as in training; images that already have the size come back unchanged.

    Args:
        images: [batch, height, width, 3], any numeric type, 0..255.
        size: side of the square, pixels.

    Returns:
        float32 [batch, size, size, 3], whole numbers in 0..255.
    """
    shape = tf.shape(images)
    height, width = shape[1], shape[2]
    scale = size / tf.cast(tf.maximum(height, width), tf.float32)

    def fitted(length: tf.Tensor) -> tf.Tensor:
        # A hair of an image still keeps one row: tf.image.resize_with_pad would fail on it.
        return tf.clip_by_value(tf.cast(tf.round(tf.cast(length, tf.float32) * scale), tf.int32), 1, size)

    new_height, new_width = fitted(height), fitted(width)
    resized = tf.image.resize(images, [new_height, new_width], antialias=True)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    # Training resizes to whole grey levels; so does serving, or the same crop would embed differently.
    padded = tf.pad(
        tf.round(resized), [[0, 0], [top, size - new_height - top], [left, size - new_width - left], [0, 0]]
    )
    return tf.ensure_shape(padded, [None, size, size, 3])


def decode_images(image_bytes: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes JPEG or PNG files of any sizes into float32 [batch, size, size, 3], 0..255."""

    def decode(contents: tf.Tensor) -> tf.Tensor:
        # decode_jpeg reads PNG as well, and unlike decode_image it can decode as accurately as in training.
        image = tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")
        return fit_square(image[None], size)[0]

    # One by one, since sizes differ; the network then runs once on the whole batch.
    return tf.map_fn(decode, image_bytes, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32))


def endpoints(model: keras.Model) -> dict[str, Endpoint]:
    """Returns one function per signature; each takes its inputs in order and returns a dict of outputs.

    Args:
        model: square images [B, S, S, 3] in 0..255 to a dict of outputs.
    """
    image_size = model.input.shape[1]

    def embed(images: tf.Tensor) -> dict[str, Any]:
        outputs = model(images, training=False)
        return {name: tf.cast(value, tf.float32) for name, value in outputs.items()}

    return {
        "serving_default": lambda image_bytes: embed(decode_images(image_bytes, image_size)),
        "images": lambda images: embed(fit_square(images, image_size)),
    }
