"""Batches of instants with the keypoints of several calibrated views (tf.data)."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mcss_tf.data.keypoint_views import KeypointViews
from mcss_tf.errors import InputError

_NUM_STEPS = np.iinfo(np.int64).max
# Independent random streams of one seed.
_ORDER, _VIEWS = 31, 32


def keypoint_batches(
    views: KeypointViews,
    *,
    batch_size: int,
    num_views: int = 2,
    view_sets: Sequence[Sequence[str]] | None = None,
    seed: int = 0,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Returns endless batches of instants with V views each; batch k depends on the seed and k alone.

    Args:
        views: of `keypoint_views.load_keypoint_views`.
        batch_size: B, instants.
        num_views: V, distinct cameras of an instant.
        view_sets: sets of V camera names; of those that see an instant one is drawn. None: any V of them.
        seed: of the order and the views.
        start_step: number of the first batch, for resumed runs.
        shard: (index, count): this replica's part of every batch; B is that of all replicas together.

    Returns:
        A dataset of dicts (B divided by the replicas) of float32: "keypoints_px" [B, V, J, 3], "rays"
        [B, V, J, 2], where known "keypoints_true_px" and "rays_true" [B, V, J, 2], "matrix" and "rotation"
        [B, V, 3, 3], "translation_mm" [B, V, 3], "joints_mm" [B, J, 3], "joint_mask" [B, J]; int32 "camera"
        [B, V], positions in `views.cameras`; int64 "row" [B], "step" [].

    Raises:
        InputError: no instant is seen by V views of a set, or B does not divide by the replicas.
    """
    plan = KeypointPlan(views, batch_size, num_views, view_sets, seed)
    index, count = shard
    if not 0 <= index < count or batch_size % count:
        raise InputError(
            "The instants of a batch are those of all replicas together and must divide by their number. "
            f"Received: {batch_size} instants for replica {index} of {count}. Change the batch's size."
        )
    shape = (batch_size // count, num_views)

    def part(step: int) -> tuple[np.ndarray, np.ndarray]:
        instants, cameras = plan.batch(step)
        return instants[index::count], cameras[index::count]

    def draw(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        instants, cameras = tf.numpy_function(part, [step], (tf.int64, tf.int64), stateful=False)
        return tf.ensure_shape(instants, shape[:1]), tf.ensure_shape(cameras, shape)

    gather = functools.partial(_gather, tensors=_tensors(views), row=tf.constant(views.row))

    def assemble(step: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"step": step, **gather(*draw(step))}

    steps = tf.data.Dataset.range(start_step, _NUM_STEPS)
    return steps.map(assemble, num_parallel_calls=2, deterministic=True).prefetch(2)


class KeypointPlan:
    """Which instants and views form each batch.

    Instants run through endless random orders of all those that can be drawn, so an epoch uses each once.

    Attributes:
        batch_size: B.
        steps_per_epoch: ceil(instants / B).
    """

    def __init__(
        self,
        views: KeypointViews,
        batch_size: int,
        num_views: int,
        view_sets: Sequence[Sequence[str]] | None,
        seed: int,
    ):
        if batch_size < 1 or not 1 <= num_views <= len(views.cameras):
            raise InputError(
                f"A batch has at least one instant and 1 to {len(views.cameras)} views of it. "
                f"Received: batch_size={batch_size}, num_views={num_views}. Correct them."
            )
        self._seed, self._num_views = seed, num_views
        self._sets = _set_ids(views.cameras, num_views, view_sets)
        if self._sets is None:
            usable = views.is_seen.sum(1) >= num_views
        else:
            # [N, sets]: every camera of the set sees the instant.
            self._has_set = views.is_seen[:, self._sets].all(-1)
            usable = self._has_set.any(1)
        self._usable = np.flatnonzero(usable)
        if not len(self._usable):
            raise InputError(
                f"There must be instants that {num_views} cameras see at once. Received: none among "
                f"{len(views)} instants of the cameras {list(views.cameras)}"
                f"{'' if view_sets is None else f' in the sets {[list(s) for s in view_sets]}'}. "
                "Check that the views overlap in time."
            )
        self._is_seen = views.is_seen
        self.batch_size = batch_size
        self.steps_per_epoch = -(-len(self._usable) // batch_size)
        self._order = functools.lru_cache(maxsize=4)(self._shuffle)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns positions of instants int64 [B] and of their cameras int64 [B, V]."""
        first = int(step) * self.batch_size
        places = np.arange(first, first + self.batch_size)
        passes, at = np.divmod(places, len(self._usable))
        instants = np.array([self._order(int(p))[a] for p, a in zip(passes, at, strict=True)], np.int64)
        rng = np.random.default_rng([self._seed, int(step), _VIEWS])
        if self._sets is None:
            keys = np.where(self._is_seen[instants], rng.random((len(instants), self._is_seen.shape[1])), 2.0)
            return instants, np.argsort(keys, axis=1)[:, : self._num_views]
        has_set = self._has_set[instants]
        drawn = np.argmin(np.where(has_set, rng.random(has_set.shape), 2.0), axis=1)
        # Either view may come first.
        order = np.argsort(rng.random((len(instants), self._num_views)), axis=1)
        return instants, np.take_along_axis(self._sets[drawn], order, axis=1)

    def _shuffle(self, number: int) -> np.ndarray:
        return np.random.default_rng([self._seed, number, _ORDER]).permutation(self._usable)


def _set_ids(
    cameras: tuple[str, ...], num_views: int, view_sets: Sequence[Sequence[str]] | None
) -> np.ndarray | None:
    if view_sets is None:
        return None
    for names in view_sets:
        if len(set(names)) != num_views or not set(names) <= set(cameras) or len(names) != num_views:
            raise InputError(
                f"A set of views is {num_views} distinct cameras out of {list(cameras)}. "
                f"Received: {list(names)}. Correct the set or the number of views."
            )
    return np.array([[cameras.index(name) for name in names] for names in view_sets], np.int64)


def _tensors(views: KeypointViews) -> dict[str, dict[str, tf.Tensor]]:
    """Returns what is looked up per view, per instant, and per sequence and view."""
    per_view = {
        name: getattr(views, name) for name in ("keypoints_px", "rays", "keypoints_true_px", "rays_true")
    }
    groups = {
        "view": {name: array for name, array in per_view.items() if array is not None},
        "instant": {name: getattr(views, name) for name in ("joints_mm", "joint_mask", "sequence")},
        "camera": {name: getattr(views, name) for name in ("matrix", "rotation", "translation_mm")},
    }
    return {group: {name: tf.constant(a) for name, a in arrays.items()} for group, arrays in groups.items()}


def _gather(
    instants: tf.Tensor, cameras: tf.Tensor, *, tensors: dict[str, dict[str, tf.Tensor]], row: tf.Tensor
) -> dict[str, tf.Tensor]:
    batch = {name: tf.gather(array, instants) for name, array in tensors["instant"].items()}
    sequence = tf.cast(batch.pop("sequence"), tf.int64)
    at = tf.stack([tf.broadcast_to(instants[:, None], tf.shape(cameras)), cameras], -1)
    of = tf.stack([tf.broadcast_to(sequence[:, None], tf.shape(cameras)), cameras], -1)
    batch |= {name: tf.gather_nd(array, at) for name, array in tensors["view"].items()}
    batch |= {name: tf.gather_nd(array, of) for name, array in tensors["camera"].items()}
    return {**batch, "camera": tf.cast(cameras, tf.int32), "row": tf.gather(row, instants)}
