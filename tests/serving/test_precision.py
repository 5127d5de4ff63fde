"""Exports in bfloat16 and float16: the same signatures, numbers within the precision, served alike."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.serving import images as served_images
from mcss_tf.serving import saved_model
from mcss_tf.serving.client import Client
from mcss_tf.serving.metadata import build_metadata
from mcss_tf.serving.signatures import signatures_of
from mcss_tf.serving.warmup import WARMUP, write_warmup
from tests.serving.conftest import IMAGE_SIZE
from tests.serving.test_saved_model import images, png

grpc = pytest.importorskip("grpc")
apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
# Significant bits of the two, the leading one included: 2^-8 and 2^-11 is what rounding one number costs.
EPSILON = {"bfloat16": 2.0**-8, "float16": 2.0**-11}


@pytest.fixture(scope="module", params=EPSILON)
def precision(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def version(precision: str, model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(precision) / "mcss"
    metadata = build_metadata(model, HUMAN36M_17, {"size": IMAGE_SIZE, "context": 1.2}, {}, precision)
    served = served_images.served(model, 1.2, precision=precision)
    signatures = {name: signature for name, (signature, _) in served.items()}

    def finish(path: Path) -> None:
        assert write_warmup(path, signatures, "mcss", {"height": IMAGE_SIZE, "width": IMAGE_SIZE})

    return saved_model.write(served, metadata, folder, finish)


@pytest.fixture(scope="module")
def address(version: Path) -> Iterator[str]:
    from tests.serving import grpc_server

    server, port = grpc_server.start(grpc_server.ServedModel(version.parent))
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_convolutions_have_the_precision_and_signatures_do_not(version: Path, precision: str) -> None:
    (graph,) = SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs
    nodes = [node for function in graph.graph_def.library.function for node in function.node_def]
    convolutions = [node for node in nodes if node.op == "Conv2D"]
    assert convolutions
    assert {node.attr["T"].type for node in convolutions} == {tf.as_dtype(precision).as_datatype_enum}
    for name, signature in signatures_of(True, False).items():
        found = graph.signature_def[name]
        for tensors, definitions in ((signature.inputs, found.inputs), (signature.outputs, found.outputs)):
            assert {tensor.name: tensor.dtype for tensor in tensors} == {
                key: tf.as_dtype(value.dtype).name for key, value in definitions.items()
            }


def test_a_server_answers_within_the_precision(
    version: Path, address: str, precision: str, model: keras.Model
) -> None:
    given = images(6)
    expected = model(given.astype("float32"), training=False)
    spread_mm = np.abs(expected["pose_mm"] - np.mean(expected["pose_mm"], axis=0)).max()
    with Client(address, "mcss", metadata=version) as client:
        pixels, files = client.predict_images(given), client.predict([*map(png, given), b"no image"])
    for received in (pixels.embedding, files.embedding[:6]):
        moved = np.linalg.norm(received - expected["embedding"], axis=1)
        # Not the same network in float32, and no further from it than a few roundings of its activations.
        assert EPSILON[precision] / 100 < moved.max() < 4 * EPSILON[precision]
        np.testing.assert_allclose(np.linalg.norm(received, axis=1), 1, atol=1e-5)
    moved_mm = np.abs(pixels.pose_mm - expected["pose_mm"]).max()
    assert moved_mm < 4 * EPSILON[precision] * spread_mm + 1e-2
    np.testing.assert_allclose(files.pose_mm[:6], pixels.pose_mm, atol=1e-2)
    assert files.status.tolist() == [0] * 6 + [1]
    assert np.isnan(files.embedding[6]).all()


def test_the_server_takes_the_warm_up_requests(version: Path, address: str, precision: str) -> None:
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    records = tf.data.TFRecordDataset(str(version / WARMUP)).as_numpy_iterator()
    requests = [apis.PredictionLog.FromString(record).predict_log.request for record in records]
    assert len(requests) == 2 * len(signatures_of(True, False))
    # One of each size; that every signature takes its own is tested in float32.
    asked = [
        request for request in requests if request.model_spec.signature_name in ("images", "serving_default")
    ]
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for request in asked:
            outputs = stub.Predict(request, timeout=120).outputs
            assert np.isfinite(tf.make_ndarray(outputs["embedding"])).all()
            assert tf.as_dtype(outputs["pose_mm"].dtype) == tf.float32
