"""The few numbers of a split that tell how a run is doing, for validation during training."""

import keras
import numpy as np

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.evaluation.embedded import embed
from mcss_tf.evaluation.pose import pose_metrics
from mcss_tf.evaluation.sync import sync_metrics

POSE_METRICS = ("n_mpjpe_mm", "mpjpe_mm", "pa_mpjpe_mm", "pck_150", "auc")
SYNC_METRIC = "sync_hit_at_1"


def headline_names(dataset: PreparedDataset, split: str, has_pose_head: bool) -> tuple[str, ...]:
    """Returns what `headline` can measure of a split."""
    rows = dataset.split_rows(split)
    names = POSE_METRICS if has_pose_head and dataset.index.has_pose[rows].any() else ()
    return (*names, SYNC_METRIC) if _has_sync(dataset, rows) else names


def headline(
    model: keras.Model, dataset: PreparedDataset, split: str, target: str = "canonical"
) -> dict[str, float]:
    """Runs an MCSS model over a split; `target` is the frame of its poses.

    Returns:
        Those that the split allows (`headline_names`): the means of `pose.pose_metrics`, and `sync_hit_at_1`
        of `sync.sync_metrics`.
    """
    images = embed(model, dataset, split, target=target)
    found = {}
    if images.predicted_mm is not None and images.has_pose.any():
        posed = images.has_pose
        pose = pose_metrics(
            images.predicted_mm[posed], images.pose_mm[posed], images.pose_mask[posed], images.action[posed]
        )
        found |= {name: pose[name] for name in POSE_METRICS}
    sync = sync_metrics(images, len(dataset.cameras))
    return found | {SYNC_METRIC: sync["hit_at_1"]} if sync else found


def _has_sync(dataset: PreparedDataset, rows: np.ndarray) -> bool:
    """Returns whether some camera has two images of one subject, and shares an instant with another."""
    is_present = dataset.index.is_present()[rows]
    for subject in np.unique(dataset.index.subject[rows]):
        seen = is_present[dataset.index.subject[rows] == subject]
        is_shared = (seen & (seen.sum(1) >= 2)[:, None]).any(0)
        if (is_shared & (seen.sum(0) >= 2)).any():
            return True
    return False
