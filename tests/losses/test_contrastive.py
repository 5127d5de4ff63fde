"""Eqs. 1-2 against points one can draw, a double loop, finite differences, and degenerate batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.losses.contrastive import ContrastiveTerms, multiview_contrastive_loss


def circle(degrees):
    """Points on the unit circle: their distance is 2 sin(half the angle between them)."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def chord(degrees):
    return 2 * np.sin(np.deg2rad(degrees) / 2)


def naive(anchors, positives, margin, threshold, squared=False, groups=None):
    """Eqs. 1-2 as printed, one pair at a time."""
    num = len(anchors)
    groups = np.arange(num) if groups is None else groups
    pull, push_anchor, push_positive, valid = [], [], [], []
    for i in range(num):
        d = np.linalg.norm(anchors[i] - positives[i])
        pull.append(d * d if squared else d)
        for rows, columns, pushes in ((anchors, positives, push_anchor), (positives, anchors, push_positive)):
            distances = [np.linalg.norm(rows[i] - columns[j]) for j in range(num) if groups[j] != groups[i]]
            admissible = [d for d in distances if d > threshold]
            hinge = max(0.0, margin - min(admissible)) if admissible else 0.0
            pushes.append(hinge * hinge if squared else hinge)
            valid.append(bool(admissible))
    parts = np.mean(pull), 0.5 * np.mean(push_anchor), 0.5 * np.mean(push_positive)
    return ContrastiveTerms(sum(parts), *parts, np.mean(valid))


def value_and_gradient(anchors, positives, **options):
    anchors, positives = tf.Variable(anchors), tf.Variable(positives)
    with tf.GradientTape() as tape:
        terms = multiview_contrastive_loss(anchors, positives, **options)
    gradients = tape.gradient(terms.total, [anchors, positives])
    return terms, [tf.convert_to_tensor(g).numpy() for g in gradients]


def unit_rows(num_pairs, dim, seed, dtype=np.float64):
    x = np.random.default_rng(seed).normal(size=(2, num_pairs, dim))
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(dtype)


def test_three_instants_on_a_circle():
    """Anchors at 0, 90, 180 degrees, positives 10 degrees further: 10, 100, 190.

    Pull: every pair is 10 apart. Anchor 0 sees positives at 100 and 170 (= 360 - 190): nearest 100;
    anchor 90 sees 80 and 100: 80; anchor 180 sees 170 and 80: 80. Positive 10 sees anchors at 80 and 170:
    80; positive 100 sees 100 and 80: 80; positive 190 sees 170 (190 - 0) and 100: 100.
    """
    anchors, positives = circle([0, 90, 180]), circle([10, 100, 190])
    terms = multiview_contrastive_loss(anchors, positives, margin=2.0, threshold=0.0)
    push = 0.5 * np.mean([2 - chord(100), 2 - chord(80), 2 - chord(80)])
    np.testing.assert_allclose([terms.pull, terms.push_anchor, terms.push_positive], [chord(10), push, push])
    np.testing.assert_allclose(terms.total, chord(10) + 2 * push)
    assert float(terms.admissible_fraction) == 1.0


def test_threshold_skips_the_nearest_candidate():
    """As above with threshold chord(90): candidates at 80 degrees are too similar, those at 100 remain."""
    anchors, positives = circle([0, 90, 180]), circle([10, 100, 190])
    terms = multiview_contrastive_loss(anchors, positives, margin=2.0, threshold=chord(90))
    # Anchors: 100, 100, 170; positives: 170, 100, 100.
    push = 0.5 * np.mean([2 - chord(100), 2 - chord(100), 2 - chord(170)])
    np.testing.assert_allclose([terms.push_anchor, terms.push_positive], [push, push])


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 1.1, 1.4])
def test_equals_the_double_loop(threshold, grouped, squared):
    anchors, positives = unit_rows(17, 6, seed=int(10 * threshold))
    groups = np.random.default_rng(5).integers(0, 6, 17).astype(np.int32) if grouped else None
    options = {"margin": 1.6, "threshold": threshold, "squared": squared, "groups": groups}
    expected = naive(anchors, positives, **options)
    terms = multiview_contrastive_loss(anchors, positives, **options)
    np.testing.assert_allclose([float(t) for t in terms], expected, rtol=1e-6)
    assert 0 < expected.admissible_fraction <= 1
    assert min(expected.pull, expected.push_anchor, expected.push_positive) > 0


