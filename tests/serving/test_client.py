"""The client against the services of TensorFlow Serving: gRPC and REST, results and faults."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.serving import client_errors, saved_model
from mcss_tf.serving import images as served_images
from mcss_tf.serving.client import Client
from mcss_tf.serving.exported import ExportedModel
from mcss_tf.serving.gallery import Gallery
from mcss_tf.serving.metadata import build_metadata
from tests.serving import grpc_server
from tests.serving.conftest import IMAGE_SIZE
from tests.serving.rest_server import RestServer
from tests.serving.test_saved_model import images, png

ROOT = Path(__file__).resolve().parents[2]

# Nothing but TensorFlow Serving's own package: what a user without mcss_tf writes.
INDEPENDENT_CLIENT = """
import sys
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
channel = grpc.insecure_channel(sys.argv[1])
status = get_model_status_pb2.GetModelStatusRequest()
status.model_spec.name = "mcss"
(version,) = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, 300).model_version_status
assert version.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
request = predict_pb2.PredictRequest()
request.model_spec.name = "mcss"
request.model_spec.signature_name = "serving_default"
files = [open(path, "rb").read() for path in sys.argv[3:]]
request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files))
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
response = stub.Predict(request, 300)
np.savez(sys.argv[2], **{name: tf.make_ndarray(value) for name, value in response.outputs.items()})
request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(np.zeros(1, np.float32)))
try:
    stub.Predict(request, 300)
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    assert "to be string but float32 is provided" in error.details(), error
else:
    raise AssertionError("a wrong dtype was accepted")
