"""TensorFlow Serving's REST API over an exported model, for tests: predict, metadata, status."""

import base64
import http.server
import json
import re
import threading
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format

_PATH = re.compile(r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+))?(?P<what>:predict|/metadata)?$")
_HTTP = {
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
}


class RestServer:
    """Listens on a free port of this machine while the block runs."""

    def __init__(self, served):
        handler = type("Handler", (_Handler,), {"served": served})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> "RestServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    served: Any
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(lambda what: self._metadata() if what == "/metadata" else self._status())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(lambda what: self._predict(json.loads(body)))

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, compute) -> None:
        from tests.serving.grpc_server import Refusal  # the two modules serve one model

        code = 200
        try:
            match = _PATH.match(self.path)
            if not match:
                raise Refusal(grpc.StatusCode.NOT_FOUND, f"Malformed request: {self.command} {self.path}")
            self.served.check_spec(match["name"], match["version"] and int(match["version"]))
            answer = compute(match["what"])
        except Refusal as refusal:
            code, answer = _HTTP.get(refusal.code, 400), {"error": refusal.details}
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _status(self) -> dict:
        status = {"error_code": "OK", "error_message": ""}
        version = str(self.served.version)
        return {"model_version_status": [{"version": version, "state": "AVAILABLE", "status": status}]}

    def _metadata(self) -> dict:
        definitions = {k: json_format.MessageToDict(v, preserving_proto_field_name=True)
                       for k, v in self.served.definitions.items()}  # fmt: skip
        spec = {"name": self.served.name, "signature_name": "", "version": str(self.served.version)}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": definitions}}}

    def _predict(self, body: dict) -> dict:
        signature = body.get("signature_name", "serving_default")
        definition = self.served.definitions.get(signature)
        columns = body["inputs"] if "inputs" in body else _columns(body["instances"], definition)
        if definition is not None and not isinstance(columns, dict):
            columns = {next(iter(definition.inputs)): columns}
        inputs = {name: _array(value, definition, name) for name, value in columns.items()}
        outputs = {name: _json(value) for name, value in self.served.predict(signature, inputs).items()}
        if "inputs" in body:
            return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
        rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
        return {"predictions": rows if len(outputs) > 1 else next(iter(outputs.values()))}


def _columns(instances: list, definition) -> dict:
    if isinstance(instances[0], dict) and "b64" not in instances[0]:
        return {name: [instance[name] for instance in instances] for name in instances[0]}
    return {next(iter(definition.inputs)): instances}


def _array(value: list, definition, name: str) -> np.ndarray:
    if isinstance(value[0], dict):
        return np.array([base64.b64decode(item["b64"]) for item in value], object)
    known = definition is not None and name in definition.inputs
    return np.array(value, tf.as_dtype(definition.inputs[name].dtype).as_numpy_dtype if known else None)


def _json(value: np.ndarray) -> list:
    if value.dtype == object:
        return np.vectorize(lambda item: item.decode(), otypes=[object])(value).tolist()
    return value.tolist()
