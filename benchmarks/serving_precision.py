"""What an export's precision and format cost in accuracy, on a split that the run was not trained on.

    make train
    python -m benchmarks.serving_precision --workdir=out/quick/mcss --data=out/quick/data

Prints the pose error of the network as trained and of everything that `mcss_tf.export` makes of it, and how
far each embedding (of length 1) and each joint lies from the network's own in float32. Means over images.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from absl import app, flags

from mcss_tf.data.batches import image_batches
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.evaluation.pose import mpjpe, n_mpjpe
from mcss_tf.serving.folding import PRECISIONS, fold_batch_norm, to_float32
from mcss_tf.serving.formats import FORMATS, write_formats
from mcss_tf.training.workdir import load_run

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "A finished run.", required=True)
flags.DEFINE_string("data", None, "A prepared dataset.", required=True)
flags.DEFINE_string("split", "test", "Of the dataset.")
flags.DEFINE_integer("every", 1, "Takes one instant of so many.", lower_bound=1)
flags.DEFINE_list("formats", list(FORMATS), "Other formats to try; each needs its runtime.")

Call = Callable[[np.ndarray], dict[str, np.ndarray]]


def main(argv: Sequence[str]) -> None:
    """Prints a table."""
    del argv
    run, dataset = load_run(FLAGS.workdir), PreparedDataset.load(FLAGS.data, require=(FLAGS.split,))
    size = run.model.input.shape[1]
    rows = dataset.split_rows(FLAGS.split)[:: FLAGS.every]
    batches = image_batches(dataset, FLAGS.split, image_size=size, batch_size=64, rows=rows)
    images = [{name: value.numpy() for name, value in batch.items()} for batch in batches]
    print(f"{sum(len(batch['row']) for batch in images)} images of {len(rows)} instants\n")
    moved = "embedding moved, median | at most | joint moved, median mm | at most"
    print(f"| network | N-MPJPE mm | MPJPE mm | {moved} |")
    print("|---|---|---|---|---|---|---|")
    reference = None
    with tempfile.TemporaryDirectory() as folder:
        for name, call in variants(run.model, Path(folder)):
            outputs = [call(batch["image"]) for batch in images]
            found = {key: np.concatenate([output[key] for output in outputs]) for key in outputs[0]}
            reference = reference or found
            report(name, found, reference, images)


def variants(model: keras.Model, folder: Path) -> Iterator[tuple[str, Call]]:
    """Yields names and functions of uint8 images; the first is the network itself, in float32."""
    exact = load_run(FLAGS.workdir).model
    to_float32(exact)
    yield "as trained, computed in float32", of_keras(exact)
    own = model.get_layer("backbone").get_layer("conv1").compute_dtype
    if own != "float32":
        yield f"as trained, computed in {own}", of_keras(model)
    for precision in PRECISIONS:
        yield f"export, {precision}", of_keras(fold_batch_norm(model, precision))
    write_formats(fold_batch_norm(model), FLAGS.formats, folder)
    for name in FLAGS.formats:
        yield f"export, {name}", {"onnx": of_onnx, "litert": of_litert}[name](folder / FORMATS[name])


def of_keras(model: keras.Model) -> Call:
    """Returns a Keras model as a function of arrays."""
    spec = tf.TensorSpec([None, *model.input.shape[1:]], tf.uint8)
    forward = tf.function(lambda images: model(images, training=False), input_signature=[spec])
    return lambda images: {name: value.numpy() for name, value in forward(tf.constant(images)).items()}


def of_onnx(path: Path) -> Call:
    """Returns an ONNX file as a function of arrays."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(None, {"images": images}), strict=True))


def of_litert(path: Path) -> Call:
    """Returns a LiteRT file as a function of arrays."""
    interpreter = tf.lite.Interpreter(str(path))
    run = interpreter.get_signature_runner("serving_default")
    # The runner refers to the interpreter without keeping it alive.
    return lambda images, kept=interpreter: run(images=images)


def report(name: str, found: dict, reference: dict, images: Sequence[dict]) -> None:
    """Prints one row."""
    true_mm, mask, posed = (
        np.concatenate([batch[key] for batch in images]) for key in ("pose_mm", "pose_mask", "has_pose")
    )
    true_mm, mask, predicted_mm = true_mm[posed], mask[posed], found["pose_mm"][posed]
    errors_mm = [error(predicted_mm, true_mm, mask).mean() for error in (n_mpjpe, mpjpe)]
    moved = np.linalg.norm(found["embedding"] - reference["embedding"], axis=-1)
    moved_mm = np.linalg.norm(found["pose_mm"] - reference["pose_mm"], axis=-1)
    print(
        f"| {name} | {errors_mm[0]:.3f} | {errors_mm[1]:.3f} | {np.median(moved):.1e} | {moved.max():.1e} "
        f"| {np.median(moved_mm):.1e} | {moved_mm.max():.1e} |",
        flush=True,
    )


if __name__ == "__main__":
    app.run(main)
