"""What --deterministic costs: an MCSS training step with it and without it, in turn.

    python -m benchmarks.determinism

Two processes, since it cannot be switched off again; each takes a step while the other waits, so that a
change of the machine's speed meets both. ResNet-18 in float32.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from absl import app, flags

from mcss_tf import files

FLAGS = flags.FLAGS


def main(argv: Sequence[str]) -> int:
    """Prints the two medians and their ratio."""
    del argv
    sizes = (FLAGS.image_size, FLAGS.num_pairs, FLAGS.num_labelled)
    context = multiprocessing.get_context("spawn")
    ends = {}
    for name in ("plain", "deterministic"):
        ends[name], theirs = context.Pipe()
        context.Process(
            target=take_steps, args=(theirs, name == "deterministic", *sizes), daemon=True
        ).start()
    for end in ends.values():
        end.recv()  # the first step, in which the graph is traced
    seconds: dict[str, list[float]] = {name: [] for name in ends}
    for _ in range(FLAGS.repeats):
        for name, end in ends.items():
            end.send(True)
            seconds[name].append(end.recv())
    figures = {f"{name}_ms": 1000 * statistics.median(values) for name, values in seconds.items()}
    figures["ratio"] = figures["deterministic_ms"] / figures["plain_ms"]
    for name, value in figures.items():
        print(f"{name:18} {value:.4g}")
    if FLAGS.json:
        files.write_json(FLAGS.json, figures)
    return 0


def take_steps(
    connection: Connection, is_deterministic: bool, image_size: int, num_pairs: int, num_labelled: int
) -> None:
    """Takes a step and sends its seconds, once at the beginning and then whenever asked."""
    import keras  # here: the process that only compares needs no TensorFlow

    from benchmarks.train_step import mcss_step
    from configs import common
    from mcss_tf import methods
    from mcss_tf.training import device
    from tests.helpers import make_tiny_dataset

    if is_deterministic:
        device.make_deterministic()
    config = common.get_config()
    config.image_size = image_size
    config.batch.num_pairs, config.batch.num_labelled = num_pairs, num_labelled
    device.set_precision("float32")
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_tiny_dataset(folder, instants=num_pairs, crop_size=image_size, fps=1.0)
        method = methods.get(config, dataset)
        batch = next(iter(method.train_batches(0)))
    step = mcss_step(config, method, batch)
    while True:
        start = time.monotonic()
        step()
        connection.send(time.monotonic() - start)
        connection.recv()


if __name__ == "__main__":
    flags.DEFINE_integer("image_size", 64, "Side of the images, pixels.")
    flags.DEFINE_integer("num_pairs", 33, "Metric pairs of a batch.")
    flags.DEFINE_integer("num_labelled", 11, "Labelled images of a batch.")
    flags.DEFINE_integer("repeats", 15, "Timed steps of each.")
    flags.DEFINE_string("json", None, "File for the figures.")
    app.run(main)
