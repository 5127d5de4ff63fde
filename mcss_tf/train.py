"""Trains a method on a prepared dataset: python -m mcss_tf.train --config=... --data=... --workdir=..."""

import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf import methods
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError
from mcss_tf.training.loop import train
from mcss_tf.training.watch import TrainingStoppedError
from mcss_tf.training.workdir import open_workdir

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config", None, "Experiment, e.g. configs/mcss.py; --config.a.b=v overrides.", lock_config=True
)
flags.DEFINE_string("data", None, "Folder of the prepared dataset.")
flags.DEFINE_string("workdir", None, "Folder of the run; an unfinished run in it is resumed.")
flags.mark_flags_as_required(["config", "data", "workdir"])


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    # TensorFlow reports every checkpoint at INFO, right through the progress bar.
    logging.set_verbosity(logging.WARNING)
    try:
        dataset = PreparedDataset.load(FLAGS.data, require=("train",))
        method = methods.get(FLAGS.config, dataset)
        workdir = open_workdir(FLAGS.workdir, FLAGS.config, dataset, sys.argv)
        if workdir.is_finished():
            print(f"{workdir.model} is there already: this run is finished.")
            return 0
        train(method, FLAGS.config, workdir)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TrainingStoppedError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    print(f"wrote {workdir.model}")
    return 0


if __name__ == "__main__":
    app.run(main)
