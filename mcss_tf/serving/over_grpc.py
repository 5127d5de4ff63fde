"""Requests to TensorFlow Serving over gRPC, through its own protos."""

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from mcss_tf.errors import InputError
from mcss_tf.serving import client_errors

try:
    import grpc
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc
except ImportError:
    grpc = None

_OPTIONS = (
    # A batch of pixels is larger than gRPC's default of 4 MiB, and so may be the answer of `retrieve`.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that restarts is found again soon: the default waits a second and more between attempts.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Channels to one address would share their connection, and with it another channel's backoff.
    ("grpc.use_local_subchannel_pool", 1),
)


class GrpcTransport:
    """One channel to one model of one server."""

    def __init__(self, server: str, model_name: str, version: int | None):
        """Prepares a channel to `host:port`; nothing is sent yet."""
        if grpc is None:
            raise InputError(
                "gRPC needs tensorflow-serving-api. Received: an environment without it. "
                "Install mcss_tf[client], or give a REST address: http://host:8501."
            )
        self._server, self._model_name, self._version = server, model_name, version
        self._channel = grpc.insecure_channel(server, options=_OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(
        self, signature: str, definition: SignatureDef, inputs: dict[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """Sends one request and returns its outputs; strings come back as arrays of bytes."""
        del definition  # gRPC says itself what it sends
        request = predict_pb2.PredictRequest(model_spec=self._model_spec(signature))
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = self._call(self._stub.Predict, request, timeout_s)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def signatures(self, timeout_s: float) -> dict[str, SignatureDef]:
        """Asks which signatures the model has."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._model_spec(""), metadata_field=["signature_def"]
        )
        response = self._call(self._stub.GetModelMetadata, request, timeout_s)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return dict(signatures.signature_def)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _model_spec(self, signature: str):
        spec = predict_pb2.PredictRequest().model_spec
        spec.name, spec.signature_name = self._model_name, signature
        if self._version is not None:
            spec.version.value = self._version
        return spec

    def _call(self, method, request, timeout_s: float):
        try:
            return method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            details = error.details() or ""
            kind = _kind(error.code(), details)
            if kind is client_errors.DeadlineExceededError:
                details = f"no answer after {timeout_s:.3g} s"
            raise client_errors.make_error(kind, self._server, f"{error.code().name}: {details}") from error


def _kind(code: "grpc.StatusCode", details: str) -> type[client_errors.ServingError]:
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
        return client_errors.kind_of_refusal(details)
    return {
        grpc.StatusCode.UNAVAILABLE: client_errors.ServerUnavailableError,
        grpc.StatusCode.DEADLINE_EXCEEDED: client_errors.DeadlineExceededError,
        grpc.StatusCode.NOT_FOUND: client_errors.ModelNotFoundError,
        # gRPC's own limit on the bytes of a message.
        grpc.StatusCode.RESOURCE_EXHAUSTED: client_errors.BatchTooLargeError,
    }.get(code, client_errors.ServingError)
