"""Latency and throughput of an export beside ONNX Runtime and the network as trained.

    python -m benchmarks.serving --image_size=64

All in one process, in turn, on the same number of threads; medians. Weights and moving statistics are random:
their values do not matter for the speed, but statistics as initialised would, since adding a mean of zero is
optimised away, and with it what is fused around it.
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from absl import app, flags

from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.models.heads import build_mcss_model
from mcss_tf.serving import images, saved_model
from mcss_tf.serving.folding import PRECISIONS, fold_batch_norm
from mcss_tf.serving.formats import FORMATS, write_formats
from mcss_tf.serving.metadata import build_metadata

FLAGS = flags.FLAGS
flags.DEFINE_integer("image_size", 64, "Side of the network's square, pixels.")
flags.DEFINE_integer("threads", 2, "Of TensorFlow and of ONNX Runtime.")
flags.DEFINE_integer("rounds", 15, "Of all contestants in turn, at each batch size.")
flags.DEFINE_string("keep", None, "Folder where the exports are kept, so that a second call only measures.")

Call = Callable[[np.ndarray], object]


def main(argv: Sequence[str]) -> None:
    """Prints a table."""
    del argv
    tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    tf.config.threading.set_inter_op_parallelism_threads(FLAGS.threads)
    keras.utils.set_random_seed(0)
    model = build_mcss_model(FLAGS.image_size, num_joints=16)
    set_statistics(model.get_layer("backbone"))
    kept = contextlib.nullcontext(FLAGS.keep) if FLAGS.keep else tempfile.TemporaryDirectory()
    with kept as folder:
        calls = contestants(model, Path(folder))
        for batch in (1, 32):
            compare(calls, batch)


def set_statistics(backbone: keras.Model) -> None:
    """Gives every batch normalisation some mean and variance, as training would."""
    rng = np.random.default_rng(0)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0.0, 0.2, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2.0, layer.moving_variance.shape))


def export(model: keras.Model, folder: Path, precision: str) -> Path:
    """Returns a version that mcss_tf.export would write."""
    if (folder / precision / "1").is_dir():
        return folder / precision / "1"
    crop = {"size": FLAGS.image_size, "context": 1.2}
    metadata = build_metadata(model, HUMAN36M_17, crop, {}, precision)
    return saved_model.write(images.served(model, 1.2, precision=precision), metadata, folder / precision)


def contestants(model: keras.Model, folder: Path) -> dict[str, Call]:
    """Returns functions of uint8 images, by name; the first is what the others are compared with."""
    calls: dict[str, Call] = {}
    for precision in PRECISIONS:
        loaded = tf.saved_model.load(str(export(model, folder, precision)))
        calls[f"export, {precision}"] = _call(loaded, loaded.signatures["images"])
    unfolded = tf.function(lambda images: model(images, training=False), jit_compile=False)
    calls["the Keras model as trained, in a tf.function"] = lambda given: unfolded(tf.constant(given))
    if not (folder / FORMATS["onnx"]).is_file():
        write_formats(fold_batch_norm(model), ["onnx"], folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = FLAGS.threads
    # A waiting thread of ONNX Runtime would otherwise spin into the next contestant's time.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        folder / FORMATS["onnx"], options, providers=["CPUExecutionProvider"]
    )
    calls["ONNX Runtime, the folded network"] = lambda given: session.run(None, {"images": given})
    return calls


def _call(loaded: object, signature: Callable) -> Call:
    # `loaded` holds what the signature refers to.
    return lambda given, kept=loaded: signature(images=tf.constant(given))


def compare(calls: dict[str, Call], batch: int) -> None:
    """Prints the median time of a call of every contestant and its ratio to the first."""
    size = FLAGS.image_size
    given = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    for call in calls.values():
        for _ in range(3):
            call(given)
    repeats = 10 if batch == 1 else 1
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(FLAGS.rounds):
        for name, call in calls.items():
            for _ in range(repeats):
                start = time.perf_counter()
                call(given)
                times[name].append(time.perf_counter() - start)
    reference = statistics.median(next(iter(times.values())))
    print(f"\n| batch {batch}, {size} pixels | ms | images/s | time over the first's |\n|---|---|---|---|")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"| {name} | {1e3 * median:.2f} | {batch / median:.0f} | {median / reference:.2f} |")


if __name__ == "__main__":
    app.run(main)
