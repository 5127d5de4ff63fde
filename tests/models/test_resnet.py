"""The backbone's names, shapes, parameter count and input range."""

import keras
import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.models.resnet import build_resnet


@pytest.mark.parametrize(
    ("depth", "channels", "num_kernels"),
    [(18, 512, 11_166_912), (34, 512, 21_267_648), (50, 2048, 23_454_912)],
)
def test_parameters_are_the_published_kernels_without_the_affine_part(depth, channels, num_kernels):
    # torchvision: 11,689,512 / 21,797,672 / 25,557,032 parameters, less the classifier (512 or 2048 x 1000
    # + 1000) and the 2 affine numbers of 4,800 / 8,512 / 26,560 normalised channels.
    backbone = build_resnet(64, depth)
    assert backbone.output_shape == (None, 2, 2, channels)
    assert sum(int(np.prod(w.shape)) for w in backbone.trainable_weights) == num_kernels
    norms = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(len(norm.weights) == 2 for norm in norms), "only moving statistics"


@pytest.mark.parametrize(("image_size", "side"), [(32, 1), (64, 2), (96, 3), (128, 4), (224, 7)])
def test_every_stage_halves_the_image(image_size, side):
    assert build_resnet(image_size, 18).output_shape == (None, side, side, 512)


def test_bytes_and_floats_in_0_255_are_the_same_image():
    backbone = build_resnet(32, 18)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(backbone(images), backbone(images.astype(np.float32)))
    normalised = backbone.get_layer("normalise")(images)
    np.testing.assert_allclose(
        normalised[0, 0, 0],
        (images[0, 0, 0] - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375],
        rtol=1e-5,
    )


def test_bad_depth_and_size_are_refused():
    with pytest.raises(InputError, match=r"backbone.depth must be one of .* Received: 20"):
        build_resnet(64, 20)
    with pytest.raises(InputError, match=r"image_size must be at least 32 pixels. Received: 16"):
        build_resnet(16, 18)
    with pytest.raises(InputError, match=r"backbone.width must be at least 1 channel. Received: 0"):
        build_resnet(64, 18, width=0)


def test_width_is_that_of_every_stage():
    backbone = build_resnet(64, 18, width=8)
    assert [backbone.get_layer(f"layer{stage}.1.conv2").filters for stage in (1, 2, 3, 4)] == [8, 16, 32, 64]
    assert backbone.output_shape == (None, 2, 2, 64)
    assert build_resnet(64, 50, width=8).output_shape == (None, 2, 2, 256)
