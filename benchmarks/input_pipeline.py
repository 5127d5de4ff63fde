"""Images per second that the input pipeline delivers by itself, without a network behind it.

    python -m benchmarks.input_pipeline [--data=DIR] [--image_size=64] [--steps=40] [--json=FILE]

Without --data a small dataset of stick figures is made (its crops compress well and decode a little faster
than photographs). The target is twice the images/s that training uses: --training_images_per_s takes that
number from benchmarks/train_step.py and makes the exit status say whether it is met.
"""

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from absl import app, flags

from mcss_tf import files
from mcss_tf.data import batches
from mcss_tf.data.dataset import PreparedDataset
from tests.helpers import make_tiny_dataset

_DATA = flags.DEFINE_string("data", None, "Prepared dataset; a small one is made without.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 0, "Side of the images, pixels; 0: as they are stored.")
_CROP_SIZE = flags.DEFINE_integer("crop_size", 64, "Side of the made images.")
_NUM_PAIRS = flags.DEFINE_integer("num_pairs", 66, "Metric pairs of a batch.")
_NUM_LABELLED = flags.DEFINE_integer("num_labelled", 22, "Labelled images of a batch.")
_STEPS = flags.DEFINE_integer("steps", 40, "Batches of each repeat.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed repeats; the median counts.")
_TRAINING = flags.DEFINE_float("training_images_per_s", None, "What training uses, to compare with.")
_JSON = flags.DEFINE_string("json", None, "File for the figures; stdout has them as a table.")
TARGET = 2.0


def main(_: Sequence[str]) -> int:
    """Prints the median rate; status 1 where it is below twice the rate of training."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(PreparedDataset.load(_DATA.value) if _DATA.value else make(folder))
    if _TRAINING.value:
        figures["ratio"] = figures["images_per_s"] / _TRAINING.value
        figures["target"] = TARGET
    for name, value in figures.items():
        print(f"{name:20} {value:.5g}" if isinstance(value, float) else f"{name:20} {value}")
    if _JSON.value:
        files.write_json(_JSON.value, figures)
    return int(figures.get("ratio", TARGET) < TARGET)


def make(folder: str) -> PreparedDataset:
    """Writes a dataset with enough instants for the batches asked for."""
    return make_tiny_dataset(
        folder, instants=2 * max(_NUM_PAIRS.value, 1), cameras=4, crop_size=_CROP_SIZE.value, fps=1.0
    )


def measure(dataset: PreparedDataset) -> dict[str, float | int]:
    """Returns the rate, its spread, and by how much the memory of the process grew while it was timed."""
    num_labelled = _NUM_LABELLED.value if dataset.index.has_pose.any() else 0
    num_images = 2 * _NUM_PAIRS.value + num_labelled
    image_size = _IMAGE_SIZE.value or dataset.crop_size
    stream = batches.train_batches(
        dataset, image_size=image_size, num_pairs=_NUM_PAIRS.value, num_labelled=num_labelled
    )
    iterator = iter(stream)
    seconds_of(iterator, _STEPS.value)  # warm-up: threads, page cache, automatic tuning
    before = peak_mib()
    seconds = [seconds_of(iterator, _STEPS.value) for _ in range(_REPEATS.value)]
    rates = [num_images * _STEPS.value / s for s in seconds]
    return {
        "image_size": image_size,
        "crop_size": dataset.crop_size,
        "images_per_step": num_images,
        "ms_per_step": 1000 * statistics.median(seconds) / _STEPS.value,
        "images_per_s": statistics.median(rates),
        "slowest_images_per_s": min(rates),
        "fastest_images_per_s": max(rates),
        "memory_growth_mib": peak_mib() - before,
    }


def seconds_of(iterator: Iterator, steps: int) -> float:
    """Returns how long `steps` batches take."""
    start = time.perf_counter()
    for _ in range(steps):
        next(iterator)
    return time.perf_counter() - start


def peak_mib() -> float:
    """Returns the largest memory that the process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    app.run(main)
