"""What an exported model says about itself: assets/mcss.json."""

import hashlib
from typing import Any

import keras
import numpy as np

import mcss_tf
from mcss_tf.data.sources.recordings import RecordingOptions
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton
from mcss_tf.serving.decoding import MAX_PIXELS, MAX_SCANS
from mcss_tf.serving.signatures import STATUS_MEANINGS, describe, signatures_of

FORMAT_VERSION = 1


def build_metadata(
    model: keras.Model,
    skeleton: Skeleton,
    crop: dict[str, Any],
    training: dict[str, Any],
    precision: str = "float32",
    gallery: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Describes a model in JSON-able values.

    Args:
        model: the trained model; without the output `pose_mm` the description has `pose` null.
        skeleton: of the dataset it was trained on.
        crop: how `prepare` cut the training images: `size` in pixels, `context`, side over the person's.
        training: what the run says of itself, passed on as it is.
        precision: of the convolutions.
        gallery: `num_images` that `retrieve` searches and `k` that it finds; None without.
    """
    embedding_dim = model.output["embedding"].shape[-1]
    has_pose = "pose_mm" in model.output
    sizes = {"embedding_dim": embedding_dim, "num_joints": len(skeleton.non_root), **(gallery or {})}
    return {
        "format_version": FORMAT_VERSION,
        "created_by": f"mcss_tf {mcss_tf.__version__}",
        "image_size": model.input.shape[1],
        "crop": crop,
        "embedding_dim": embedding_dim,
        "pose": _describe_pose(model, skeleton) if has_pose else None,
        "signatures": describe(signatures_of(has_pose, gallery is not None), sizes),
        "statuses": {str(status.value): meaning for status, meaning in STATUS_MEANINGS.items()},
        "limits": {"max_pixels": MAX_PIXELS, "max_jpeg_scans": MAX_SCANS},
        "precision": precision,
        "weights_sha256": _checksum(model),
        "gallery": gallery,
        "training": training,
    }


def describe_run(model: keras.Model, info: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Describes a finished run; joints and crops are those of the dataset that it was trained on.

    Args:
        model: the trained model.
        info: the content of the run's run.json.
        **options: of `build_metadata`.
    """
    dataset = info["dataset"]
    crop = {**dataset["crop"], "context": dataset["crop"]["context"] or RecordingOptions.context}
    return build_metadata(model, Skeleton.from_json(dataset["skeleton"]), crop, info, **options)


def check_target(config: Any) -> None:
    """Raises InputError where a run's poses are not canonical, as an exported model promises."""
    target = config.labels.get("target", "canonical")
    if target != "canonical":
        raise InputError(
            f"An exported model gives canonical poses. Received: a run with labels.target={target}. "
            "Train with labels.target=canonical."
        )


def _describe_pose(model: keras.Model, skeleton: Skeleton) -> dict[str, Any]:
    layer = model.get_layer("pose_mm")
    return {
        "unit": "mm",
        "joint_names": [skeleton.joint_names[joint] for joint in skeleton.non_root],
        "root_joint": skeleton.joint_names[skeleton.root],
        "skeleton": skeleton.to_json(),
        "edges": [[skeleton.joint_names[joint] for joint in edge] for edge in skeleton.edges],
        "frame": "canonical: origin at the root joint, x towards the left hip in the ground plane, "
        "y to the back, z up, right-handed",
        "label_mean_mm": _rounded(layer.mean_mm),
        "label_std_mm": _rounded(layer.std_mm),
    }


def _checksum(model: keras.Model) -> str:
    """Embeddings can only be compared where this and the precision agree."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()


def _rounded(values: Any) -> list[list[float]]:
    return np.round(keras.ops.convert_to_numpy(values).astype(float), 3).tolist()
