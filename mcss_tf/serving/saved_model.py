"""Writes a trained model as a SavedModel that any TensorFlow can serve."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from mcss_tf import files
from mcss_tf.serving import graph
from mcss_tf.serving.exported import METADATA
from mcss_tf.serving.portable import unportable_nodes
from mcss_tf.serving.signatures import SIGNATURES, Signature
from mcss_tf.serving.versions import new_version, newest


def write(
    model: keras.Model,
    metadata: dict[str, Any],
    folder: Path,
    served: Mapping[str, tuple[Signature, Callable]] | None = None,
) -> Path:
    """Exports a model as the next version in a folder.

    Args:
        model: images [B, S, S, 3] in 0..255 to a dict of outputs, or what `served` calls; set to compute in
            float32.
        metadata: JSON-able description, stored in the assets.
        folder: of the versions `1/`, `2/`, ...; made if absent.
        served: signature and function by name; None for a model of images.

    Returns:
        The folder of the new version, which appears only when whole.

    Raises:
        RuntimeError: the graph holds something that a stock TensorFlow cannot run.
    """
    to_float32(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    if served is None:
        served = {name: (SIGNATURES[name], function) for name, function in graph.endpoints(model).items()}
    for name, (signature, function) in served.items():
        specs = [tensor.spec() for tensor in signature.inputs]
        archive.add_endpoint(name, function, input_signature=specs)
    with new_version(folder) as temporary:
        archive.write_out(str(temporary), verbose=False)
        if found := unportable_nodes(temporary):
            raise RuntimeError(
                "An exported graph must run in a stock TensorFlow. "
                f"Received: {'; '.join(found)}. Take these out of the model's inference path."
            )
        files.write_json(temporary / METADATA, metadata)
    return newest(folder)


def to_float32(model: keras.Model) -> None:
    """Lets a model trained in mixed precision compute in float32; its weights are float32 already."""
    model.dtype_policy = keras.DTypePolicy("float32")
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            to_float32(layer)
        else:
            layer.dtype_policy = keras.DTypePolicy("float32")
