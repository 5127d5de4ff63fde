"""Indexes of mcss_tf.retrieve against exact search over a million embeddings.

    python -m benchmarks.retrieval_index --kinds=ivfpq,hnsw --keep=out/indexes

The vectors stand in for embeddings of a view-invariant model: every pose of the motion capture, relative to
the hips and turned to face one way, goes through one fixed random layer to 128 numbers; every copy ("view")
of it gets its own Gaussian noise of length 0.3 on average and is scaled to length 1. `--vectors=random` takes
independent directions instead, in which no index can find much.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np
from absl import app, flags

from mcss_tf import files
from mcss_tf.retrieval import indexes

FLAGS = flags.FLAGS
flags.DEFINE_integer("num_vectors", 1_000_000, "Vectors in the index.")
flags.DEFINE_integer("num_queries", 2000, "Queries of the measurement; half as many more tune the search.")
flags.DEFINE_enum("vectors", "mocap", ["mocap", "random"], "What is indexed.")
flags.DEFINE_string("mocap", "../shared/data/cmu_mocap/cmu_bvh_30hz.npz", "Clips of joint positions.")
flags.DEFINE_list("kinds", ["ivfpq"], "Kinds of index.")
flags.DEFINE_float("recall", 0.95, "Wanted recall@10.")
flags.DEFINE_string("keep", None, "Folder where built indexes are kept, so that a second call only measures.")
flags.DEFINE_boolean("measure", True, "Whether to measure; else only to build what --keep lacks.")
flags.DEFINE_integer("repeats", 3, "Of every search; medians are shown.")
flags.DEFINE_string("json", None, "File for the figures.")
DIM, K, VIEW_NOISE = 128, 10, 0.3


def main(argv: Sequence[str]) -> None:
    """Prints time to build, recall, and queries per second against exact search."""
    del argv
    num_tuning = FLAGS.num_queries // 2
    rows = make_vectors(FLAGS.num_vectors + FLAGS.num_queries + num_tuning, np.random.default_rng(0))
    queries, tuning, vectors = np.split(rows, [FLAGS.num_queries, FLAGS.num_queries + num_tuning])
    searches = {kind: build(kind, vectors) for kind in ("flat", *FLAGS.kinds)}
    if not FLAGS.measure:
        return
    true, tuning_true = (searches["flat"].search(asked, K)[1] for asked in (queries, tuning))
    # Other queries than those of the measurement choose how hard an index searches, as in `retrieve build`.
    efforts = {
        kind: indexes.choose_effort(index, kind, tuning, tuning_true, K, FLAGS.recall)[0]
        for kind, index in searches.items()
    }
    results = []
    together, single = measure(searches, queries, len(queries)), measure(searches, queries[:20], 1)
    for kind, index in searches.items():
        result = {
            "kind": kind,
            "effort": efforts[kind] or "exact",
            "recall@10": indexes.recall(index.search(queries, K)[1], true),
            "queries_per_s": together[kind],
            "x exact": together[kind] / together["flat"],
            "one_by_one_per_s": single[kind],
            "one_by_one_x_exact": single[kind] / single["flat"],
        }
        results.append(result)
        print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in result.items()))
    if FLAGS.json:
        files.write_json(FLAGS.json, results)


def build(kind: str, vectors: np.ndarray) -> faiss.Index:
    """Builds an index, or takes the one that was kept."""
    kept = Path(FLAGS.keep) / f"{kind}.faiss" if FLAGS.keep and kind != "flat" else None
    if kept and kept.is_file():
        index = faiss.read_index(str(kept))
        if index.ntotal != len(vectors):
            raise app.UsageError(
                f"{kept} holds {index.ntotal} vectors, not {len(vectors)}; give another --keep."
            )
        return index
    start = time.perf_counter()
    index = indexes.empty_index(kind, vectors)
    trained = time.perf_counter()
    index.add(vectors)
    print(
        f"{kind}: trained in {trained - start:.0f} s, added in {time.perf_counter() - trained:.0f} s",
        flush=True,
    )
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        faiss.write_index(index, str(kept))
    return index


def measure(searches: dict, queries: np.ndarray, batch: int) -> dict[str, float]:
    """Returns queries per second of each index in turn, `batch` queries in one call; medians."""

    def search(index: faiss.Index) -> None:
        for start in range(0, len(queries), batch):
            index.search(queries[start : start + batch], K)

    seconds: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(FLAGS.repeats):
        for name, index in searches.items():
            seconds[name].append(_time(lambda index=index: search(index)))
    return {name: len(queries) / statistics.median(values) for name, values in seconds.items()}


def make_vectors(count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns unit vectors float32 [count, 128] in random order."""
    if FLAGS.vectors == "random":
        vectors = rng.normal(size=(count, DIM)).astype(np.float32)
    else:
        poses = load_poses(FLAGS.mocap)
        hidden = np.tanh(poses @ rng.normal(size=(poses.shape[1], 2 * DIM)) / np.sqrt(poses.shape[1]))
        clean = hidden @ rng.normal(size=(2 * DIM, DIM)) / np.sqrt(2 * DIM)
        clean = _unit(clean - clean.mean(axis=0)).astype(np.float32)
        vectors = clean[rng.permutation(count) % len(clean)]
        vectors += rng.normal(size=vectors.shape).astype(np.float32) * np.float32(VIEW_NOISE / np.sqrt(DIM))
    return np.ascontiguousarray(_unit(vectors), np.float32)


def load_poses(path: str) -> np.ndarray:
    """Returns all poses [F, 3 J] relative to the hips, facing one way, of unit variance."""
    with np.load(path) as clips:
        names = [str(name) for name in clips["_joints"]]
        joints = np.concatenate([clips[key] for key in clips.files if not key.startswith("_")])
    joints = joints - joints[:, :1]
    across = joints[:, names.index("lThigh")] - joints[:, names.index("rThigh")]
    angle = np.arctan2(across[:, 2], across[:, 0])  # y is up
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y, z = np.moveaxis(joints, -1, 0)
    turned = np.stack([x * cosine + z * sine, y, z * cosine - x * sine], axis=-1).reshape(len(joints), -1)
    return (turned - turned.mean(axis=0)) / turned.std()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _time(run: Callable) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    app.run(main)
