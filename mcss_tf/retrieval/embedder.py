"""The model that embeds images for an index: an export or a finished run."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from mcss_tf import files
from mcss_tf.data.batches import image_batches
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton
from mcss_tf.serving.decoding import fit_square
from mcss_tf.serving.exported import ExportedModel
from mcss_tf.training.workdir import Workdir, load_run


class Embedder:
    """Maps images to embeddings.

    Attributes:
        path: what was opened.
        checksum: of the weights: vectors of different models cannot be compared.
        image_size: side of the network's square, pixels.
        skeleton: of the poses; None for a model without.
    """

    def __init__(self, folder: str | Path):
        """Opens the folder of a finished run or of an export.

        Raises:
            InputError: it is neither, or its model does not embed images.
        """
        folder = Path(folder)
        if (folder / "run.json").is_file():
            run = load_run(folder)
            model = run.model
            if "embedding" not in model.output:
                raise InputError(f"Only a model of images embeds images. Received: the run {folder}.")
            self.path, self.checksum = folder, files.sha256(Workdir(folder).model)
            self.image_size: int = model.input.shape[1]
            has_pose = "pose_mm" in model.output
            self.skeleton = Skeleton.from_json(run.info["dataset"]["skeleton"]) if has_pose else None
            self._forward = tf.function(
                lambda images: model(images, training=False),
                input_signature=[tf.TensorSpec([None, self.image_size, self.image_size, 3], tf.uint8)],
            )
        else:
            exported = ExportedModel(folder)
            self.path = exported.path
            self.checksum = f"{exported.metadata['weights_sha256']} {exported.metadata['precision']}"
            self.image_size = exported.metadata["image_size"]
            self.skeleton = exported.skeleton
            self._forward = exported

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Maps uint8 [B, S, S, 3] to float32 [B, D] of unit length."""
        return np.asarray(self._forward(images)["embedding"], np.float32)

    def photo(self, rgb: np.ndarray) -> dict[str, np.ndarray]:
        """Maps one picture around a person, uint8 [H, W, 3] of any size, to the model's outputs.

        Returns:
            `embedding` float32 [D] and, with poses, `pose_mm` float32 [J-1, 3].
        """
        square = fit_square(tf.constant(rgb)[None], self.image_size)
        outputs = self._forward(square)
        return {name: np.asarray(value, np.float32)[0] for name, value in outputs.items()}

    def rows(
        self, dataset: PreparedDataset, split: str, rows: np.ndarray, batch_size: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Embeds every image of some rows of a dataset.

        Returns:
            embedding float32 [N, D], row int64 [N], camera int32 [N].
        """
        batches = image_batches(dataset, split, image_size=self.image_size, batch_size=batch_size, rows=rows)
        parts = [(self(b["image"].numpy()), b["row"].numpy(), b["camera"].numpy()) for b in batches]
        embedding, row, camera = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return embedding, row, camera
