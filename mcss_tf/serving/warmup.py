"""Requests that TensorFlow Serving replays when it loads a version: the first client does not wait."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mcss_tf.serving.signatures import Signature, TensorInfo

# Where the server looks for them.
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
# One client's single image, and a batch.
BATCH_SIZES = (1, 8)


def write_warmup(
    version: Path, signatures: Mapping[str, Signature], model_name: str, sizes: Mapping[str, int]
) -> bool:
    """Writes one request per signature and batch size, in the server's own protocol buffers.

    Args:
        version: folder of the SavedModel.
        signatures: that it serves.
        model_name: under which the server will load it.
        sizes: of the free dimensions `height` and `width`.

    Returns:
        False, and writes nothing, where the optional tensorflow-serving-api is not installed.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    path = version / WARMUP
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in signatures.items():
            for batch in BATCH_SIZES:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = model_name
                request.model_spec.signature_name = name
                for tensor in signature.inputs:
                    example = _example(tensor.resolved({**sizes, "batch": batch}))
                    request.inputs[tensor.name].CopyFrom(tf.make_tensor_proto(example))
                predicted = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=predicted).SerializeToString())
    return True


def _example(tensor: TensorInfo) -> Any:
    if tensor.name == "image_bytes":
        # Noise, which takes a JPEG decoder longest.
        pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
        return [tf.io.encode_jpeg(pixels).numpy()] * tensor.shape[0]
    if tensor.name == "boxes_px":
        return np.tile(np.float32([32, 16, 96, 112]), (tensor.shape[0], 1))
    return np.zeros(tensor.shape, tensor.dtype)
