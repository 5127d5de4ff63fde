"""Exports a trained model for serving: python -m mcss_tf.export --workdir=DIR --output=DIR/mcss."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.evaluation.embedded import embed
from mcss_tf.serving import gallery as galleries
from mcss_tf.serving import images, lifting, refinement, saved_model
from mcss_tf.serving.folding import PRECISIONS, fold_batch_norm
from mcss_tf.serving.formats import check_formats, write_formats
from mcss_tf.serving.gallery import Gallery
from mcss_tf.serving.kit import write_kit
from mcss_tf.serving.metadata import check_target, describe_run
from mcss_tf.serving.model_card import write_model_card
from mcss_tf.serving.signatures import Signature
from mcss_tf.serving.versions import remove_old
from mcss_tf.serving.warmup import write_warmup
from mcss_tf.training.workdir import Run, load_run

FLAGS = flags.FLAGS


@tells_disk_errors
def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    output = Path(FLAGS.output)
    try:
        run = load_run(FLAGS.workdir)
        _check_flags(run.config.method)
        if FLAGS.kit is not None:
            write_kit(output, Path(FLAGS.kit))
        gallery = None if FLAGS.gallery is None else _gallery(run, Path(FLAGS.gallery))
        served, metadata = _describe_and_serve(run, gallery)

        def finish(version: Path) -> None:
            _add_files(version, {name: signature for name, (signature, _) in served.items()}, metadata, run)
            if gallery is not None:
                gallery.write_ids(version)
            if FLAGS.format:
                write_formats(fold_batch_norm(run.model), FLAGS.format, version)

        version = saved_model.write(served, metadata, output, finish)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if metadata.get("pose", True) is None:
        print("the model was trained without 3D labels: it gives embeddings and no poses")
    print(f"wrote {version} with the signatures {', '.join(metadata['signatures'])}")
    if FLAGS.keep is not None:
        for removed in remove_old(output, FLAGS.keep):
            print(f"removed {removed}")
    return 0


def _check_flags(method: str) -> None:
    check_formats(FLAGS.format)
    if method != "mcss" and (FLAGS.gallery is not None or FLAGS.precision != "float32" or FLAGS.format):
        raise InputError(
            "--gallery, --precision and --format are for models of images. "
            f"Received: a {method} run. Leave them out."
        )


def _describe_and_serve(run: Run, gallery: Gallery | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns signatures with their functions, and the description, by the run's method."""
    method = run.config.method
    if method == "refinement":
        served = refinement.served(run.model, run.config.input.undistort)
        return served, refinement.describe_refinement(run.model, run.info)
    if method == "lifting":
        return lifting.served(run.model), lifting.describe_lifting(run.model, run.info)
    check_target(run.config)
    counts = None if gallery is None else {"num_images": len(gallery), "k": FLAGS.gallery_k}
    metadata = describe_run(run.model, run.info, precision=FLAGS.precision, gallery=counts)
    served = images.served(
        run.model,
        metadata["crop"]["context"],
        precision=FLAGS.precision,
        gallery=gallery,
        k=FLAGS.gallery_k,
    )
    return served, metadata


def _add_files(version: Path, signatures: dict[str, Signature], metadata: dict[str, Any], run: Run) -> None:
    """Adds what stands beside the graph of a version."""
    name = Path(FLAGS.output).resolve().name
    size = metadata.get("image_size")
    if not write_warmup(version, signatures, name, {"height": size, "width": size}):
        print("no warm-up requests: they need tensorflow-serving-api (pip install 'mcss_tf[client]')")
    if run.config.method == "mcss":
        write_model_card(version, name, metadata, run.config, Path(FLAGS.workdir) / "metrics.json")


def _gallery(run: Run, folder: Path) -> Gallery:
    """Reads an embedded gallery, or embeds every image of a dataset as the export will embed requests."""
    output = run.model.output
    num_joints = output["pose_mm"].shape[1] if "pose_mm" in output else None
    if (folder / galleries.FILE).is_file():
        gallery = Gallery.load(folder)
    else:
        dataset = PreparedDataset.load(folder)
        model = fold_batch_norm(run.model, FLAGS.precision)
        splits = [
            galleries.of_split(embed(model, dataset, split), dataset)
            for split in ("train", "test")
            if len(dataset.split_rows(split))
        ]
        gallery = galleries.join(splits, with_poses=num_joints is not None)
    gallery.check(output["embedding"].shape[1], num_joints, FLAGS.gallery_k)
    return gallery


def define_flags() -> None:
    """Defines the flags of the command line."""
    flags.DEFINE_string("workdir", None, "Folder of a finished run.", required=True)
    flags.DEFINE_string(
        "output", None, "Folder of the model's versions; the next free number is added.", required=True
    )
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "Of the convolutions' weights and products.")
    flags.DEFINE_string(
        "gallery",
        None,
        "Images that the signature `retrieve` searches: a prepared dataset, or a folder with a gallery.npz.",
    )
    flags.DEFINE_integer("gallery_k", 10, "Images that `retrieve` finds.", lower_bound=1)
    flags.DEFINE_integer("keep", None, "Removes all but so many of the newest versions.", lower_bound=1)
    flags.DEFINE_string("kit", None, "Folder for configuration of TensorFlow Serving, Docker and Kubernetes.")
    flags.DEFINE_list("format", [], "Further formats of the network, in float32: onnx, litert.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
