"""Steps on several logical CPU devices and on one, for test_mirrored: `python -m ... OUT NUM_REPLICAS`.

A process of its own, because devices cannot be added once TensorFlow has started. Writes one .npz of arrays
named `<case>/<one or how replicas do it>/<what>`; whole networks are run on two replicas only.
"""

import functools
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from configs import lifting, refinement, tiny
from mcss_tf import methods, replicas
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.losses.contrastive import multiview_contrastive_loss
from mcss_tf.methods.mcss import gather_candidates
from mcss_tf.training.loop import train
from mcss_tf.training.strategy import build_strategy, synchronise_batch_norm
from mcss_tf.training.workdir import open_workdir
from tests.helpers import make_tiny_dataset
from tests.keypoint_data import make_keypoint_dataset


def per_replica(strategy, make):
    """Returns distributed values, of which `make(i, count)` gives that of replica i."""
    count = strategy.num_replicas_in_sync
    return strategy.experimental_distribute_values_from_function(
        lambda context: make(context.replica_id_in_sync_group, count)
    )


def pair_losses(strategy, case, found):
    """The contrastive loss of 12 random pairs and its gradient in every embedding."""
    squared, threshold = case
    num_replicas = strategy.num_replicas_in_sync
    rng = np.random.default_rng(3)
    embeddings = rng.normal(size=(2, 12, 4))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)).astype(np.float32)
    groups = np.array([5, 6, 7, 70000, 9, 10, 5, 6, 12, 13, 14, 70000], np.int32)  # three in two places
    options = {"margin": 1.0, "threshold": threshold, "squared": squared}

    def rows_of(index, count):
        return tuple(tf.constant(x[index::count]) for x in (*embeddings, groups))

    def loss_of(anchors, positives, own, mining):
        with tf.GradientTape() as tape:
            tape.watch([anchors, positives])
            candidates = gather_candidates(anchors, positives, own) if mining == "global" else None
            terms = multiview_contrastive_loss(
                anchors, positives, groups=own, candidates=candidates, **options
            )
            share = terms.total / replicas.count()
        return {
            "terms": replicas.mean(tf.stack(terms)),
            "gradient": tf.stack(tape.gradient(share, [anchors, positives])),
        }

    name = f"pairs {squared} {threshold}"
    for what, value in loss_of(*rows_of(0, 1), "local").items():
        found[f"{name}/one/{what}"] = value.numpy()
    rows = per_replica(strategy, rows_of)
    for mining in ("global", "local"):
        run = functools.partial(loss_of, mining=mining)
        step = tf.function(lambda *rows, run=run: strategy.run(run, args=rows), autograph=False)
        results = {k: strategy.experimental_local_results(v) for k, v in step(*rows).items()}
        found[f"{name}/{mining}/terms"] = results["terms"][0].numpy()
        gradient = np.zeros((2, 12, 4), np.float32)
        for i, part in enumerate(results["gradient"]):
            gradient[:, i::num_replicas] = part.numpy()
        found[f"{name}/{mining}/gradient"] = gradient


