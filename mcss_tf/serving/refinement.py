"""The served graph of cross-view refinement: keypoints and cameras in, poses out."""

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


def signature(num_views: int, num_joints: int) -> Signature:
    """Returns the tensors of a model of so many views and joints."""
    views, pose = ("batch", num_views), ("batch", num_views, num_joints, 3)
    return Signature(
        inputs=(
            TensorInfo(
                "keypoints_px", "float32", pose, "px", "x, y in the full frame and confidence; 0: not seen"
            ),
            TensorInfo("matrix", "float32", (*views, 3, 3), "px", "intrinsics of each view's camera"),
            TensorInfo("distortion", "float32", (*views, NUM_DISTORTION), "", "OpenCV's k1, k2, p1, p2, k3"),
            TensorInfo("rotation", "float32", (*views, 3, 3), "", "world to camera: X_cam = R X_world + t"),
            TensorInfo("translation_mm", "float32", (*views, 3), "mm", "world to camera"),
        ),
        outputs=(
            TensorInfo("refined_mm", "float32", pose, "mm", "joints in each view's camera frame"),
            TensorInfo("coarse_mm", "float32", pose, "mm", "the triangulation that was refined, likewise"),
            TensorInfo(
                "world_mm", "float32", ("batch", num_joints, 3), "mm", "refined joints, mean over the views"
            ),
        ),
    )


def served(model: keras.Model, undistort: bool) -> dict[str, tuple[Signature, Any]]:
    """Returns what `saved_model.write` takes: the signature and its function, by name.

    Args:
        model: of `build_refinement_model`.
        undistort: whether the model was trained on keypoints whose lens was undone; else it has learned the
            training lenses, and distortion is not used.
    """

    to_float32(model)

    def refine(
        keypoints_px: tf.Tensor,
        matrix: tf.Tensor,
        distortion: tf.Tensor,
        rotation: tf.Tensor,
        translation_mm: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        lens = distortion if undistort else tf.zeros_like(distortion)
        inputs = {
            "rays": normalise(keypoints_px[..., :2], matrix, lens),
            "confidence": keypoints_px[..., 2],
            "rotation": rotation,
            "translation_mm": translation_mm,
        }
        outputs = model(inputs, training=False)
        # X_world = R^T (X_cam - t)
        centred = outputs["refined_mm"] - translation_mm[:, :, None]
        world = tf.reduce_mean(tf.einsum("bvji,bvkj->bvki", rotation, centred), axis=1)
        return {**outputs, "world_mm": world}

    _, num_views, num_joints, _ = model.output["refined_mm"].shape
    return {"serving_default": (signature(num_views, num_joints), refine)}


def describe_refinement(model: keras.Model, info: dict[str, Any]) -> dict[str, Any]:
    """Returns what an exported refinement model says about itself, JSON-able.

    Args:
        model: the trained model.
        info: the content of the run's run.json.
    """
    skeleton = Skeleton.from_json(info["dataset"]["skeleton"])
    num_views = model.input["rays"].shape[1]
    tensors = signature(num_views, skeleton.num_joints)
    return {
        "format_version": FORMAT_VERSION,
        "created_by": f"mcss_tf {mcss_tf.__version__}",
        "method": "refinement",
        "num_views": num_views,
        "skeleton": skeleton.to_json(),
        "signatures": {"serving_default": dataclasses.asdict(tensors)},
        "training": info,
    }
