"""Requests to TensorFlow Serving over its REST API."""

import base64
from typing import Any

import numpy as np
import requests
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from mcss_tf.serving import client_errors


class RestTransport:
    """One keep-alive session with one model of one server."""

    def __init__(self, server: str, model_name: str, version: int | None):
        """Prepares requests to `http://host:port`; nothing is sent yet."""
        self._server = server.rstrip("/")
        self._model = f"{self._server}/v1/models/{model_name}"
        if version is not None:
            self._model += f"/versions/{version}"
        self._session = requests.Session()

    def predict(
        self, signature: str, definition: SignatureDef, inputs: dict[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """Sends one request in columns and returns its outputs; strings come back as arrays of str."""
        body = {
            "signature_name": signature,
            "inputs": {name: _encode(value) for name, value in inputs.items()},
        }
        outputs = self._request("POST", f"{self._model}:predict", timeout_s, json=body)["outputs"]
        if not isinstance(outputs, dict):
            # A signature of one output is answered without its name.
            (name,) = definition.outputs
            outputs = {name: outputs}
        return {name: _decode(value, definition.outputs[name].dtype) for name, value in outputs.items()}

    def signatures(self, timeout_s: float) -> dict[str, SignatureDef]:
        """Asks which signatures the model has."""
        answer = self._request("GET", f"{self._model}/metadata", timeout_s)
        entries = answer["metadata"]["signature_def"]["signature_def"]
        return {name: json_format.ParseDict(entry, SignatureDef()) for name, entry in entries.items()}

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _request(self, method: str, url: str, timeout_s: float, **content: Any) -> dict[str, Any]:
        try:
            response = self._session.request(method, url, timeout=timeout_s, **content)
        except requests.Timeout as error:
            details = f"no answer after {timeout_s:.3g} s"
            raise self._error(client_errors.DeadlineExceededError, details) from error
        except requests.RequestException as error:
            raise self._error(client_errors.ServerUnavailableError, str(error)) from error
        if response.ok:
            return response.json()
        details = _details(response)
        raise self._error(_kind(response.status_code, details), f"{response.status_code}: {details}")

    def _error(self, kind: type[client_errors.ServingError], details: str) -> client_errors.ServingError:
        return client_errors.make_error(kind, self._server, details)


def _encode(value: np.ndarray) -> list:
    if value.dtype.kind in "OS":
        return [{"b64": base64.b64encode(item).decode()} for item in value]
    return value.tolist()


def _decode(value: list, dtype: int) -> np.ndarray:
    # JSON does not tell the types of numbers apart; the signature does.
    dtype = tf.as_dtype(dtype)
    return np.asarray(value, None if dtype == tf.string else dtype.as_numpy_dtype)


def _details(response: requests.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def _kind(code: int, details: str) -> type[client_errors.ServingError]:
    if code in (400, 412):
        return client_errors.kind_of_refusal(details)
    return {
        404: client_errors.ModelNotFoundError,
        413: client_errors.BatchTooLargeError,
        503: client_errors.ServerUnavailableError,
        504: client_errors.DeadlineExceededError,
    }.get(code, client_errors.ServingError)
