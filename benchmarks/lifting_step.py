"""Cost of a lifting step against the plain forward and backward of its two networks.

    python -m benchmarks.lifting_step --data=out/lifting/data

Configs: the authors' sizes (width 1024, 256 pairs), the same with poses placed, and the grid's small ones.

Plain: the same networks on the same rays, the mean of their outputs as the loss, gradients of all weights,
Adam. The lifting step adds projections, changes of camera and the three losses. The two are timed in turn, so
a change of the machine's speed meets both; the target is a ratio of 1.2.
"""

import json
import statistics
import time
from typing import Any

import keras
import tensorflow as tf
from absl import app, flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from configs import lifting, lifting_mocap
from mcss_tf import methods
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.training.loop import build_optimizer, build_train_step

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Prepared dataset.", required=True)
flags.DEFINE_integer("repeats", 20, "Timed rounds.")
flags.DEFINE_integer("steps", 5, "Steps of a round.")


class Plain:
    """Stands in for the method: nothing but its networks."""

    def __init__(self, method: Any):
        self.after_step = method.after_step

    def losses(self, model: keras.Model, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        keypoints = tf.concat([batch["rays"], batch["keypoints_px"][..., 2:]], -1)
        outputs = model(tf.reshape(keypoints, (-1, *keypoints.shape[2:])), training=True)
        return {"total": tf.reduce_mean(outputs["pose_mm"]) + tf.reduce_mean(outputs["root_mm"])}


def measure(config: Any, dataset: PreparedDataset) -> dict[str, float]:
    """Returns medians of both steps in milliseconds, their ratio, and instants per second."""
    method = methods.get(config, dataset)
    steps = {}
    for name, losses in (("lifting", method), ("plain", Plain(method))):
        model = method.build_model()
        optimizer = build_optimizer(config, 1000, method.steps_per_epoch)
        optimizer.build(model.trainable_variables)
        steps[name] = build_train_step(losses, model, optimizer)
    batch = next(iter(method.train_batches(0)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(FLAGS.repeats + 1):
        for name, step in steps.items():
            start = time.monotonic()
            for _ in range(FLAGS.steps):
                total = step(batch)["total"]
            total.numpy()
            times[name].append((time.monotonic() - start) / FLAGS.steps)
    # The first round compiles.
    medians = {name: statistics.median(seconds[1:]) for name, seconds in times.items()}
    ratios = [a / b for a, b in zip(times["lifting"][1:], times["plain"][1:], strict=True)]
    return {
        "lifting_ms": 1000 * medians["lifting"],
        "plain_ms": 1000 * medians["plain"],
        "ratio": statistics.median(ratios),
        "instants_per_s": config.batch_size / medians["lifting"],
    }


def main(_: list[str]) -> None:
    dataset = PreparedDataset.load(FLAGS.data, require=("train",))
    placed = lifting.get_config()
    placed.loss.place = "keypoints"
    configs = {"lifting": lifting.get_config(), "placed": placed, "lifting_mocap": lifting_mocap.get_config()}
    for name, config in configs.items():
        result = {key: round(value, 2) for key, value in measure(config, dataset).items()}
        print(json.dumps({"config": name, **result}), flush=True)


if __name__ == "__main__":
    app.run(main)
