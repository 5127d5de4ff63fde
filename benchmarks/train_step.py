"""Cost of an MCSS training step against the plain forward and backward of the same network.

    python -m benchmarks.train_step --image_size=64 --num_pairs=66 --num_labelled=22

Plain: the same network on the same images, the sum of its outputs as the loss, gradients of all weights,
Adam. The MCSS step adds selection, contrastive loss, pose loss, threshold ramp and the logged scalars. The
two are timed in turn, so a change of the machine's speed meets both; the target is a ratio of 1.15.
Mining alone, the selection of hardest negatives, is timed beside them: run again with MCSS_TF_CUSTOM_OPS=0
to see its share of the step without the custom op.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from absl import app, flags

from configs import common
from mcss_tf import files, methods
from mcss_tf.ops import hardest_negatives
from mcss_tf.training import device
from mcss_tf.training.loop import build_optimizer, build_train_step
from tests.helpers import make_tiny_dataset

FLAGS = flags.FLAGS
flags.DEFINE_integer("image_size", 64, "Side of the images, pixels.")
flags.DEFINE_integer("num_pairs", 66, "Metric pairs of a batch.")
flags.DEFINE_integer("num_labelled", 22, "Labelled images of a batch.")
flags.DEFINE_integer("depth", 18, "Of the ResNet.")
flags.DEFINE_integer("repeats", 15, "Timed repeats of each step.")
flags.DEFINE_string("precision", "auto", "float32, mixed_bfloat16 or auto.")
flags.DEFINE_string("json", None, "File for the figures; stdout has them as a table.")
TARGET = 1.15


def main(argv: Sequence[str]) -> int:
    """Prints the two medians and their ratio; status 1 where the ratio misses the target."""
    del argv
    config = common.get_config()
    config.image_size, config.backbone.depth = FLAGS.image_size, FLAGS.depth
    config.batch.num_pairs, config.batch.num_labelled = FLAGS.num_pairs, FLAGS.num_labelled
    precision = device.set_precision(FLAGS.precision)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_tiny_dataset(folder, instants=FLAGS.num_pairs, crop_size=FLAGS.image_size, fps=1.0)
        method = methods.get(config, dataset)
        batch = next(iter(method.train_batches(0)))
    steps = {
        "plain": plain_step(config, method, batch),
        "mcss": mcss_step(config, method, batch),
        "mining": mining(FLAGS.num_pairs, config.embedding.dim),
    }
    seconds = time_in_turn(steps, FLAGS.repeats)
    ratio = seconds["mcss"] / seconds["plain"]
    figures = {
        "image_size": FLAGS.image_size,
        "depth": FLAGS.depth,
        "images": method.images_per_step,
        "precision": precision,
        "plain_s": seconds["plain"],
        "mcss_s": seconds["mcss"],
        "images_per_s": method.images_per_step / seconds["mcss"],
        "ratio": ratio,
        "mining_s": seconds["mining"],
        "mining_share": seconds["mining"] / seconds["mcss"],
        "target": TARGET,
    }
    for name, value in figures.items():
        print(f"{name:14} {value:.4g}" if isinstance(value, float) else f"{name:14} {value}")
    if FLAGS.json:
        files.write_json(FLAGS.json, figures)
    return 0 if ratio <= TARGET else 1


def mcss_step(config: Any, method: Any, batch: dict[str, tf.Tensor]) -> Callable[[], Any]:
    """Returns the step that training takes, bound to one batch."""
    model = method.build_model()
    optimizer = build_optimizer(config, 1000, method.steps_per_epoch)
    optimizer.build(model.trainable_variables)
    step = build_train_step(method, model, optimizer)
    return lambda: float(step(batch)["total"])


def plain_step(config: Any, method: Any, batch: dict[str, tf.Tensor]) -> Callable[[], Any]:
    """Returns forward, backward and update of the same network on the same images."""
    model = method.build_model()
    optimizer = build_optimizer(config, 1000, method.steps_per_epoch)
    optimizer.build(model.trainable_variables)
    images = tf.concat([value for name, value in batch.items() if name.endswith("_image")], axis=0)

    @tf.function(jit_compile=device.use_jit_compile())
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = keras.ops.sum(outputs["embedding"]) + keras.ops.sum(outputs["pose_mm"])
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return lambda: float(step())


def mining(num_pairs: int, dim: int) -> Callable[[], Any]:
    """Returns the selection of one batch's hardest negatives, from random embeddings of unit length."""
    embeddings = tf.math.l2_normalize(tf.random.stateless_normal((2, num_pairs, dim), (0, 0)), axis=-1)
    select = tf.function(lambda: hardest_negatives(embeddings[0], embeddings[1], 0.3).anchor_distance)
    return lambda: select().numpy()


def time_in_turn(steps: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Returns the median seconds of each step over alternated repeats, after one warm-up each."""
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    app.run(main)
