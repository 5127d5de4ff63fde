"""What an export says about itself, wherever the model runs."""

from typing import Any

from mcss_tf.geometry.skeleton import Skeleton


class Described:
    """How crops are cut and joints are named, out of `metadata` (docs/serving.md)."""

    metadata: dict[str, Any]

    @property
    def crop_size(self) -> int:
        """Side of the crops that `prepare` made for training, pixels."""
        return self.metadata["crop"]["size"]

    @property
    def crop_context(self) -> float:
        """Side of those crops over the longer side of the person."""
        return self.metadata["crop"]["context"]

    @property
    def skeleton(self) -> Skeleton | None:
        """All joints, the root among them, or None if the model has no poses."""
        pose = self.metadata["pose"]
        return None if pose is None else Skeleton.from_json(pose["skeleton"])
