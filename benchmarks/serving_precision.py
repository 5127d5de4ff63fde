"""What the precision of an export costs in accuracy, on a split that the run was not trained on.

    python -m benchmarks.serving_precision --workdir=RUN --data=DATA

Prints the numbers of `mcss_tf.evaluate` for the network as trained and as it is served, and how far each
embedding lies from that of the network as trained (embeddings have length 1).
"""

from collections.abc import Sequence

import numpy as np
from absl import app, flags

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.evaluation.embedded import EmbeddedSplit, embed
from mcss_tf.evaluation.pose import pose_metrics
from mcss_tf.evaluation.sync import sync_metrics
from mcss_tf.serving.folding import PRECISIONS, fold_batch_norm
from mcss_tf.training.workdir import load_run

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "A finished run.")
flags.DEFINE_string("data", None, "Its prepared dataset.")
flags.DEFINE_string("split", "test", "Of the dataset.")
flags.DEFINE_list("precisions", list(PRECISIONS), "To compare with the network as trained.")
flags.mark_flags_as_required(["workdir", "data"])


def main(argv: Sequence[str]) -> None:
    """Prints a table."""
    del argv
    run, dataset = load_run(FLAGS.workdir), PreparedDataset.load(FLAGS.data, require=(FLAGS.split,))
    trained = embed(run.model, dataset, FLAGS.split)
    print("| network | N-MPJPE mm | MPJPE mm | same instant found | embedding moved by, median | at most |")
    print("|---|---|---|---|---|---|")
    report("as trained", trained, trained, dataset)
    for precision in FLAGS.precisions:
        served = embed(fold_batch_norm(run.model, precision), dataset, FLAGS.split)
        report(f"folded, {precision}", served, trained, dataset)


def report(name: str, images: EmbeddedSplit, trained: EmbeddedSplit, dataset: PreparedDataset) -> None:
    """Prints one row."""
    posed = images.has_pose
    pose = pose_metrics(
        images.predicted_mm[posed], images.pose_mm[posed], images.pose_mask[posed], images.action[posed]
    )
    found = sync_metrics(images, len(dataset.cameras))["hit_at_1"]
    moved = np.linalg.norm(images.embedding - trained.embedding, axis=1)
    print(
        f"| {name} | {pose['n_mpjpe_mm']:.2f} | {pose['mpjpe_mm']:.2f} | {100 * found:.2f} % "
        f"| {np.median(moved):.1e} | {moved.max():.1e} |",
        flush=True,
    )


if __name__ == "__main__":
    app.run(main)
