"""Feeds every parser damaged and hostile files: only InputError may come of them.

    nice -n 15 python -m benchmarks.fuzz_parsers --inputs=10000 --json=FILE

Prints per parser how many were accepted and refused, the longest time of one, and the peak memory; status 1
if anything but InputError was raised or an input took longer than five seconds.
"""

import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from mcss_tf import files
from tests import fuzz

FLAGS = flags.FLAGS
flags.DEFINE_integer("inputs", 10_000, "Of each parser.")
flags.DEFINE_integer("seed", 1, "Of the changes.")
flags.DEFINE_list("parsers", [parser.name for parser in fuzz.PARSERS], "Which.")
flags.DEFINE_string("json", None, "File for the figures.")


def main(argv: Sequence[str]) -> int:
    """Prints the figures; returns the exit status."""
    del argv
    figures, faults = {}, []
    print(f"{'parser':18}{'inputs':>8}{'accepted':>10}{'refused':>9}{'slowest ms':>12}{'seconds':>9}")
    for parser in fuzz.PARSERS:
        if parser.name not in FLAGS.parsers:
            continue
        start = time.monotonic()
        try:
            with tempfile.TemporaryDirectory() as folder:
                counts = fuzz.fuzz(parser, FLAGS.inputs, FLAGS.seed, Path(folder))
        except AssertionError as error:
            faults.append(str(error))
            print(f"{parser.name:18} {error}")
            continue
        counts["seconds"] = time.monotonic() - start
        figures[parser.name] = counts
        print(
            f"{parser.name:18}{counts['inputs']:8}{counts['accepted']:10}{counts['refused']:9}"
            f"{1000 * counts['slowest_s']:12.0f}{counts['seconds']:9.0f}",
            flush=True,
        )
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"peak memory {peak_mb:.0f} MB; {len(faults)} faults")
    if FLAGS.json:
        files.write_json(FLAGS.json, {"parsers": figures, "faults": faults, "peak_mb": peak_mb})
    return 1 if faults else 0


if __name__ == "__main__":
    app.run(main)
