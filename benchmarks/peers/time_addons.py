"""Times tensorflow-addons' hard triplet: its mining alone, and its loss with everything.

    .venv-peers/bin/python -m benchmarks.peers.time_addons [--sizes 64 8192] [--dim 128] [--threads 2]

Prints one line of JSON for each name and size: {"name", "n", "median_ms"}. Every row has its own label:
the negatives are all other rows.
"""

import tensorflow as tf
from tensorflow_addons.losses import metric_learning, triplet

from benchmarks.peers import timing


@tf.function
def mine(labels, embeddings):
    """The part of `triplet_hard_loss` that finds each row's nearest negative."""
    distances = metric_learning.pairwise_distance(embeddings)
    is_negative = tf.cast(labels[:, None] != labels[None, :], tf.float32)
    return triplet._masked_minimum(distances, is_negative)


def main() -> None:
    options = timing.arguments(__doc__)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    for num_rows in options.sizes:
        embeddings = tf.constant(timing.embeddings(num_rows, options.dim))
        labels = tf.range(num_rows)
        for name, function in (("addons_mining", mine), ("addons_hard_triplet", triplet.triplet_hard_loss)):
            timing.report(name, num_rows, lambda f=function, y=labels, x=embeddings: f(y, x).numpy())


if __name__ == "__main__":
    main()
