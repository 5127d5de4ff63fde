"""Correctness and time of the op through JAX's FFI: on a GPU, or (to check this script) on the CPU.

    pip install 'jax[cuda12]' numpy;  nvcc on the path
    python benchmarks/gpu_hardest_negatives.py --platform=gpu --json=gpu.json
    compute-sanitizer python benchmarks/gpu_hardest_negatives.py --platform=gpu --sizes 1 130 1000 --repeats=1

Needs neither TensorFlow nor an installed mcss_tf: it compiles the kernels against JAX's own FFI headers,
checks each size against a float64 NumPy oracle, and compares with XLA's fusion of the same computation (in
float32, product form). Status 1 if an outcome differs.
"""

import argparse
import ctypes
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
HANDLERS = {"cpu": "McssHardestNegatives", "gpu": "McssHardestNegativesCuda"}
THRESHOLD = 0.3
MAX_ORACLE_SIZE = 4096


def register(platform, folder):
    """Compiles the library and registers its handler with JAX."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "mcss_tf" / "ops" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    path = Path(folder) / "library.so"
    build.compile_library(path, ROOT / "kernels", jax.ffi.include_dir(), with_cuda=platform == "gpu")
    handler = getattr(ctypes.CDLL(str(path)), HANDLERS[platform])
    name = {"cpu": "cpu", "gpu": "CUDA"}[platform]
    jax.ffi.register_ffi_target("mcss_hardest_negatives", jax.ffi.pycapsule(handler), platform=name)


@jax.jit
def op(anchors, positives, threshold, row_groups, column_groups):
    """The compiled handler."""
    index, distance = ((lambda n, t=t: jax.ShapeDtypeStruct((n,), t)) for t in (jnp.int32, jnp.float32))
    rows, columns = len(anchors), len(positives)
    results = (index(rows), distance(rows), index(columns), distance(columns))
    call = jax.ffi.ffi_call("mcss_hardest_negatives", results)
    return call(anchors, positives, threshold, row_groups, column_groups)


@jax.jit
def xla(anchors, positives, threshold, row_groups, column_groups):
    """The same in JAX operations, which XLA fuses as it can."""
    squared = jnp.sum(anchors**2, 1)[:, None] + jnp.sum(positives**2, 1)[None] - 2 * anchors @ positives.T
    distance = jnp.sqrt(jnp.maximum(squared, 0))
    is_admissible = (row_groups[:, None] != column_groups[None]) & (distance > threshold)
    masked = jnp.where(is_admissible, distance, jnp.inf)
    return jnp.argmin(masked, 1), jnp.min(masked, 1), jnp.argmin(masked, 0), jnp.min(masked, 0)


def oracle(anchors, positives, threshold, row_groups, column_groups):
    """The contract of kernels/hardest_negatives.h, in float64."""
    a, p = np.asarray(anchors, np.float64), np.asarray(positives, np.float64)
    distance = np.stack([np.sqrt(((row - p) ** 2).sum(1)) for row in a]).astype(np.float32)
    is_admissible = (row_groups[:, None] != column_groups[None]) & (distance > threshold)
    masked = np.where(is_admissible & np.isfinite(distance), distance, np.float32(np.inf))
    outcome = []
    for axis in (1, 0):
        smallest = masked.min(axis)
        outcome += [np.where(np.isfinite(smallest), masked.argmin(axis), -1), smallest]
    return outcome


def cases(num, dim):
    """Spread, collapsed and lattice embeddings (ties), some not finite; with and without groups."""
    rng = np.random.default_rng(num)
    unit = rng.normal(size=(2, num, dim))
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    broken = unit.astype(np.float32)
    broken[0, 0, 0], broken[1, -1, -1] = np.nan, np.inf
    diagonal = np.arange(num, dtype=np.int32)
    coarse = rng.integers(5, size=(2, num)).astype(np.int32)
    return {
        "spread": (unit.astype(np.float32), np.float32(THRESHOLD), diagonal, diagonal),
        "groups": (unit.astype(np.float32), np.float32(1.3), *coarse),
        "collapsed": ((0.1 + 1e-4 * unit).astype(np.float32), np.float32(1e-4), diagonal, diagonal),
        "lattice": (
            rng.integers(-1, 2, size=unit.shape).astype(np.float32),
            np.float32(5),
            diagonal,
            diagonal,
        ),
        "not finite": (broken, np.float32(-1), diagonal, diagonal),
        "nothing admissible": (unit.astype(np.float32), np.float32(np.nan), diagonal, diagonal),
    }


def is_equal(actual, expected):
    """Equal indices, and distances equal to the last digit but one."""
    index_equal = all(np.array_equal(actual[k], expected[k]) for k in (0, 2))
    return index_equal and all(np.allclose(actual[k], expected[k], rtol=2e-7, atol=0) for k in (1, 3))


def count_failures(num, dim):
    """Compares every case of `num` embeddings, in both types, with the oracle, and two runs to the bit."""
    num_failures = 0
    for name, (pair, *rest) in cases(num, dim).items():
        for dtype in (jnp.float32, jnp.bfloat16):
            anchors, positives = (jnp.asarray(side, dtype) for side in pair)
            first, second = ([np.asarray(x) for x in op(anchors, positives, *rest)] for _ in range(2))
            expected = oracle(anchors, positives, *rest)
            is_same = all(x.tobytes() == y.tobytes() for x, y in zip(first, second, strict=True))
            if not (is_equal(first, expected) and is_same):
                num_failures += 1
                print(f"FAILED: {name}, N = {num}, {jnp.dtype(dtype).name}, reproducible: {is_same}")
    return num_failures


def time_ms(function, arguments, repeats):
    """Median milliseconds of a call."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--platform", choices=HANDLERS, default="gpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 64, 128, 130, 2048, 8192, 65536])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    jax.config.update("jax_platforms", {"cpu": "cpu", "gpu": "cuda"}[options.platform])
    num_failures, rows = 0, []
    with tempfile.TemporaryDirectory() as folder:
        register(options.platform, folder)
        print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, D = {options.dim}")
        print(f"{'N':>6}{'op ms':>10}{'GFLOP/s':>10}{'xla ms':>10}{'x op':>7}")
        for num in options.sizes:
            if num <= MAX_ORACLE_SIZE:
                num_failures += count_failures(num, options.dim)
            pair, *rest = cases(num, options.dim)["spread"]
            arguments = [jax.device_put(x) for x in (*pair, *rest)]
            op_ms = time_ms(op, arguments, options.repeats)
            xla_ms = time_ms(xla, arguments, options.repeats) if num <= 16384 else float("nan")
            gflops = 2 * num**2 * options.dim / op_ms / 1e6
            rows.append({"n": num, "op_ms": op_ms, "gflops": gflops, "xla_ms": xla_ms})
            print(f"{num:>6}{op_ms:>10.3f}{gflops:>10.1f}{xla_ms:>10.3f}{xla_ms / op_ms:>7.2f}")
    if options.json:
        Path(options.json).write_text(
            json.dumps({"device": jax.devices()[0].device_kind, "rows": rows}, indent=2)
        )
    print("all outcomes agree with the oracle" if num_failures == 0 else f"{num_failures} outcomes differ")
    return 1 if num_failures else 0


if __name__ == "__main__":
    sys.exit(main())
