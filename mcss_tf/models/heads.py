"""The MCSS network: backbone, unit-length embedding, canonical pose in millimetres."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from mcss_tf import replicas
from mcss_tf.models.resnet import build_resnet

# A coordinate that hardly varies (the canonical left hip has y = 0) is standardised as if it varied 1 mm.
MIN_STD_MM = 1.0
# Maps of fewer cells a side stay as they are; the paper's 224 pixels give 7.
POOLED_CELLS = 4


@keras.saving.register_keras_serializable("mcss_tf")
class UnitLength(layers.Layer):
    """Scales the last axis to length 1 in float32; the zero vector stays zero, with a finite gradient."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, x: Any) -> Any:
        x = ops.cast(x, "float32")
        # x * rsqrt(|x|^2 + tiny) has no division by zero, and tiny is far below any real length.
        return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)


@keras.saving.register_keras_serializable("mcss_tf")
class Unstandardise(layers.Layer):
    """Turns standardised coordinates [B, 3 K] into millimetres [B, K, 3]: z * std + mean.

    Mean and standard deviation of the labelled training poses are weights, so they travel with the model.
    """

    def __init__(self, num_joints: int, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_joints = num_joints

    def build(self, input_shape: Any) -> None:
        shape = (self.num_joints, 3)
        self.mean_mm = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean_mm")
        self.std_mm = self.add_weight(shape=shape, initializer="ones", trainable=False, name="std_mm")

    def call(self, x: Any) -> Any:
        x = ops.reshape(ops.cast(x, "float32"), (-1, self.num_joints, 3))
        return x * self.std_mm + self.mean_mm

    def adapt(self, poses_mm: np.ndarray, pose_mask: np.ndarray) -> None:
        """Sets mean and standard deviation from poses [N, K, 3] and a mask [N, K] of observed joints."""
        mask = np.asarray(pose_mask, np.float64)[..., None]
        count = np.maximum(mask.sum(axis=0), 1.0)
        poses_mm = np.where(mask > 0, np.asarray(poses_mm, np.float64), 0.0)
        mean = poses_mm.sum(axis=0) / count
        variance = (mask * np.square(poses_mm - mean)).sum(axis=0) / count
        self.mean_mm.assign(mean)
        self.std_mm.assign(np.maximum(np.sqrt(variance), MIN_STD_MM))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_joints": self.num_joints}


def build_mcss_model(
    image_size: int,
    *,
    num_joints: int | None,
    depth: int = 18,
    width: int = 64,
    hidden_dim: int = 512,
    embedding_dim: int = 128,
    batch_norm_momentum: float = 0.9,
) -> keras.Model:
    """Builds F, G and H of MCSS (Mitra et al., CVPR 2020, section 3).

    F = ResNet, max-pool 2 (from 4 x 4 cells on), flatten; G = FC(hidden)-ReLU-FC(D), L2-normalised;
    H = linear FC(D, 3 K).

    Args:
        image_size: side S of the square input, pixels.
        num_joints: joints K that H predicts (all but the root), or None for a model without poses.
        depth, width: of the ResNet.
        hidden_dim: width of G's hidden layer.
        embedding_dim: D.
        batch_norm_momentum: of the backbone's moving statistics.

    Returns:
        Model from uint8 or float images [B, S, S, 3] in 0..255 to float32 `embedding` [B, D] of unit length
        and, with joints, `pose_mm` [B, K, 3]: canonical, relative to the root, millimetres.
    """
    images = keras.Input((image_size, image_size, 3), name="images")
    features = build_resnet(image_size, depth, width, batch_norm_momentum)(images)
    # A small image is 2 x 2 cells by now or one: pooled, it would lose where in the image things are.
    if min(features.shape[1:3]) >= POOLED_CELLS:
        features = layers.MaxPooling2D(2, name="pool")(features)
    x = layers.Flatten(name="flatten")(features)
    # float32 from here on: a few products, and early in training the embeddings of different images differ
    # by a hundredth of their length, which bfloat16's three digits would drown.
    x = layers.Dense(hidden_dim, activation="relu", dtype="float32", name="embedding_hidden")(x)
    x = layers.Dense(embedding_dim, dtype="float32", name="embedding_linear")(x)
    embedding = UnitLength(name="embedding")(x)
    outputs = {"embedding": embedding}
    if num_joints is not None:
        # Coordinates of about 1, as Adam's steps suit them: those of a unit vector are a tenth of that, and H
        # would need weights of 10.
        scaled = layers.Rescaling(embedding_dim**0.5, dtype="float32", name="pose_scale")(embedding)
        pose = layers.Dense(3 * num_joints, dtype="float32", name="pose_linear")(scaled)
        outputs["pose_mm"] = Unstandardise(num_joints, name="pose_mm")(pose)
    return keras.Model(images, outputs, name="mcss")


def standardised_l1(pose_mm: Any, target_mm: Any, pose_mask: Any, std_mm: Any) -> Any:
    """Returns L_pose: the mean of |pose - target| / std over the observed coordinates; 0 if there are none.

    Args:
        pose_mm, target_mm: [B, K, 3] millimetres.
        pose_mask: [B, K], 1 where the joint was observed.
        std_mm: [K, 3], the model's own standard deviations (`Unstandardise`).
    """
    mask = ops.broadcast_to(ops.cast(pose_mask, "float32")[..., None], ops.shape(pose_mm))
    error = ops.where(mask > 0, ops.abs(pose_mm - target_mm) / std_mm, ops.zeros_like(pose_mm))
    return ops.sum(error) / ops.maximum(replicas.mean(ops.sum(mask)), 1e-6)
