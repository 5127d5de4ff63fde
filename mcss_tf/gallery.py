"""A web page to look around in a dataset: python -m mcss_tf.gallery --model=DIR/mcss --data=DATASET

Choose or upload an image; see its pose as a 3D skeleton that turns, and the nearest images across views and
people. Runs on this machine alone, without a network.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import app, flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.retrieval.building import Options, build, check_model
from mcss_tf.retrieval.embedder import Embedder
from mcss_tf.retrieval.searching import Searcher
from mcss_tf.retrieval.web import Gallery, serve

FLAGS = flags.FLAGS


@tells_disk_errors
def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    try:
        embedder = Embedder(FLAGS.model)
        with _open_index(embedder) as searcher, _listen(Gallery(embedder, searcher)) as server:
            host, port = server.server_address[:2]
            print(f"look at http://{host}:{port} (Ctrl+C ends)", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


@contextlib.contextmanager
def _open_index(embedder: Embedder) -> Iterator[Searcher]:
    """Opens --index, or builds it there, or in a folder that is removed in the end."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(FLAGS.index or Path(temporary) / "index")
        if not (folder / "index.json").is_file():
            if not FLAGS.data:
                raise InputError(
                    "The page shows the images of --data, or of an --index that is there. "
                    f"Received: --data=None --index={FLAGS.index}. Give a prepared dataset."
                )
            build(folder, embedder, PreparedDataset.load(FLAGS.data), Options())
        searcher = Searcher(folder)
        check_model(searcher.manifest, embedder)
        yield searcher


def _listen(gallery: Gallery):
    try:
        return serve(gallery, FLAGS.host, FLAGS.port)
    except OSError as error:
        raise InputError(
            f"The page needs an address that is free. Received: {FLAGS.host}:{FLAGS.port} ({error}). "
            "Give another --port."
        ) from error


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "Export or finished run.", required=True)
    flags.DEFINE_string("data", None, "Prepared dataset whose images are shown.")
    flags.DEFINE_string("index", None, "Index of mcss_tf.retrieve: used if it is there, else built and kept.")
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 lets other machines look.")
    flags.DEFINE_integer("port", 8080, "Port to listen at; 0 takes a free one.", lower_bound=0)
    app.run(main)