def step_of(method, strategy, is_synchronised, hide, policy):
    """Returns scalars and gradients of the first batch, and the moving statistics after it."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    with strategy.scope():
        model = method.build_model()
    if is_synchronised:
        synchronise_batch_norm(model)
    count = strategy.num_replicas_in_sync

    def batch_of(index, count):
        return hide(next(iter(method.train_batches(0, (index, count)))))

    def run(batch):
        with tf.GradientTape() as tape:
            scalars = method.losses(model, batch)
            share = scalars["total"] / count
        gradients = tape.gradient(share, model.trainable_variables)
        # One by one: together they are packed into one tensor, which must be of one type.
        reduce = functools.partial(tf.distribute.get_replica_context().all_reduce, "SUM")
        return replicas.mean_of_each(scalars), [reduce(gradient) for gradient in gradients]

    batches = per_replica(strategy, batch_of) if count > 1 else batch_of(0, 1)
    scalars, gradients = tf.function(lambda b: strategy.run(run, args=(b,)))(batches)
    first = lambda value: strategy.experimental_local_results(value)[0].numpy()  # noqa: E731
    found = {f"scalar {name}": first(value) for name, value in scalars.items()}
    found["gradient"] = np.concatenate([first(g).ravel() for g in gradients])
    moving = [v for v in model.non_trainable_weights if "moving" in v.name]
    found["moving"] = np.concatenate([v.numpy().ravel() for v in moving])
    return found


def hide_joints(batch):
    """Makes labels of one image partial, so that replicas have unequally many."""
    if "pose_mask" in batch:
        batch["pose_mask"] = batch["pose_mask"] * tf.cast(batch["pose_mm"][:, :, 0] > -50.0, tf.float32)
    if "keypoints_px" in batch:
        seen = tf.cast(batch["rays"][..., :1] > 0.0, tf.float32)
        batch["keypoints_px"] = batch["keypoints_px"] * tf.concat([seen, seen, seen], -1)
    return batch


def networks(folder):
    """Returns by name a method on tiny data."""
    images = make_tiny_dataset(folder / "images", instants=12)
    keypoints = make_keypoint_dataset(folder / "keypoints", num_instants=12, error_px=2.0)
    config = tiny.get_config()
    config.batch.num_pairs, config.batch.num_labelled = 6, 6
    found = {"mcss": methods.get(config, images)}
    found["mcss in float64"] = found["mcss"]  # the backbone: heads and losses are float32 under every policy
    config = lifting.get_config()
    config.batch_size, config.loss.pretraining = 12, 0.0
    config.model.width, config.model.num_blocks, config.model.dropout = 32, 1, 0.0
    found["lifting"] = methods.get(config, keypoints)
    config = config.copy_and_resolve_references()
    config.loss.supervision = "joints"
    found["supervised"] = methods.get(config, keypoints)
    config = refinement.get_config()
    config.network.widths, config.batch.num_instants = (8, 12, 16), 12
    found["refinement"] = methods.get(config, keypoints)
    return found


def whole_run(strategy, folder, images):
    """Trains MCSS with unsynchronised statistics, validation, pictures and moving averages, in two goes."""
    config = tiny.get_config()
    config.validation.subjects, config.validation.every_steps = "S2", 2
    config.validation.metric = "n_mpjpe_mm"
    config.train.ema_decay, config.train.pictures_every = 0.5, 2
    for num_steps in (2, 4):
        config.train.steps = num_steps
        if num_steps == 4:  # the run of 2 steps ended; this one goes on from its checkpoint
            (folder / "run" / "config.json").write_text(config.to_json())
            (folder / "run" / "model.keras").unlink()
        method = methods.get(config, images)
        train(method, config, open_workdir(folder / "run", config, images, []), strategy=strategy)


def main(out: str, num_replicas: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * int(num_replicas)
    tf.config.set_logical_device_configuration(cpu, devices)
    one, mirrored = tf.distribute.get_strategy(), build_strategy("mirrored")
    found: dict[str, np.ndarray] = {"num_replicas": np.array(mirrored.num_replicas_in_sync)}
    for case in ((False, 0.0), (False, 0.9), (True, 0.9)):
        pair_losses(mirrored, case, found)
    if num_replicas == "2":
        for name, method in networks(Path(out).parent).items():
            kinds = {"one": (one, True), "synchronised": (mirrored, True)}
            if name == "lifting":
                kinds["unsynchronised"] = (mirrored, False)
            policy = "float64" if "float64" in name else "float32"
            for kind, (strategy, is_synchronised) in kinds.items():
                step = step_of(method, strategy, is_synchronised, hide_joints, policy)
                found |= {f"{name}/{kind}/{what}": value for what, value in step.items()}
        keras.config.set_dtype_policy("float32")
        whole_run(mirrored, Path(out).parent, PreparedDataset.load(Path(out).parent / "images"))
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
