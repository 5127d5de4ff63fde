"""How every peer is timed; only the standard library and NumPy, which all the environments have."""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

MIN_REPEATS = 7
MIN_SECONDS = 0.5


def arguments(description: str | None) -> argparse.Namespace:
    """Reads `--sizes`, `--dim` and `--threads`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 512, 2048, 8192], help="rows")
    parser.add_argument("--dim", type=int, default=128, help="columns")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def embeddings(num_rows: int, dim: int) -> np.ndarray:
    """Returns the same unit vectors for every peer, float32 `[num_rows, dim]`."""
    x = np.random.default_rng(0).normal(size=(num_rows, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")


def report(name: str, num_rows: int, function: Callable[[], object]) -> None:
    """Prints `{name, n, median_ms}` of `function`, which returns once its result is there, as a line of JSON.

    The median of at least seven calls, and of half a second of them, after two that only warm up.
    """
    for _ in range(2):
        function()
    seconds = []
    while len(seconds) < MIN_REPEATS or sum(seconds) < MIN_SECONDS:
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    median_ms = 1000 * statistics.median(seconds)
    print(json.dumps({"name": name, "n": num_rows, "median_ms": round(median_ms, 4)}), flush=True)
