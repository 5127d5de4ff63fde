"""Cross-view refinement: CV-UGCN, trained on 2D keypoints alone (Hua et al. 2021)."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from mcss_tf.data.dataset import VALIDATION, PreparedDataset
from mcss_tf.data.keypoint_batches import KeypointPlan, keypoint_batches
from mcss_tf.data.keypoint_inputs import INPUTS, parse_view_sets, prepare_views
from mcss_tf.errors import InputError
from mcss_tf.evaluation.refinement import MEASURES, measure_refinement
from mcss_tf.losses.refinement import refinement_losses
from mcss_tf.models.graph import build_refinement_model
from mcss_tf.training.schedules import Plateau

# Squared errors of a millimetre on z = 1 are below 1e-7, where Adam's epsilon would matter.
_LOSS_SCALE = 100.0
_NUM_ADAPTED = 2048  # instants from which the network's inputs are standardised
TARGETS = ("annotation", "detection")


class Refinement:
    """Triangulates two or more views of an instant and corrects what comes out, without 3D labels.

    Args:
        config: see configs/refinement.py.
        dataset: a prepared one with keypoints and calibration; its train split is used.

    Raises:
        InputError: no keypoints or calibration, an unknown target or camera, annotations asked for where
            there are none, or no loss at all.
    """

    def __init__(self, config: ConfigDict, dataset: PreparedDataset):
        self._config, self._dataset = config, dataset
        if config.input.target not in TARGETS:
            raise InputError(
                f"input.target must be one of {', '.join(TARGETS)}. Received: {config.input.target!r}. "
                "Choose one."
            )
        if all(w <= 0 for w in config.loss.values()):
            raise InputError(f"A loss must have a weight. Received: {config.loss.to_dict()}. Raise one.")
        self.view_sets = parse_view_sets(config.views.sets, config.views.num, dataset.cameras)
        self._views = prepare_views(
            dataset,
            "train",
            is_annotation=config.input.target == "annotation",
            noise_scale=config.input.noise_scale,
            undistort=config.input.undistort,
        )
        self._plan = KeypointPlan(
            self._views, config.batch.num_instants, config.views.num, self.view_sets, config.seed
        )
        self.steps_per_epoch = self._plan.steps_per_epoch
        self.images_per_step = config.batch.num_instants * config.views.num
        self.state = Plateau(config.train.plateau_decay, config.train.plateau_epochs, self.steps_per_epoch)

    def describe(self) -> str:
        """Returns one line on what a batch is."""
        return (
            f"a batch is {self._config.batch.num_instants} instants in {self._config.views.num} views of "
            f"{len(self._views)} instants, targets are {self._config.input.target}s; "
            f"{self.steps_per_epoch} steps an epoch"
        )

    def build_model(self) -> keras.Model:
        """Builds the network and standardises its inputs by triangulated training poses."""
        config = self._config
        model = build_refinement_model(
            self._dataset.skeleton,
            num_views=config.views.num,
            widths=tuple(config.network.widths),
            is_weighted=config.input.weighted,
            has_cross_view=config.network.cross_view,
            has_pooling=config.network.pooling,
            has_evidence=config.network.evidence,
            batch_norm_momentum=config.network.batch_norm_momentum,
        )
        batch = next(iter(self._batches(0, min(_NUM_ADAPTED, len(self._views)))))
        coarse = model.get_layer("coarse_mm")({name: batch[name] for name in INPUTS})
        model.get_layer("standardised").adapt(coarse)
        return model

    def train_batches(self, start_step: int, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Returns a replica's part of the endless batches from number `start_step` on.

        They are a function of the seed and the number.
        """
        return self._batches(start_step, self._config.batch.num_instants, shard)

    def losses(self, model: keras.Model, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the scalars of one batch; `total` is what training minimises."""
        outputs = model({name: batch[name] for name in INPUTS}, training=True)
        terms = refinement_losses(
            outputs["refined_mm"],
            batch["target_rays"],
            batch["target_weight"],
            batch["rotation"],
            batch["translation_mm"],
            self._dataset.skeleton,
        )._asdict()
        weights = self._config.loss
        total = sum(weights[name] * term for name, term in terms.items())
        moved = tf.norm(outputs["refined_mm"] - outputs["coarse_mm"], axis=-1)
        return {"total": _LOSS_SCALE * total, **terms, "moved_mm": tf.reduce_mean(moved)}

    def after_step(self, scalars: Mapping[str, tf.Tensor]) -> None:
        """Watches the loss for the schedule "plateau"."""
        self.state.advance(scalars["total"])

    @property
    def validation_metrics(self) -> tuple[str, ...]:
        """What `validate` returns: none without 3D joints."""
        has_pose = self._dataset.index.has_pose[self._dataset.split_rows(VALIDATION)]
        return tuple(MEASURES) if has_pose.any() else ()

    def validate(self, model: keras.Model) -> dict[str, float]:
        """Refines every input that is held out."""
        config = self._config
        found = measure_refinement(model, config, self._dataset, VALIDATION, config.batch.num_instants)
        return found["all"]["refined"]

    def find_collapse(self, means: Mapping[str, float]) -> str | None:
        """Returns None: the poses start at the triangulation, and the keypoints hold them there."""
        return None

    def pictures(self, model: keras.Model, batch: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """Returns nothing: keypoints have no pictures."""
        return {}

    def _batches(self, start_step: int, batch_size: int, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        batches = keypoint_batches(
            self._views,
            batch_size=batch_size,
            num_views=self._config.views.num,
            view_sets=self.view_sets,
            seed=self._config.seed,
            start_step=start_step,
            shard=shard,
        )
        is_annotation = self._config.input.target == "annotation"

        def assemble(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            confidence = batch["keypoints_px"][..., 2]
            known = {name: batch[name] for name in ("rays", "rotation", "translation_mm")}
            # The target's rays stand in "rays_true"; see `prepare_views`.
            weight = tf.cast(confidence > 0, tf.float32) if is_annotation else confidence
            return {
                **known,
                "confidence": confidence,
                "target_rays": batch["rays_true"],
                "target_weight": weight,
            }

        return batches.map(assemble)
