"""The map of the embedding: which grouping its silhouette finds, what is drawn, when there is none."""

import numpy as np

from mcss_tf.evaluation.embedding_map import embedding_map
from tests.evaluation.splits import make_split


def grouped_by(which, num=60, cameras=2):
    """Embeddings that tell nothing but one grouping."""
    rng = np.random.default_rng(0)
    row, camera = (axis.ravel() for axis in np.mgrid[:num, :cameras])
    subject, kind = row % 2, row // 2 % 8
    poses = 1000.0 * np.eye(48)[:8].reshape(8, 16, 3)[kind]
    group = {"pose": kind, "subject": subject, "view": camera}[which]
    embedding = np.eye(8)[group] + 0.05 * rng.normal(size=(len(row), 8))
    return make_split(embedding, poses, camera=camera, row=row, subject=subject)


def test_silhouettes_name_what_the_embedding_groups_by():
    for which in ("pose", "subject", "view"):
        silhouette = embedding_map(grouped_by(which), num_instants=40)["silhouette"]
        assert silhouette[which] > 0.6
        assert all(value < 0.2 for name, value in silhouette.items() if name != which)


def test_all_views_of_the_drawn_instants_are_mapped():
    found = embedding_map(grouped_by("pose"), num_instants=30)
    assert {len(found[name]) for name in ("x", "y", "pose", "subject", "view")} == {60}
    assert found["view"].count(0) == found["view"].count(1) == 30
    assert len(set(found["pose"])) == 8
    again = embedding_map(grouped_by("pose"), num_instants=30)
    assert again == found


def test_too_few_images_have_no_map():
    assert embedding_map(grouped_by("pose", num=6)) is None
    assert embedding_map(make_split(np.eye(4), camera=[0] * 4, row=range(4))) is None
