"""Exports a trained model for serving: python -m mcss_tf.export --workdir=DIR --output=DIR/mcss."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf.errors import InputError
from mcss_tf.serving import lifting, refinement, saved_model
from mcss_tf.serving.metadata import check_target, describe_run
from mcss_tf.training.workdir import load_run

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of a finished run.")
flags.DEFINE_string("output", None, "Folder of the model's versions; the next free number is added.")
flags.mark_flags_as_required(["workdir", "output"])


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    try:
        run = load_run(FLAGS.workdir)
        if run.config.method == "refinement":
            metadata = refinement.describe_refinement(run.model, run.info)
            served = refinement.served(run.model, run.config.input.undistort)
        elif run.config.method == "lifting":
            metadata, served = lifting.describe_lifting(run.model, run.info), lifting.served(run.model)
        else:
            check_target(run.config)
            metadata, served = describe_run(run.model, run.info), None
        version = saved_model.write(run.model, metadata, Path(FLAGS.output), served)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if metadata.get("pose", True) is None:
        print("the model was trained without 3D labels: it gives embeddings and no poses")
    print(f"wrote {version} with the signatures {', '.join(metadata['signatures'])}")
    return 0


if __name__ == "__main__":
    app.run(main)
