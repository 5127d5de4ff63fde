"""A served model under load: latency, failures, memory.

    python -m benchmarks.serving_load --seconds=60 --clients=4

Starts the gRPC server of the tests (tests/serving/grpc_server.py: TensorFlow Serving's protos over the
export) as a process of its own and asks it for one JPEG at a time from several clients at once. The first
sixth is warm-up. With --server it asks a server that runs already, e.g. TensorFlow Serving itself.
"""

import io
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks.resident import resident
from mcss_tf import files
from mcss_tf.serving.client import Client
from mcss_tf.serving.client_errors import ServingError

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Export; default: an untrained ResNet-18 of --image_size.")
flags.DEFINE_string("server", None, "host:port of a running server, in place of our own.")
flags.DEFINE_integer("image_size", 64, "Side of the default model's images, pixels.")
flags.DEFINE_integer("clients", 4, "Clients at once, one connection each.")
flags.DEFINE_float("seconds", 60.0, "How long, warm-up included.")
flags.DEFINE_string("json", None, "File for the figures.")
MAX_GROWTH_MIB = 20.0


def main(argv: Sequence[str]) -> int:
    """Prints latency, rate and memory; status 1 after a failure or if memory grew by more than 20 MiB."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        if FLAGS.server:
            figures = load(FLAGS.server, None)
        else:
            figures = load_own(FLAGS.model or make_model(Path(folder) / "mcss"))
    for name, value in figures.items():
        print(f"{name:24} {value:.4g}")
    if FLAGS.json:
        files.write_json(FLAGS.json, figures)
    return 1 if figures["failures"] or figures.get("growth_mib", 0.0) > MAX_GROWTH_MIB else 0


def load_own(model: str | Path) -> dict[str, float]:
    """Loads a server of our own, and ends it."""
    command = [sys.executable, "-m", "tests.serving.grpc_server", f"--model={model}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().split()[0].removeprefix("grpc=")
            return load(f"127.0.0.1:{port}", server.pid)
        finally:
            server.kill()


def load(server: str, pid: int | None) -> dict[str, float]:
    """Asks from all clients at once; returns the figures."""
    start_s = time.monotonic()
    warm_s, end_s = start_s + FLAGS.seconds / 6, start_s + FLAGS.seconds
    latencies: list[float] = []
    failures: list[ServingError] = []
    clients = [
        threading.Thread(target=ask, args=(server, number, warm_s, end_s, latencies, failures))
        for number in range(FLAGS.clients)
    ]
    for client in clients:
        client.start()
    memory_mib = []
    while any(client.is_alive() for client in clients):
        if pid and warm_s <= time.monotonic() <= end_s:
            memory_mib.append(resident(pid))
        time.sleep(1.0)
    for failure in failures[:3]:
        print(f"failed: {failure}", file=sys.stderr)
    milliseconds = 1000 * np.array(latencies)
    figures = {
        "requests": len(latencies),
        "failures": len(failures),
        "requests_per_s": len(latencies) / (end_s - warm_s),
        **{f"p{q}_ms": float(np.percentile(milliseconds, q)) for q in (50, 90, 99)},
        "max_ms": float(milliseconds.max()),
    }
    if memory_mib:
        slope = np.polyfit(np.arange(len(memory_mib)), memory_mib, 1)[0]
        figures |= {
            "memory_warm_mib": memory_mib[0],
            "memory_end_mib": memory_mib[-1],
            "growth_mib": memory_mib[-1] - memory_mib[0],
            "slope_mib_per_min": float(60 * slope),
        }
    return figures


def ask(server: str, seed: int, warm_s: float, end_s: float, latencies: list, failures: list) -> None:
    """One client: one JPEG after the other, each a little different."""
    rng = np.random.default_rng(seed)
    pictures = [jpeg(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(32)]
    # A failure is a failure here, not something to be tried again.
    with Client(server, retries=0) as client:
        while (start_s := time.monotonic()) < end_s:
            try:
                client.predict([pictures[rng.integers(len(pictures))]])
            except ServingError as error:
                failures.append(error)
            else:
                if start_s >= warm_s:
                    latencies.append(time.monotonic() - start_s)


def jpeg(pixels: np.ndarray) -> bytes:
    """Returns a smooth JPEG of 128 x 128 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((128, 128), Image.Resampling.BICUBIC).save(
        buffer, format="JPEG", quality=95
    )
    return buffer.getvalue()


def make_model(folder: Path) -> Path:
    """Exports the untrained default network."""
    from tests.prediction.conftest import export_untrained

    return export_untrained(folder, 16, FLAGS.image_size)


if __name__ == "__main__":
    app.run(main)
