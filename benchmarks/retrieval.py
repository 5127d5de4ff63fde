"""Times Mean-PA-MPJPE@K: python -m benchmarks.retrieval [num_queries num_images]

Random walks of poses stand in for motion; the time depends on their number only. The reference is one SVD per
pair, timed on a few queries.
"""

import resource
import sys
import time

import numpy as np

from mcss_tf.evaluation.embedded import EmbeddedSplit
from mcss_tf.evaluation.pose import pa_mpjpe
from mcss_tf.evaluation.retrieval import mean_pa_mpjpe

NUM_CAMERAS, NUM_SUBJECTS, NUM_JOINTS, DIM = 4, 2, 16, 128


def make_split(num_images: int) -> EmbeddedSplit:
    """Builds `num_images` images: instants seen by four cameras, of two subjects."""
    generator = np.random.default_rng(0)
    num_rows = num_images // NUM_CAMERAS
    row, camera = (axis.ravel() for axis in np.mgrid[:num_rows, :NUM_CAMERAS])
    base = generator.normal(size=(NUM_JOINTS, 3)) * 300
    poses = base + np.cumsum(generator.normal(size=(num_rows, NUM_JOINTS, 3)) * 10, axis=0)
    embedding = generator.normal(size=(len(row), DIM)).astype(np.float32)
    subject = (row * NUM_SUBJECTS // num_rows).astype(np.int32)
    return EmbeddedSplit(
        embedding=embedding / np.linalg.norm(embedding, axis=1, keepdims=True),
        predicted_mm=None,
        pose_mm=poses[row].astype(np.float32),
        pose_mask=np.ones((len(row), NUM_JOINTS), np.float32),
        has_pose=np.ones(len(row), bool),
        row=row,
        subject=subject,
        sequence=subject,
        camera=camera.astype(np.int32),
        frame=row,
        time_s=row / 10.0,
        action=np.full(len(row), ""),
    )


def main(num_queries: int = 2000, num_images: int = 8000) -> None:
    """Prints the time of retrieval and of the reference."""
    split = make_split(num_images)
    start = time.perf_counter()
    result = mean_pa_mpjpe(split, max_queries=num_queries)
    seconds = time.perf_counter() - start
    num_pairs = result["num_queries"] * len(split)
    start = time.perf_counter()
    for query in range(3):
        pa_mpjpe(split.pose_mm[query], split.pose_mm)
    reference = (time.perf_counter() - start) / 3 * result["num_queries"]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{result['num_queries']} queries x {len(split)} images: {seconds:.1f} s")
    print(f"{num_pairs / seconds / 1e6:.2f} M pairs/s, {reference / seconds:.1f}x one SVD per pair")
    print(f"peak memory {peak_mb:.0f} MB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
