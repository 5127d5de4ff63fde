"""What a served model takes and gives: every signature's tensors, in one table."""

import dataclasses
from collections.abc import Iterable

import tensorflow as tf

# Dimensions whose size only the caller knows; all others are fixed when a model is exported.
FREE_DIMENSIONS = ("batch", "height", "width")


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One tensor of a signature.

    Attributes:
        name: key in the request or the response; `_bytes` at its end makes the REST API decode base64.
        dtype: TensorFlow's name of the type.
        shape: numbers, or names of dimensions.
        unit: of the values.
        meaning: one line.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    unit: str
    meaning: str

    def spec(self) -> tf.TensorSpec:
        """Returns the tensor's type for tracing; named dimensions are left open."""
        shape = [size if isinstance(size, int) else None for size in self.shape]
        return tf.TensorSpec(shape, tf.dtypes.as_dtype(self.dtype), name=self.name)

    def resolved(self, sizes: dict[str, int]) -> "TensorInfo":
        """Returns the same tensor with the dimensions named in `sizes` filled in."""
        shape = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in self.shape)
        return dataclasses.replace(self, shape=shape)


@dataclasses.dataclass(frozen=True)
class Signature:
    """Inputs and outputs that are served under one name."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


EMBEDDING = TensorInfo(
    "embedding",
    "float32",
    ("batch", "embedding_dim"),
    "unit length",
    "view-invariant pose embedding; compare by Euclidean distance",
)
POSE_MM = TensorInfo(
    "pose_mm",
    "float32",
    ("batch", "num_joints", 3),
    "mm",
    "canonical 3D pose of the joints other than the root, relative to it; absent without 3D labels",
)

SIGNATURES = {
    "serving_default": Signature(
        inputs=(
            TensorInfo(
                "image_bytes",
                "string",
                ("batch",),
                "JPEG or PNG file",
                "square crops around one person each; any size, sizes may differ within a batch",
            ),
        ),
        outputs=(EMBEDDING, POSE_MM),
    ),
    "images": Signature(
        inputs=(
            TensorInfo(
                "images",
                "uint8",
                ("batch", "height", "width", 3),
                "RGB, 0..255",
                "square crops around one person each; any size",
            ),
        ),
        outputs=(EMBEDDING, POSE_MM),
    ),
}


def describe(output_names: Iterable[str], sizes: dict[str, int]) -> dict[str, dict[str, list[dict]]]:
    """Returns the table as JSON-able values for one model.

    Args:
        output_names: outputs that this model has.
        sizes: the model's own dimensions, `embedding_dim` and `num_joints`.
    """
    names = set(output_names)
    return {
        key: {
            "inputs": [dataclasses.asdict(tensor.resolved(sizes)) for tensor in signature.inputs],
            "outputs": [
                dataclasses.asdict(tensor.resolved(sizes))
                for tensor in signature.outputs
                if tensor.name in names
            ],
        }
        for key, signature in SIGNATURES.items()
    }


def markdown_table() -> str:
    """Returns the table as it stands in docs/serving.md."""
    lines = ["| signature | | tensor | dtype | shape | unit | meaning |", "|---|---|---|---|---|---|---|"]
    for key, signature in SIGNATURES.items():
        for kind, tensors in (("in", signature.inputs), ("out", signature.outputs)):
            for tensor in tensors:
                shape = ", ".join(str(size) for size in tensor.shape)
                lines.append(
                    f"| `{key}` | {kind} | `{tensor.name}` | {tensor.dtype} | [{shape}] "
                    f"| {tensor.unit} | {tensor.meaning} |"
                )
    return "\n".join(lines)
