"""The served graph of lifting: keypoints of single views and their intrinsics in, poses out."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

import mcss_tf
from mcss_tf.geometry.skeleton import Skeleton
from mcss_tf.models.triangulation import NUM_DISTORTION, normalise
from mcss_tf.serving.folding import to_float32
from mcss_tf.serving.metadata import FORMAT_VERSION
from mcss_tf.serving.signatures import Signature, TensorInfo


def signature(num_joints: int) -> Signature:
    """Returns the tensors of a model of so many joints."""
    return Signature(
        inputs=(
            TensorInfo(
                "keypoints_px",
                "float32",
                ("batch", num_joints, 3),
                "px",
                "x, y in the full frame and confidence; 0: not seen, any other value gives the same pose",
            ),
            TensorInfo("matrix", "float32", ("batch", 3, 3), "px", "intrinsics of each view's camera"),
            TensorInfo("distortion", "float32", ("batch", NUM_DISTORTION), "", "OpenCV's k1, k2, p1, p2, k3"),
        ),
        outputs=(
            TensorInfo(
                "pose_mm",
                "float32",
                ("batch", num_joints, 3),
                "mm",
                "all joints relative to the root, in the axes of the camera: x right, y down, z forward",
            ),
            TensorInfo("root_mm", "float32", ("batch", 3), "mm", "the root's position in the camera"),
        ),
    )


def served(model: keras.Model) -> dict[str, tuple[Signature, Any]]:
    """Returns what `saved_model.write` takes: the signature and its function, by name."""

    to_float32(model)

    def lift(keypoints_px: tf.Tensor, matrix: tf.Tensor, distortion: tf.Tensor) -> dict[str, tf.Tensor]:
        rays = normalise(keypoints_px[:, None, :, :2], matrix[:, None], distortion[:, None])[:, 0]
        return model(tf.concat([rays, keypoints_px[..., 2:]], axis=-1), training=False)

    return {"serving_default": (signature(model.inputs[0].shape[1]), lift)}


def describe_lifting(model: keras.Model, info: dict[str, Any]) -> dict[str, Any]:
    """Returns what an exported lifting model says about itself, JSON-able.

    Args:
        model: the trained model.
        info: the content of the run's run.json.
    """
    skeleton = Skeleton.from_json(info["dataset"]["skeleton"])
    return {
        "format_version": FORMAT_VERSION,
        "created_by": f"mcss_tf {mcss_tf.__version__}",
        "method": "lifting",
        "skeleton": skeleton.to_json(),
        "signatures": {"serving_default": dataclasses.asdict(signature(model.inputs[0].shape[1]))},
        "training": info,
    }
