"""Keypoints as refinement takes them: noisy or exact, with the lens undone or not, and the targets beside."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.keypoint_views import KeypointViews, load_keypoint_views
from mcss_tf.errors import InputError

# What the network takes, by name.
INPUTS = ("rays", "confidence", "rotation", "translation_mm")


def parse_view_sets(sets: str, num_views: int, cameras: Sequence[str]) -> list[list[str]]:
    """Returns the sets of cameras that form an input: of "a+b,a+c", or all of that many where it is empty.

    Raises:
        InputError: a name is none of the cameras'.
    """
    if not sets:
        return [list(names) for names in itertools.combinations(cameras, num_views)]
    found = [[name.strip() for name in names.split("+")] for names in sets.split(",")]
    unknown = sorted({name for names in found for name in names} - set(cameras))
    if unknown:
        raise InputError(
            f"Cameras of views.sets are among {', '.join(cameras)}. Received: {', '.join(unknown)}. "
            "Correct the names."
        )
    return found


def prepare_views(
    dataset: PreparedDataset,
    split: str,
    *,
    is_annotation: bool,
    noise_scale: float = 1.0,
    undistort: bool = True,
) -> KeypointViews:
    """Loads a split's keypoints so that `rays` are the input and `rays_true` the targets.

    Args:
        dataset: with keypoints and calibration.
        split: "train" or "test".
        is_annotation: whether targets are the exact keypoints; else they are the detections of the input.
        noise_scale: the input's errors are the detections' times this; 0: exact.
        undistort: whether the input's lens is undone; that of targets always is.

    Raises:
        InputError: exact keypoints are needed, as targets or to scale noise, and the dataset has none.
    """
    views = load_keypoint_views(dataset, split)
    if (is_annotation or noise_scale != 1.0) and views.rays_true is None:
        raise InputError(
            "input.target=annotation and input.noise_scale need exact keypoints beside the detected ones. "
            f"Received: {dataset.path} without them. Use --config.input.target=detection and noise_scale=1, "
            "or prepare --source=mocap."
        )
    pixels, rays = views.keypoints_px[..., :2], views.rays
    if noise_scale != 1.0:
        pixels = views.keypoints_true_px + noise_scale * (pixels - views.keypoints_true_px)
        rays = views.rays_true + noise_scale * (rays - views.rays_true)
    targets = views.rays_true if is_annotation else rays
    if not undistort:
        rays = _pinhole_rays(pixels, views)
    keypoints = np.concatenate([pixels, views.keypoints_px[..., 2:]], axis=-1)
    return dataclasses.replace(
        views,
        keypoints_px=keypoints.astype(np.float32),
        rays=rays.astype(np.float32),
        rays_true=targets.astype(np.float32),
    )


def _pinhole_rays(pixels: np.ndarray, views: KeypointViews) -> np.ndarray:
    """Returns K^-1 x [N, C, J, 2] as if lenses did not bend."""
    # An unseen view has no matrix; the identity keeps its zeros finite.
    matrix = np.where(views.is_seen[..., None, None], views.matrix[views.sequence], np.eye(3))
    homogeneous = np.concatenate([pixels, np.ones_like(pixels[..., :1])], axis=-1)
    return np.einsum("ncij,nckj->ncki", np.linalg.inv(matrix), homogeneous)[..., :2]
