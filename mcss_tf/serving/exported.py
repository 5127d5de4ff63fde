"""Reads an exported model back with nothing but TensorFlow."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.serving.described import Described
from mcss_tf.serving.versions import newest

# Beside the graph in every version: names, units, sizes. Its presence makes a SavedModel one of ours.
METADATA = Path("assets") / "mcss.json"


class ExportedModel(Described):
    """One version of an exported model.

    Attributes:
        path: folder of the version.
        metadata: what the export says about itself (docs/serving.md).
    """

    def __init__(self, folder: str | Path):
        """Loads the newest version in a folder, or the version that the folder is.

        Raises:
            InputError: no such model, or not one that mcss_tf.export wrote.
        """
        self.path = version_folder(Path(folder))
        if not (self.path / METADATA).is_file():
            raise InputError(
                f"A model exported by mcss_tf has {METADATA}. "
                f"Received: {self.path} without it. Export the run again with mcss_tf.export."
            )
        self.metadata: dict[str, Any] = json.loads((self.path / METADATA).read_text())
        if "images" not in self.metadata["signatures"]:
            raise InputError(
                "Only a model of images can be applied to images. "
                f"Received: {self.path}, a model of {self.metadata.get('method')}. Call its signature with "
                "keypoints and cameras (docs/refinement.md)."
            )
        # Kept alive: a signature alone does not hold its variables.
        self._loaded = tf.saved_model.load(str(self.path))
        self._images = self._loaded.signatures["images"]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Maps uint8 images [B, H, W, 3] to `embedding` [B, D] and, with poses, `pose_mm` [B, K, 3]."""
        return {name: value.numpy() for name, value in self._images(images=tf.constant(images)).items()}


def version_folder(folder: Path) -> Path:
    """Returns a folder that is one version of an export, or else the newest version in it."""
    return folder if (folder / METADATA).is_file() else newest(folder)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Reads what an export says about itself.

    Args:
        path: the export's folder, one of its versions, or its assets/mcss.json.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    if path.is_dir():
        path = version_folder(path) / METADATA
    if not path.is_file():
        raise InputError(
            f"Metadata are the file {METADATA} of an export. Received: {path}, which does not exist. "
            "Give the folder that mcss_tf.export wrote, or that file."
        )
    return json.loads(path.read_text(encoding="utf-8"))
