"""The whole network: unit embeddings, poses in millimetres, standardisation kept with the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.models.heads import MIN_STD_MM, UnitLength, Unstandardise, build_mcss_model, standardised_l1


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.mark.parametrize(("image_size", "num_features"), [(32, 512), (64, 2048), (128, 2048), (224, 4608)])
def test_pooled_features(image_size, num_features):
    model = build_mcss_model(image_size, num_joints=16)
    assert model.get_layer("flatten").output.shape == (None, num_features)


def test_outputs(images):
    model = build_mcss_model(32, num_joints=16, hidden_dim=8, embedding_dim=5)
    outputs = model(images)
    assert outputs["embedding"].shape == (3, 5)
    assert outputs["pose_mm"].shape == (3, 16, 3)
    np.testing.assert_allclose(np.linalg.norm(outputs["embedding"], axis=1), 1.0, atol=1e-5)


def test_without_labels_there_is_no_pose(images):
    assert set(build_mcss_model(32, num_joints=None)(images)) == {"embedding"}


def test_outputs_are_float32_under_mixed_precision(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_mcss_model(32, num_joints=2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("backbone").get_layer("layer1.0.conv1").compute_dtype == "bfloat16"
    assert model.get_layer("embedding_linear").compute_dtype == "float32"
    outputs = model(images)
    assert {key: value.dtype for key, value in outputs.items()} == dict.fromkeys(outputs, tf.float32)
    np.testing.assert_allclose(np.linalg.norm(outputs["embedding"], axis=1), 1.0, atol=1e-5)


def test_unit_length_of_zero_is_zero_with_finite_gradient():
    x = tf.Variable([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        y = UnitLength()(x)
        loss = tf.reduce_sum(y)
    np.testing.assert_allclose(y, [[0, 0], [0.6, 0.8]], atol=1e-6)
    assert np.isfinite(tape.gradient(loss, x)).all()


def test_unstandardise_adapts_to_the_observed_joints():
    # Joint 1 is seen in the first two poses only; its third value, NaN, must not count.
    poses = np.zeros((3, 2, 3))
    poses[:, 0] = [[0, 1, 10], [0, 3, 20], [0, 5, 30]]
    poses[:, 1] = [[2, 2, 2], [4, 4, 4], [np.nan] * 3]
    layer = Unstandardise(2)
    layer.build((None, 6))
    layer.adapt(poses, [[1, 1], [1, 1], [1, 0]])
    np.testing.assert_allclose(layer.mean_mm, [[0, 3, 20], [3, 3, 3]])
    np.testing.assert_allclose(
        layer.std_mm, [[MIN_STD_MM, np.std([1, 3, 5]), np.std([10, 20, 30])], [1, 1, 1]], rtol=1e-6
    )
    z = np.arange(6, dtype=np.float32)[None]
    np.testing.assert_allclose(layer(z)[0], z.reshape(2, 3) * layer.std_mm.numpy() + layer.mean_mm.numpy())


def test_standardised_l1_is_the_naive_mean_over_observed_coordinates():
    rng = np.random.default_rng(1)
    pose, target = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    mask = (rng.random((4, 5)) < 0.6).astype(np.float32)
    target[mask == 0] = np.nan
    std = rng.uniform(1, 9, (5, 3)).astype(np.float32)
    terms = [
        abs(pose[b, j, c] - target[b, j, c]) / std[j, c]
        for b in range(4)
        for j in range(5)
        for c in range(3)
        if mask[b, j]
    ]
    np.testing.assert_allclose(standardised_l1(pose, target, mask, std), np.mean(terms), rtol=1e-5)
    assert float(standardised_l1(pose, target, np.zeros((4, 5)), std)) == 0.0


def test_standardisation_survives_saving(images, tmp_path):
    model = build_mcss_model(32, num_joints=2, hidden_dim=8, embedding_dim=5)
    model.get_layer("pose_mm").adapt(np.random.default_rng(2).normal(100, 50, (9, 2, 3)), np.ones((9, 2)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images)["pose_mm"], model(images)["pose_mm"])
    assert abs(float(np.mean(loaded(images)["pose_mm"])) - 100) < 60
