"""Memory of a training process over many steps: flat, or growing?

    python -m benchmarks.memory --steps=1000

Runs `python -m mcss_tf.train` on small generated data and reads the resident memory of the process as its
steps are logged. The first fifth is warm-up: buffers, thread pools and compiled graphs are made there.
"""

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks.resident import resident
from mcss_tf import files
from tests.helpers import make_tiny_dataset

FLAGS = flags.FLAGS
flags.DEFINE_integer("steps", 1000, "Training steps.")
flags.DEFINE_integer("image_size", 32, "Side of the images, pixels.")
flags.DEFINE_integer("num_pairs", 16, "Metric pairs of a batch.")
flags.DEFINE_string("json", None, "File for the figures.")
MAX_GROWTH_MIB = 20.0


def main(argv: Sequence[str]) -> int:
    """Prints the memory after warm-up and at the end; status 1 if it grew by more than 20 MiB."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        make_tiny_dataset(Path(folder) / "data", instants=64, crop_size=FLAGS.image_size, fps=1.0)
        steps, resident_mib = watch(Path(folder))
    is_warm = steps >= FLAGS.steps / 5
    warm_mib = resident_mib[is_warm]
    slope = np.polyfit(steps[is_warm], warm_mib, 1)[0]
    figures = {
        "steps": FLAGS.steps,
        "after_warm_up_mib": float(warm_mib[0]),
        "at_the_end_mib": float(warm_mib[-1]),
        "largest_mib": float(warm_mib.max()),
        "slope_mib_per_1000_steps": float(1000 * slope),
    }
    for name, value in figures.items():
        print(f"{name:26} {value:.1f}")
    if FLAGS.json:
        files.write_json(FLAGS.json, figures)
    return 0 if warm_mib[-1] - warm_mib[0] <= MAX_GROWTH_MIB else 1


def watch(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Trains and returns, for every logged step, its number and the resident memory in MiB."""
    command = [
        sys.executable, "-m", "mcss_tf.train", "--config=configs/mcss.py", f"--data={folder}/data",
        f"--workdir={folder}/run", f"--config.image_size={FLAGS.image_size}",
        f"--config.batch.num_pairs={FLAGS.num_pairs}", f"--config.train.steps={FLAGS.steps}",
        "--config.train.log_every=20", "--config.train.checkpoint_every=100000",
        # Generated people are few: what is measured is memory, not learning.
        "--config.train.collapse_steps=100000000",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    samples: list[tuple[int, float]] = []
    while process.poll() is None:
        step = last_step(folder / "run" / "metrics.csv")
        if step and (not samples or step > samples[-1][0]):
            samples.append((step, resident(process.pid)))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"the training ended with status {process.returncode}")
    # The process may be gone between the last line and its reading.
    pairs = np.array([sample for sample in samples if sample[1] > 0])
    return pairs[:, 0], pairs[:, 1]


def last_step(path: Path) -> int:
    """Returns the newest step in metrics.csv, 0 before there is one."""
    if not path.is_file():
        return 0
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return int(rows[-1]["step"]) if rows else 0


if __name__ == "__main__":
    app.run(main)
