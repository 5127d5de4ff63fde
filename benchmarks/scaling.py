"""Weak scaling of training over processes: what the exchange of gradients and embeddings costs.

    python -m benchmarks.scaling --workers=2 --num_pairs=66 --num_labelled=22

Starts one process a worker on this machine, each pinned to a core of its own, connected over loopback. All of
them take, in turn, blocks of steps alone (one device, no exchange) and blocks of steps together
(`--strategy=multi_worker`, global mining); the batch of a worker is the same. Blocks alone run side by side
too, so that memory and clock are shared alike: what differs is the exchange. Efficiency is the median step
alone over the median step together; the target is 0.85. The same ratio of processor time leaves out what
workers wait for each other, which on a machine with other load is mostly that load.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging

FLAGS = flags.FLAGS
flags.DEFINE_integer("workers", 2, "Processes, each on a core of its own.", lower_bound=1)
flags.DEFINE_integer("image_size", 64, "Side of the images, pixels.")
flags.DEFINE_integer("num_pairs", 66, "Metric pairs of a worker's batch.")
flags.DEFINE_integer("num_labelled", 22, "Labelled images of a worker's batch.")
flags.DEFINE_integer("depth", 18, "Of the ResNet.")
flags.DEFINE_string("precision", "auto", "float32, mixed_bfloat16 or auto.")
flags.DEFINE_integer("blocks", 5, "Blocks of steps alone, and as many together.")
flags.DEFINE_integer("steps", 4, "Steps of a block.")
flags.DEFINE_string("json", None, "File for the figures; stdout has them as a table.")
flags.DEFINE_string("worker_of", None, "Set by this script for the processes it starts.")
TARGET = 0.85


def main(argv: Sequence[str]) -> int:
    """Prints the medians and the efficiency; status 1 where it misses the target."""
    if FLAGS.worker_of:
        print(json.dumps(measure(Path(FLAGS.worker_of))))
        return 0
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < FLAGS.workers:
        print(f"error: {FLAGS.workers} workers need as many cores. Received: {len(cores)}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder))
        figures = run_workers(argv, Path(folder), cores)
    used = figures["alone_processor_s"] / figures["together_processor_s"]
    efficiency = figures["alone_s"] / figures["together_s"]
    figures |= {"processor_efficiency": used, "efficiency": efficiency, "target": TARGET}
    for name, value in figures.items():
        print(f"{name:22} {value:.4g}" if isinstance(value, float) else f"{name:22} {value}")
    if FLAGS.json:
        Path(FLAGS.json).write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["efficiency"] >= TARGET else 1


def make_data(folder: Path) -> None:
    """Writes a dataset of which every subject fills the batch of all workers."""
    from tests.helpers import make_tiny_dataset

    make_tiny_dataset(folder, instants=FLAGS.workers * FLAGS.num_pairs, crop_size=FLAGS.image_size, fps=1.0)


def run_workers(argv: Sequence[str], folder: Path, cores: list[int]) -> dict[str, Any]:
    """Starts the workers and returns the figures of the first; all of them step at the same time."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(FLAGS.workers)]
    cluster = {"worker": [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]}
    for s in sockets:
        s.close()
    processes = []
    for index in range(FLAGS.workers):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(task), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = ["taskset", "-c", str(cores[index]), sys.executable, "-m", "benchmarks.scaling"]
        command += [*sys.argv[1:], f"--worker_of={folder}"]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("a worker failed; what it wrote stands above")
    return json.loads(outputs[0].splitlines()[-1])


def measure(folder: Path) -> dict[str, Any]:
    """Returns the medians of a step alone and of one together, in this worker."""
    from configs import common
    from mcss_tf import methods
    from mcss_tf.data.dataset import PreparedDataset
    from mcss_tf.training import device, strategy

    logging.set_verbosity(logging.WARNING)  # TensorFlow tells of every collective at INFO
    together = strategy.build_strategy("multi_worker")
    precision = device.set_precision(FLAGS.precision)
    config = common.get_config()
    config.image_size, config.backbone.depth = FLAGS.image_size, FLAGS.depth
    dataset = PreparedDataset.load(folder)
    steps: dict[str, Callable[[], tuple[float, float]]] = {}
    for name, count in (("alone", 1), ("together", FLAGS.workers)):
        config.batch.num_pairs, config.batch.num_labelled = (
            count * FLAGS.num_pairs,
            count * FLAGS.num_labelled,
        )
        steps[name] = timed_steps(methods.get(config, dataset), config, together if count > 1 else None)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    processor: dict[str, list[float]] = {name: [] for name in steps}
    for block in range(FLAGS.blocks + 1):
        for name, step in steps.items():
            times = [step() for _ in range(FLAGS.steps)]
            # The first step of a block together waits for the slowest worker of the block alone; the first
            # blocks are traced and warmed up.
            seconds[name] += [wall for wall, _ in times[1:]] if block else []
            processor[name] += [used for _, used in times[1:]] if block else []
    images = 2 * FLAGS.num_pairs + FLAGS.num_labelled
    medians = {f"{name}_s": statistics.median(values) for name, values in seconds.items()}
    medians |= {f"{name}_processor_s": statistics.median(values) for name, values in processor.items()}
    rates = {f"{name}_images_per_s": images / medians[f"{name}_s"] for name in seconds}
    described = {"workers": FLAGS.workers, "images_a_worker": images, "precision": precision}
    return {**described, **medians, **rates}


def timed_steps(method: Any, config: Any, strategy: Any) -> Callable[[], tuple[float, float]]:
    """Returns a function that takes a step of training, input included, and returns wall and processor s."""
    import functools

    import tensorflow as tf

    from mcss_tf.training.loop import build_optimizer, build_train_step
    from mcss_tf.training.strategy import distribute_batches

    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = method.build_model()
        optimizer = build_optimizer(config, 1000, method.steps_per_epoch)
        optimizer.build(model.trainable_variables)
    batches: Iterator[Any] = distribute_batches(strategy, functools.partial(method.train_batches, 0))
    train_step = build_train_step(method, model, optimizer, strategy)

    def step() -> tuple[float, float]:
        start, used = time.perf_counter(), time.process_time()
        float(train_step(next(batches))["total"])
        return time.perf_counter() - start, time.process_time() - used

    return step


if __name__ == "__main__":
    app.run(main)
