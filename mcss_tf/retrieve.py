"""Finds similar poses in large collections: python -m mcss_tf.retrieve build|add|query --index=DIR ...

build --index=DIR --model=EXPORT --data=DATASET [--kind=flat|ivfpq|hnsw]
add   --index=DIR --model=EXPORT --data=DATASET
query --index=DIR --query=FILE_OR_ID,... [--model=EXPORT] [--k=5] [--output=rows.html]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf import files
from mcss_tf.data.dataset import SPLITS, PreparedDataset
from mcss_tf.data.images import decode_image
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.retrieval.building import Options, add, build, check_model
from mcss_tf.retrieval.embedder import Embedder
from mcss_tf.retrieval.indexes import KINDS, check_installed
from mcss_tf.retrieval.rows import TITLES, Result, page_of_rows
from mcss_tf.retrieval.searching import DATABASES, Searcher
from mcss_tf.retrieval.store import read_manifest

FLAGS = flags.FLAGS
COMMANDS = ("build", "add", "query")


@tells_disk_errors
def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        if len(argv) != 2 or argv[1] not in COMMANDS:
            raise InputError(f"Commands are {', '.join(COMMANDS)}. Received: {' '.join(argv[1:]) or 'none'}.")
        check_installed()
        if argv[1] == "query":
            _query()
        else:
            _extend(argv[1])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _extend(command: str) -> None:
    if not FLAGS.data or (command == "build" and not FLAGS.model):
        raise InputError(
            f"{command} takes --data, and build takes --model. "
            f"Received: --model={FLAGS.model} --data={FLAGS.data}."
        )
    if unknown := set(FLAGS.splits) - set(SPLITS):
        raise InputError(f"Splits are {', '.join(SPLITS)}. Received: --splits={','.join(sorted(unknown))}.")
    folder, dataset = Path(FLAGS.index), PreparedDataset.load(FLAGS.data)
    options = Options(FLAGS.kind, tuple(FLAGS.splits), FLAGS.shard_size, FLAGS.batch_size, FLAGS.recall)
    run = build if command == "build" else add
    model = FLAGS.model or read_manifest(folder)["model"]["path"]
    manifest = run(folder, Embedder(model), dataset, options)
    num_images = sum(shard["num_images"] for shard in manifest["shards"])
    print(f"wrote {folder}: {num_images} images, kind {manifest['kind']}")
    search = manifest["search"]
    if search["recall"] is not None:
        print(
            f"recall@{search['k']} against exact search: {search['recall']:.3f} of {search['num_queries']} "
            f"queries, with {search['effort'] or 'exact search'}"
        )
        if search["recall"] < search["target"]:
            print(f"that is below --recall={search['target']}; flat and hnsw reach more than ivfpq")


def _query() -> None:
    if not FLAGS.query:
        raise InputError("query takes --query=FILE_OR_ID,... Received: none.")
    if FLAGS.output and Path(FLAGS.output).exists():
        raise InputError(
            "Results are never overwritten. "
            f"Received: --output={FLAGS.output}, which exists. Give a new name."
        )
    searcher = Searcher(FLAGS.index)
    results = _search(searcher, FLAGS.query, FLAGS.k)
    for result in results:
        for database, found in result.found.items():
            print(f"{result.name}: {TITLES[database]}")
            for rank, item in enumerate(found, start=1):
                print(f"  {rank:3}  {item.distance:.4f}  {searcher.ids.id[item.image]}")
    if FLAGS.output:
        files.write_text(FLAGS.output, page_of_rows(searcher, results, f"Nearest images in {FLAGS.index}"))
        print(f"wrote {FLAGS.output}")


def _search(searcher: Searcher, queries: Sequence[str], k: int) -> list[Result]:
    """Finds what is nearest to files and to images of the index."""
    embedder, results = None, []
    for name in queries:
        if not Path(name).is_file():
            image = searcher.position(name)
            found = {database: searcher.nearest_to(image, k, database) for database in DATABASES}
            results.append(Result(name, image, None, found))
            continue
        if embedder is None:
            embedder = Embedder(FLAGS.model or searcher.manifest["model"]["path"])
            check_model(searcher.manifest, embedder)
        data = Path(name).read_bytes()
        # Of a file nobody knows who it shows, or from where: all images are searched.
        found = {"all": searcher.nearest(embedder.photo(decode_image(data, name))["embedding"], k)}
        results.append(Result(Path(name).name, None, data, found))
    return results


def define_flags() -> None:
    """Defines the flags of the command line."""
    flags.DEFINE_string("index", None, "Folder of the index.", required=True)
    flags.DEFINE_string("model", None, "Export or finished run; default when there is an index: its model.")
    flags.DEFINE_string("data", None, "Prepared dataset whose images are indexed.")
    flags.DEFINE_enum(
        "kind", "flat", KINDS, "flat is exact; ivfpq and hnsw are quicker from 100,000 images on."
    )
    flags.DEFINE_list("splits", list(SPLITS), "Splits of the dataset.")
    flags.DEFINE_float("recall", 0.95, "Wanted recall@10 of the search.", lower_bound=0, upper_bound=1)
    flags.DEFINE_integer("shard_size", 500_000, "Images of one file, at most.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 64, "Images per call of the model.", lower_bound=1)
    flags.DEFINE_list(
        "query", [], "Image files, or ids of images in the index: subject/sequence/frame/camera."
    )
    flags.DEFINE_integer("k", 5, "Nearest images of every query.", lower_bound=1)
    flags.DEFINE_string("output", None, "HTML file of the rows of images; must be new.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
