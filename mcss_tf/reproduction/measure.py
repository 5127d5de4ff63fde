"""What is measured of a trained network: everything that any table or figure shows, as JSON."""

from typing import Any

import keras
import numpy as np
from ml_collections import ConfigDict

from mcss_tf.data.dataset import VALIDATION, PreparedDataset
from mcss_tf.data.validation import hold_out
from mcss_tf.evaluation import gallery
from mcss_tf.evaluation.distances import distance_metrics
from mcss_tf.evaluation.embedded import EmbeddedSplit, embed
from mcss_tf.evaluation.embedding_map import embedding_map
from mcss_tf.evaluation.pose import pose_metrics
from mcss_tf.evaluation.retrieval import RANKS, mean_pa_mpjpe
from mcss_tf.evaluation.sync import sync_metrics
from mcss_tf.reproduction.keypoints import measure_keypoints

# On the test split of the network's own room, of the other one, or on what its training held out; what the
# pictures of the test split show; and, of refinement, that split with its noise scaled.
MEASURES = ("test", "test@other", "validation", "pictures", "noise")
ALL_RANKS = tuple(range(1, 21))


def measure(
    what: str, model: keras.Model, config: ConfigDict, dataset: PreparedDataset, max_queries: int
) -> dict[str, Any]:
    """Measures a network.

    Args:
        what: one of `MEASURES`.
        model: the network.
        config: it was trained with.
        dataset: to measure on.
        max_queries: of retrieval.

    Returns:
        JSON-able numbers; None where something cannot be had. "validation" leaves out what takes long.
    """
    if config.method != "mcss":
        return measure_keypoints(what, model, config, dataset)
    target = config.labels.target
    if what == "validation":
        images = embed(model, hold_out(dataset, config.validation), VALIDATION, target=target)
        return _numbers(images, len(dataset.cameras), max_queries, RANKS)
    images = embed(model, dataset, "test", target=target)
    if what == "pictures":
        return _pictures(images)
    return {
        **_numbers(images, len(dataset.cameras), max_queries, ALL_RANKS),
        "distances": distance_metrics(images) if target == "canonical" else None,
        "by_camera": {
            name: _of_camera(images, camera, max_queries // len(dataset.cameras))
            for camera, name in enumerate(dataset.cameras)
        },
    }


def _numbers(
    images: EmbeddedSplit, num_cameras: int, max_queries: int, ranks: tuple[int, ...]
) -> dict[str, Any]:
    return {
        "pose": _pose(images),
        "retrieval": mean_pa_mpjpe(images, max_queries, ranks=ranks),
        "sync": sync_metrics(images, num_cameras),
    }


def _pose(images: EmbeddedSplit) -> dict[str, Any] | None:
    posed = images.take(images.has_pose)
    if images.predicted_mm is None or not len(posed):
        return None
    distance = np.linalg.norm(posed.predicted_mm - posed.pose_mm, axis=-1) * posed.pose_mask
    return {
        **pose_metrics(posed.predicted_mm, posed.pose_mm, posed.pose_mask, posed.action),
        # In skeleton order without the root.
        "per_joint_mm": (distance.sum(0) / np.maximum(posed.pose_mask.sum(0), 1)).astype(float).tolist(),
    }


def _of_camera(images: EmbeddedSplit, camera: int, max_queries: int) -> dict[str, Any]:
    """Measures the images of one camera, which look for their like among the other cameras' images."""
    is_own = images.camera == camera
    pose = _pose(images.take(is_own)) or {}
    return {
        "pose": {name: value for name, value in pose.items() if not name.startswith("per_")},
        "retrieval": mean_pa_mpjpe(images, max_queries, is_query=is_own),
    }


def _pictures(images: EmbeddedSplit) -> dict[str, Any]:
    """Returns what Fig. 1b, Fig. 5 and the maps show; images are named by their row and camera."""
    picked, num_views = gallery.instants_by_views(images)
    distances = np.linalg.norm(images.embedding[picked][:, None] - images.embedding[picked], axis=-1)
    return {
        "matrix": {
            "images": [_name(images, image) for image in picked],
            "num_views": num_views,
            "distances": np.round(distances.astype(float), 4).tolist(),
        },
        "rows": [_row(images, row) for row in gallery.retrieval_rows(images, num_rows=6)],
        "map": embedding_map(images),
    }


def _row(images: EmbeddedSplit, row: gallery.RetrievalRow) -> dict[str, Any]:
    def found(neighbours: list[gallery.Neighbour]) -> list[dict[str, Any]]:
        return [
            {
                "image": _name(images, neighbour.image),
                "is_same_instant": neighbour.is_same_instant,
                "pa_mpjpe_mm": neighbour.pa_mpjpe_mm,
            }
            for neighbour in neighbours
        ]

    return {"query": _name(images, row.query), "same": found(row.same), "cross": found(row.cross)}


def _name(images: EmbeddedSplit, image: int) -> list[int]:
    return [int(images.row[image]), int(images.camera[image])]
