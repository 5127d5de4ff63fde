"""TensorFlow Serving's gRPC services over an exported model, for tests.

Speaks the real protos (PredictionService: Predict, GetModelMetadata; ModelService: GetModelStatus) and
answers errors with the codes and texts of TensorFlow Serving. As a process of its own:

    python -m tests.serving.grpc_server --model=DIR [--max_batch=N] [--delay_s=S]

prints `grpc=PORT rest=PORT` once it listens.
"""

import argparse
import dataclasses
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from mcss_tf.serving.versions import newest
from tests.serving.rest_server import RestServer


class Refusal(Exception):
    """A request that cannot be answered, with the code to say so."""

    def __init__(self, code: grpc.StatusCode, details: str):
        super().__init__(details)
        self.code, self.details = code, details


@dataclasses.dataclass
class ServedModel:
    """One version of one model, as the services see it.

    Attributes:
        folder: of the versions.
        name: under which it is served.
        max_batch: as `max_batch_size` of TensorFlow Serving's batching.
        delay_s: before each answer, to try deadlines.
        unavailable: that many requests are answered UNAVAILABLE first, as by a full queue.
        num_requests: predictions asked for so far.
        batches: rows of every answered request, in order.
    """

    folder: Path
    name: str = "mcss"
    max_batch: int = 64
    delay_s: float = 0.0
    unavailable: int = 0
    num_requests: int = 0
    batches: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        path = newest(Path(self.folder))
        self.version = int(path.name)
        self._loaded = tf.saved_model.load(str(path))
        saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
        self.definitions: dict[str, SignatureDef] = {
            name: definition
            for name, definition in saved.meta_graphs[0].signature_def.items()
            if not name.startswith("__")
        }

    def check_spec(self, name: str, version: int | None) -> None:
        """Raises Refusal for another model or version."""
        if name != self.name or version not in (None, self.version):
            shown = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {shown}")

    def predict(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one request, or raises Refusal."""
        self.num_requests += 1
        if self.unavailable > 0:
            self.unavailable -= 1
            raise Refusal(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue is full",
            )
        signature = signature or "serving_default"
        if signature not in self.definitions:
            raise Refusal(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.'
            )
        self._check_inputs(self.definitions[signature], inputs)
        time.sleep(self.delay_s)
        try:
            outputs = self._loaded.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        except tf.errors.InvalidArgumentError as error:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, error.message) from error
        self.batches.append(len(next(iter(inputs.values()))))
        return {name: value.numpy() for name, value in outputs.items()}

    def _check_inputs(self, definition: SignatureDef, inputs: dict[str, np.ndarray]) -> None:
        if inputs.keys() != definition.inputs.keys():
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"input size does not match signature: {len(inputs)}!={len(definition.inputs)}. Sent extra: "
                f"{sorted(inputs.keys() - definition.inputs.keys())}. Missing but required: "
                f"{sorted(definition.inputs.keys() - inputs.keys())}.",
            )
        for name, value in inputs.items():
            wanted, received = tf.as_dtype(definition.inputs[name].dtype), tf.constant(value).dtype
            if wanted != received:
                raise Refusal(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Expects arg[0] to be {wanted.name} but {received.name} is provided",
                )
            if len(value) > self.max_batch:
                raise Refusal(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Task size {len(value)} is larger than maximum input batch size {self.max_batch}",
                )


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata."""

    def __init__(self, served: ServedModel):
        self._served = served

    def Predict(self, request, context):
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        outputs = _answer(
            context, self._served, request, lambda s: s.predict(request.model_spec.signature_name, inputs)
        )
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = self._served.version
        response.model_spec.signature_name = request.model_spec.signature_name
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        definitions = _answer(context, self._served, request, lambda s: s.definitions)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = self._served.version
        response.metadata["signature_def"].Pack(signatures)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus."""

    def __init__(self, served: ServedModel):
        self._served = served

    def GetModelStatus(self, request, context):
        _answer(context, self._served, request, lambda s: None)
        response = get_model_status_pb2.GetModelStatusResponse()
        status = response.model_version_status.add(version=self._served.version)
        status.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return response


def _answer(context, served, request, compute):
    spec = request.model_spec
    try:
        served.check_spec(spec.name, spec.version.value if spec.HasField("version") else None)
        return compute(served)
    except Refusal as refusal:
        context.abort(refusal.code, refusal.details)


def start(served: ServedModel, port: int = 0) -> tuple[grpc.Server, int]:
    """Starts the gRPC services in this process; returns the server and its port."""
    options = (("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0))
    server = grpc.server(futures.ThreadPoolExecutor(8), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(served), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(served), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--max_batch", type=int, default=64)
    parser.add_argument("--delay_s", type=float, default=0.0)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    served = ServedModel(given.model, max_batch=given.max_batch, delay_s=given.delay_s)
    server, port = start(served, given.port)
    with RestServer(served) as rest:
        print(f"grpc={port} rest={rest.port}", flush=True)
        server.wait_for_termination()


if __name__ == "__main__":
    main()
