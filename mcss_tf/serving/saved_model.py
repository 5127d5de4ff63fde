"""Writes a trained model as a SavedModel that any TensorFlow can serve."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mcss_tf import files
from mcss_tf.serving.exported import METADATA
from mcss_tf.serving.portable import unportable_nodes
from mcss_tf.serving.signatures import Signature
from mcss_tf.serving.versions import new_version, newest


def write(
    served: Mapping[str, tuple[Signature, Callable]],
    metadata: dict[str, Any],
    folder: Path,
    finish: Callable[[Path], None] = lambda version: None,
) -> Path:
    """Exports functions as the next version in a folder.

    Args:
        served: signature and function by name; the variables that the functions read are saved with them.
        metadata: JSON-able description, stored in the assets.
        folder: of the versions `1/`, `2/`, ...; made if absent.
        finish: called with the version before it appears, to add files.

    Returns:
        The folder of the new version, which appears only when whole.

    Raises:
        RuntimeError: the graph holds something that a stock TensorFlow cannot run.
    """
    archive = keras.export.ExportArchive()
    for name, (signature, function) in served.items():
        specs = [tensor.spec() for tensor in signature.inputs]
        archive.add_endpoint(name, function, input_signature=specs)
    # A process that has loaded a model with custom gradients never frees it: they stay registered.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with new_version(folder) as temporary:
        archive.write_out(str(temporary), options=options, verbose=False)
        if found := unportable_nodes(temporary):
            raise RuntimeError(
                "An exported graph must run in a stock TensorFlow. "
                f"Received: {'; '.join(found)}. Take these out of the model's inference path."
            )
        files.write_json(temporary / METADATA, metadata)
        finish(temporary)
    return newest(folder)
