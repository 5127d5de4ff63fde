"""What planning costs: processor time and memory for an index of many instants.

    python -m benchmarks.planning --instants=10000000

Five subjects, four cameras, instants a second apart in sequences of ten minutes, batches of 66 pairs; all of
it is Python and NumPy in one thread, so processor time is what it takes alone.
"""

import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import app, flags

from mcss_tf import files
from mcss_tf.data import pairs, planning
from mcss_tf.data.dataset import Index

FLAGS = flags.FLAGS
_SUBJECTS, _CAMERAS, _PER_SEQUENCE, _PAIRS = 5, 4, 600, 66


def main(argv: Sequence[str]) -> int:
    """Prints the figures."""
    del argv
    index = make_index(FLAGS.instants)
    rows = np.arange(FLAGS.instants)
    counts = {"num_pairs": _PAIRS, "num_labelled": 0, "labelled_rows": rows[:0]}
    figures: dict[str, Any] = {"instants": FLAGS.instants}
    gap, figures["gap_auto_s"] = timed(lambda: pairs.resolve_min_gap(index, rows, _PAIRS, "auto"))
    planner, figures["planner_s"] = timed(
        lambda: planning.Planner(index, rows, **counts, min_gap_s=gap, seed=0)
    )
    plan, figures["first_part_s"] = timed(lambda: planner.part(0, 0))
    last = planner.num_parts - 1
    _, figures["last_part_s"] = timed(lambda: planner.part(0, last))
    figures |= {"parts": planner.num_parts, "steps": planner.steps_per_epoch, "steps_of_a_part": len(plan)}
    figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    for name, value in figures.items():
        print(f"{name:16} {value:.5g}")
    if FLAGS.json:
        files.write_json(FLAGS.json, figures)
    return 0


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Returns what a function returns, and the processor time it took in seconds."""
    start = time.process_time()
    return function(), time.process_time() - start


def make_index(num_instants: int) -> Index:
    """Returns an index whose instants lie a second apart; what planning does not read is empty."""
    number = np.arange(num_instants)
    nothing = np.zeros(num_instants, np.int32)
    present = np.ones((num_instants, _CAMERAS), np.int32)
    sequence = (number // _PER_SEQUENCE).astype(np.int32)
    return Index(
        shard=nothing,
        offset=nothing,
        length=nothing,
        subject=sequence % _SUBJECTS,
        sequence=sequence,
        split=nothing.astype(np.int8),
        frame=number % _PER_SEQUENCE,
        time_s=(number % _PER_SEQUENCE).astype(np.float64),
        view_mask=np.full(num_instants, 15, np.uint64),
        has_pose=nothing.astype(bool),
        image_offset=present,
        image_length=present,
        canonical_mm=np.zeros((num_instants, 0, 3), np.float32),
        joint_mask=np.zeros((num_instants, 0), np.float32),
    )


if __name__ == "__main__":
    flags.DEFINE_integer("instants", 10_000_000, "Of the train split.")
    flags.DEFINE_string("json", None, "File for the figures.")
    app.run(main)
