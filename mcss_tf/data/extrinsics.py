"""Extrinsics from keypoints: training then needs intrinsics and measured distances between cameras only."""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from mcss_tf.data.keypoint_views import KeypointViews
from mcss_tf.errors import InputError
from mcss_tf.geometry.relative_pose import relative_pose

_MIN_CONFIDENCE = 0.5
# RANSAC needs no more, and its time grows with the number.
_MAX_POINTS = 5000


def estimate_extrinsics(views: KeypointViews, distances_mm: Mapping[str, float]) -> KeypointViews:
    """Replaces rotation and translation of every camera by estimates; the first camera becomes the world.

    Args:
        views: of `load_keypoint_views`; of its extrinsics only distances between cameras are used, where
            `distances_mm` does not give them.
        distances_mm: "first:second" names of cameras to their measured distance.

    Returns:
        The same instants with other extrinsics. Sequences of equal calibration share one estimate.

    Raises:
        InputError: two cameras see too few common joints, or a distance is not positive.
    """
    rotation, translation_mm = views.rotation.copy(), views.translation_mm.copy()
    for sequences in _setups(views):
        instants = np.flatnonzero(np.isin(views.sequence, sequences))
        rotation[sequences, 0], translation_mm[sequences, 0] = np.eye(3), 0.0
        for camera in range(1, len(views.cameras)):
            first, second = _common_rays(views, instants, camera)
            name = f"{views.cameras[0]}:{views.cameras[camera]}"
            distance = distances_mm.get(name) or _calibrated_distance(views, sequences[0], camera)
            try:
                pose = relative_pose(first, second, distance)
            except InputError as error:
                raise InputError(f"{error} Cameras: {name}.") from error
            rotation[sequences, camera] = pose.rotation
            translation_mm[sequences, camera] = pose.translation_mm
    return dataclasses.replace(views, rotation=rotation, translation_mm=translation_mm)


def _setups(views: KeypointViews) -> list[np.ndarray]:
    """Groups the sequences that occur by equal calibration."""

    def key(sequence: int) -> bytes:
        return views.rotation[sequence].tobytes() + views.translation_mm[sequence].tobytes()

    present = sorted(np.unique(views.sequence).tolist(), key=key)
    return [np.array(list(group)) for _, group in itertools.groupby(present, key)]


def _common_rays(views: KeypointViews, instants: np.ndarray, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns rays [N, 2] of confident joints that the first camera and another see at once."""
    confident = (views.keypoints_px[instants][..., 2] >= _MIN_CONFIDENCE) & views.is_seen[instants][..., None]
    both = np.argwhere(confident[:, 0] & confident[:, camera])
    both = np.random.default_rng(0).permutation(both)[:_MAX_POINTS]
    rays = views.rays[instants]
    return rays[both[:, 0], 0, both[:, 1]], rays[both[:, 0], camera, both[:, 1]]


def _calibrated_distance(views: KeypointViews, sequence: int, camera: int) -> float:
    rotation = views.rotation[sequence].astype(np.float64)
    centres = -np.einsum("vji,vj->vi", rotation, views.translation_mm[sequence].astype(np.float64))
    return float(np.linalg.norm(centres[camera] - centres[0]))
