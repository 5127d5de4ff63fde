"""MCSS: multiview-consistent semi-supervised learning (Mitra et al., CVPR 2020)."""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from mcss_tf import replicas
from mcss_tf.data import batches, pairs, planning
from mcss_tf.data.augment import Augmentation
from mcss_tf.data.background import Backgrounds, find_backgrounds
from mcss_tf.data.dataset import VALIDATION, PreparedDataset
from mcss_tf.data.targets import PoseTargets
from mcss_tf.errors import InputError
from mcss_tf.evaluation.headline import headline, headline_names
from mcss_tf.losses.contrastive import Candidates, multiview_contrastive_loss
from mcss_tf.losses.softmax import multiview_softmax_loss
from mcss_tf.models.heads import build_mcss_model, standardised_l1
from mcss_tf.models.weights import load_imagenet_weights
from mcss_tf.ops import hardest_negatives
from mcss_tf.training.schedules import Ramp
from mcss_tf.training.workdir import load_run

NUM_PICTURE_ROWS = 8
SUBJECTS = ("one", "mixed", "per_replica")
MINING = ("global", "local")


class MCSS:
    """Joint training L = metric_weight L_metric + pose_weight L_pose, on pairs and labelled images.

    Anchors, positives and labelled images go through the network in one batch: one set of BatchNorm
    statistics then serves both losses, as the moving ones do at test time, and one large pass is faster
    than three.

    Args:
        config: see configs/common.py.
        dataset: a prepared one; its train split is used.

    Raises:
        InputError: the baseline without labels, a min_gap_s that is neither "auto" nor a number,
            unknown batch.subjects or batch.mining, or cameras to leave out that are not there.
    """

    def __init__(self, config: ConfigDict, dataset: PreparedDataset):
        without = [name.strip() for name in config.data.without_cameras.split(",") if name.strip()]
        dataset = dataset.without_cameras(without)
        self._config, self._dataset = config, dataset
        _check_batch(config.batch)
        self._is_mixed = config.batch.subjects == "mixed"
        self._image_size = config.image_size or dataset.crop_size
        self._labels = label_options(config.labels)
        self._label_rows = pairs.labelled_rows(dataset, self._labels)
        has_metric, has_labels = config.loss.metric_weight > 0, len(self._label_rows) > 0
        if not has_metric and not has_labels:
            raise InputError(
                "loss.metric_weight=0 trains on labelled images only. Received: a train split without 3D "
                f"poses (labels.subjects={config.labels.subjects!r}). Prepare poses or keep the metric loss."
            )
        self._num_pairs = config.batch.num_pairs if has_metric else 0
        self._num_labelled = config.batch.num_labelled if has_labels else 0
        # Of an even number; where there are fewer cameras, the same image would be there twice.
        self._num_views = min(config.batch.views, max(2, len(dataset.cameras) // 2 * 2))
        self._num_instants = pairs.num_instants(self._num_pairs, self._num_views)
        self._min_gap_s = self._resolve_gap() if has_metric else 0.0
        self.state = Ramp(config.loss.threshold_ramp_steps)
        self.images_per_step = 2 * self._num_pairs + self._num_labelled
        self.steps_per_epoch = planning.steps_per_epoch(
            dataset.index,
            dataset.split_rows("train"),
            num_pairs=self._num_instants,
            num_labelled=self._num_labelled,
            labelled_rows=self._label_rows,
            is_mixed=self._is_mixed,
        )

    def describe(self) -> str:
        """Returns one line on what a batch is."""
        parts = []
        if self._num_pairs:
            what = f"{self._num_instants} instants in {self._num_views} views"
            parts.append(f"{what}, at least {self._min_gap_s:g} s apart,")
        if self._num_labelled:
            parts.append(f"{self._num_labelled} labelled images of {len(self._label_rows)} labelled instants")
        return f"a batch is {' and '.join(parts)}; {self.steps_per_epoch} steps an epoch"

    def build_model(self) -> keras.Model:
        """Builds the network, its target standardisation set and its backbone initialised as configured."""
        config = self._config
        if config.train.init_from:
            return self._load_model(config.train.init_from)
        joints = list(self._dataset.skeleton.non_root)
        model = build_mcss_model(
            self._image_size,
            num_joints=len(joints) if self._num_labelled else None,
            depth=config.backbone.depth,
            width=config.backbone.width,
            hidden_dim=config.embedding.hidden_dim,
            embedding_dim=config.embedding.dim,
            batch_norm_momentum=config.backbone.batch_norm_momentum,
        )
        if self._num_labelled:
            rows, cameras = np.nonzero(self._dataset.index.is_present()[self._label_rows])
            targets = PoseTargets(self._dataset, config.labels.target, self._label_rows)
            poses_mm, mask = targets(self._label_rows[rows], cameras)
            model.get_layer("pose_mm").adapt(poses_mm[:, joints], mask[:, joints])
        if config.backbone.weights:
            load_imagenet_weights(model.get_layer("backbone"), config.backbone.weights)
        return model

    def _load_model(self, workdir: str) -> keras.Model:
        """Loads the model of a finished run; where nothing is labelled, its pose head stays as it is."""
        model = load_run(workdir).model
        if model.input.shape[1] != self._image_size or (self._num_labelled and "pose_mm" not in model.output):
            raise InputError(
                f"train.init_from is a run on images of {self._image_size} pixels, with a pose head where "
                f"there are labels. Received: {workdir} with {model.input.shape[1]} pixels and "
                f"{', '.join(model.output)}. Set image_size to its size, or labels.subjects to none."
            )
        if not self._num_labelled and "pose_mm" in model.output:
            model.get_layer("pose_linear").trainable = False
        return model

    def train_batches(self, start_step: int, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Returns a replica's part of the endless batches from number `start_step` on.

        They are a function of the seed and the number.
        """
        return batches.train_batches(
            self._dataset,
            image_size=self._image_size,
            num_pairs=self._num_pairs,
            num_labelled=self._num_labelled,
            min_gap_s=self._min_gap_s,
            labels=self._labels,
            seed=self._config.seed,
            start_step=start_step,
            shard=shard,
            is_per_replica=self._config.batch.subjects == "per_replica",
            augmentation=Augmentation(**self._config.augment),
            target=self._config.labels.target,
            is_mixed=self._is_mixed,
            num_views=self._num_views,
            backgrounds=self._backgrounds,
        )

    @functools.cached_property
    def _backgrounds(self) -> Backgrounds | None:
        """Found once for all replicas of the process."""
        if not self._config.augment.background:
            return None
        return find_backgrounds(self._dataset, self._dataset.split_rows("train"))

    def losses(self, model: keras.Model, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the scalars of one batch; `total` is what training minimises."""
        outputs = model(_all_images(batch), training=True)
        total, scalars = 0.0, {}
        if self._num_pairs:
            scalars |= self._metric_scalars(outputs["embedding"], batch["group"])
            total += self._config.loss.metric_weight * scalars["metric"]
        if self._num_labelled:
            scalars["pose"] = standardised_l1(
                outputs["pose_mm"][-batch["pose_mm"].shape[0] :],
                batch["pose_mm"],
                batch["pose_mask"],
                model.get_layer("pose_mm").std_mm,
            )
            total += self._config.loss.pose_weight * scalars["pose"]
        return {"total": total, **scalars}

    def _metric_scalars(self, embedding: tf.Tensor, group: tf.Tensor) -> dict[str, tf.Tensor]:
        loss, num = self._config.loss, group.shape[0]
        threshold = loss.threshold * self.state.value
        anchors, positives = embedding[:num], embedding[num : 2 * num]
        if self._num_views > 2:
            anchors, positives, group = all_view_pairs(embedding[: 2 * num], group, self._num_views)
        is_global = self._config.batch.mining == "global" and replicas.count() > 1
        candidates = gather_candidates(anchors, positives, group) if is_global else None
        terms = multiview_contrastive_loss(
            anchors,
            positives,
            margin=loss.margin,
            threshold=threshold,
            squared=loss.squared,
            groups=group,
            candidates=candidates,
        )
        named = terms._asdict()
        metric = named.pop("total")
        if loss.softmax_weight:
            named["softmax"] = multiview_softmax_loss(
                anchors, positives, temperature=loss.temperature, groups=group, candidates=candidates
            )
            metric += loss.softmax_weight * named["softmax"]
        seen = tf.concat(candidates[:2], 0) if is_global else embedding[: 2 * num]
        return {"metric": metric, **named, "threshold": threshold, "spread": spread(seen)}

    def after_step(self, scalars: Mapping[str, tf.Tensor]) -> None:
        """Lets the threshold rise while the embeddings are spread widely enough."""
        if self._num_pairs:
            self.state.advance(scalars["spread"] > self._config.loss.threshold_spread)

    @property
    def validation_metrics(self) -> tuple[str, ...]:
        """What `validate` returns."""
        return headline_names(self._dataset, VALIDATION, self._num_labelled > 0)

    def validate(self, model: keras.Model) -> dict[str, float]:
        """Measures a model on the instants that are held out."""
        return headline(model, self._dataset, VALIDATION, self._config.labels.target)

    def find_collapse(self, means: Mapping[str, float]) -> str | None:
        """Returns what has collapsed in an interval's means, or None."""
        loss = self._config.loss
        if not self._num_pairs:
            return None
        if means["admissible_fraction"] < loss.collapse_admissible:
            return (
                f"admissible_fraction={means['admissible_fraction']:.3g} (almost no negative is farther than "
                f"the threshold {means['threshold']:.3g})"
            )
        if means["spread"] < loss.collapse_spread:
            return f"spread={means['spread']:.3g} (all images get nearly the same embedding)"
        return None

    def pictures(self, model: keras.Model, batch: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """Returns a grid whose rows are anchor, positive, and the anchor's hardest negative (grey: none)."""
        if not self._num_pairs:
            return {}
        threshold = self._config.loss.threshold * self.state.value
        anchors, positives = batch["anchor_image"], batch["positive_image"]
        group = batch["group"]
        embedding = model(tf.concat([anchors, positives], 0), training=False)["embedding"]
        a, p = tf.split(embedding, 2)
        index = hardest_negatives(a, p, threshold, row_groups=group, column_groups=group).anchor_index.numpy()
        negatives = positives.numpy()[np.maximum(index, 0)]
        negatives[index < 0] = 128
        columns = [images[:NUM_PICTURE_ROWS] for images in (anchors.numpy(), positives.numpy(), negatives)]
        return {"hardest_negatives": np.concatenate(np.concatenate(columns, axis=2), axis=0)}

    def _resolve_gap(self) -> float:
        requested = self._config.batch.min_gap_s
        try:
            requested = requested if requested == "auto" else float(requested)
        except ValueError as error:
            raise InputError(
                f'batch.min_gap_s must be "auto" or seconds. Received: {requested!r}. Give a number like 0.5.'
            ) from error
        rows = self._dataset.split_rows("train")
        return pairs.resolve_min_gap(
            self._dataset.index,
            rows,
            self._num_instants,
            requested,
            self._dataset.subjects,
            self._is_mixed,
        )


def _check_batch(batch: ConfigDict) -> None:
    for name, choices in (("subjects", SUBJECTS), ("mining", MINING)):
        if batch[name] not in choices:
            raise InputError(
                f"batch.{name} must be one of {', '.join(choices)}. Received: {batch[name]!r}. Choose one."
            )


def gather_candidates(anchors: tf.Tensor, positives: tf.Tensor, groups: tf.Tensor) -> Candidates:
    """Returns the pairs of all replicas, with gradients to those of each; one exchange."""
    # float32 holds 16 bits exactly, so a group travels as two numbers beside the embeddings.
    halves = tf.cast(tf.stack([groups // 2**16, groups % 2**16], 1), tf.float32)
    gathered = replicas.gather(tf.concat([anchors, positives, halves], 1))
    dim = anchors.shape[1]
    high, low = tf.unstack(tf.cast(gathered[:, 2 * dim :], tf.int32), axis=1)
    return Candidates(gathered[:, :dim], gathered[:, dim : 2 * dim], high * 2**16 + low)


def all_view_pairs(
    embedding: tf.Tensor, group: tf.Tensor, num_views: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns anchors and positives [I V (V-1) / 2, D] and their groups: every two views of every instant.

    Args:
        embedding: [V I, D], view by view.
        group: int32 [V I / 2], the first I of which name the instants.
        num_views: V.
    """
    views = tf.split(embedding, num_views)
    of_two = list(itertools.combinations(range(num_views), 2))
    anchors = tf.concat([views[first] for first, _ in of_two], 0)
    positives = tf.concat([views[second] for _, second in of_two], 0)
    return anchors, positives, tf.tile(group[: views[0].shape[0]], [len(of_two)])


def label_options(labels: ConfigDict) -> dict[str, Any]:
    """Returns the config's labels as `pairs.labelled_rows` takes them: "S1,S5" becomes a list of names."""
    is_word = labels.subjects in ("all", "none")
    names = labels.subjects if is_word else [name.strip() for name in labels.subjects.split(",")]
    return {"subjects": names, "fraction": labels.fraction, "seed": labels.seed}


def spread(embedding: tf.Tensor) -> tf.Tensor:
    """Returns the root-mean-square distance of the rows of [N, D] from their mean: 0 when all are equal.

    Unit vectors in all directions have 1.
    """
    return tf.sqrt(tf.reduce_sum(tf.math.reduce_variance(tf.stop_gradient(embedding), axis=0)))


def _all_images(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    names = ("anchor_image", "positive_image", "labelled_image")
    return tf.concat([batch[name] for name in names if name in batch], axis=0)