@pytest.mark.parametrize("squared", [False, True])
def test_gradient_equals_central_differences(squared):
    # A small random case away from ties: the choice of negatives does not change within the step.
    pair = unit_rows(7, 4, seed=3)
    options = {"margin": 1.5, "threshold": 0.3, "squared": squared}
    _, gradients = value_and_gradient(*pair, **options)
    step = 1e-6
    for side in range(2):
        for index in np.ndindex(*pair[side].shape):
            moved = np.zeros_like(pair)
            moved[(side, *index)] = step
            slope = (naive(*(pair + moved), **options).total - naive(*(pair - moved), **options).total) / (
                2 * step
            )
            assert gradients[side][index] == pytest.approx(slope, abs=1e-6)


def test_rows_without_a_candidate_add_exactly_nothing():
    anchors, positives = unit_rows(5, 3, seed=1, dtype=np.float32)
    terms, gradients = value_and_gradient(anchors, positives, margin=3.0, threshold=2.5)
    assert float(terms.push_anchor) == float(terms.push_positive) == float(terms.admissible_fraction) == 0.0
    # What is left is the pull alone: opposite gradients on the two ends of every pair, of length 1 / M.
    np.testing.assert_array_equal(gradients[0], -gradients[1])
    np.testing.assert_allclose(np.linalg.norm(gradients[0], axis=1), 1 / 5, rtol=1e-5)


def test_one_pair_has_no_negative():
    terms, gradients = value_and_gradient(
        *unit_rows(1, 3, seed=2, dtype=np.float32), margin=1.0, threshold=0.0
    )
    assert float(terms.total) == float(terms.pull) > 0
    assert np.isfinite(gradients).all()


@pytest.mark.parametrize("squared", [False, True])
def test_identical_rows_have_finite_gradients(squared):
    """All embeddings equal, and a batch where every instant occurs twice: distances of exactly 0."""
    same = np.tile(np.float32([[0.6, 0.8]]), (4, 1))
    terms, gradients = value_and_gradient(same, same, margin=1.0, threshold=0.0, squared=squared)
    assert float(terms.total) == 0.0, "distance 0 is not above threshold 0: no negative, and no pull left"
    np.testing.assert_array_equal(gradients, np.zeros((2, 4, 2)))
    doubled = np.repeat(unit_rows(3, 3, seed=4, dtype=np.float32), 2, axis=1)
    terms, gradients = value_and_gradient(*doubled, margin=1.5, threshold=0.0, squared=squared)
    assert np.isfinite(gradients).all()
    np.testing.assert_allclose(float(terms.total), naive(*doubled, 1.5, 0.0, squared).total, rtol=1e-5)


def test_it_trains_collapsed_embeddings_apart_when_the_threshold_is_zero():
    """The dead zone: from a nearly collapsed start threshold 0 spreads the embeddings, 0.3 cannot."""
    spreads = {}
    for threshold in (0.0, 0.3):
        start = np.float32([1, 0, 0]) + 0.02 * np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
        points = tf.Variable(start)
        optimizer = keras.optimizers.Adam(0.05)
        for _ in range(60):
            with tf.GradientTape() as tape:
                unit = tf.math.l2_normalize(points, axis=1)
                loss = multiview_contrastive_loss(unit, unit, margin=1.0, threshold=threshold).total
            optimizer.apply([tape.gradient(loss, points)], [points])
        spreads[threshold] = float(tf.reduce_mean(tf.math.reduce_std(unit, axis=0)))
    assert spreads[0.0] > 0.3
    assert spreads[0.3] < 0.05
