"""The smooth loss against a double loop, cases one can work out, and the sharing among replicas."""

import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.losses.contrastive import multiview_contrastive_loss
from mcss_tf.losses.softmax import multiview_softmax_loss


def unit_rows(num_pairs, seed=0, dim=6):
    x = np.random.default_rng(seed).normal(size=(2, num_pairs, dim))
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def naive(anchors, positives, temperature, groups):
    total = 0.0
    for i in range(len(anchors)):
        for rows, columns in ((anchors, positives), (positives, anchors)):
            own = rows[i] @ columns[i] / temperature
            scores = [own] + [
                rows[i] @ columns[j] / temperature for j in range(len(anchors)) if groups[j] != groups[i]
            ]
            total += np.log(np.sum(np.exp(scores))) - own
    return total / (2 * len(anchors))


@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 2]])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_a_double_loop(groups, temperature):
    anchors, positives = unit_rows(5)
    loss = multiview_softmax_loss(anchors, positives, temperature=temperature, groups=np.array(groups))
    assert float(loss) == pytest.approx(naive(anchors, positives, temperature, groups), rel=1e-9)


def test_equal_embeddings_leave_it_to_chance():
    same = np.tile(unit_rows(1)[0], (8, 1))
    loss = multiview_softmax_loss(same, same, temperature=0.1, groups=np.arange(8))
    assert float(loss) == pytest.approx(np.log(8))


def test_without_negatives_it_is_zero():
    anchors, positives = unit_rows(3)
    loss = multiview_softmax_loss(anchors, positives, temperature=0.1, groups=np.zeros(3, np.int32))
    assert float(loss) == pytest.approx(0.0, abs=1e-9)


def test_at_low_temperature_the_hardest_negative_takes_the_push():
    """One anchor's gradient points away from its nearest negative, as that of Eq. 2 does."""
    anchors, positives = (tf.constant(x) for x in unit_rows(4, seed=3))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(positives)
        soft = multiview_softmax_loss(anchors, positives, temperature=0.01, groups=tf.range(4))
        hard = multiview_contrastive_loss(anchors, positives, margin=4.0, threshold=0.0)
    # Positives that no anchor finds hardest are pulled only, in both.
    distances = np.linalg.norm(anchors.numpy()[:, None] - positives.numpy()[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    is_beaten = (distances.min(1) < np.linalg.norm(anchors - positives, axis=1)).any()
    assert is_beaten
    chosen = set(distances.argmin(1).tolist())
    weight = np.linalg.norm(tape.gradient(soft, positives), axis=1)
    assert weight[list(chosen)].max() == weight.max()
    assert np.isfinite(tape.gradient(hard.total, positives)).all()


def test_replicas_that_share_candidates_have_the_whole_loss_as_their_mean():
    anchors, positives = unit_rows(6)
    groups = np.arange(6)
    whole = multiview_softmax_loss(anchors, positives, temperature=0.2, groups=groups)
    parts = [
        multiview_softmax_loss(
            anchors[part],
            positives[part],
            temperature=0.2,
            groups=groups[part],
            candidates=(anchors, positives, groups),
        )
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert float(whole) == pytest.approx(np.mean(parts), rel=1e-9)
