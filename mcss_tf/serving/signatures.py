"""What a served model takes and gives: every signature's tensors, in one table."""

import dataclasses
import enum
from collections.abc import Mapping

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


class Status(enum.IntEnum):
    """What became of one row of a request; every signature that takes files returns it as `status`."""

    OK = 0
    NOT_AN_IMAGE = 1
    TOO_LARGE = 2
    BAD_BOX = 3


STATUS_MEANINGS = {
    Status.OK: "embedded",
    Status.NOT_AN_IMAGE: "neither a JPEG nor a PNG file, or one too damaged to be decoded",
    Status.TOO_LARGE: "more pixels or JPEG scans than `limits` in mcss.json; refused before it is decoded",
    Status.BAD_BOX: "the box is not finite, is empty, or lies outside of the image",
}

IMAGE_BYTES = TensorInfo(
    "image_bytes",
    "string",
    ("batch",),
    "JPEG or PNG file",
    "square crops around one person each; any sizes, turned upright by their EXIF orientation",
)
FRAME_BYTES = dataclasses.replace(
    IMAGE_BYTES, meaning="whole frames; turned upright by their EXIF orientation"
)
BOXES_PX = TensorInfo(
    "boxes_px",
    "float32",
    ("batch", 4),
    "px",
    "x0, y0, x1, y1 of the person in the upright frame; the square that is embedded is cut around it",
)
IMAGES = TensorInfo(
    "images",
    "uint8",
    ("batch", "height", "width", 3),
    "RGB, 0..255",
    "square crops around one person each; any size",
)
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
STATUS = TensorInfo(
    "status",
    "int32",
    ("batch",),
    "",
    "0, or why the row could not be embedded; its other outputs are then NaN",
)
IDS = TensorInfo(
    "ids",
    "string",
    ("batch", "k"),
    "",
    "nearest images first: subject/sequence/frame/camera; empty if refused",
)
DISTANCE = TensorInfo("distance", "float32", ("batch", "k"), "", "Euclidean, between the embeddings; 0 to 2")
FOUND_POSE_MM = TensorInfo(
    "pose_mm",
    "float32",
    ("batch", "k", "num_joints", 3),
    "mm",
    "canonical 3D labels of the found images; NaN where there is none",
)

SIGNATURES = {
    "serving_default": Signature((IMAGE_BYTES,), (EMBEDDING, POSE_MM, STATUS)),
    "boxes": Signature((FRAME_BYTES, BOXES_PX), (EMBEDDING, POSE_MM, STATUS)),
    "images": Signature((IMAGES,), (EMBEDDING, POSE_MM)),
    "embed": Signature((IMAGE_BYTES,), (EMBEDDING, STATUS)),
    "pose": Signature((IMAGE_BYTES,), (POSE_MM, STATUS)),
    "retrieve": Signature((IMAGE_BYTES,), (IDS, DISTANCE, FOUND_POSE_MM, STATUS)),
}


def signatures_of(has_pose: bool, has_gallery: bool) -> dict[str, Signature]:
    """Returns the rows of the table that a model serves, without the outputs that it cannot give."""
    served = dict(SIGNATURES)
    if not has_gallery:
        del served["retrieve"]
    if has_pose:
        return served
    del served["pose"]
    return {
        name: dataclasses.replace(
            signature, outputs=tuple(tensor for tensor in signature.outputs if tensor is not POSE_MM)
        )
        for name, signature in served.items()
    }


def describe(signatures: Mapping[str, Signature], sizes: dict[str, int]) -> dict[str, dict[str, list[dict]]]:
    """Returns signatures as JSON-able values for one model.

    Args:
        signatures: that this model serves.
        sizes: the model's own dimensions: `embedding_dim`, `num_joints` and, with a gallery, `k`.
    """
    return {
        key: {
            "inputs": [dataclasses.asdict(tensor.resolved(sizes)) for tensor in signature.inputs],
            "outputs": [dataclasses.asdict(tensor.resolved(sizes)) for tensor in signature.outputs],
        }
        for key, signature in signatures.items()
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


def status_table() -> str:
    """Returns the statuses as they stand in docs/serving.md."""
    lines = ["| status | name | meaning |", "|---|---|---|"]
    lines += [
        f"| {status.value} | {status.name} | {meaning} |" for status, meaning in STATUS_MEANINGS.items()
    ]
    return "\n".join(lines)
