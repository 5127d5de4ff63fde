"""The lifting network and its root branch: 2D keypoints of one view to joints in that view's camera."""

from typing import Any

import keras
from keras import layers, ops

# What one unit of a network's output is worth, so that its first weights give poses of a person's size.
_UNIT_MM = 250.0
# Rays of a person a few metres away span about a tenth; networks like inputs of about 1.
_RAY_GAIN = 5.0
_MIN_SIZE = 1e-4


@keras.saving.register_keras_serializable("mcss_tf")
class FillMissing(layers.Layer):
    """Puts joints of confidence 0 where the seen joints are on average: [B, J, 3] to rays [B, J, 2].

    A detector that did not find a joint writes zeros: a far corner of the picture, not a place on the body.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, keypoints: Any) -> Any:
        rays = keypoints[..., :2]
        is_seen = ops.cast(keypoints[..., 2:] > 0, "float32")
        count = ops.maximum(ops.sum(is_seen, axis=1, keepdims=True), 1.0)
        return is_seen * rays + (1.0 - is_seen) * ops.sum(is_seen * rays, axis=1, keepdims=True) / count


@keras.saving.register_keras_serializable("mcss_tf")
class RootCentred(layers.Layer):
    """Centres rays [B, J, 2] on the root joint and scales them to a mean distance of 1 from it.

    Where a person stands and how far away is gone from the result: a cropped and resized picture's view.
    """

    def __init__(self, root: int, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.root = root

    def call(self, rays: Any) -> Any:
        return (rays - rays[:, self.root : self.root + 1]) / image_size(rays, self.root)[:, None, None]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "root": self.root}


@keras.saving.register_keras_serializable("mcss_tf")
class RootPosition(layers.Layer):
    """Turns outputs (a, b, c) [B, 3] of the root branch into the root's position [B, 3] in millimetres.

    z = 100 c / size and (x, y) = z (ray + size (a, b) / 10), with the ray of the root's keypoint and the size
    of the person in the picture: c is then the true size across the line of sight in decimetres, which varies
    far less than z does, and a and b correct the keypoint.
    """

    def __init__(self, root: int, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.root = root

    def call(self, outputs: Any, rays: Any) -> Any:
        outputs = ops.cast(outputs, "float32")
        size = image_size(rays, self.root)[:, None]
        depth = 100.0 * outputs[:, 2:] / size
        return ops.concatenate([depth * (rays[:, self.root] + 0.1 * size * outputs[:, :2]), depth], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "root": self.root}


def image_size(rays: Any, root: int) -> Any:
    """Returns the mean distance [B] of rays [B, J, 2] from the root's; never 0."""
    distance = ops.sqrt(ops.sum(ops.square(rays - rays[:, root : root + 1]), axis=-1) + 1e-12)
    return ops.maximum(ops.mean(distance, axis=1), _MIN_SIZE)


@keras.saving.register_keras_serializable("mcss_tf")
class Joints(layers.Layer):
    """Turns outputs [B, 3 J] into millimetres [B, J, 3]."""

    def __init__(self, num_joints: int, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_joints = num_joints

    def call(self, x: Any) -> Any:
        return _UNIT_MM * ops.reshape(ops.cast(x, "float32"), (-1, self.num_joints, 3))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_joints": self.num_joints}


def residual_network(
    name: str, num_inputs: int, num_outputs: int, width: int, num_blocks: int, dropout: float
):
    """Builds FC(width), residual blocks of two FC(width)-BN-ReLU-dropout each, and a linear FC.

    Martinez et al., ICCV 2017, section 3; Li et al., AAAI 2020, section 3.1.
    """
    inputs = keras.Input((num_inputs,), name=f"{name}_inputs")
    x = _unit(inputs, width, dropout)
    for _ in range(num_blocks):
        x = layers.Add()([x, _unit(_unit(x, width, dropout), width, dropout)])
    outputs = layers.Dense(num_outputs, dtype="float32", name=f"{name}_linear")(x)
    return keras.Model(inputs, outputs, name=name)


def _unit(x: Any, width: int, dropout: float) -> Any:
    x = layers.Dense(width, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Dropout(dropout)(layers.ReLU()(x))


def build_lifter(
    num_joints: int,
    root: int,
    *,
    width: int = 1024,
    num_blocks: int = 4,
    dropout: float = 0.5,
    branches: int = 2,
) -> keras.Model:
    """Builds the lifting network and, with two branches, the root branch of the same architecture.

    Args:
        num_joints: J.
        root: index of the root joint.
        width: of the fully connected layers.
        num_blocks: residual blocks.
        dropout: rate.
        branches: 2: the pose from root-centred, scaled rays and the root from the rays themselves. 1: one
            network gives both from the root-centred, scaled rays.

    Returns:
        Model from keypoints [B, J, 3], undistorted rays K^-1 x and a confidence, of which only matters
        whether it is 0, to `pose_mm` [B, J, 3], relative to the root, and `root_mm` [B, 3], both in the axes
        of the view's camera.
    """
    keypoints = keras.Input((num_joints, 3), name="keypoints")
    rays = FillMissing(name="rays")(keypoints)
    centred = layers.Flatten(name="centred")(RootCentred(root, name="root_centred")(rays))
    sizes = {"width": width, "num_blocks": num_blocks, "dropout": dropout}
    lifting = residual_network("lifting", 2 * num_joints, 3 * num_joints, **sizes)
    joints = Joints(num_joints, name="joints")(lifting(centred))
    # The network's own root is free: were the others measured from it before the losses see them, a wrong
    # root would be one outlier among the joints, which losses of lengths tolerate, and stay wrong.
    pose_mm = joints - joints[:, root : root + 1]
    root_mm = joints[:, root]
    if branches == 2:
        where = _RAY_GAIN * layers.Flatten(name="flat_rays")(rays)
        root_branch = residual_network("root_branch", 2 * num_joints, 3, **sizes)
        root_mm = root_mm + RootPosition(root, name="root_position")(root_branch(where), rays)
    return keras.Model(keypoints, {"pose_mm": pose_mm, "root_mm": root_mm}, name="lifter")