assert not any(name.startswith("mcss_tf") for name in sys.modules)
"""


@pytest.fixture(scope="module")
def served(export_folder: Path) -> grpc_server.ServedModel:
    model = grpc_server.ServedModel(export_folder, max_batch=4)
    # The first call of a signature optimises its graph; the real server replays warm-up requests for that.
    for batch in (1, 2):
        model.predict("serving_default", {"image_bytes": np.array([png(images(1)[0])] * batch, object)})
    model.predict("images", {"images": images(1)})
    return model


@pytest.fixture(scope="module")
def addresses(served: grpc_server.ServedModel) -> Iterator[dict[str, str]]:
    server, port = grpc_server.start(served)
    with RestServer(served) as rest:
        yield {"grpc": f"127.0.0.1:{port}", "rest": f"http://127.0.0.1:{rest.port}"}
    server.stop(None)


@pytest.fixture(autouse=True)
def healthy(served: grpc_server.ServedModel) -> None:
    served.delay_s, served.unavailable, served.num_requests, served.batches = 0.0, 0, 0, []


@pytest.fixture(params=["grpc", "rest"])
def address(request: pytest.FixtureRequest, addresses: dict[str, str]) -> str:
    return addresses[request.param]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def process(export_folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """Runs the server as a process of its own; gives it and its gRPC port."""
    command = [sys.executable, "-m", "tests.serving.grpc_server", f"--model={export_folder}", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            yield server, int(line.split()[0].removeprefix("grpc="))
        finally:
            server.kill()


def test_results_are_the_models_in_the_order_given(
    address: str, served: grpc_server.ServedModel, export_folder: Path
) -> None:
    given = images(11)
    expected = ExportedModel(export_folder)(given)
    with Client(address, timeout_s=300, max_batch=4, metadata=export_folder) as client:
        by_bytes, by_pixels = client.predict([png(image) for image in given]), client.predict_images(given)
    for received in (by_bytes, by_pixels):
        np.testing.assert_allclose(received.embedding, expected["embedding"], atol=1e-4)
        np.testing.assert_allclose(received.pose_mm, expected["pose_mm"], rtol=1e-4, atol=1e-2)
        assert received.embedding.dtype == received.pose_mm.dtype == np.float32
        assert received.status.tolist() == [0] * 11
        assert received.status.dtype == np.int32
        assert received.joint_names[0] == "right_hip"
        assert len(received.joint_names) == 16
    assert served.batches == [4, 4, 3] * 2


def test_a_client_of_tensorflow_serving_alone_gets_the_same(
    addresses: dict[str, str], export_folder: Path, tmp_path: Path
) -> None:
    given = images(2, seed=5)
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, image in zip(paths, given, strict=True):
        path.write_bytes(png(image))
    command = [sys.executable, "-c", INDEPENDENT_CLIENT, addresses["grpc"], tmp_path / "out.npz", *paths]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = ExportedModel(export_folder)(given)
    with np.load(tmp_path / "out.npz") as received:
        np.testing.assert_allclose(received["embedding"], expected["embedding"], atol=1e-4)
        np.testing.assert_allclose(received["pose_mm"], expected["pose_mm"], rtol=1e-4, atol=1e-2)


def test_rest_answers_rows_as_documented(addresses: dict[str, str], export_folder: Path) -> None:
    import base64

    image = images(1)[0]
    body = {"instances": [{"image_bytes": {"b64": base64.b64encode(png(image)).decode()}}]}
    answer = requests.post(f"{addresses['rest']}/v1/models/mcss:predict", json=body, timeout=300).json()
    (row,) = answer["predictions"]
    expected = ExportedModel(export_folder)(image[None])
    np.testing.assert_allclose(row["embedding"], expected["embedding"][0], atol=1e-4)
    status = requests.get(f"{addresses['rest']}/v1/models/mcss", timeout=300).json()
    assert status["model_version_status"][0]["state"] == "AVAILABLE"


def test_the_other_signatures(address: str, export_folder: Path) -> None:
    given = images(3, seed=8)
    files = [png(image) for image in given]
    whole = np.tile(np.float32([0, 0, IMAGE_SIZE, IMAGE_SIZE]), (3, 1))
    expected = ExportedModel(export_folder)(given)
    with Client(address, timeout_s=300, max_batch=2) as client:
        embedded, posed, boxed = client.embed(files), client.pose(files), client.predict(files, whole)
        with pytest.raises(client_errors.WrongRequestError, match=r"Received: 'retrieve'"):
            client.retrieve(files)
    np.testing.assert_allclose(embedded.embedding, expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(posed.pose_mm, expected["pose_mm"], rtol=1e-4, atol=1e-2)
    assert (embedded.pose_mm, posed.embedding, posed.joint_names) == (None, None, None)
    assert boxed.status.tolist() == embedded.status.tolist() == posed.status.tolist() == [0, 0, 0]
    assert boxed.embedding.shape == (3, 128)


def test_retrieve_names_what_it_finds(model, tmp_path: Path) -> None:
    given = images(4, seed=9)
    expected = model(given.astype("float32"), training=False)
    gallery = Gallery(np.array(list("abcd")), expected["embedding"].numpy(), expected["pose_mm"].numpy())
    metadata = build_metadata(model, HUMAN36M_17, {"size": IMAGE_SIZE, "context": 1.2}, {})
    saved_model.write(served_images.served(model, 1.2, gallery=gallery, k=2), metadata, tmp_path / "mcss")
    served = grpc_server.ServedModel(tmp_path / "mcss")
    server, port = grpc_server.start(served)
    with RestServer(served) as rest:
        for address in (f"127.0.0.1:{port}", f"http://127.0.0.1:{rest.port}"):
            with Client(address, timeout_s=300) as client:
                found = client.retrieve([png(given[2]), b"no image", png(given[0])])
            assert found.ids[:, 0].tolist() == ["c", "", "a"]
            assert found.status.tolist() == [0, 1, 0]
            assert found.distance.shape == (3, 2)
            assert found.distance[0, 0] < 1e-2
            assert found.distance[0, 0] < found.distance[0, 1]
            np.testing.assert_allclose(found.pose_mm[2, 0], expected["pose_mm"][0], rtol=1e-3, atol=0.1)
    server.stop(None)


def test_a_corrupt_image_costs_its_own_row_only(address: str, export_folder: Path) -> None:
    given = images(3)
    files = [png(image) for image in given]
    files[1] = files[1][:40]
    with Client(address, timeout_s=300) as client:
        received = client.predict(files)
    assert received.status[1] != 0
    assert received.status[[0, 2]].tolist() == [0, 0]
    assert np.isnan(received.embedding[1]).all()
    assert np.isnan(received.pose_mm[1]).all()
    expected = ExportedModel(export_folder)(given[[0, 2]])
    np.testing.assert_allclose(received.embedding[[0, 2]], expected["embedding"], atol=1e-4)


def test_a_wrong_model_name_or_version(address: str) -> None:
    with (
        Client(address, "mcsss", timeout_s=300) as client,
        pytest.raises(
            client_errors.ModelNotFoundError,
            match=r"Received: .*Latest\(mcsss\).*--model_name",
        ),
    ):
        client.predict([b""])
    with (
        Client(address, version=9, timeout_s=300) as client,
        pytest.raises(client_errors.ModelNotFoundError, match=r"mcss, 9"),
    ):
        client.predict([b""])


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        (
            "images",
            {"images": np.zeros((1, 4, 4, 3), np.float32)},
            r"is uint8 \['any'.*float32 \[1, 4",
        ),
        ("images", {"images": np.zeros((1, 4, 4, 1), np.uint8)}, r"Received: uint8 \[1, 4, 4, 1\]"),
        ("images", {"images": np.zeros((0, 4, 4, 3), np.uint8)}, r"at least 1. Received: \{'images': 0\}"),
        ("images", {"pixels": np.zeros((1, 4, 4, 3), np.uint8)}, r"images takes images. Received: pixels"),
        ("serving_default", {"image_bytes": ["text"]}, r"image_bytes is string \['any'\]. Received: <U4"),
        ("nonsense", {"image_bytes": [b""]}, r"has the signatures .*images.*Received: 'nonsense'"),
    ],
)
def test_a_wrong_request_is_refused_before_it_is_sent(
    address: str, served: grpc_server.ServedModel, signature: str, inputs: dict, message: str
) -> None:
    with (
        Client(address, timeout_s=300) as client,
        pytest.raises(client_errors.WrongRequestError, match=message),
    ):
        client.call(signature, inputs)
    assert served.num_requests == 0


def test_a_wrong_dtype_is_refused_by_the_server_too(
    addresses: dict[str, str], served: grpc_server.ServedModel
) -> None:
    with Client(addresses["grpc"], timeout_s=300) as client:
        # What a client believes that asked before the server changed its model: float32.
        client.signatures()["images"].inputs["images"].dtype = tf.float32.as_datatype_enum
        with pytest.raises(client_errors.WrongRequestError, match="to be uint8 but float32 is provided"):
            client.call("images", {"images": np.zeros((1, 4, 4, 3), np.float32)})
    assert served.num_requests == 1


def test_a_batch_above_the_servers_limit(address: str) -> None:
    with (
        Client(address, timeout_s=300, max_batch=8) as client,
        pytest.raises(client_errors.BatchTooLargeError, match=r"Task size 5 .* size 4.*max_batch"),
    ):
        client.predict_images(images(5))


def test_a_deadline(address: str, served: grpc_server.ServedModel) -> None:
    with Client(address, timeout_s=300) as client:
        signatures = client.signatures()
    served.delay_s = 2.0
    start_s = time.monotonic()
    with Client(address, timeout_s=0.2) as client:
        client._signatures = signatures
        with pytest.raises(client_errors.DeadlineExceededError, match=r"no answer after 0.\d+ s.*timeout_s"):
            client.predict_images(images(1))
    assert time.monotonic() - start_s < 1.8
    while not served.batches:  # the server still works on it
        time.sleep(0.05)
    assert served.num_requests == 1  # a request that took too long is not sent again


def test_unavailable_is_retried_and_nothing_else(address: str, served: grpc_server.ServedModel) -> None:
    served.unavailable = 2
    with Client(address, timeout_s=300) as client:
        assert client.predict_images(images(2)).embedding.shape == (2, 128)
    assert served.num_requests == 3
    served.unavailable, served.num_requests = 2, 0
    with (
        Client(address, retries=1) as client,
        pytest.raises(client_errors.ServerUnavailableError, match="scheduling queue is full"),
    ):
        client.predict_images(images(2))
    assert served.num_requests == 2


def test_waits_double_and_end_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now, waits = [0.0], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    client = Client("127.0.0.1:1", timeout_s=10.0, retries=100)
    lefts = []

    def send(left_s: float):
        lefts.append(left_s)
        raise client_errors.ServerUnavailableError("gone")

    with pytest.raises(client_errors.ServerUnavailableError, match="gone"):
        client._with_retries(send)
    longest = np.minimum(0.1 * 2.0 ** np.arange(len(waits)), 2.0)
    assert len(waits) >= 7
    assert all(0.5 * long <= wait <= long for wait, long in zip(waits, longest, strict=True))
    assert sum(waits) < 10
    np.testing.assert_allclose(lefts, 10 - np.cumsum([0, *waits]))


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_nobody_listens(scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{free_port()}"
    with (
        Client(address, retries=1) as client,
        pytest.raises(client_errors.ServerUnavailableError, match="listens at the given address. Received"),
    ):
        client.predict([b""])


def test_a_server_killed_within_a_request_is_asked_again_when_it_is_back(
    export_folder: Path, served: grpc_server.ServedModel
) -> None:
    with process(export_folder, "--delay_s=30") as (server, port):
        address, failed = f"127.0.0.1:{port}", []
        with Client(address, retries=0) as impatient, Client(address, retries=20, timeout_s=300) as patient:
            impatient.signatures()
            patient.signatures()

            def ask() -> None:
                try:
                    impatient.predict_images(images(1))
                except client_errors.ServingError as error:
                    failed.append(error)

            thread = threading.Thread(target=ask)
            thread.start()
            time.sleep(0.5)
            server.send_signal(signal.SIGKILL)
            thread.join(60)
            assert [type(error) for error in failed] == [client_errors.ServerUnavailableError]
            threading.Timer(0.5, lambda: back.append(grpc_server.start(served, port)[0])).start()
            back: list = []
            assert patient.predict_images(images(2)).embedding.shape == (2, 128)
            back[0].stop(None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"server": "localhost"}, r"host:port for gRPC or http://host:port for REST. Received: 'localhost'"),
        ({"server": "ftp://a:1"}, r"Received: 'ftp://a:1'. Give, e.g., localhost:8500"),
        ({"server": "a:1", "max_batch": 0}, r"max_batch >= 1.*Received: max_batch=0"),
        ({"server": "a:1", "timeout_s": 0.0}, r"timeout_s > 0.*timeout_s=0.0"),
        ({"server": "a:1", "retries": -1}, r"retries >= 0.*retries=-1"),
        ({"server": "a:1", "metadata": "/nowhere"}, r"Received: /nowhere, which does not exist"),
    ],
)
def test_wrong_settings(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Client(**arguments)


def test_metadata_of_another_model(addresses: dict[str, str]) -> None:
    with (
        Client(addresses["grpc"], timeout_s=300, metadata={"pose": {"joint_names": ["a", "b"]}}) as client,
        pytest.raises(InputError, match=r"Received: 2 joint names for poses of 16 joints"),
    ):
        client.predict_images(images(1))


def test_the_real_server(export_folder: Path, tmp_path: Path) -> None:
    if not (binary := shutil.which("tensorflow_model_server")):
        pytest.skip("tensorflow_model_server is not on the PATH")
    port, rest_port = free_port(), free_port()
    command = [
        binary, f"--port={port}", f"--rest_api_port={rest_port}", "--model_name=mcss",
        f"--model_base_path={export_folder}",
    ]  # fmt: skip
    given = images(5)
    expected = ExportedModel(export_folder)(given)
    with open(tmp_path / "log", "wb") as log, subprocess.Popen(command, stderr=log, stdout=log) as server:
        try:
            for address in (f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}"):
                with Client(address, timeout_s=300, max_batch=2, retries=100) as client:
                    received = client.predict([png(image) for image in given])
                    assert client.signatures().keys() >= {"serving_default", "images"}
                np.testing.assert_allclose(received.embedding, expected["embedding"], atol=1e-4)
                np.testing.assert_allclose(received.pose_mm, expected["pose_mm"], rtol=1e-4, atol=1e-2)
                with Client(address, "other") as client, pytest.raises(client_errors.ModelNotFoundError):
                    client.predict([b""])
        finally:
            server.terminate()
