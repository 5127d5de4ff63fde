"""A served model in the place of a loaded one."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from mcss_tf.errors import InputError
from mcss_tf.serving.client import Client
from mcss_tf.serving.described import Described


class RemoteModel(Described):
    """A model behind a server, called like `ExportedModel`.

    Attributes:
        path: server and name of the model.
        metadata: what the export says about itself (docs/serving.md).
    """

    def __init__(self, server: str, model_name: str, metadata: str | Path):
        """Connects, and makes sure that the server has the model.

        Args:
            server: `host:port` for gRPC, `http://host:port` for REST.
            model_name: under which the server loaded the model.
            metadata: the export's folder or its assets/mcss.json, of the served model: how crops are cut, and
                the names of joints.

        Raises:
            ServingError: nobody answers there, or there is no such model.
            InputError: there are no such metadata, or the model is none of images.
        """
        self.path = f"{server}/{model_name}"
        self._is_rest = server.startswith("http")
        self._client = Client(server, model_name, metadata=metadata)
        served = self._client.signatures()
        if "images" not in served:
            raise InputError(
                "Only a model of images can be applied to images. "
                f"Received: {self.path} with the signatures {sorted(served)}. Name an image model."
            )
        self.metadata = self._client.metadata

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Maps uint8 images [B, H, W, 3] to `embedding` [B, D] and, with poses, `pose_mm` [B, K, 3]."""
        if self._is_rest:
            # Pixels as JSON numbers are four times the bytes, and slow; PNG gives the same pixels.
            predicted = self._client.predict([_png(image) for image in images])
        else:
            predicted = self._client.predict_images(images)
        outputs = {"embedding": predicted.embedding, "pose_mm": predicted.pose_mm}
        return {name: value for name, value in outputs.items() if value is not None}


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
