"""A split is embedded image by image, with what the dataset knows of each."""

import keras
import numpy as np
import pytest

from mcss_tf.data.batches import image_batches
from mcss_tf.errors import InputError
from mcss_tf.evaluation.embedded import embed
from tests.evaluation.splits import make_split, random_split
from tests.helpers import make_tiny_dataset


def tiny_model(has_pose: bool) -> keras.Model:
    image = keras.Input((32, 32, 3), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    outputs = {"embedding": keras.layers.Dense(4)(flat)}
    if has_pose:
        outputs["pose_mm"] = keras.layers.Reshape((16, 3))(keras.layers.Dense(48)(flat))
    return keras.Model(image, outputs)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_tiny_dataset(
        tmp_path_factory.mktemp("tiny"), instants=5, test_subjects=("S2",), missing_views=True
    )


def test_embeds_every_image_with_its_place_and_time(dataset):
    model = tiny_model(has_pose=True)
    split = embed(model, dataset, "test", batch_size=4)
    batches = list(image_batches(dataset, "test", image_size=32, batch_size=64))
    images = np.concatenate([batch["image"] for batch in batches])
    expected = model.predict_on_batch(images)
    # Five instants in three views, of which the 1st and the 4th miss one.
    assert len(split) == len(images) == 13
    np.testing.assert_allclose(split.embedding, expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(split.predicted_mm, expected["pose_mm"], atol=1e-4)
    assert split.row.dtype == np.int64
    assert {dataset.subjects[subject] for subject in split.subject} == {"S2"}
    np.testing.assert_array_equal(split.time_s, dataset.index.time_s[split.row])
    np.testing.assert_array_equal(split.frame, dataset.index.frame[split.row])
    assert set(split.action) == {"walking"}
    assert split.has_pose.all()
    np.testing.assert_allclose(split.pose_mm, dataset.index.canonical_mm[split.row][:, 1:])
    assert dataset.index.is_present()[split.row, split.camera].all()


def test_a_model_without_a_pose_head_predicts_none(dataset):
    assert embed(tiny_model(has_pose=False), dataset, "train").predicted_mm is None


def test_an_empty_split_is_refused(tmp_path):
    dataset = make_tiny_dataset(tmp_path, instants=2)
    with pytest.raises(InputError, match="test split"):
        embed(tiny_model(has_pose=False), dataset, "test")


def test_some_images_can_be_taken():
    split = random_split()
    part = split.take(split.camera == 1)
    assert len(part) == 10
    np.testing.assert_array_equal(part.pose_mm, split.pose_mm[split.camera == 1])
    np.testing.assert_array_equal(split.take(np.array([3, 1])).row, split.row[[3, 1]])
    assert embedded_without_poses().take(np.array([0])).predicted_mm is None


def embedded_without_poses():
    return make_split(np.eye(4), camera=[0, 1, 0, 1], row=[0, 0, 1, 1])
