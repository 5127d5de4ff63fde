"""A split of a dataset seen through a model: one embedding, prediction and truth per image."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from mcss_tf.data.batches import image_batches
from mcss_tf.data.dataset import PreparedDataset


@dataclasses.dataclass(frozen=True)
class EmbeddedSplit:
    """N images of one split, in the order of the dataset; J-1 joints without the root.

    Attributes:
        embedding: [N, D] float32.
        predicted_mm: [N, J-1, 3] float32, in the frame of `pose_mm`; None for a model without a pose head.
        pose_mm: [N, J-1, 3] float32, truth in the frame that the model learnt; 0 where absent.
        pose_mask: [N, J-1] float32, 1 where the joint was observed.
        has_pose: [N] bool.
        row: [N] int64, the instant's row in the dataset's index.
        subject: [N] int32 id.
        sequence: [N] int32 id.
        camera: [N] int32 id.
        frame: [N] int64, of the reference camera.
        time_s: [N] float64.
        action: [N] str, "" where unknown.
    """

    embedding: np.ndarray
    predicted_mm: np.ndarray | None
    pose_mm: np.ndarray
    pose_mask: np.ndarray
    has_pose: np.ndarray
    row: np.ndarray
    subject: np.ndarray
    sequence: np.ndarray
    camera: np.ndarray
    frame: np.ndarray
    time_s: np.ndarray
    action: np.ndarray

    def __len__(self) -> int:
        return len(self.embedding)

    def take(self, images: np.ndarray) -> "EmbeddedSplit":
        """Returns some of the images, by index or by mask."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return EmbeddedSplit(**{k: None if v is None else v[images] for k, v in fields.items()})


def embed(
    model: Any, dataset: PreparedDataset, split: str, batch_size: int = 64, target: str = "canonical"
) -> EmbeddedSplit:
    """Runs a model over every image of a split.

    Args:
        model: Keras model of images [B, S, S, 3] with a dict of outputs: `embedding` [B, D] and, where it
            has a pose head, `pose_mm` [B, J-1, 3].
        dataset: prepared dataset.
        split: "train" or "test".
        batch_size: images per step; changes speed and memory only.
        target: frame of the poses that the model was trained on, one of `data.targets.FRAMES`.

    Returns:
        The split in memory: about 1 kB per image.

    Raises:
        InputError: the split has no image.
    """
    image_size = model.inputs[0].shape[1]
    # One trace for all batches, the last of which is smaller.
    forward = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec([None, image_size, image_size, 3], tf.uint8)],
    )
    collected: dict[str, list[np.ndarray]] = {}
    sizes = {"image_size": image_size, "batch_size": batch_size}
    for batch in image_batches(dataset, split, **sizes, target=target):
        outputs = {f"model/{name}": value for name, value in forward(batch["image"]).items()}
        for name, value in ({k: v for k, v in batch.items() if k != "image"} | outputs).items():
            collected.setdefault(name, []).append(value.numpy())
    arrays = {name: np.concatenate(values) for name, values in collected.items()}
    row, index = arrays["row"], dataset.index
    actions = np.array([sequence["action"] for sequence in dataset.sequences])
    return EmbeddedSplit(
        embedding=arrays["model/embedding"],
        predicted_mm=arrays.get("model/pose_mm"),
        pose_mm=arrays["pose_mm"],
        pose_mask=arrays["pose_mask"],
        has_pose=arrays["has_pose"],
        row=row,
        subject=index.subject[row],
        sequence=index.sequence[row],
        camera=arrays["camera"],
        frame=index.frame[row],
        time_s=index.time_s[row],
        action=actions[index.sequence[row]],
    )
