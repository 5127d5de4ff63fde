"""Poses and embeddings of a video: python -m mcss_tf.predict --model=DIR/mcss --input=VIDEO --output=DIR.

With --server=HOST:PORT in place of --model, a model server computes them and the results are the same.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf.data.boxes import BOX_MODES
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.prediction.infer import predict_input
from mcss_tf.prediction.inputs import Input
from mcss_tf.prediction.overlay import write_overlay
from mcss_tf.prediction.progress import Stages
from mcss_tf.prediction.results import new_folder, write_results
from mcss_tf.serving.exported import ExportedModel
from mcss_tf.serving.remote import RemoteModel

FLAGS = flags.FLAGS


@tells_disk_errors
def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    try:
        with new_folder(Path(FLAGS.output)) as folder:
            predict_into(folder)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {FLAGS.output}")
    return 0


def open_model() -> ExportedModel | RemoteModel:
    """Opens the model that the flags name, here or on a server."""
    if FLAGS.server:
        if not FLAGS.metadata:
            raise InputError(
                "A server tells its signatures and nothing else: how crops are cut and what the joints are "
                "called is read from assets/mcss.json of the export that it loaded. "
                "Received: --server without --metadata. Give that export's folder, or a copy of that file."
            )
        return RemoteModel(FLAGS.server, FLAGS.model_name, FLAGS.metadata)
    return ExportedModel(FLAGS.model)


def predict_into(folder: Path) -> None:
    """Predicts the input and writes all results into a folder."""
    model = open_model()
    given = Input(Path(FLAGS.input), FLAGS.boxes, FLAGS.context or model.crop_context, FLAGS.fps)
    print(f"{given.num_found} of {given.info.num_frames} frames show the person, by boxes={given.box_mode}")
    if model.skeleton is None:
        print("the model was trained without 3D labels: embeddings and overlay, but no poses, CSV or BVH")
    start_s = time.monotonic()
    with Stages(given.info.num_frames) as stages:
        prediction = predict_input(model, given, FLAGS.batch_size, stages.start("predicting"))
        write_results(prediction, {"input": FLAGS.input, "model": str(model.path)}, folder)
        write_overlay(prediction, given, model.crop_size, folder, stages.start("drawing"))
    frames_per_s = given.info.num_frames / (time.monotonic() - start_s)
    print(f"predicted and drawn at {frames_per_s:.1f} frames/s")


def define_flags() -> None:
    """Defines the flags of the command line."""
    flags.DEFINE_string("model", None, "Folder that mcss_tf.export wrote; the newest version is used.")
    flags.DEFINE_string("server", None, "A model server in place of --model: host:port, or http://host:port.")
    flags.DEFINE_string("model_name", "mcss", "Name of the model on the server.")
    flags.DEFINE_string(
        "metadata", None, "Export of the served model, or its assets/mcss.json; with --server."
    )
    flags.DEFINE_string("input", None, "A video, an image, or a folder of images taken one after the other.")
    flags.DEFINE_string("output", None, "Folder for the results; must be new or empty.")
    flags.DEFINE_enum("boxes", "auto", BOX_MODES, "How the person is found; as in mcss_tf.prepare.")
    flags.DEFINE_float(
        "context",
        None,
        "Side of the square crop over the longer side of the person; default: as in training.",
        lower_bound=1.0,
    )
    flags.DEFINE_float(
        "fps", 30.0, "Frames per second of a folder of images; a video knows its own.", lower_bound=0.01
    )
    flags.DEFINE_integer("batch_size", 32, "Crops per call of the model.", lower_bound=1)
    flags.mark_flags_as_required(["input", "output"])
    flags.mark_flags_as_mutual_exclusive(["model", "server"], required=True)


if __name__ == "__main__":
    define_flags()
    app.run(main)
