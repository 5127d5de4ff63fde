"""Refined poses against triangulated ones: absolute and relative to the root, by set of cameras."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.keypoint_inputs import INPUTS, parse_view_sets, prepare_views
from mcss_tf.data.keypoint_views import KeypointViews
from mcss_tf.errors import InputError
from mcss_tf.evaluation.pose import mpjpe
from mcss_tf.evaluation.summary import Table, number
from mcss_tf.models.triangulation import CoarsePoses

METHODS = {
    "dlt": "two-view DLT",
    "weighted_dlt": "DLT weighted by confidence",
    "undistorted_dlt": "DLT, lens undone",
    "refined": "refined",
}
MEASURES = {
    "mpjpe_mm": "MPJPE, absolute (mm)",
    "root_relative_mpjpe_mm": "MPJPE, root-relative (mm)",
    "median_error_mm": "median joint error, absolute (mm)",
}


def measure_refinement(
    model: keras.Model, config: ConfigDict, dataset: PreparedDataset, split: str, batch_size: int
) -> dict[str, Any]:
    """Compares the refined poses of a split with three triangulations of the same keypoints.

    A pose in the world is the mean over the views of an input. Joints that one of the views does not see
    (confidence 0) count for none of the methods, since triangulation has nothing to say about them.

    Args:
        model: of `build_refinement_model`.
        config: of the run; its sets of cameras, noise and lens are those of the evaluation.
        dataset: with keypoints, calibration and 3D joints.
        split: "train" or "test".
        batch_size: inputs per step; changes speed and memory only.

    Returns:
        `sets` {"a+b": {method: {measure: mm}}}, `all` {method: {measure: mm}} over all inputs,
        `num_inputs`, and `excluded_fraction` of joints. Absolute errors are means over all joints,
        root-relative ones over the joints other than the root.

    Raises:
        InputError: the split has no 3D joints, or no input of these cameras.
    """
    options = config.input
    views = prepare_views(
        dataset, split, is_annotation=False, noise_scale=options.noise_scale, undistort=options.undistort
    )
    if not views.joint_mask.any():
        raise InputError(
            "Refined poses are measured against 3D joints. "
            f"Received: {dataset.path}, whose {split} split has none. Add poses.npz or a .trc and prepare "
            "again."
        )
    straight = None
    if not options.undistort:
        straight = prepare_views(dataset, split, is_annotation=False, noise_scale=options.noise_scale).rays
    predict = predictors(model)
    parts: dict[str, dict[str, np.ndarray]] = {}
    for names in parse_view_sets(config.views.sets, config.views.num, views.cameras):
        cameras = [views.cameras.index(name) for name in names]
        rows = np.flatnonzero(views.is_seen[:, cameras].all(1))
        if len(rows):
            parts["+".join(names)] = _errors(
                predict, views, straight, rows, cameras, dataset.skeleton.root, batch_size
            )
    if not parts:
        raise InputError(
            f"An input needs {config.views.num} cameras that see one instant. Received: none in the {split} "
            f"split of {dataset.path} for views.sets={config.views.sets!r}. Check the cameras' names."
        )
    pooled = {
        key: np.concatenate([part[key] for part in parts.values()]) for key in next(iter(parts.values()))
    }
    return {
        "sets": {name: _summary(part) for name, part in parts.items()},
        "all": _summary(pooled),
        "num_inputs": len(pooled["mask"]),
        "excluded_fraction": float(1 - pooled["mask"].mean()),
    }


def refinement_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Returns the tables of `measure_refinement`."""
    found = list(metrics["all"])
    rows = [
        [name, *(number(metrics["all"][method][key]) for method in found)] for key, name in MEASURES.items()
    ]
    note = (
        f"{metrics['num_inputs']} inputs; joints that a view does not see are left out "
        f"({metrics['excluded_fraction']:.1%})."
    )
    by_set = [
        [name, *(number(values[method]["mpjpe_mm"]) for method in found)]
        for name, values in metrics["sets"].items()
    ]
    names = [METHODS[method] for method in found]
    return [
        Table("Poses in the world", ["lower is better", *names], rows, note),
        Table("Absolute MPJPE by cameras (mm)", ["cameras", *names], by_set),
    ]


