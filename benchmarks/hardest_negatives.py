"""Time, GFLOP/s, share of the cores' peak and memory of the hardest-negatives op and of its peers.

    python -m benchmarks.hardest_negatives --json=out/hardest_negatives.json
    python -m benchmarks.hardest_negatives --addons_python=.venv-peers/bin/python \
        --torch_python=.venv-torch/bin/python      (both made by `make peers`)

tensorflow   distances by a float32 matrix product, mask and minima in plain TensorFlow operations
xla          the same, compiled by XLA
op_clusters  the op on eight tight clusters far apart, threshold 0: all candidates are nearly the best
op_equal     the op on embeddings that are all equal, threshold 0: none is admissible, and all nearly are
numpy        only the matrix product, which must write its N x N result; no mask, no minima
addons_*     tensorflow-addons, torch_* and pytorch_* PyTorch
The last three are timed by benchmarks/peers in processes, and environments, of their own. Times are medians.
The contestants of this process take turns, so a change of the machine's speed meets all; a turn is several
calls, so that each finds its own data in the caches as a peer does.
GFLOP/s counts 2 N^2 D. Memory is the growth of the peak resident size during one call in a fresh process.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.peers import timing
from mcss_tf import files
from mcss_tf.ops import build, hardest_negatives, library

FLAGS = flags.FLAGS
flags.DEFINE_list("sizes", ["64", "128", "512", "2048", "8192", "65536"], "Values of N.")
flags.DEFINE_integer("dim", 128, "Values of one embedding.")
flags.DEFINE_float("threshold", 0.3, "Distances up to this are not admissible.")
flags.DEFINE_integer("threads", 2, "Cores to use.")
flags.DEFINE_string("addons_python", None, "Interpreter that has tensorflow-addons.")
flags.DEFINE_string("torch_python", None, "Interpreter that has PyTorch and pytorch-metric-learning.")
flags.DEFINE_string("json", None, "File for the figures; stdout has them as a table.")
flags.DEFINE_string("memory_of", None, "Used by the program itself: print the memory of this contestant.")

ROOT = Path(__file__).resolve().parents[1]
CALLS_OF_TURN = 4
MAX_REFERENCE_SIZE = 16384  # the others hold several N x N matrices: 17 GB each at 65536


def product_form(anchors, positives, threshold):
    """Eq. 1 as one writes it in TensorFlow: fast, but inexact for embeddings that nearly coincide."""
    squared = tf.reduce_sum(anchors**2, axis=1)[:, None] + tf.reduce_sum(positives**2, axis=1)[None, :]
    squared -= 2 * tf.matmul(anchors, positives, transpose_b=True)
    distance = tf.sqrt(tf.maximum(squared, 0.0))
    masked = tf.where(distance > threshold, distance, np.inf)
    masked = tf.linalg.set_diag(masked, tf.fill(tf.shape(masked)[:1], np.float32(np.inf)))
    return [
        result
        for axis in (1, 0)
        for result in (tf.argmin(masked, axis, tf.int32), tf.reduce_min(masked, axis))
    ]


def op(anchors, positives, threshold):
    """The op; a list, since tf.function takes 0.1 ms longer to return a named tuple."""
    return list(hardest_negatives(anchors, positives, threshold))


def hard_cases(num):
    """`{name: embeddings}`, `[2 * num, dim]`, for which the op's filter leaves most to be decided exactly."""
    centres = timing.embeddings(8, FLAGS.dim)[np.arange(2 * num) % 8]
    noise = np.random.default_rng(1).normal(scale=1e-3, size=centres.shape)
    return {"op_clusters": (centres + noise).astype("float32"), "op_equal": centres[np.zeros(2 * num, int)]}


def contestants(num):
    """`{name: call}` for `num` anchors and positives; a call returns when its result is there."""
    embeddings = timing.embeddings(2 * num, FLAGS.dim)
    anchors, positives = tf.constant(embeddings[:num]), tf.constant(embeddings[num:])
    threshold = tf.constant(FLAGS.threshold)
    functions = {"op": tf.function(op, jit_compile=True)}
    calls = {}
    if num <= MAX_REFERENCE_SIZE:
        functions["tensorflow"] = tf.function(product_form)
        functions["xla"] = tf.function(product_form, jit_compile=True)
    for name, function in functions.items():
        calls[name] = lambda f=function: [x.numpy() for x in f(anchors, positives, threshold)]
    for name, values in hard_cases(num).items() if num <= MAX_REFERENCE_SIZE else ():
        inputs = tf.constant(values[:num]), tf.constant(values[num:]), tf.constant(0.0)
        calls[name] = lambda x=inputs: [x.numpy() for x in functions["op"](*x)]
    return calls


