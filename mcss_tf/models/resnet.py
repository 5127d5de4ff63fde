"""ResNet-18/34/50 with affine-free batch normalisation, layers named as in torchvision.

[He et al., CVPR 2016]; MCSS uses the 18-layer one without the affine part of BatchNorm (paper, section 4).
The names are torchvision's so that an ImageNet file maps on them by identity (`weights.py`).
"""

from typing import Any

import keras
from keras import layers, ops

from mcss_tf.errors import InputError
from mcss_tf.models.layers import BatchNormalization, Conv2D

# Blocks per stage, whether the block is the bottleneck of three convolutions.
DEPTHS = {18: ((2, 2, 2, 2), False), 34: ((3, 4, 6, 3), False), 50: ((3, 4, 6, 3), True)}
EXPANSION = 4
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@keras.saving.register_keras_serializable("mcss_tf")
class NormaliseImage(layers.Layer):
    """Maps RGB in 0..255 to the zero-mean, unit-variance range of ImageNet; computed in float32."""

    def __init__(self, **kwargs: Any):
        # float32 whatever the policy: this is the one place where the pixel values come in.
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, images: Any) -> Any:
        images = ops.cast(images, "float32")
        return (images - ops.convert_to_tensor(IMAGENET_MEAN)) / ops.convert_to_tensor(IMAGENET_STD)


def build_resnet(
    image_size: int, depth: int = 18, width: int = 64, batch_norm_momentum: float = 0.9
) -> keras.Model:
    """Builds stem and stages 1-4.

    Args:
        image_size: side S of the square input, pixels, at least 32.
        depth: 18, 34 or 50.
        width: channels of stem and stage 1, doubled from stage to stage; the authors' 64.
        batch_norm_momentum: share of the old value kept by the moving statistics at every step.

    Returns:
        Model from images [B, S, S, 3] in 0..255 to features [B, ceil(S/32), ceil(S/32), C], C = 8 width or,
        of depth 50, 32 width.

    Raises:
        InputError: unknown depth, no width, or images too small for five halvings.
    """
    if depth not in DEPTHS:
        raise InputError(
            f"backbone.depth must be one of {sorted(DEPTHS)}. Received: {depth}. Choose one of these."
        )
    if width < 1:
        raise InputError(
            f"backbone.width must be at least 1 channel. Received: {width}. The paper's ResNet has 64."
        )
    if image_size < 32:
        raise InputError(
            f"image_size must be at least 32 pixels. Received: {image_size}. "
            "The backbone halves the image five times; use 64 or more."
        )
    num_blocks, is_bottleneck = DEPTHS[depth]
    block = _bottleneck_block if is_bottleneck else _basic_block
    inputs = keras.Input((image_size, image_size, 3), name="images")
    x = NormaliseImage(name="normalise")(inputs)
    x = layers.ZeroPadding2D(3, name="stem_pad")(x)
    x = _conv(x, width, 7, 2, "conv1", padding="valid")
    x = layers.ReLU(name="stem_relu")(_norm(x, "bn1", batch_norm_momentum))
    # After a ReLU padding by 0 and by minus infinity give the same maximum.
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(layers.ZeroPadding2D(1, name="stem_pool_pad")(x))
    for stage, repeats in enumerate(num_blocks, start=1):
        for index in range(repeats):
            stride = 2 if stage > 1 and index == 0 else 1
            x = block(x, width * 2 ** (stage - 1), stride, f"layer{stage}.{index}", batch_norm_momentum)
    return keras.Model(inputs, x, name="backbone")


def _basic_block(x: Any, filters: int, stride: int, name: str, momentum: float) -> Any:
    y = _norm(_conv(x, filters, 3, stride, f"{name}.conv1"), f"{name}.bn1", momentum)
    y = layers.ReLU(name=f"{name}.relu1")(y)
    y = _norm(_conv(y, filters, 3, 1, f"{name}.conv2"), f"{name}.bn2", momentum)
    return _join(x, y, filters, stride, name, momentum)


def _bottleneck_block(x: Any, filters: int, stride: int, name: str, momentum: float) -> Any:
    y = _norm(_conv(x, filters, 1, 1, f"{name}.conv1"), f"{name}.bn1", momentum)
    y = layers.ReLU(name=f"{name}.relu1")(y)
    # The stride sits on the 3x3 convolution, as in torchvision's files.
    y = _norm(_conv(y, filters, 3, stride, f"{name}.conv2"), f"{name}.bn2", momentum)
    y = layers.ReLU(name=f"{name}.relu2")(y)
    y = _norm(_conv(y, EXPANSION * filters, 1, 1, f"{name}.conv3"), f"{name}.bn3", momentum)
    return _join(x, y, EXPANSION * filters, stride, name, momentum)


def _join(x: Any, y: Any, filters: int, stride: int, name: str, momentum: float) -> Any:
    """Adds the shortcut, projected where its shape differs."""
    if stride != 1 or x.shape[-1] != filters:
        x = _norm(_conv(x, filters, 1, stride, f"{name}.downsample.0"), f"{name}.downsample.1", momentum)
    return layers.ReLU(name=f"{name}.relu")(layers.Add(name=f"{name}.add")([x, y]))


def _conv(x: Any, filters: int, size: int, stride: int, name: str, padding: str = "same") -> Any:
    # "same" of a strided 3x3 pads on one side only; torchvision's weights were learnt with both sides.
    if stride > 1 and size > 1 and padding == "same":
        x = layers.ZeroPadding2D(size // 2, name=f"{name}.pad")(x)
        padding = "valid"
    return Conv2D(filters, size, stride, padding, use_bias=False, kernel_initializer="he_normal", name=name)(
        x
    )


def _norm(x: Any, name: str, momentum: float) -> Any:
    return BatchNormalization(momentum=momentum, epsilon=1e-5, name=name)(x)
