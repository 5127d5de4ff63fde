"""Skeletons as triangulated and as refined, on the truth."""

from pathlib import Path

import keras
import matplotlib.figure
import numpy as np
from ml_collections import ConfigDict

from mcss_tf import files
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.keypoint_inputs import parse_view_sets, prepare_views
from mcss_tf.evaluation.lifted import RESULT, TRUTH, draw_scale, draw_skeleton
from mcss_tf.evaluation.pose import mpjpe
from mcss_tf.evaluation.refinement import network_inputs, predictors, world_poses

_LINES = {"dlt": {"color": "#3060C0", "linewidth": 1.2, "linestyle": (0, (2, 1))}, "refined": RESULT}


def draw_refined(
    model: keras.Model,
    config: ConfigDict,
    dataset: PreparedDataset,
    split: str,
    path: str | Path,
    num_poses: int = 6,
) -> None:
    """Draws instants evenly spread over a split, from the front and from the side, in the world.

    Args:
        model: of `build_refinement_model`.
        config: of the run; its first set of cameras is used.
        dataset: with keypoints, calibration and 3D joints.
        split: "train" or "test".
        path: of the PNG, written atomically.
        num_poses: columns, at most.
    """
    options = config.input
    views = prepare_views(
        dataset, split, is_annotation=False, noise_scale=options.noise_scale, undistort=options.undistort
    )
    names = parse_view_sets(config.views.sets, config.views.num, views.cameras)[0]
    cameras = [views.cameras.index(name) for name in names]
    rows = np.flatnonzero(views.is_seen[:, cameras].all(1) & views.joint_mask.all(1))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, num_poses).astype(int))] if len(rows) else rows
    figure = matplotlib.figure.Figure(figsize=(2.2 * num_poses, 5.0), layout="constrained")
    axes = figure.subplots(2, num_poses, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    if len(rows):
        inputs = network_inputs(views, views.rays, rows, cameras)
        functions = predictors(model)
        poses = {name: world_poses(functions[name], inputs, len(rows)) for name in _LINES}
        for column, row in enumerate(rows):
            _draw_instant(
                axes[:, column],
                views.joints_mm[row],
                {name: pose[column] for name, pose in poses.items()},
                dataset,
            )
    figure.suptitle(
        f"{' + '.join(names)}; wide and pale: truth; dashed: triangulated; solid: refined; the bar is 500 mm",
        fontsize=9,
    )
    with files.atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=80)


def _draw_instant(
    axes: np.ndarray, truth_mm: np.ndarray, poses_mm: dict[str, np.ndarray], dataset: PreparedDataset
) -> None:
    errors = [f"{mpjpe(pose, truth_mm):.0f}" for pose in poses_mm.values()]
    axes[0].set_title(f"{' to '.join(errors)} mm", fontsize=9)
    # Heights point up, rows of a picture down.
    for axis, columns in zip(axes, ((0, 2), (1, 2)), strict=True):
        signs = np.array([1, -1])
        draw_skeleton(axis, truth_mm[:, columns] * signs, dataset.skeleton, **TRUTH)
        for name, line in _LINES.items():
            draw_skeleton(axis, poses_mm[name][:, columns] * signs, dataset.skeleton, **line)
        draw_scale(axis)
