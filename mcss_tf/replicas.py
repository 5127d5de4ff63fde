"""What the replicas of a distributed step tell each other; with one replica all of it is the identity.

The rule of this project's losses: a step's scalar is the mean over the replicas of what each returns. Means
over rows need no help then, since replicas have equally many rows; other normalisers go through `mean`.
"""

import tensorflow as tf


def count() -> int:
    """Returns the number of replicas that take this step together; 1 outside of a step."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def mean(value: tf.Tensor) -> tf.Tensor:
    """Returns the mean of a tensor over the replicas; no gradient flows through it."""
    if count() == 1:
        return value
    context = tf.distribute.get_replica_context()
    return tf.stop_gradient(context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.stop_gradient(value)))


def gather(rows: tf.Tensor) -> tf.Tensor:
    """Returns the rows of all replicas, in the order of the replicas.

    The gradient of a gathered row is the sum of what all replicas pass back to it.

    Args:
        rows: floating [M, ...], of one shape on all replicas, M static.

    Returns:
        [R M, ...] for R replicas.
    """
    if count() == 1:
        return rows
    context = tf.distribute.get_replica_context()
    before = context.replica_id_in_sync_group * rows.shape[0]
    after = (count() - 1) * rows.shape[0] - before
    # Each replica adds zeros for the rows of the others: one collective, exact, differentiated by its kind.
    padded = tf.pad(rows, [[before, after]] + [[0, 0]] * (rows.shape.rank - 1))
    padded = tf.ensure_shape(padded, [count() * rows.shape[0], *rows.shape[1:]])
    return context.all_reduce(tf.distribute.ReduceOp.SUM, padded)


def mean_of_each(scalars: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns each scalar's mean over the replicas, float32, in one exchange."""
    if count() == 1:
        return scalars
    means = mean(tf.stack([tf.cast(value, tf.float32) for value in scalars.values()]))
    return dict(zip(scalars, tf.unstack(means), strict=True))
