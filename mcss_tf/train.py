"""Trains a method on a prepared dataset: python -m mcss_tf.train --config=... --data=... --workdir=..."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf import methods
from mcss_tf.data.damage import named_faults, print_skipped
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.training import device
from mcss_tf.training.lock import Lock
from mcss_tf.training.loop import train
from mcss_tf.training.profiler import parse_steps
from mcss_tf.training.strategy import STRATEGIES, build_strategy, is_chief, lost_workers_told
from mcss_tf.training.watch import TrainingStoppedError
from mcss_tf.training.workdir import Workdir, open_workdir

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config", None, "Experiment, e.g. configs/mcss.py; --config.a.b=v overrides.", lock_config=True
)
flags.DEFINE_string("data", None, "Folder of the prepared dataset.")
flags.DEFINE_string("workdir", None, "Folder of the run; an unfinished run in it is resumed.")
flags.DEFINE_enum(
    "on_bad_record", "fail", ("fail", "skip"), "Damaged records stop the run, or are counted and left out."
)
flags.DEFINE_integer("keep", 2, "Checkpoints that stay on disk.", lower_bound=1)
flags.DEFINE_bool("deterministic", False, "The same weights on every rerun; slower (docs/reliability.md).")
flags.DEFINE_string("profile", "", "Steps whose profile TensorBoard shows, e.g. 100:110.")
flags.DEFINE_enum("strategy", "default", STRATEGIES, "Devices: one, all of this machine, or TF_CONFIG's.")
flags.mark_flags_as_required(["config", "data", "workdir"])


@tells_disk_errors
def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    # TensorFlow reports every checkpoint at INFO, right through the progress bar.
    logging.set_verbosity(logging.WARNING)
    try:
        return _train()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TrainingStoppedError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1


def _train() -> int:
    steps = parse_steps(FLAGS.profile)
    if FLAGS.deterministic:
        device.make_deterministic()
    strategy = build_strategy(FLAGS.strategy)  # TensorFlow must not have computed anything yet
    with lost_workers_told(strategy):
        if is_chief(strategy):
            return _train_as_chief(strategy, steps)
        return _train_beside_chief(strategy)


def _train_as_chief(strategy: Any, profile: range | None) -> int:
    """Trains, alone or with others, in the workdir."""
    with Lock(Path(FLAGS.workdir) / "lock") as lock:
        dataset = PreparedDataset.load(FLAGS.data, require=("train",), on_bad_record=FLAGS.on_bad_record)
        print_skipped(dataset)
        method = methods.get(FLAGS.config, dataset)
        workdir = open_workdir(FLAGS.workdir, FLAGS.config, dataset, sys.argv)
        if workdir.is_finished():
            print(f"{workdir.model} is there already: this run is finished.")
            return 0
        if lock.taken_over:
            print(f"{workdir.path} was left by {lock.taken_over}")
        with named_faults(dataset):
            train(method, FLAGS.config, workdir, keep=FLAGS.keep, profile=profile, strategy=strategy)
    print(f"wrote {workdir.model}")
    return 0


def _train_beside_chief(strategy: Any) -> int:
    """Trains as one worker of several, leaving nothing in the workdir."""
    # With the chief's flag: what is left out must be the same for all.
    dataset = PreparedDataset.load(FLAGS.data, require=("train",), on_bad_record=FLAGS.on_bad_record)
    method = methods.get(FLAGS.config, dataset)
    shared = Workdir(Path(FLAGS.workdir))
    if not shared.is_finished():
        with tempfile.TemporaryDirectory(prefix="mcss_tf_worker_") as own, named_faults(dataset):
            train(method, FLAGS.config, Workdir(Path(own)), strategy=strategy, resume_from=shared)
    return 0


if __name__ == "__main__":
    app.run(main)
