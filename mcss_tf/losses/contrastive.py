"""The multiview-consistency loss of MCSS (Mitra et al., CVPR 2020, Eqs. 1 and 2)."""

from typing import Any, NamedTuple

from keras import ops

from mcss_tf.losses.pairwise import paired_distance
from mcss_tf.ops import hardest_negatives


class Candidates(NamedTuple):
    """The pairs of all replicas, among which negatives are sought: [N, D], [N, D] and int32 [N]."""

    anchors: Any
    positives: Any
    groups: Any


class ContrastiveTerms(NamedTuple):
    """The loss and its parts, each a scalar of the embeddings' dtype."""

    total: Any
    pull: Any
    push_anchor: Any
    push_positive: Any
    admissible_fraction: Any


def multiview_contrastive_loss(
    anchors: Any,
    positives: Any,
    *,
    margin: float,
    threshold: Any,
    squared: bool = False,
    groups: Any = None,
    candidates: Candidates | None = None,
) -> ContrastiveTerms:
    """Pulls two views of one instant together and pushes the hardest other instants away.

    With D(i, j) = ||a_i - p_j||, n_a(i) the nearest positive j != i with D(i, j) > threshold and n_p(i)
    the nearest anchor j != i with D(j, i) > threshold (Eq. 1; both reconstructed from the paper's text):

        L = mean_i [ D(i, i) + 1/2 max(0, margin - D(i, n_a(i))) + 1/2 max(0, margin - D(n_p(i), i)) ]

    The squared form replaces every D by D^2 and every hinge by its square. The selection carries no
    gradient; only the 3 M selected distances are differentiated, so the backward pass costs O(M D).

    Args:
        anchors: [M, D] embeddings of one view of M instants.
        positives: [M, D] embeddings of another view of the same instants.
        margin: distance beyond which a negative is no longer pushed.
        threshold: scalar; candidates at or below this distance are too similar to be called negatives.
        squared: uses the squared form.
        groups: int32 [M] or None; pairs of one group are never negatives of each other. None: every pair is
            its own group.
        candidates: where negatives come from, with gradient; None: the batch itself. `groups` must be given
            with them. The terms are still means over the M pairs, so replicas that each take their share of
            the candidates as `anchors` and `positives` have the loss of the whole as their mean.

    Returns:
        Terms with `total = pull + push_anchor + push_positive` (pushes already halved) and the fraction of
        rows and columns that have a negative. A row without one adds exactly 0 to value and gradient.
    """
    of = Candidates(anchors, positives, groups) if candidates is None else candidates
    if candidates is None:
        chosen = _choose(anchors, positives, threshold, groups, groups)
        anchor_index, positive_index = chosen.anchor_index, chosen.positive_index
    else:
        # Two rectangles: the minimum over the rows of this batch alone would miss other replicas' anchors.
        anchor_index = _choose(anchors, of.positives, threshold, groups, of.groups).anchor_index
        positive_index = _choose(of.anchors, positives, threshold, of.groups, groups).positive_index
    pull = paired_distance(anchors, positives, squared)
    push_anchor = _push(anchors, of.positives, anchor_index, margin, squared)
    push_positive = _push(positives, of.anchors, positive_index, margin, squared)
    is_admissible = ops.concatenate([anchor_index, positive_index]) >= 0
    parts = ops.mean(pull), 0.5 * ops.mean(push_anchor), 0.5 * ops.mean(push_positive)
    return ContrastiveTerms(sum(parts), *parts, ops.mean(ops.cast(is_admissible, pull.dtype)))


def _choose(anchors: Any, positives: Any, threshold: Any, row_groups: Any, column_groups: Any) -> Any:
    # The arg-minimum is a choice: nothing is differentiated through it, and float32 decides it well enough.
    rows, columns = (ops.cast(ops.stop_gradient(x), "float32") for x in (anchors, positives))
    return hardest_negatives(rows, columns, threshold, row_groups=row_groups, column_groups=column_groups)


def _push(rows: Any, candidates: Any, index: Any, margin: float, squared: bool) -> Any:
    """Returns the hinge [M] of every row against its chosen candidate; 0 where the index is -1."""
    negatives = ops.take(candidates, ops.maximum(index, 0), axis=0)
    hinge = ops.relu(margin - paired_distance(rows, negatives, squared=False))
    hinge = ops.square(hinge) if squared else hinge
    return ops.where(index >= 0, hinge, ops.zeros_like(hinge))
