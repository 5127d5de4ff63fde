"""Hardest negatives the slow and obvious way, in float64 NumPy, and random cases to compare with it."""

import numpy as np

# On and off the tiles of every instruction set (4, 6 and 12 rows, 8, 16 and 32 columns), and nothing at all.
# Few, since XLA compiles each anew.
SIZES = ((1, 1), (2, 5), (5, 2), (12, 12), (13, 13), (24, 64), (31, 33), (33, 31), (48, 16), (70, 70), (0, 4))
DIMS = (1, 3, 16, 19)


def hardest_negatives(anchors, positives, threshold, row_groups=None, column_groups=None):
    """The contract of `mcss_tf.ops.hardest_negatives`, pair by pair."""
    num_anchors, num_positives = len(anchors), len(positives)
    row_groups = np.arange(num_anchors) if row_groups is None else row_groups
    column_groups = np.arange(num_positives) if column_groups is None else column_groups
    with np.errstate(invalid="ignore", over="ignore"):
        differences = np.asarray(anchors, np.float64)[:, None] - np.asarray(positives, np.float64)[None]
        distances = np.sqrt((differences**2).sum(axis=-1)).astype(np.float32)
        is_admissible = (row_groups[:, None] != column_groups[None]) & (distances > np.float32(threshold))
    is_admissible &= np.isfinite(distances)
    masked = np.where(is_admissible, distances, np.float32(np.inf))
    return (*_argmin(masked), *_argmin(masked.T))


def _argmin(masked):
    # The appended column stands for "nothing admissible".
    masked = np.concatenate([masked, np.full((len(masked), 1), np.inf, np.float32)], axis=1)
    smallest = masked.min(axis=1)
    return np.where(np.isfinite(smallest), masked.argmin(axis=1), -1), smallest


def assert_same(actual, expected, max_ulp=1):
    """Equal indices, and distances equal but for the last digit: the order of float64 sums decides it."""
    for name, one, other in zip(("anchor", "", "positive", ""), actual, expected, strict=True):
        if name:
            np.testing.assert_array_equal(one, other, err_msg=f"{name}_index")
        else:
            assert one.dtype == np.float32
            np.testing.assert_array_equal(np.isinf(one), np.isinf(other))
            finite = np.isfinite(other)
            np.testing.assert_array_max_ulp(np.asarray(one)[finite], other[finite], max_ulp)


def random_case(rng):
    """Arguments of one call: sizes, embeddings, ties or not, groups, a threshold that cuts or not."""
    num_anchors, num_positives = SIZES[rng.integers(len(SIZES))]
    dim = rng.choice(DIMS)
    anchors, positives = (_random_embeddings(rng, num, dim) for num in (num_anchors, num_positives))
    threshold = rng.choice([-1.0, 0.0, 0.3, 1.0, 2.0, np.sqrt(2.0), 100.0])
    groups = [None, None]
    if rng.random() < 0.5:
        num_groups = rng.choice([1, 2, 7, 100])
        groups = [rng.integers(num_groups, size=num).astype(np.int32) for num in (num_anchors, num_positives)]
    return anchors, positives, np.float32(threshold), *groups


def _random_embeddings(rng, num, dim):
    kind = rng.choice(["normal", "lattice", "collapsed", "clusters", "near_ties", "scaled"])
    values = rng.normal(size=(num, dim))
    if kind == "lattice":  # many exact ties, duplicates and distances equal to the threshold
        values = rng.integers(-1, 2, size=(num, dim))
    elif kind == "collapsed":
        values = 1 + 1e-4 * values
    elif kind == "clusters":
        values = rng.integers(0, 2, size=(num, 1)) + 1e-3 * values
    elif kind == "near_ties":  # tight clusters far from any centre: hard for a rounded product
        centres = np.random.default_rng(0).normal(size=(4, dim))
        values = centres[rng.integers(4, size=num)] + 1e-4 * values
    elif kind == "scaled":
        values = values * 10.0 ** rng.integers(-30, 30)
    values = values.astype(np.float32)
    if num > 0 and rng.random() < 0.1:
        values[rng.integers(num), rng.integers(dim)] = rng.choice([np.nan, np.inf, -np.inf])
    return values
