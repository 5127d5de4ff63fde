"""A client of an exported model behind TensorFlow Serving: typed results, deadlines, retries, batches."""

import dataclasses
import functools
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from mcss_tf.errors import InputError
from mcss_tf.serving.client_errors import ServerUnavailableError, WrongRequestError
from mcss_tf.serving.client_inputs import check, to_array
from mcss_tf.serving.exported import read_metadata
from mcss_tf.serving.over_grpc import GrpcTransport
from mcss_tf.serving.over_rest import RestTransport

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of N images, in the order in which they were given.

    Attributes:
        embedding: float32 [N, D], unit length; None where the signature has no embeddings.
        pose_mm: float32 [N, J-1, 3] canonical, mm; None without poses.
        status: int32 [N], 0 where the image was read; else that row of the other arrays is NaN.
        joint_names: of `pose_mm`, J-1 names; None without poses or metadata.
    """

    embedding: np.ndarray | None
    pose_mm: np.ndarray | None
    status: np.ndarray
    joint_names: tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class Retrieved:
    """The k images of the gallery nearest to each of N images, nearest first.

    Attributes:
        ids: str [N, k].
        distance: float32 [N, k], Euclidean, of embeddings.
        pose_mm: float32 [N, k, J-1, 3], canonical, mm; None without poses.
        status: int32 [N], 0 where the image was read.
    """

    ids: np.ndarray
    distance: np.ndarray
    pose_mm: np.ndarray | None
    status: np.ndarray


class Client:
    """Talks to one model of one server; may be used by one thread at a time, and as a context manager."""

    def __init__(
        self,
        server: str,
        model_name: str = "mcss",
        *,
        version: int | None = None,
        max_batch: int = 32,
        timeout_s: float = 30.0,
        retries: int = 5,
        metadata: str | Path | dict[str, Any] | None = None,
    ):
        """Prepares a connection; nothing is sent yet.

        Args:
            server: `host:port` for gRPC, `http://host:port` (or https) for REST.
            model_name: under which the server loaded the model.
            version: of the model; None: the newest.
            max_batch: rows of one request; larger inputs are split. At most the server's max_batch_size.
            timeout_s: deadline of one request, its retries included.
            retries: further attempts, at most, while the server is unavailable; nothing else is retried.
            metadata: the export's folder or its assets/mcss.json, or the content of that, for the names of
                joints: no request to a server tells them.

        Raises:
            InputError: the address is neither, a number is out of range, or there is no such metadata.
        """
        if max_batch < 1 or timeout_s <= 0 or retries < 0:
            raise InputError(
                "A client needs max_batch >= 1, timeout_s > 0 and retries >= 0. Received: "
                f"max_batch={max_batch}, timeout_s={timeout_s}, retries={retries}."
            )
        self.metadata = read_metadata(metadata) if isinstance(metadata, str | Path) else metadata
        self._transport = _open(server, model_name, version)
        self._signatures: dict[str, SignatureDef] | None = None
        self._max_batch, self._timeout_s, self._retries = max_batch, timeout_s, retries

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    @property
    def joint_names(self) -> tuple[str, ...] | None:
        """Names of the joints of `pose_mm`; None without metadata or without poses."""
        pose = (self.metadata or {}).get("pose")
        return tuple(pose["joint_names"]) if pose else None

    def predict(self, image_bytes: Sequence[bytes], boxes_px: np.ndarray | None = None) -> Prediction:
        """Embeds JPEG or PNG files of crops around a person, or of scenes with one box [N, 4] each."""
        if boxes_px is None:
            return self._prediction("serving_default", {"image_bytes": image_bytes})
        return self._prediction("boxes", {"image_bytes": image_bytes, "boxes_px": boxes_px})

    def predict_images(self, images: np.ndarray) -> Prediction:
        """Embeds pixels, uint8 [N, H, W, 3] RGB."""
        return self._prediction("images", {"images": images})

    def embed(self, image_bytes: Sequence[bytes]) -> Prediction:
        """Returns embeddings alone, of JPEG or PNG files."""
        return self._prediction("embed", {"image_bytes": image_bytes})

    def pose(self, image_bytes: Sequence[bytes]) -> Prediction:
        """Returns poses alone, of JPEG or PNG files."""
        return self._prediction("pose", {"image_bytes": image_bytes})

    def retrieve(self, image_bytes: Sequence[bytes]) -> Retrieved:
        """Finds the images of the exported gallery nearest to JPEG or PNG files."""
        outputs = self.call("retrieve", {"image_bytes": image_bytes})
        ids = outputs["ids"]
        if ids.dtype.kind in "OS":
            ids = np.array([item.decode() for item in ids.ravel()]).reshape(ids.shape)
        return Retrieved(ids, outputs["distance"], outputs.get("pose_mm"), _status(outputs, ids))

    def call(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Calls any signature with N rows, in as many requests as that takes, in order.

        Args:
            signature: its name.
            inputs: arrays, or lists of bytes, by name; the first dimension is N >= 1.

        Returns:
            The outputs by name, N rows each.

        Raises:
            WrongRequestError: the model has no such signature, or it takes other inputs; nothing was sent.
            ServingError: a request failed; see `mcss_tf.serving.client_errors`.
        """
        if signature not in (served := self.signatures()):
            raise WrongRequestError(
                f"The served model has the signatures {', '.join(sorted(served))}. Received: {signature!r}."
            )
        arrays = {name: to_array(value) for name, value in inputs.items()}
        check(signature, served[signature], arrays)
        send = functools.partial(self._transport.predict, signature, served[signature])
        count = len(next(iter(arrays.values())))
        parts = []
        for start in range(0, count, self._max_batch):
            batch = {name: value[start : start + self._max_batch] for name, value in arrays.items()}
            parts.append(self._with_retries(functools.partial(send, batch)))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def signatures(self) -> dict[str, SignatureDef]:
        """Returns the model's signatures by name, asked of the server once."""
        if self._signatures is None:
            self._signatures = self._with_retries(self._transport.signatures)
        return self._signatures

    def _prediction(self, signature: str, inputs: dict[str, Any]) -> Prediction:
        outputs = self.call(signature, inputs)
        embedding, pose_mm, names = outputs.get("embedding"), outputs.get("pose_mm"), self.joint_names
        if pose_mm is not None and names is not None and len(names) != pose_mm.shape[1]:
            raise InputError(
                f"Metadata belong to the served model. Received: {len(names)} joint names for poses of "
                f"{pose_mm.shape[1]} joints. Give the metadata of the export that the server loaded."
            )
        reference = pose_mm if embedding is None else embedding
        return Prediction(embedding, pose_mm, _status(outputs, reference), names)

    def _with_retries(self, send: Callable[[float], Any]) -> Any:
        """Calls `send` with the time left, again after longer and longer waits while nobody answers."""
        end_s = time.monotonic() + self._timeout_s
        for attempt in range(self._retries + 1):
            try:
                return send(end_s - time.monotonic())
            except ServerUnavailableError:
                # Random, so that clients which failed together do not come back together.
                wait_s = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S) * random.uniform(0.5, 1.0)
                if attempt == self._retries or time.monotonic() + wait_s >= end_s:
                    raise
                time.sleep(wait_s)
        raise AssertionError("unreachable")


def _open(server: str, model_name: str, version: int | None) -> GrpcTransport | RestTransport:
    if server.startswith(("http://", "https://")):
        return RestTransport(server, model_name, version)
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal() or "/" in server:
        raise InputError(
            "A server is host:port for gRPC or http://host:port for REST. "
            f"Received: {server!r}. Give, e.g., localhost:8500."
        )
    return GrpcTransport(server, model_name, version)


def _status(outputs: dict[str, np.ndarray], reference: np.ndarray) -> np.ndarray:
    # Pixels cannot be corrupt, so `images` has no status.
    return outputs.get("status", np.zeros(len(reference), np.int32))
