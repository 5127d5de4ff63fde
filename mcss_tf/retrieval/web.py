"""A small web page over an index: choose or upload an image, see its pose and the nearest images.

One HTML file and a few JSON answers, from Python's own HTTP server; nothing is loaded from elsewhere.
"""

import http.server
import json
import re
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from mcss_tf.data.images import decode_image
from mcss_tf.errors import InputError
from mcss_tf.retrieval.embedder import Embedder
from mcss_tf.retrieval.rows import TITLES, Pictures
from mcss_tf.retrieval.searching import Found, Searcher

MAX_UPLOAD_BYTES = 30_000_000
_MAX_LISTED = 200
# The page may load nothing but what this server gives.
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


class Gallery:
    """What the page asks, as JSON-able answers."""

    def __init__(self, embedder: Embedder, searcher: Searcher, num_found: int = 8):
        """Puts a model and an index of its embeddings together; `num_found` images are found per row."""
        self._embedder, self._searcher, self._num_found = embedder, searcher, num_found
        self._pictures = Pictures(searcher)

    def about(self) -> dict[str, Any]:
        """Returns the model's skeleton (null without poses) and what is in the index."""
        skeleton = self._embedder.skeleton
        manifest = self._searcher.manifest
        return {
            "model": self._embedder.path.name,
            "num_images": len(self._searcher.ids),
            "cameras": manifest["cameras"],
            "subjects": manifest["subjects"],
            "joint_names": None if skeleton is None else list(skeleton.joint_names),
            "edges": None if skeleton is None else [list(edge) for edge in skeleton.edges],
        }

    def listed(self, start: int, count: int) -> list[dict[str, Any]]:
        """Returns the images from number `start` on, at most 200."""
        end = min(start + min(count, _MAX_LISTED), len(self._searcher.ids))
        return [self._image(number) for number in range(max(start, 0), end)]

    def jpeg(self, number: int) -> bytes:
        """Returns the crop of an image."""
        self._check(number)
        dataset, row, camera = self._pictures.locate(number)
        return dataset.read_images([row], [camera])[0]

    def look_at_image(self, number: int) -> dict[str, Any]:
        """Returns pose and neighbours of an image of the index: in other views, and of other people."""
        outputs = self._embedder.photo(decode_image(self.jpeg(number), f"image {number}"))
        rows = [
            self._row(database, self._searcher.nearest_to(number, self._num_found, database), number)
            for database in ("views", "people")
        ]
        return {**self._image(number), "pose_mm": self._pose(outputs), "rows": rows}

    def look_at_file(self, data: bytes) -> dict[str, Any]:
        """Returns pose and neighbours of an uploaded file; of it nobody knows view or person."""
        outputs = self._embedder.photo(decode_image(data, f"an upload of {len(data)} bytes"))
        found = self._searcher.nearest(outputs["embedding"], self._num_found)
        return {"id": "your image", "pose_mm": self._pose(outputs), "rows": [self._row("all", found, None)]}

    def _row(self, database: str, found: list[Found], query: int | None) -> dict[str, Any]:
        images = []
        for item in found:
            is_same = query is not None and self._pictures.is_same_instant(query, item.image)
            distance = round(item.distance, 4)
            images.append({**self._image(item.image), "distance": distance, "is_same_instant": bool(is_same)})
        return {"title": TITLES[database], "images": images}

    def _image(self, number: int) -> dict[str, Any]:
        return {"number": number, "id": str(self._searcher.ids.id[number])}

    def _pose(self, outputs: dict[str, np.ndarray]) -> list[list[float]] | None:
        """Returns all joints [J, 3] in mm, the root at the origin."""
        if "pose_mm" not in outputs or self._embedder.skeleton is None:
            return None
        joints_mm = np.insert(outputs["pose_mm"], self._embedder.skeleton.root, 0.0, axis=0)
        return np.round(joints_mm.astype(float), 1).tolist()

    def _check(self, number: int) -> None:
        if not 0 <= number < len(self._searcher.ids):
            raise InputError(
                f"Images are numbered from 0 to {len(self._searcher.ids) - 1}. Received: {number}."
            )


def serve(gallery: Gallery, host: str, port: int) -> http.server.ThreadingHTTPServer:
    """Returns a server that listens; port 0 takes a free one. Call its `serve_forever`."""
    handler = type("Handler", (_Handler,), {"gallery": gallery})
    return http.server.ThreadingHTTPServer((host, port), handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    gallery: Gallery
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, *_: Any) -> None:
        """Says nothing: every look at the page is a dozen requests."""

    def _get(self) -> tuple[str, bytes]:
        url = urlsplit(self.path)
        given = {key: int(values[0]) for key, values in parse_qs(url.query).items() if _is_number(values[0])}
        if url.path == "/":
            return "text/html; charset=utf-8", resources.files(__package__).joinpath("web.html").read_bytes()
        if url.path == "/about":
            return _json(self.gallery.about())
        if url.path == "/images":
            return _json(self.gallery.listed(given.get("start", 0), given.get("count", 60)))
        if match := re.fullmatch(r"/image/(\d{1,12})\.jpg", url.path):
            return "image/jpeg", self.gallery.jpeg(int(match[1]))
        if match := re.fullmatch(r"/look/(\d{1,12})", url.path):
            return _json(self.gallery.look_at_image(int(match[1])))
        raise FileNotFoundError(url.path)

    def _post(self) -> tuple[str, bytes]:
        length = self.headers.get("Content-Length", "")
        if not _is_number(length) or int(length) > MAX_UPLOAD_BYTES:
            self.close_connection = True  # what was sent is not read
            raise InputError(
                f"An upload has at most {MAX_UPLOAD_BYTES // 10**6} MB. "
                f"Received: {length or 'no'} bytes. Scale the image down."
            )
        data = self.rfile.read(int(length))
        if self.path != "/look":
            raise FileNotFoundError(self.path)
        return _json(self.gallery.look_at_file(data))

    def _answer(self, compute: Any) -> None:
        code = 200
        try:
            kind, data = compute()
        except InputError as error:
            code, (kind, data) = 400, _json({"error": str(error)})
        except FileNotFoundError as error:
            code, (kind, data) = 404, _json({"error": f"There is no such page. Received: {error}."})
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()
        self.wfile.write(data)


def _json(value: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(value).encode()


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\d{1,12}", text))
