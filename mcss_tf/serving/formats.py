"""The network for other runtimes: ONNX and LiteRT, beside the graph of an export."""

import warnings
from pathlib import Path

import keras
import numpy as np

from mcss_tf.errors import InputError

# Within an export. Each takes `images`, uint8 [batch, S, S, 3] of the network's own size S, and gives the
# outputs of the signature `images`.
FORMATS = {"onnx": Path("assets.extra") / "images.onnx", "litert": Path("assets.extra") / "images.tflite"}


def check_formats(formats: list[str]) -> None:
    """Raises InputError if a format is unknown or what writes it is not installed."""
    for name in formats:
        if name not in FORMATS:
            raise InputError(
                f"--format is one or more of {', '.join(FORMATS)}. Received: {name!r}. Choose from these."
            )
    if "onnx" in formats:
        try:
            import tf2onnx  # noqa: F401
        except ImportError as error:
            raise InputError(
                "--format=onnx is written by tf2onnx. Received: a Python without it. "
                "Install it: pip install 'mcss_tf[onnx]'."
            ) from error


def write_formats(model: keras.Model, formats: list[str], version: Path) -> None:
    """Writes the network in other formats, in float32 and without batch normalisation.

    Args:
        model: folded, of square images.
        formats: keys of `FORMATS`.
        version: folder of the SavedModel.
    """
    images = keras.Input(model.input.shape[1:], dtype="uint8", name="images")
    network = keras.Model(images, model(images), name="images")
    # Keras exports a model only after a first call.
    network(np.zeros((1, *network.input.shape[1:]), np.uint8))
    for name in formats:
        path = version / FORMATS[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # Keras looks for an alias that NumPy 2 no longer has.
            warnings.filterwarnings("ignore", message=".*np.object", category=FutureWarning)
            network.export(path, format=name, verbose=False)
