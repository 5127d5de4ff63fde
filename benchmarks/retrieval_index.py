"""Indexes of mcss_tf.retrieve against exact search over a million embeddings.

    python -m benchmarks.retrieval_index --mocap=../shared/data/cmu_mocap/cmu_bvh_30hz.npz

The vectors stand in for embeddings of a view-invariant model: every pose of the motion capture, relative to
the hips and turned to face one way, goes through one fixed random layer to 128 numbers; every copy ("view")
of it gets its own Gaussian noise of length 0.3 on average and is scaled to length 1. `--vectors=random` takes
independent directions instead, in which no index can find much.
"""

import statistics
import time
from collections.abc import Callable, Sequence

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
flags.DEFINE_integer("repeats", 3, "Of every search; medians are shown.")
flags.DEFINE_string("json", None, "File for the figures.")
DIM, K, VIEW_NOISE = 128, 10, 0.3


def main(argv: Sequence[str]) -> None:
    """Prints time to build, recall, and queries per second against exact search."""
    del argv
    num_tuning = FLAGS.num_queries // 2
    rows = make_vectors(FLAGS.num_vectors + FLAGS.num_queries + num_tuning, np.random.default_rng(0))
    queries, tuning, vectors = np.split(rows, [FLAGS.num_queries, FLAGS.num_queries + num_tuning])
    exact = indexes.empty_index("flat", vectors)
    exact.add(vectors)
    tuning_true = exact.search(tuning, K)[1]
    true = exact.search(queries, K)[1]
    print(f"exact search of {num_tuning + FLAGS.num_queries} queries done", flush=True)
    built = {kind: build(kind, vectors, tuning, tuning_true) for kind in FLAGS.kinds}
    searches = {"exact": exact} | {kind: index for kind, (index, _) in built.items()}
    rates = measure(searches, queries)
    results = [{"kind": "exact", "queries_per_s": rates["exact"]}]
    for kind, (index, figures) in built.items():
        recall = indexes.recall(index.search(queries, K)[1], true)
        ratio = rates[kind] / rates["exact"]
        results.append(
            {"kind": kind, "queries_per_s": rates[kind], "x exact": ratio, "recall@10": recall, **figures}
        )
    for result in results:
        print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in result.items()))
    if FLAGS.json:
        files.write_json(FLAGS.json, results)


def build(kind: str, vectors: np.ndarray, tuning: np.ndarray, true: np.ndarray) -> tuple:
    """Builds an index and sets its search by queries other than those of the measurement."""
    start = time.perf_counter()
    index = indexes.empty_index(kind, vectors)
    trained = time.perf_counter()
    index.add(vectors)
    added = time.perf_counter()
    effort, _ = indexes.choose_effort(index, kind, tuning, true, K, FLAGS.recall)
    return index, {"train_s": trained - start, "add_s": added - trained, "effort": effort}


def measure(searches: dict, queries: np.ndarray) -> dict[str, float]:
    """Returns queries per second of each index in turn, all queries in one call; medians."""
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(FLAGS.repeats):
        for name, index in searches.items():
            seconds[name].append(_time(lambda index=index: index.search(queries, K)))
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
