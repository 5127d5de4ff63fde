"""Exact search in the graph against plain loops, and what a gallery must hold."""

import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.serving.gallery import Gallery


def make_gallery(count: int = 50, dim: int = 8) -> Gallery:
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(count, dim)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    return Gallery(
        np.array([f"S1/walk/{n}/left" for n in range(count)]),
        embedding,
        rng.normal(size=(count, 3, 3)).astype(np.float32),
    )


def test_the_nearest_are_those_of_a_plain_loop() -> None:
    gallery = make_gallery()
    queries = make_gallery(7).embedding[::-1] * np.float32([1, 1, 1, 1, -1, 1, 1, 1])
    queries = np.concatenate([queries, gallery.embedding[3:5]])
    found = tf.function(gallery.search(4))(tf.constant(queries))
    for row, query in enumerate(queries):
        distances = [float(np.linalg.norm(query - other)) for other in gallery.embedding]
        order = sorted(range(len(gallery)), key=distances.__getitem__)[:4]
        assert [name.decode() for name in found["ids"][row].numpy()] == [f"S1/walk/{n}/left" for n in order]
        np.testing.assert_allclose(found["distance"][row], [distances[n] for n in order], atol=1e-6)
        np.testing.assert_array_equal(found["pose_mm"][row], gallery.pose_mm[order])
    assert found["distance"][-1, 0] == 0, "an image of the gallery finds itself, at exactly 0"


def test_a_gallery_is_read_from_a_folder(tmp_path) -> None:
    gallery = make_gallery()
    arrays = {"ids": gallery.ids, "embedding": gallery.embedding}
    np.savez(tmp_path / "gallery.npz", **arrays)
    read = Gallery.load(tmp_path)
    assert read.pose_mm is None
    np.testing.assert_array_equal(read.ids, gallery.ids)
    np.savez(tmp_path / "gallery.npz", ids=gallery.ids)
    with pytest.raises(InputError, match=r"`ids` and `embedding`. Received: it lacks \['embedding'\]. Write"):
        Gallery.load(tmp_path)
    np.savez(tmp_path / "gallery.npz", ids=gallery.ids[1:], embedding=gallery.embedding)
    with pytest.raises(InputError, match=r"of the same N images. Received: the shapes .*\(49,\), \(50, 8\)"):
        Gallery.load(tmp_path)


def test_a_gallery_that_does_not_fit_the_model_is_refused() -> None:
    gallery = make_gallery()
    gallery.check(8, 3, 50)
    with pytest.raises(InputError, match=r"128 numbers an image.* Received: 8 numbers.* Embed it again"):
        gallery.check(128, 3, 10)
    with pytest.raises(InputError, match=r"poses None. Received: 8 numbers, \(3, 3\). Embed it again"):
        gallery.check(8, None, 10)
    with pytest.raises(InputError, match=r"--gallery_k must be between 1 .* Received: 51 of 50 images"):
        gallery.check(8, 3, 51)