def time_calls(calls):
    """Median milliseconds of each call, taking turns of which the first call only warms up."""
    seconds = {name: [] for name in calls}
    for call in calls.values():
        call()
    start = time.perf_counter()
    while len(seconds["op"]) < timing.MIN_REPEATS or time.perf_counter() - start < 4 * timing.MIN_SECONDS:
        for name, call in calls.items():
            call()
            for _ in range(CALLS_OF_TURN):
                begin = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - begin)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def print_memory(name, num):
    """Runs `name` once after a small warm-up and prints by how many MB the peak resident size grew."""
    contestants(64)[name]()
    call = contestants(num)[name]
    before = _status_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    call()
    print((_status_kb("VmHWM") - before) / 1000)


def _status_kb(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field)))


def measure_memory(name, num):
    """`print_memory` in a fresh process, in MB."""
    command = [sys.executable, "-m", "benchmarks.hardest_negatives", f"--memory_of={name}", f"--sizes={num}"]
    command += [f"--dim={FLAGS.dim}", f"--threads={FLAGS.threads}"]
    # Without memory that the allocator kept from the warm-up, which would hide what the call takes.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    output = subprocess.check_output(command, cwd=ROOT, text=True, stderr=subprocess.DEVNULL, env=env)
    return float(output.split()[-1])


def measure_peak():
    """GFLOP/s of fused multiply-adds in registers, on all threads."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/peak"
        source = str(ROOT / "benchmarks" / "peak_flops.cc")
        command = [build.find_compiler(), "-O2", "-std=c++17", source, "-o", program, "-pthread"]
        subprocess.run(command, check=True)
        return max(float(subprocess.check_output([program, str(FLAGS.threads)])) for _ in range(3))


def time_peers(sizes):
    """`{(name, n): ms}` of the peers whose interpreter was given; says which are missing."""
    times = {}
    sizes = [num for num in sizes if num <= MAX_REFERENCE_SIZE]
    if not sizes:
        return times
    pythons = {
        "time_numpy": sys.executable,
        "time_addons": FLAGS.addons_python,
        "time_torch": FLAGS.torch_python,
    }
    for module, python in pythons.items():
        if not python:
            print(f"SKIPPED: {module}: no interpreter was given (`make peers` makes one; see --help).")
            continue
        command = [python, "-m", f"benchmarks.peers.{module}", "--sizes", *map(str, sizes)]
        command += ["--dim", str(FLAGS.dim), "--threads", str(FLAGS.threads)]
        env = {**os.environ, "OMP_NUM_THREADS": str(FLAGS.threads)}
        for line in subprocess.check_output(command, cwd=ROOT, text=True, env=env).splitlines():
            row = json.loads(line)
            times[row["name"], row["n"]] = row["median_ms"]
    return times


def main(argv):
    """Prints the table and writes `--json`; status 1 without the compiled op, whose benchmark this is."""
    del argv
    tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    tf.config.threading.set_inter_op_parallelism_threads(FLAGS.threads)
    sizes = [int(size) for size in FLAGS.sizes]
    if FLAGS.memory_of:
        return print_memory(FLAGS.memory_of, sizes[0])
    if library.load() is None:
        print("The compiled op is not available, so there is nothing to measure.", file=sys.stderr)
        return 1
    peak = measure_peak()
    peers = time_peers(sizes)
    print(f"{FLAGS.threads} cores reach {peak:.0f} GFLOP/s at most; D = {FLAGS.dim}")
    print(f"{'N':>6}  {'':<30}{'ms':>10}{'GFLOP/s':>9}{'of peak':>9}{'memory MB':>11}{'x op':>8}")
    rows = []
    for num in sizes:
        times = time_calls(contestants(num))
        with_memory = [name for name in ("op", "tensorflow", "xla") if name in times and num >= 2048]
        memory = {name: measure_memory(name, num) for name in with_memory}
        times |= {name: ms for (name, n), ms in peers.items() if n == num}
        for name, ms in times.items():
            gflops = 2 * num**2 * FLAGS.dim / ms / 1e6
            rows.append({"n": num, "name": name, "ms": ms, "gflops": gflops, "share_of_peak": gflops / peak})
            rows[-1] |= {"memory_mb": memory.get(name), "times_op": ms / times["op"]}
            memory_text = f"{memory[name]:.0f}" if name in memory else ""
            print(
                f"{num:>6}  {name:<30}{ms:>10.3f}{gflops:>9.1f}{gflops / peak:>9.0%}{memory_text:>11}"
                f"{ms / times['op']:>8.2f}"
            )
    if FLAGS.json:
        versions = {"tensorflow": tf.__version__, "numpy": np.__version__}
        files.write_json(
            FLAGS.json, {"peak_gflops": peak, "threads": FLAGS.threads, "versions": versions, "rows": rows}
        )
    return 0


if __name__ == "__main__":
    app.run(main)
