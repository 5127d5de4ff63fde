"""A map of the embedding: t-SNE, and how strongly it groups by pose, by person and by view."""

from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from mcss_tf.evaluation.embedded import EmbeddedSplit

GROUPINGS = ("pose", "subject", "view")


def embedding_map(
    split: EmbeddedSplit, num_instants: int = 200, num_clusters: int = 8, seed: int = 0
) -> dict[str, Any] | None:
    """Draws instants and maps all their posed views to the plane.

    Args:
        split: embedded images.
        num_instants: drawn at random.
        num_clusters: of the poses, by k-means on the joints.
        seed: of the draw, the clusters and t-SNE.

    Returns:
        `x`, `y`: t-SNE's coordinates; `pose`: the cluster, `subject`, `view`: ids, of every image; and
        `silhouette` {"pose", "subject", "view"}: of the embeddings themselves, -1 to 1, 0 where a grouping
        means nothing to them; None where there is one group. None without enough posed images.
    """
    rows = np.unique(split.row[split.has_pose])
    chosen = np.random.default_rng(seed).permutation(rows)[:num_instants]
    images = np.flatnonzero(np.isin(split.row, chosen) & split.has_pose)
    if len(chosen) < num_clusters or len(images) < 3 * num_clusters:
        return None
    part = split.take(images)
    embedding = part.embedding.astype(np.float64)
    poses = part.pose_mm.reshape(len(part), -1)
    clusters = KMeans(num_clusters, n_init=4, random_state=seed).fit_predict(poses)
    perplexity = min(30.0, (len(part) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(embedding)
    groups = {"pose": clusters, "subject": part.subject, "view": part.camera}
    return {
        "x": np.round(plane[:, 0].astype(float), 2).tolist(),
        "y": np.round(plane[:, 1].astype(float), 2).tolist(),
        **{name: group.tolist() for name, group in groups.items()},
        "silhouette": {
            name: float(silhouette_score(embedding, group)) if len(np.unique(group)) > 1 else None
            for name, group in groups.items()
        },
    }
