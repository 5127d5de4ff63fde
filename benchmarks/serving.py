"""Latency and throughput of an export beside ONNX Runtime and the network as trained; a soak.

    python -m benchmarks.serving --image_size=64
    python -m benchmarks.serving --image_size=64 --soak_s=60

All in one process, in turn, on the same number of threads; medians. The weights are random: they do not
matter for the speed.
"""

import statistics
import tempfile
import threading
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
from mcss_tf.serving.folding import fold_batch_norm
from mcss_tf.serving.formats import FORMATS, write_formats
from mcss_tf.serving.metadata import build_metadata

FLAGS = flags.FLAGS
flags.DEFINE_integer("image_size", 64, "Side of the network's square, pixels.")
flags.DEFINE_integer("threads", 2, "Of TensorFlow and of ONNX Runtime.")
flags.DEFINE_integer("rounds", 15, "Of all contestants in turn, at each batch size.")
flags.DEFINE_integer("soak_s", 0, "Seconds of four concurrent clients; 0: latency and throughput instead.")
flags.DEFINE_enum("soak_precision", "float32", ("float32", "bfloat16"), "Of the export that is soaked.")

Call = Callable[[np.ndarray], object]
NUM_CLIENTS = 4


def main(argv: Sequence[str]) -> None:
    """Prints a table, or what the soak found."""
    del argv
    tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    tf.config.threading.set_inter_op_parallelism_threads(FLAGS.threads)
    keras.utils.set_random_seed(0)
    model = build_mcss_model(FLAGS.image_size, num_joints=16)
    with tempfile.TemporaryDirectory() as folder:
        if FLAGS.soak_s:
            soak(export(model, Path(folder), FLAGS.soak_precision))
            return
        calls = contestants(model, Path(folder))
        for batch in (1, 32):
            compare(calls, batch)


def export(model: keras.Model, folder: Path, precision: str) -> Path:
    """Returns a version that mcss_tf.export would write."""
    crop = {"size": FLAGS.image_size, "context": 1.2}
    metadata = build_metadata(model, HUMAN36M_17, crop, {}, precision)
    return saved_model.write(images.served(model, 1.2, precision=precision), metadata, folder / precision)


def contestants(model: keras.Model, folder: Path) -> dict[str, Call]:
    """Returns functions of uint8 images, by name; the first is what the others are compared with."""
    calls: dict[str, Call] = {}
    for precision in ("float32", "bfloat16"):
        loaded = tf.saved_model.load(str(export(model, folder, precision)))
        calls[f"export, {precision}"] = _call(loaded, loaded.signatures["images"])
    unfolded = tf.function(lambda images: model(images, training=False), jit_compile=False)
    calls["the Keras model as trained, in a tf.function"] = lambda given: unfolded(tf.constant(given))
    write_formats(fold_batch_norm(model), ["onnx"], folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = FLAGS.threads
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


def soak(version: Path) -> None:
    """Prints latencies, failures and memory of clients that send one file after the other."""
    loaded = tf.saved_model.load(str(version))
    serve = loaded.signatures["serving_default"]
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    crop = tf.cast(tf.image.resize(pixels, [128, 128]), tf.uint8)
    contents = tf.io.encode_jpeg(crop, quality=95)[None]
    serve(image_bytes=contents)
    end = time.monotonic() + FLAGS.soak_s
    latencies: list[list[float]] = [[] for _ in range(NUM_CLIENTS)]
    failures: list[str] = []

    def client(number: int) -> None:
        while time.monotonic() < end:
            start = time.perf_counter()
            try:
                outputs = serve(image_bytes=contents)
                if int(outputs["status"][0]) or not np.isfinite(outputs["embedding"]).all():
                    failures.append("refused")
            except tf.errors.OpError as error:
                failures.append(error.message)
            latencies[number].append(time.perf_counter() - start)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(NUM_CLIENTS)]
    for thread in clients:
        thread.start()
    memory = []
    while time.monotonic() < end:
        time.sleep(max(0.1, FLAGS.soak_s / 12))
        memory.append(_resident_mib())
    for thread in clients:
        thread.join()
    every = 1e3 * np.sort(np.concatenate(latencies))
    p50, p99 = np.percentile(every, [50, 99])
    print(
        f"{len(every)} requests of {NUM_CLIENTS} clients in {FLAGS.soak_s} s, {len(failures)} failed; "
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, at most {every[-1]:.1f} ms"
    )
    print(f"resident MiB, twelve times in a row: {' '.join(f'{value:.0f}' for value in memory)}")


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    app.run(main)
