"""The smooth companion of the hardest negative: find the other view of an instant among all instants."""

from typing import Any

from keras import ops


def multiview_softmax_loss(
    anchors: Any, positives: Any, *, temperature: float, groups: Any, candidates: Any = None
) -> Any:
    """Returns the cross-entropy of recognising the same instant among the others, both ways.

        L = 1/(2M) sum_i [ -log softmax_i(a_i . p_j / T) - log softmax_i(p_i . a_j / T) ]

    where j runs over i itself and every pair of another group [van den Oord et al. 2018, arXiv:1807.03748].
    Every negative has a part in the gradient, the nearest ones the largest: a network that knows nothing yet
    learns from this before the one hardest negative of Eq. 1 tells it anything.

    Args:
        anchors: [M, D] unit embeddings of one view of M instants.
        positives: [M, D] unit embeddings of another view of the same instants.
        temperature: T > 0; the smaller, the more the hardest negatives count.
        groups: int32 [M]; pairs of one group are never negatives of each other.
        candidates: `contrastive.Candidates` where negatives come from; None: the batch itself.

    Returns:
        Scalar of the embeddings' dtype; log(1 + number of negatives) where all embeddings are equal, 0
        without negatives.
    """
    all_anchors, all_positives, all_groups = candidates or (anchors, positives, groups)
    is_negative = ops.expand_dims(groups, 1) != ops.expand_dims(all_groups, 0)
    own = ops.sum(anchors * positives, axis=1) / temperature
    losses = []
    for rows, columns in ((anchors, all_positives), (positives, all_anchors)):
        others = ops.matmul(rows, ops.transpose(columns)) / temperature
        others = ops.where(is_negative, others, ops.full_like(others, -1e9))
        scores = ops.concatenate([ops.expand_dims(own, 1), others], axis=1)
        losses.append(ops.mean(ops.logsumexp(scores, axis=1) - own))
    return 0.5 * (losses[0] + losses[1])
