"""Embedded images that `retrieve` searches: exactly, within the graph."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError

FILE = "gallery.npz"
# Within an export.
IDS = Path("assets") / "gallery_ids.txt"


@dataclasses.dataclass(frozen=True)
class Gallery:
    """N images seen through one model.

    Attributes:
        ids: [N] str, subject/sequence/frame/camera.
        embedding: [N, D] float32, of unit length.
        pose_mm: [N, K, 3] float32, canonical labels without the root; NaN where there is none. None for a
            model without poses.
    """

    ids: np.ndarray
    embedding: np.ndarray
    pose_mm: np.ndarray | None

    def __post_init__(self) -> None:
        shapes = [
            None if value is None else value.shape for value in (self.ids, self.embedding, self.pose_mm)
        ]
        is_pose = self.pose_mm is None or (self.pose_mm.ndim == 3 and len(self.pose_mm) == len(self.ids))
        if (
            self.ids.ndim != 1
            or self.embedding.ndim != 2
            or len(self.embedding) != len(self.ids)
            or not is_pose
        ):
            raise InputError(
                "A gallery holds ids [N], embedding [N, D] and pose_mm [N, K, 3] of the same N images. "
                f"Received: the shapes {shapes}. Write it again."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def check(self, embedding_dim: int, num_joints: int | None, k: int) -> None:
        """Raises InputError unless the gallery fits a model and holds k images."""
        pose_shape = None if self.pose_mm is None else self.pose_mm.shape[1:]
        expected = None if num_joints is None else (num_joints, 3)
        if self.embedding.shape[1] != embedding_dim or pose_shape != expected:
            raise InputError(
                f"The gallery must be embedded by this model: {embedding_dim} numbers an image, poses "
                f"{expected}. Received: {self.embedding.shape[1]} numbers, {pose_shape}. Embed it again."
            )
        if not 1 <= k <= len(self):
            raise InputError(
                f"--gallery_k must be between 1 and the number of images in the gallery. Received: {k} of "
                f"{len(self)} images. Choose a smaller one."
            )

    def search(self, k: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """Returns a function of embeddings [B, D] that gives the `retrieve` outputs but the status."""
        # Variables rather than constants: stored beside the graph, which may not exceed 2 GB.
        ids = tf.Variable(self.ids.astype(bytes).astype(object), trainable=False, dtype=tf.string)
        gallery = tf.Variable(self.embedding, trainable=False)
        poses = None if self.pose_mm is None else tf.Variable(self.pose_mm, trainable=False)

        def search(embedding: tf.Tensor) -> dict[str, tf.Tensor]:
            # At unit length the largest product is the smallest distance.
            _, nearest = tf.math.top_k(tf.matmul(embedding, gallery, transpose_b=True), k)
            # From differences: sqrt(2 - 2 cos) of two equal embeddings is not 0 but up to 5e-4 in float32.
            difference = embedding[:, None] - tf.gather(gallery, nearest)
            found = {"ids": tf.gather(ids, nearest), "distance": tf.norm(difference, axis=-1)}
            return found if poses is None else {**found, "pose_mm": tf.gather(poses, nearest)}

        return search

    def write_ids(self, version: Path) -> None:
        """Writes the names of all images, one a line, into the assets of an export."""
        (version / IDS).write_text("".join(f"{name}\n" for name in self.ids))

    @classmethod
    def load(cls, folder: Path) -> "Gallery":
        """Reads the gallery.npz of a folder: `ids`, `embedding` and, with poses, `pose_mm`.

        Raises:
            InputError: it lacks an array, or their shapes disagree.
        """
        with np.load(folder / FILE) as arrays:
            missing = {"ids", "embedding"} - set(arrays)
            if missing:
                raise InputError(
                    f"{folder / FILE} must hold `ids` and `embedding`. Received: it lacks {sorted(missing)}. "
                    "Write it again."
                )
            pose_mm = arrays["pose_mm"].astype(np.float32) if "pose_mm" in arrays else None
            return cls(arrays["ids"].astype(str), arrays["embedding"].astype(np.float32), pose_mm)


def of_split(split: Any, dataset: PreparedDataset) -> Gallery:
    """Returns the images of an `EmbeddedSplit` of a dataset, with their labels as poses."""
    names = zip(split.subject, split.sequence, split.frame, split.camera, strict=True)
    ids = [
        f"{dataset.subjects[subject]}/{dataset.sequences[sequence]['sequence']}/{frame}/{dataset.cameras[camera]}"
        for subject, sequence, frame, camera in names
    ]
    is_label = (split.pose_mask > 0) & split.has_pose[:, None]
    pose_mm = np.where(is_label[..., None], split.pose_mm, np.nan).astype(np.float32)
    return Gallery(np.array(ids, dtype=str), split.embedding, pose_mm)


def join(galleries: Sequence[Gallery], with_poses: bool) -> Gallery:
    """Puts galleries one after the other; their poses are left out for a model that has none."""
    return Gallery(
        np.concatenate([gallery.ids for gallery in galleries]),
        np.concatenate([gallery.embedding for gallery in galleries]),
        np.concatenate([gallery.pose_mm for gallery in galleries]) if with_poses else None,
    )
