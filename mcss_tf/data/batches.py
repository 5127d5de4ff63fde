"""Batches for training and evaluation (tf.data): nothing but the images used is read and decoded."""

import functools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mcss_tf.data import augment, background, pairs, planning
from mcss_tf.data.augment import Augmentation
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.targets import PoseTargets
from mcss_tf.errors import InputError

_NUM_STEPS = np.iinfo(np.int64).max
_PREFETCHED_BATCHES = 2
_FLIPS, _BACKGROUNDS = 4, 5  # random streams beside those of `pairs`


def train_batches(
    dataset: PreparedDataset,
    *,
    image_size: int,
    num_pairs: int,
    num_labelled: int,
    min_gap_s: float | str = "auto",
    labels: Any = "all",
    seed: int = 0,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    is_per_replica: bool = False,
    augmentation: Augmentation | None = None,
    target: str = "canonical",
    is_mixed: bool = False,
    num_views: int = 2,
    backgrounds: background.Backgrounds | None = None,
) -> tf.data.Dataset:
    """Returns endless training batches; batch k depends on the seed and k alone.

    Args:
        dataset: a prepared dataset; its train split is used.
        image_size: S, side of the images in pixels.
        num_pairs: M, metric pairs of a batch; 0 for the baseline, which sees labelled images alone.
        num_labelled: L, labelled images of a batch; 0 without labels.
        min_gap_s: least time between the instants of a batch, or "auto"; see `pairs.resolve_min_gap`.
        labels: which instants are labelled; see `pairs.labelled_rows`.
        seed: of the whole order.
        start_step: number of the first batch, for resumed runs.
        shard: (index, count): this replica's part of every batch; M and L are those of all replicas together.
        is_per_replica: whether every replica draws its pairs of a subject of its own; else all share the
            pairs that one would see.
        augmentation: random changes of the images; None for none.
        target: frame of the poses, one of `targets.FRAMES`.
        is_mixed: whether the instants of a batch are of any subject; see `planning.Planner`.
        num_views: V, even: views of an instant in a batch, so its 2 M images show 2 M / V instants.
        backgrounds: of the train split, where they have been found already; None: found here if
            `augmentation` replaces them.

    Returns:
        A dataset of dicts, J joints, without the keys of which there are 0 (M and L divided by the replicas):
          "anchor_image", "positive_image": uint8 [M, S, S, 3], the first and the second half of the views,
            view by view;
          "group": int32 [M], row of the instant: equal groups show the same instant;
          "labelled_image": uint8 [L, S, S, 3];
          "pose_mm": float32 [L, J-1, 3], in the target's frame, non-root joints in skeleton order;
          "pose_mask": float32 [L, J-1], 1 where the joint is labelled;
          "step": int64 [].

    Raises:
        InputError: if the train split is empty, M or L cannot be filled, or do not divide by the replicas,
            or images are mirrored where the target is global.
    """
    _check_sizes(image_size, num_pairs, num_labelled, start_step, shard)
    num_instants = pairs.num_instants(num_pairs, num_views, shard[1])
    dataset.require("train")
    options = augmentation or Augmentation()
    if options.flip and target == "global":
        raise InputError(
            "A mirrored image has no pose in the axes of the world. Received: augment.flip="
            f"{options.flip}, labels.target=global. Set augment.flip to 0."
        )
    planned_together = 1 if is_per_replica else shard[1]
    num_pairs, num_labelled = num_pairs // shard[1], num_labelled // shard[1]
    if options.background and backgrounds is None:
        backgrounds = background.find_backgrounds(dataset, dataset.split_rows("train"))
    source = _Batches(
        dataset,
        image_size,
        num_instants // shard[1] * planned_together,
        num_views,
        num_labelled * planned_together,
        min_gap_s,
        labels,
        seed,
        shard,
        is_per_replica,
        options,
        target,
        is_mixed,
        backgrounds if options.background else None,
    )
    source.plan(start_step)  # what cannot be planned is refused here, not in the middle of training
    steps = tf.data.Dataset.range(start_step, _NUM_STEPS)
    images = steps.map(source.jpegs).unbatch()
    images = images.map(
        functools.partial(_decode, image_size=image_size, crop_size=dataset.crop_size),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    images = images.batch(2 * num_pairs + num_labelled, drop_remainder=True)
    if options.is_on:
        images = tf.data.Dataset.zip(images, steps.map(source.changes))
        change = functools.partial(_change, options=options)
        images = images.map(change, num_parallel_calls=_PREFETCHED_BATCHES, deterministic=True)
    batches = tf.data.Dataset.zip(steps, images, steps.map(source.targets))
    batches = batches.map(functools.partial(_assemble, num_pairs=num_pairs, num_labelled=num_labelled))
    return batches.prefetch(_PREFETCHED_BATCHES)


def image_batches(
    dataset: PreparedDataset,
    split: str,
    *,
    image_size: int,
    batch_size: int,
    cameras: Sequence[str] | None = None,
    rows: np.ndarray | None = None,
    target: str = "canonical",
) -> tf.data.Dataset:
    """Returns every image of a split once, row by row, camera by camera.

    Args:
        dataset: a prepared dataset.
        split: "train" or "test".
        image_size: S, side of the images in pixels.
        batch_size: B; the last batch may be smaller.
        cameras: names of the views to take; None for all.
        rows: rows of the index to take, all of `split`; None for all.
        target: frame of the poses, one of `targets.FRAMES`.

    Returns:
        A finite dataset of dicts: "image" uint8 [B, S, S, 3], "row" int64 [B], "camera" int32 [B],
        "pose_mm" float32 [B, J-1, 3] in that frame, "pose_mask" float32 [B, J-1], "has_pose" bool [B].

    Raises:
        InputError: if a camera is unknown, a row is not of the split, or no image is left.
    """
    rows, ids = _select_images(dataset, split, cameras, rows)
    targets = PoseTargets(dataset, target, rows)
    order = tf.data.Dataset.from_tensor_slices((rows, ids)).batch(batch_size)

    def read(rows: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(_reader(dataset), [rows, ids], tf.string), [None])

    images = order.map(read).unbatch()
    images = images.map(
        functools.partial(_decode, image_size=image_size, crop_size=dataset.crop_size),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    batches = tf.data.Dataset.zip(images.batch(batch_size), order)
    describe = functools.partial(_describe, dataset=dataset, targets=targets)
    return batches.map(describe).prefetch(_PREFETCHED_BATCHES)


class _Batches:
    """What the steps of training need, as functions of the step."""

    def __init__(
        self,
        dataset,
        image_size,
        num_instants,
        num_views,
        num_labelled,
        min_gap_s,
        labels,
        seed,
        shard,
        is_per_replica,
        options,
        target,
        is_mixed,
        backgrounds,
    ):
        self._dataset = dataset
        self._num_views = num_views
        self._seed = seed
        self._options = options
        rows = dataset.split_rows("train")
        labelled = _labelled_rows(dataset, labels, num_labelled)
        self._target = target
        self._targets = PoseTargets(dataset, target, labelled)
        gap = 0.0
        if num_instants:
            gap = pairs.resolve_min_gap(
                dataset.index, rows, num_instants, min_gap_s, dataset.subjects, is_mixed
            )
        self._planner = planning.Planner(
            dataset.index,
            rows,
            num_pairs=num_instants,
            num_labelled=num_labelled,
            labelled_rows=labelled,
            min_gap_s=gap,
            seed=seed,
            is_mixed=is_mixed,
            num_views=num_views,
        )
        # Two, because reading runs ahead into the next part while targets of this one are still asked for.
        self._plan_part = functools.lru_cache(maxsize=2)(self._planner.part)
        self._lock = threading.Lock()
        self._num_joints = dataset.skeleton.num_joints
        self._backgrounds = backgrounds
        self._image_size = image_size
        # Replicas share each planned batch, every n-th row for each, or take planned batches in turn.
        index, count = shard
        self._part = slice(None) if is_per_replica else slice(index, None, count)
        self._number = (lambda step: step * count + index) if is_per_replica else int

    def plan(self, step: int) -> tuple[planning.Plan, int]:
        """Returns the plan that `step` is in, and which of its batches this is."""
        epoch, part, position = self._planner.locate(self._number(step))
        with self._lock:
            return self._plan_part(epoch, part), position

    def jpegs(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the JPEGs of a step, view by view, then the labelled ones."""
        jpegs = tf.numpy_function(self._read, [step], tf.string, stateful=False)
        return tf.ensure_shape(jpegs, [None])

    def changes(self, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what `_change` takes, for the images of a step."""
        shapes = {"draws": [None, augment.NUM_DRAWS], "is_flipped": [None]}
        dtypes = [tf.float32, tf.bool]
        if self._backgrounds:
            behind = [None, self._image_size, self._image_size, 4]
            shapes |= {"behind": behind, "instead": behind, "is_replaced": [None]}
            dtypes += [tf.uint8, tf.uint8, tf.bool]
        found = tf.numpy_function(self._draw_changes, [step], dtypes, stateful=False)
        return {
            name: tf.ensure_shape(value, shape)
            for value, (name, shape) in zip(found, shapes.items(), strict=True)
        }

    def targets(self, step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns groups [M], poses [L, J-1, 3] and masks [L, J-1]."""
        dtypes = (tf.int32, tf.float32, tf.float32)
        group, pose_mm, mask = tf.numpy_function(self._look_up, [step], dtypes, stateful=False)
        num_joints = self._num_joints - 1
        return (
            tf.ensure_shape(group, [None]),
            tf.ensure_shape(pose_mm, [None, num_joints, 3]),
            tf.ensure_shape(mask, [None, num_joints]),
        )

    def _read(self, step: int) -> np.ndarray:
        return np.array(self._dataset.read_images(*self._images(*self.plan(int(step)))), object)

    def _images(self, plan: planning.Plan, at: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows and cameras of a batch's images."""
        part = self._part
        rows, cameras = np.tile(plan.rows[at, part], self._num_views), plan.cameras[at, part].T.ravel()
        return (
            np.concatenate([rows, plan.labelled_rows[at, part]]),
            np.concatenate([cameras, plan.labelled_cameras[at, part]]),
        )

    def _draw_changes(self, step: int) -> list[np.ndarray]:
        plan, at = self.plan(int(step))
        flip_instant, flip_labelled = self._flips(step, plan)
        draws = self._of_batch(self._rng(step), plan, augment.NUM_DRAWS)
        changes = [draws, np.concatenate([np.tile(flip_instant, self._num_views), flip_labelled])]
        if self._backgrounds:
            which, whether = self._of_batch(self._rng(step, _BACKGROUNDS), plan, 2).T
            places = self._images(plan, at), self._backgrounds.draw(which)
            changes += [self._backgrounds.look(*place, self._image_size) for place in places]
            changes.append(whether < self._options.background)
        return changes

    def _look_up(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        plan, at = self.plan(int(step))
        rows, labelled_rows = plan.rows[at, self._part], plan.labelled_rows[at, self._part]
        skeleton = self._dataset.skeleton
        pose_mm, mask = self._targets(labelled_rows, plan.labelled_cameras[at, self._part])
        _, flip_labelled = self._flips(step, plan)
        if flip_labelled.any():
            flip = augment.flip_canonical if self._target == "canonical" else augment.flip_camera
            flipped_mm, flipped_mask = flip(pose_mm, mask, skeleton)
            pose_mm = np.where(flip_labelled[:, None, None], flipped_mm, pose_mm)
            mask = np.where(flip_labelled[:, None], flipped_mask, mask)
        non_root = list(skeleton.non_root)
        group = np.tile(rows, self._num_views // 2).astype(np.int32)
        return group, pose_mm[:, non_root], mask[:, non_root]

    def _of_batch(self, rng: np.random.Generator, plan: planning.Plan, num: int) -> np.ndarray:
        """Returns float32 [2 M + L, num], drawn for the whole batch and then shared by replicas."""
        num_instants, num_labelled = plan.rows.shape[1], plan.labelled_rows.shape[1]
        draws = rng.random((self._num_views * num_instants + num_labelled, num), np.float32)
        groups = np.split(draws, num_instants * np.arange(1, self._num_views + 1))
        return np.concatenate([group[self._part] for group in groups])

    def _flips(self, step: int, plan: planning.Plan) -> tuple[np.ndarray, np.ndarray]:
        """Returns bool [instants] and [L], which of them are mirrored, an instant in all of its views."""
        num_instants, num_labelled = plan.rows.shape[1], plan.labelled_rows.shape[1]
        is_flipped = self._rng(step, _FLIPS).random(num_instants + num_labelled) < self._options.flip
        return is_flipped[:num_instants][self._part], is_flipped[num_instants:][self._part]

    def _rng(self, step: int, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._number(int(step)), *stream])


def _change(images: tf.Tensor, changes: dict[str, tf.Tensor], *, options: Augmentation) -> tf.Tensor:
    if options.background:
        behind = (changes[name] for name in ("behind", "instead", "is_replaced"))
        images = background.replace_backgrounds(images, *behind)
    return augment.flip_images(
        augment.augment_images(images, changes["draws"], options), changes["is_flipped"]
    )


def _decode(jpeg: tf.Tensor, *, image_size: int, crop_size: int) -> tf.Tensor:
    """Returns uint8 [S, S, 3]."""
    # The header is read first: one that claims 65,535 pixels a side would take 12 GB to decode.
    size = tf.io.extract_jpeg_shape(jpeg)
    with tf.control_dependencies([tf.debugging.assert_equal(size, [crop_size, crop_size, 3], "not a crop")]):
        image = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
    image = tf.ensure_shape(image, [crop_size, crop_size, 3])
    if image_size == crop_size:
        return image
    resized = tf.image.resize(image, [image_size, image_size], antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _assemble(step, images, targets, *, num_pairs: int, num_labelled: int) -> dict[str, tf.Tensor]:
    group, pose_mm, pose_mask = targets
    anchors, positives, labelled = tf.split(images, [num_pairs, num_pairs, num_labelled])
    batch = {"step": step}
    if num_pairs:
        batch["anchor_image"] = anchors
        batch["positive_image"] = positives
        batch["group"] = tf.ensure_shape(group, [num_pairs])
    if num_labelled:
        batch["labelled_image"] = labelled
        batch["pose_mm"] = tf.ensure_shape(pose_mm, [num_labelled, *pose_mm.shape[1:]])
        batch["pose_mask"] = tf.ensure_shape(pose_mask, [num_labelled, *pose_mask.shape[1:]])
    return batch


def _reader(dataset: PreparedDataset):
    return lambda rows, cameras: np.array(dataset.read_images(rows, cameras), object)


def _describe(
    image: tf.Tensor, order: tuple, *, dataset: PreparedDataset, targets: PoseTargets
) -> dict[str, tf.Tensor]:
    row, camera = order
    index, non_root = dataset.index, list(dataset.skeleton.non_root)

    def look_up(row: np.ndarray, camera: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        poses_mm, mask = targets(row, camera)
        return poses_mm[:, non_root], mask[:, non_root], index.has_pose[row]

    dtypes = (tf.float32, tf.float32, tf.bool)
    pose_mm, mask, has_pose = tf.numpy_function(look_up, [row, camera], dtypes, stateful=False)
    return {
        "image": image,
        "row": row,
        "camera": camera,
        "pose_mm": tf.ensure_shape(pose_mm, [None, len(non_root), 3]),
        "pose_mask": tf.ensure_shape(mask, [None, len(non_root)]),
        "has_pose": tf.ensure_shape(has_pose, [None]),
    }


def _select_images(
    dataset: PreparedDataset, split: str, cameras: Sequence[str] | None, rows: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns row [n] and camera id [n] of the images of a split, checked."""
    names = dataset.cameras if cameras is None else cameras
    unknown = [name for name in names if name not in dataset.cameras]
    if unknown:
        raise InputError(f"Cameras of {dataset.path} are {dataset.cameras}. Received: {unknown}.")
    split_rows = dataset.split_rows(split)
    rows = split_rows if rows is None else np.asarray(rows, np.int64)
    foreign = np.setdiff1d(rows, split_rows)
    if len(foreign):
        raise InputError(f"rows must belong to the {split} split. Received: {foreign[:5].tolist()}.")
    is_wanted = np.isin(np.arange(len(dataset.cameras)), [dataset.cameras.index(name) for name in names])
    which, ids = np.nonzero(dataset.index.is_present()[rows] & is_wanted)
    if not len(which):
        raise InputError(
            f"There must be an image to read in the {split} split of {dataset.path}. "
            f"Received: none among {len(rows)} instants and the cameras {list(names)}."
        )
    return rows[which], ids.astype(np.int32)


def _labelled_rows(dataset: PreparedDataset, labels: Any, num_labelled: int) -> np.ndarray:
    return pairs.labelled_rows(dataset, labels if num_labelled else "none")


def _check_sizes(
    image_size: int, num_pairs: int, num_labelled: int, start_step: int, shard: tuple[int, int]
) -> None:
    if image_size < 1 or min(num_pairs, num_labelled, start_step) < 0 or not num_pairs + num_labelled:
        raise InputError(
            "A batch needs image_size >= 1, counts and start_step >= 0, and some images. Received: "
            f"image_size={image_size}, num_pairs={num_pairs}, num_labelled={num_labelled}, "
            f"start_step={start_step}."
        )
    index, count = shard
    if not 0 <= index < count or num_pairs % count or num_labelled % count:
        raise InputError(
            "num_pairs and num_labelled are those of all replicas together: multiples of their number, and a "
            f"replica's index is below it. Received: shard={shard}, num_pairs={num_pairs}, "
            f"num_labelled={num_labelled}. Change them, or the number of replicas."
        )
