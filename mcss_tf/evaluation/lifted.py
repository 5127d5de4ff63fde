"""How well keypoints of single views are lifted: errors in the camera's axes, relative to the root."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import matplotlib.figure
import numpy as np

from mcss_tf import files
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.keypoint_views import load_keypoint_views
from mcss_tf.errors import InputError
from mcss_tf.evaluation.pose import mpjpe, pose_metrics
from mcss_tf.evaluation.summary import Table, number
from mcss_tf.geometry.skeleton import Skeleton

NAMES = {
    "mpjpe_mm": "MPJPE (mm)",
    "pa_mpjpe_mm": "PA-MPJPE (mm)",
    "n_mpjpe_mm": "N-MPJPE (mm)",
    "pck_150": "PCK at 150 mm (%)",
    "auc": "AUC up to 150 mm (%)",
    "root_mm": "root (mm)",
}


# Lines of skeletons, told apart in grey as well.
TRUTH = {"color": "#8FD0A8", "linewidth": 5.0, "solid_capstyle": "round"}
RESULT = {"color": "#A01010", "linewidth": 1.5}


@dataclasses.dataclass(frozen=True)
class LiftedSplit:
    """N views of a split (J joints).

    Attributes:
        lifted_mm: float32 [N, J, 3], relative to the root, axes of the view's camera.
        pose_mm: float32 [N, J, 3], the truth.
        pose_mask: float32 [N, J], 1 where the joint is known; 0 for the root.
        root_mm: float32 [N, 3], lifted position of the root in the camera.
        true_root_mm: float32 [N, 3].
        rays: float32 [N, J, 2], what was lifted.
        camera: int32 [N], position in the dataset's cameras.
        row: int64 [N], in the dataset's index.
        has_pose: bool [N].
        action: [N] str.
    """

    lifted_mm: np.ndarray
    pose_mm: np.ndarray
    pose_mask: np.ndarray
    root_mm: np.ndarray
    true_root_mm: np.ndarray
    rays: np.ndarray
    camera: np.ndarray
    row: np.ndarray
    has_pose: np.ndarray
    action: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


def lift(
    model: keras.Model,
    dataset: PreparedDataset,
    split: str,
    keypoints: str = "detected",
    batch_size: int = 1024,
) -> LiftedSplit:
    """Lifts every view of a split, each on its own.

    Args:
        model: of `models.lifter.build_lifter`.
        dataset: with keypoints and calibration.
        split: "train" or "test".
        keypoints: "detected" or "exact", the true ones.
        batch_size: views at a time.

    Raises:
        InputError: the dataset lacks them, or its joints are not as many as the model's.
    """
    views = load_keypoint_views(dataset, split)
    rays = views.rays if keypoints == "detected" else views.rays_true
    if rays is None or rays.shape[2] != model.inputs[0].shape[1]:
        raise InputError(
            f"A lifted dataset holds {keypoints} keypoints of the model's {model.inputs[0].shape[1]} joints. "
            f"Received: {'none' if rays is None else f'{rays.shape[2]} joints'} in {dataset.path}. "
            "Evaluate on data prepared like the training data."
        )
    instant, camera = np.nonzero(views.is_seen)
    sequence = views.sequence[instant]
    rotation, translation = views.rotation[sequence, camera], views.translation_mm[sequence, camera]
    joints = np.einsum("nij,nkj->nki", rotation, views.joints_mm[instant]) + translation[:, None]
    root = dataset.skeleton.root
    mask = views.joint_mask[instant] * views.joint_mask[instant][:, root, None]
    mask[:, root] = 0.0
    confidence = views.keypoints_px[instant, camera][..., 2:]
    confidence = confidence if keypoints == "detected" else np.ones_like(confidence)
    inputs = np.concatenate([rays[instant, camera], confidence], axis=-1)
    outputs = model.predict(inputs, batch_size=batch_size, verbose=0)
    actions = np.array([entry["action"] for entry in dataset.sequences])
    return LiftedSplit(
        lifted_mm=outputs["pose_mm"],
        pose_mm=joints - joints[:, root, None],
        pose_mask=mask,
        root_mm=outputs["root_mm"],
        true_root_mm=joints[:, root],
        rays=rays[instant, camera],
        camera=camera.astype(np.int32),
        row=views.row[instant],
        has_pose=mask.any(-1),
        action=actions[sequence],
    )


def measure(split: LiftedSplit) -> dict[str, Any]:
    """Averages the errors over views.

    Returns:
        `pose`, as `pose.pose_metrics` gives it, with `root_mm`, the mean distance of the lifted root from the
        true one; None without 3D joints; and `reasons` {"pose": why}.
    """
    if not split.has_pose.any():
        return {"pose": None, "reasons": {"pose": "The split has no 3D joints."}}
    pose = pose_metrics(split.lifted_mm, split.pose_mm, split.pose_mask, split.action)
    distance = np.linalg.norm(split.root_mm - split.true_root_mm, axis=-1)
    return {"pose": {**pose, "root_mm": float(distance[split.has_pose].mean())}, "reasons": {}}


def tables(metrics: dict[str, Any], baseline: dict[str, Any] | None = None) -> list[Table]:
    """Returns the tables of an evaluation, with the baseline's column where one is given."""
    runs = [run for run in (metrics, baseline) if run is not None]
    if any(run["pose"] is None for run in runs):
        return []
    header = ["", "this run", "baseline"][: len(runs) + 1]
    rows = [[name, *(number(run["pose"][key]) for run in runs)] for key, name in NAMES.items()]
    note = "Means over the joints other than the root (16 of Human3.6M's 17); every view lifted on its own."
    found = [Table("Lifted poses, in the axes of the camera", header, rows, note)]
    actions = [
        [action, *(number(values[key]) for key in NAMES if key != "root_mm"), str(values["num_poses"])]
        for action, values in metrics["pose"]["per_action"].items()
    ]
    if actions:
        names = [name for key, name in NAMES.items() if key != "root_mm"]
        found.append(Table("Per action", ["action", *names, "views"], actions))
    return found


