"""Damages copies of a prepared dataset at random and reads them: whatever is wrong must be found and named.

    python -m benchmarks.damage --trials=2000 --seed=0 --json=FILE

A copy is damaged in one way of `DAMAGES`, then opened and read whole, as training would, once failing and
once leaving damaged records out. Status 1 if anything below is not so: the only error is `InputError`, and it
names a file of the copy; what is read without an error is what was written, bit by bit; what is left out is
counted, and the rest is whole; nothing takes longer than ten seconds.
"""

import collections
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf import files
from mcss_tf.data.damage import find_damage
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError
from tests.data.test_damage import replace_image
from tests.helpers import make_tiny_dataset

FLAGS = flags.FLAGS
flags.DEFINE_integer("trials", 2000, "Damaged copies.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of the damages.")
flags.DEFINE_string("json", None, "File for the figures.")
SECONDS = 10.0
NUM_ROWS = 16


def main(argv: Sequence[str]) -> int:
    """Prints the figures; returns the exit status."""
    del argv
    rng = random.Random(FLAGS.seed)
    counts: collections.Counter[str] = collections.Counter()
    faults, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        make_tiny_dataset(whole, instants=NUM_ROWS // 2)
        truth = read(PreparedDataset.load(whole))
        for trial in range(FLAGS.trials):
            kind = rng.choice(list(DAMAGES))
            copy = Path(folder) / f"copy{trial}"
            shutil.copytree(whole, copy)
            DAMAGES[kind](copy, rng)
            start = time.monotonic()
            outcome, fault = judge(copy, truth)
            slowest = max(slowest, time.monotonic() - start)
            counts[f"{kind}: {outcome}"] += 1
            if fault or time.monotonic() - start > SECONDS:
                faults.append(f"trial {trial}, {kind}: {fault or 'too slow'}")
            shutil.rmtree(copy)
    figures = {
        **dict(sorted(counts.items())),
        "slowest_s": round(slowest, 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "faults": faults,
    }
    for name, value in figures.items():
        print(f"{name:50} {value}")
    if FLAGS.json:
        files.write_json(FLAGS.json, figures)
    return 1 if faults else 0


def judge(copy: Path, truth: dict[int, list[bytes]]) -> tuple[str, str | None]:
    """Returns what became of a damaged copy, and what is wrong with that; None where it is right."""
    try:
        dataset = PreparedDataset.load(copy)
        bad = dict(find_damage(dataset))
    except InputError as error:
        is_named = str(copy) in str(error)
        return "refused when opened", None if is_named else f"names no file: {error}"
    except Exception as error:  # what must not be
        return "error", repr(error)
    if not all(str(copy) in what for what in bad.values()):
        return "records named", f"names no file: {bad}"
    if {row: images for row, images in read(dataset, bad).items() if images != truth[row]}:
        return "records named", "other images than were written, without an error"
    kept = PreparedDataset.load(copy, on_bad_record="skip")
    if len(kept.skipped) != len(bad) or len(kept.split_rows("train")) != NUM_ROWS - len(bad):
        return "records named", f"{len(kept.skipped)} left out of {len(bad)} damaged"
    return ("records named" if bad else "bytes that are never read"), None


def read(dataset: PreparedDataset, bad: Sequence[int] = ()) -> dict[int, list[bytes]]:
    """Returns the images of every record that is not in `bad`."""
    images = {}
    for row in range(NUM_ROWS):
        if row not in bad:
            cameras = np.flatnonzero(dataset.index.image_length[row])
            dataset.read([row])
            images[row] = list(dataset.read_images(np.full(len(cameras), row), cameras))
    return images


def edit(path: Path, change: Callable[[bytearray], None]) -> None:
    """Changes a file's bytes."""
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def shard(copy: Path, rng: random.Random) -> Path:
    """Returns one of the shards."""
    return rng.choice(sorted(copy.glob("records/*/*.tfrecord")))


def flip_bit(path: Path, rng: random.Random) -> None:
    """Flips one bit of a file."""

    def change(data: bytearray) -> None:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)

    edit(path, change)


def cut(path: Path, rng: random.Random) -> None:
    """Leaves the first bytes of a file."""
    edit(path, lambda data: data.__delitem__(slice(rng.randrange(len(data)), None)))


def blank(path: Path, rng: random.Random) -> None:
    """Zeroes a block of a file, as a lost page does."""

    def change(data: bytearray) -> None:
        start = rng.randrange(len(data))
        end = min(len(data), start + rng.choice((16, 512, 4096)))
        data[start:end] = bytes(end - start)

    edit(path, change)


def swap_shards(copy: Path, rng: random.Random) -> None:
    """Exchanges two shards."""
    first, second = rng.sample(sorted(copy.glob("records/*/*.tfrecord")), 2)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def spoil_image(copy: Path, rng: random.Random) -> None:
    """Puts random bytes in the place of an image, and checksums that are right for them."""
    replace_image(copy, rng.randrange(NUM_ROWS), rng.randrange(3), rng.randbytes(rng.randrange(1, 200)))


# By name: a function of the copy and a source of randomness.
DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "bit of a shard": lambda copy, rng: flip_bit(shard(copy, rng), rng),
    "shard cut": lambda copy, rng: cut(shard(copy, rng), rng),
    "shard blanked": lambda copy, rng: blank(shard(copy, rng), rng),
    "shard missing": lambda copy, rng: shard(copy, rng).unlink(),
    "shards swapped": swap_shards,
    "image undecodable": spoil_image,
    "bit of dataset.json": lambda copy, rng: flip_bit(copy / "dataset.json", rng),
    "dataset.json cut": lambda copy, rng: cut(copy / "dataset.json", rng),
    "bit of index.npz": lambda copy, rng: flip_bit(copy / "index.npz", rng),
    "index.npz cut": lambda copy, rng: cut(copy / "index.npz", rng),
}


if __name__ == "__main__":
    sys.exit(app.run(main))
