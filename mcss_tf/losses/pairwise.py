"""Distances between the rows of a batch, with finite gradients between rows that coincide."""

from collections.abc import Callable

from keras import ops

from mcss_tf.errors import InputError

DistanceMetric = str | Callable


def pairwise_distance(feature, squared: bool = False):
    """Computes the Euclidean distance of every two rows.

    D(i, j)^2 = |x_i|^2 + |x_j|^2 - 2 x_i.x_j, at least 0; the diagonal is exactly 0.

    The product form is one matrix product; its absolute error in D^2 is about
    1e-7 (|x_i|^2 + |x_j|^2) in float32.

    Args:
      feature: floating `[num_rows, dim]`.
      squared: whether to leave out the square root.

    Returns:
      `[num_rows, num_rows]` of the same type. Where a distance is 0 its gradient is 0 too.
    """
    feature = ops.convert_to_tensor(feature)
    norms = ops.sum(ops.square(feature), axis=1)
    distances = norms[:, None] + norms[None, :] - 2 * ops.matmul(feature, ops.transpose(feature))
    # The diagonal is masked before the square root: its gradient there would be 0 * inf.
    distances = ops.where(_diagonal(distances), ops.zeros_like(distances), ops.maximum(distances, 0))
    return distances if squared else _square_root(distances)


def angular_distance(feature):
    """Computes one minus the cosine of the angle of every two rows.

    Args:
      feature: floating `[num_rows, dim]`.

    Returns:
      `[num_rows, num_rows]` of the same type, at least 0; 1 between a zero row and any row.
    """
    feature = ops.convert_to_tensor(feature)
    # The bound keeps the gradient of a zero row finite.
    feature = feature * ops.rsqrt(ops.maximum(ops.sum(ops.square(feature), axis=1, keepdims=True), 1e-12))
    return ops.maximum(1 - ops.matmul(feature, ops.transpose(feature)), 0)


def paired_distance(first, second, squared: bool = False):
    """Computes the Euclidean distance of each row of `first` to the same row of `second`.

    Computed from differences, so accurate however near the two are.

    Args:
      first: floating `[num_rows, dim]`.
      second: the same.
      squared: whether to leave out the square root.

    Returns:
      `[num_rows]` of the same type. Where a distance is 0 its gradient is 0 too.
    """
    distances = ops.sum(ops.square(first - second), axis=1)
    return distances if squared else _square_root(distances)


def distance_matrix(embeddings, distance_metric: DistanceMetric):
    """Computes the distance of every two rows under a metric given by name or as a function.

    Args:
      embeddings: floating `[num_rows, dim]`.
      distance_metric: "L2", "squared-L2", "angular", or a function from embeddings to such a matrix.

    Returns:
      `[num_rows, num_rows]`.
    """
    if callable(distance_metric):
        return distance_metric(embeddings)
    if distance_metric == "angular":
        return angular_distance(embeddings)
    return pairwise_distance(embeddings, squared=distance_metric == "squared-L2")


def check_metric(distance_metric: DistanceMetric) -> None:
    """Raises `InputError` for a name that is none of the metrics'."""
    if not callable(distance_metric) and distance_metric not in ("L2", "squared-L2", "angular"):
        raise InputError(
            'distance_metric is "L2", "squared-L2", "angular" or a function of the embeddings. '
            f"Received: distance_metric={distance_metric!r}. Use one of these."
        )


def _square_root(values):
    # The slope at 0 is infinite: the root of 1 stands in there, and 0 (or NaN) stays as it is.
    is_positive = values > 0
    roots = ops.sqrt(ops.where(is_positive, values, ops.ones_like(values)))
    return ops.where(is_positive, roots, ops.stop_gradient(values))


def _diagonal(matrix):
    return ops.eye(ops.shape(matrix)[0], dtype="bool")