def draw_skeletons(split: LiftedSplit, skeleton: Skeleton, path: str | Path, num_poses: int = 6) -> None:
    """Draws views evenly spread over a split: the keypoints, and the lifted pose on the truth from two sides.

    Args:
        split: what was lifted.
        skeleton: of its joints.
        path: of the PNG, written atomically.
        num_poses: columns.
    """
    figure = matplotlib.figure.Figure(figsize=(2.2 * num_poses, 7.0), layout="constrained")
    axes = figure.subplots(3, num_poses, squeeze=False)
    known = np.flatnonzero(split.pose_mask.any(-1))
    for column, view in enumerate(known[np.linspace(0, len(known) - 1, num_poses).astype(int)]):
        error = mpjpe(split.lifted_mm[view], split.pose_mm[view], split.pose_mask[view])
        axes[0, column].set_title(f"{split.action[view]}  {error:.0f} mm", fontsize=9)
        draw_skeleton(axes[0, column], split.rays[view], skeleton, color="0.2")
        for row, columns in ((1, [0, 1]), (2, [2, 1])):
            draw_skeleton(axes[row, column], split.pose_mm[view][:, columns], skeleton, **TRUTH)
            draw_skeleton(axes[row, column], split.lifted_mm[view][:, columns], skeleton, **RESULT)
            draw_scale(axes[row, column])
    for row, name in enumerate(("keypoints", "from the camera", "from its right side")):
        axes[row, 0].set_ylabel(name)
    figure.suptitle("wide and pale: truth; narrow and dark: lifted; the bar is 500 mm", fontsize=9)
    with files.atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=80)


def draw_skeleton(axis: Any, points: np.ndarray, skeleton: Skeleton, **line: Any) -> None:
    """Draws the bones between points [J, 2], whose second coordinate points down, without ticks."""
    for parent, child in skeleton.edges:
        axis.plot(*points[[parent, child]].T, **{"linewidth": 1.5, **line})
    axis.set_aspect("equal", adjustable="datalim")
    axis.set(xticks=[], yticks=[])
    # Image rows and the camera's y both point down.
    if not axis.yaxis_inverted():
        axis.invert_yaxis()


def draw_scale(axis: Any) -> None:
    """Draws 500 mm below skeletons in millimetres."""
    points = np.concatenate([line.get_xydata() for line in axis.get_lines()])
    middle, low = points[:, 0].mean(), points[:, 1].max() + 100
    axis.plot([middle - 250, middle + 250], [low, low], color="0.3", linewidth=1.0)
