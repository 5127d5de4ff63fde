"""The losses of tensorflow-addons as loops over pairs and triplets, in float64: what each is meant to be."""

import numpy as np


def distances_of(embeddings: np.ndarray, distance_metric: str = "L2") -> np.ndarray:
    x = embeddings.astype(np.float64)
    if distance_metric == "angular":
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
        return np.maximum(1 - x @ x.T, 0)
    difference = np.linalg.norm(x[:, None] - x[None], axis=2)
    return difference**2 if distance_metric == "squared-L2" else difference


def split(labels: np.ndarray, i: int) -> tuple[list[int], list[int]]:
    """Returns the positives and the negatives of row i."""
    labels = labels.reshape(-1)
    alike = [j for j in range(len(labels)) if labels[j] == labels[i]]
    return [j for j in alike if j != i], [j for j in range(len(labels)) if j not in alike]


def triplet_hard_loss(labels, embeddings, margin=1.0, soft=False, distance_metric="L2") -> float:
    distances, losses = distances_of(embeddings, distance_metric), []
    for i in range(len(distances)):
        positives, negatives = split(labels, i)
        farthest = max((distances[i, j] for j in positives), default=distances[i, i])
        difference = farthest - min((distances[i, j] for j in negatives), default=np.inf)
        losses.append(np.logaddexp(0, difference) if soft else max(0, margin + difference))
    return float(np.mean(losses))


def triplet_semihard_loss(labels, embeddings, margin=1.0, distance_metric="L2") -> float:
    distances, losses = distances_of(embeddings, distance_metric), []
    for i in range(len(distances)):
        positives, negatives = split(labels, i)
        for k in positives:
            farther = [distances[i, n] for n in negatives if distances[i, n] > distances[i, k]]
            negative = min(farther) if farther else max((distances[i, n] for n in negatives), default=np.inf)
            losses.append(max(0, margin + distances[i, k] - negative))
    return float(np.mean(losses)) if losses else 0.0


def lifted_struct_loss(labels, embeddings, margin=1.0) -> float:
    distances, losses = distances_of(embeddings), []
    for i in range(len(distances)):
        positives, negatives = split(labels, i)
        for j in positives:
            terms = [margin - distances[end, n] for end in (i, j) for n in negatives]
            joint = distances[i, j] + (np.logaddexp.reduce(terms) if terms else -np.inf)
            losses.append(max(0, joint) ** 2 / 2)
    return float(np.mean(losses)) if losses else 0.0
