"""What a checkpoint costs training: the time it stands still, and the time the write takes beside it.

    python -m benchmarks.checkpointing

ResNet-18 with Adam, 154 images of 64 pixels, float32. The share is that of an interval of 500 steps, the
default, and counts the whole write as if it slowed training as much as standing still does: an upper bound.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from mcss_tf import files
from mcss_tf.models.heads import build_mcss_model
from mcss_tf.training.checkpoints import Checkpoints
from mcss_tf.training.workdir import Workdir

FLAGS = flags.FLAGS
flags.DEFINE_integer("steps", 6, "Timed steps and checkpoints.")
flags.DEFINE_integer("images", 154, "Of a batch.")
flags.DEFINE_string("json", None, "File for the figures.")
INTERVAL = 500


def main(argv: Sequence[str]) -> int:
    """Prints the figures; status 1 if a checkpoint costs more than 2 % of its interval."""
    del argv
    model = build_mcss_model(64, num_joints=16)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    images = np.random.default_rng(0).integers(0, 256, (FLAGS.images, 64, 64, 3), np.uint8)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(images, training=True)["pose_mm"] ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    float(step())
    steps_s, blocked_s, writes_s = [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        Checkpoints(Workdir(Path(folder)), model=model, optimizer=optimizer) as checkpoints,
    ):
        for number in range(FLAGS.steps):
            start = time.monotonic()
            float(step())
            steps_s.append(time.monotonic() - start)
            blocked_s.append(checkpoints.save(number + 1))
            start = time.monotonic()
            checkpoints.wait()
            writes_s.append(time.monotonic() - start)
    step_s, blocked, write = map(statistics.median, (steps_s, blocked_s, writes_s))
    figures = {
        "step_ms": 1000 * step_s,
        "blocked_ms": 1000 * blocked,
        "write_ms": 1000 * write,
        "share_of_500_steps": (blocked + write) / (INTERVAL * step_s),
    }
    for name, value in figures.items():
        print(f"{name:20} {value:.4g}")
    if FLAGS.json:
        files.write_json(FLAGS.json, figures)
    return 1 if figures["share_of_500_steps"] > 0.02 else 0


if __name__ == "__main__":
    app.run(main)
