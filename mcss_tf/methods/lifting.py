"""Geometry-driven lifting: 2D keypoints to 3D without 3D labels (Li et al., AAAI 2020)."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from mcss_tf import replicas
from mcss_tf.data.dataset import VALIDATION, PreparedDataset
from mcss_tf.data.extrinsics import estimate_extrinsics
from mcss_tf.data.keypoint_batches import KeypointPlan, keypoint_batches
from mcss_tf.data.keypoint_inputs import parse_view_sets
from mcss_tf.data.keypoint_views import load_keypoint_views
from mcss_tf.errors import InputError
from mcss_tf.evaluation import lifted
from mcss_tf.losses.reprojection import WEIGHTINGS, length, placement, to_pixels, view_losses
from mcss_tf.models.lifter import build_lifter

_CHOICES = {
    "data.keypoints": ("detected", "exact"),
    "data.extrinsics": ("calibrated", "keypoints"),
    "loss.place": ("branch", "keypoints"),
    "loss.supervision": ("views", "joints"),
    "loss.confidence": WEIGHTINGS,
}


class Lifting:
    """Trains the lifting network and its root branch on pairs (or more) of views of one instant.

    Stage 1 brings the poses of the views together, L_pre; with it the network learns how far away people are,
    and that they stand in front of the cameras. Stage 2 is L_reproj + transform_weight L_t_reproj. With
    `loss.supervision="joints"` the same networks learn from 3D joints instead: the reference.

    Args:
        config: see configs/lifting.py.
        dataset: a prepared one with keypoints and calibration; its train split is used.

    Raises:
        InputError: the dataset or a value of the config does not fit.
    """

    def __init__(self, config: ConfigDict, dataset: PreparedDataset):
        self._config, self._dataset = config, dataset
        for path, choices in _CHOICES.items():
            section, name = path.split(".")
            if config[section][name] not in choices:
                raise InputError(
                    f"{path} must be one of {', '.join(choices)}. Received: {config[section][name]!r}. "
                    "Choose one of these."
                )
        if config.model.branches not in (1, 2):
            raise InputError(
                f"model.branches must be 1 or 2. Received: {config.model.branches}. Choose one of the two."
            )
        data = config.data
        self._views = load_keypoint_views(
            dataset,
            "train",
            cameras=names_of(data.cameras),
            clip_fraction=data.clip_fraction,
            clip_seed=data.clip_seed,
        )
        if data.keypoints == "exact" and self._views.rays_true is None:
            raise InputError(
                'data.keypoints="exact" needs keypoints_true_px in the dataset. Received: '
                f'{dataset.path} without. Use --source=mocap, or data.keypoints="detected".'
            )
        self._is_supervised = config.loss.supervision == "joints"
        if self._is_supervised and not self._views.joint_mask.any():
            raise InputError(
                'loss.supervision="joints" needs 3D joints. Received: a train split without any in '
                f'{dataset.path}. Prepare labels, or train with loss.supervision="views".'
            )
        if data.extrinsics == "keypoints":
            self._views = estimate_extrinsics(self._views, distances_mm=dict(data.distances_mm))
        self._batch = {
            "batch_size": config.batch_size,
            "num_views": data.num_views,
            "view_sets": parse_view_sets(data.view_sets, data.num_views, self._views.cameras),
            "seed": config.seed,
        }
        self.steps_per_epoch = KeypointPlan(self._views, **self._batch).steps_per_epoch
        self.images_per_step = config.batch_size * data.num_views
        num_steps = config.train.steps or config.train.epochs * self.steps_per_epoch
        self._pretraining_steps = round(config.loss.pretraining * num_steps)
        self.state = tf.Module()

    def describe(self) -> str:
        """Returns one line on what a batch is."""
        data = self._config.data
        return (
            f"a batch is {self._config.batch_size} of {len(self._views)} instants in {data.num_views} of "
            f"{len(self._views.cameras)} views; {self.steps_per_epoch} steps an epoch"
        )

    def build_model(self) -> keras.Model:
        """Builds both networks."""
        skeleton, model = self._dataset.skeleton, self._config.model
        return build_lifter(
            skeleton.num_joints,
            skeleton.root,
            width=model.width,
            num_blocks=model.num_blocks,
            dropout=model.dropout,
            branches=model.branches,
        )

    def train_batches(self, start_step: int, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Returns a replica's part of the endless batches from number `start_step` on.

        They are a function of the seed and the number.
        """
        return keypoint_batches(self._views, **self._batch, start_step=start_step, shard=shard)

    def losses(self, model: keras.Model, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the scalars of one batch; `total` is what training minimises."""
        is_exact = self._config.data.keypoints == "exact"
        rays = batch["rays_true" if is_exact else "rays"]
        num_instants, num_views, num_joints = rays.shape[:3]
        confidence = batch["keypoints_px"][..., 2]
        confidence = tf.ones_like(confidence) if is_exact else confidence
        keypoints = tf.concat([rays, confidence[..., None]], -1)
        outputs = model(tf.reshape(keypoints, (-1, num_joints, 3)), training=True)
        pose_mm = tf.reshape(outputs["pose_mm"], (num_instants, num_views, num_joints, 3))
        root_mm = tf.reshape(outputs["root_mm"], (num_instants, num_views, 1, 3))
        if self._is_supervised:
            return self._supervised(pose_mm, root_mm, batch)
        lifted_mm, place = pose_mm + root_mm, tf.zeros(())
        is_pretraining = batch["step"] < self._pretraining_steps
        if self._config.loss.place == "keypoints":
            placed_mm, place = self._place(pose_mm, root_mm, rays, confidence, batch)
            lifted_mm = tf.where(is_pretraining, lifted_mm, placed_mm)
        terms = view_losses(
            lifted_mm,
            to_pixels(rays, batch["matrix"]),
            confidence,
            batch["matrix"],
            batch["rotation"],
            batch["translation_mm"],
            self._config.loss.confidence,
        )
        loss = self._config.loss
        stage2 = loss.reprojection_weight * terms.reprojection + loss.transform_weight * terms.transformed
        stage2 += loss.place_weight * place
        # Neither loss can be infinite, so the unused one leaves no NaN in the gradient.
        total = tf.where(is_pretraining, terms.consistency, stage2)
        return {"total": total, "place": place, **terms._asdict()}

    def _place(
        self,
        pose_mm: tf.Tensor,
        root_mm: tf.Tensor,
        rays: tf.Tensor,
        confidence: tf.Tensor,
        batch: Mapping[str, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the poses where they fit the keypoints of all views, and the root's mean distance, mm.

        The pose learns from where it fits alone, and the root from that place alone.
        """
        weights = tf.ones_like(confidence) if self._config.loss.confidence == "none" else confidence
        offset = placement(pose_mm + root_mm, rays, weights, batch["rotation"], batch["translation_mm"])
        there_mm = tf.stop_gradient(root_mm + offset[:, :, None])
        return pose_mm + there_mm, tf.reduce_mean(length(root_mm - there_mm))

    def _supervised(
        self, pose_mm: tf.Tensor, root_mm: tf.Tensor, batch: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Returns the mean joint error of the pose plus that of the root, mm."""
        root = self._dataset.skeleton.root
        truth = tf.einsum("bvij,bkj->bvki", batch["rotation"], batch["joints_mm"])
        truth += batch["translation_mm"][:, :, None]
        mask = batch["joint_mask"] * batch["joint_mask"][:, root, None]
        mask = tf.broadcast_to(mask[:, None], tf.shape(pose_mm)[:3])
        true_root = truth[:, :, root : root + 1]
        total = tf.maximum(replicas.mean(tf.reduce_sum(mask)), 1e-6)
        pose = tf.reduce_sum(mask * length(pose_mm - (truth - true_root))) / total
        root_error = tf.reduce_sum(mask * length(root_mm - true_root)) / total
        return {"total": pose + root_error, "pose": pose, "root": root_error}

    def after_step(self, scalars: Mapping[str, tf.Tensor]) -> None:
        """Nothing changes between steps but the weights."""
        del scalars  # a body without a statement is one that AutoGraph cannot transform

    @property
    def validation_metrics(self) -> tuple[str, ...]:
        """What `validate` returns: none without 3D joints."""
        has_pose = self._dataset.index.has_pose[self._dataset.split_rows(VALIDATION)]
        return tuple(lifted.NAMES) if has_pose.any() else ()

    def validate(self, model: keras.Model) -> dict[str, float]:
        """Lifts every view that is held out."""
        views = lifted.lift(model, self._dataset, VALIDATION, self._config.data.keypoints)
        pose = lifted.measure(views)["pose"]
        return {name: pose[name] for name in self.validation_metrics}

    def find_collapse(self, means: Mapping[str, float]) -> str | None:
        """Returns None: nothing here can collapse without the reprojection error showing it."""
        return None

    def pictures(self, model: keras.Model, batch: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """Returns none; `evaluate` draws the skeletons."""
        return {}


def names_of(cameras: str) -> list[str] | None:
    """Returns the cameras of a config: "a,b" becomes a list, "" None for all."""
    return [name.strip() for name in cameras.split(",")] if cameras else None