def predictors(model: keras.Model) -> dict[str, Any]:
    """Returns by method a function from the network's inputs to poses [B, V, J, 3] in the cameras."""
    weighted, plain = CoarsePoses(is_weighted=True), CoarsePoses()
    return {
        "dlt": tf.function(plain, reduce_retracing=True),
        "weighted_dlt": tf.function(weighted, reduce_retracing=True),
        "refined": tf.function(lambda x: model(x, training=False)["refined_mm"], reduce_retracing=True),
    }


def _errors(
    predict: dict[str, Any],
    views: KeypointViews,
    straight: np.ndarray | None,
    rows: np.ndarray,
    cameras: list[int],
    root: int,
    batch_size: int,
) -> dict[str, np.ndarray]:
    """Returns joint errors in mm [N, J] by method, relative ones under `<method>_relative`, and the mask."""
    mask = views.joint_mask[rows] * (views.keypoints_px[rows, ..., 2][:, cameras] > 0).all(1)
    inputs = network_inputs(views, views.rays, rows, cameras)
    poses = {method: world_poses(function, inputs, batch_size) for method, function in predict.items()}
    if straight is not None:
        poses["undistorted_dlt"] = world_poses(
            predict["dlt"], network_inputs(views, straight, rows, cameras), batch_size
        )
    errors = {"mask": mask, "relative_mask": mask * mask[:, [root]]}
    errors["relative_mask"][:, root] = 0
    truth = views.joints_mm[rows].astype(np.float64)
    for method, pose in poses.items():
        errors[method] = np.linalg.norm(pose - truth, axis=-1)
        relative = (pose - pose[:, [root]]) - (truth - truth[:, [root]])
        errors[f"{method}_relative"] = np.linalg.norm(relative, axis=-1)
    return errors


def network_inputs(
    views: KeypointViews, rays: np.ndarray, rows: np.ndarray, cameras: list[int]
) -> dict[str, np.ndarray]:
    """Returns what the network takes, of instants [N] in the cameras [V]."""
    sequence = views.sequence[rows]
    arrays = (
        rays[rows][:, cameras],
        views.keypoints_px[rows, ..., 2][:, cameras],
        views.rotation[sequence][:, cameras],
        views.translation_mm[sequence][:, cameras],
    )
    return dict(zip(INPUTS, arrays, strict=True))


def world_poses(function: Any, inputs: dict[str, np.ndarray], batch_size: int) -> np.ndarray:
    """Returns the mean over views of R^T (X - t), float64 [N, J, 3]."""
    num = len(inputs["rays"])
    poses = []
    for first in range(0, num, batch_size):
        batch = {name: tf.constant(values[first : first + batch_size]) for name, values in inputs.items()}
        poses.append(function(batch).numpy())
    centred = np.concatenate(poses).astype(np.float64) - inputs["translation_mm"][:, :, None]
    return np.einsum("nvji,nvkj->nvki", inputs["rotation"].astype(np.float64), centred).mean(1)


def _summary(errors: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    result = {}
    for method in METHODS:
        if method not in errors:
            continue
        result[method] = {
            "mpjpe_mm": _mean(errors[method], errors["mask"]),
            "root_relative_mpjpe_mm": _mean(errors[f"{method}_relative"], errors["relative_mask"]),
            "median_error_mm": float(np.median(errors[method][errors["mask"] > 0])),
        }
    return result


def _mean(errors: np.ndarray, mask: np.ndarray) -> float:
    """The mean over poses of each pose's mean, as everywhere."""
    per_pose = mpjpe(errors[..., None], np.zeros_like(errors[..., None]), mask)
    return float(np.nanmean(per_pose))
