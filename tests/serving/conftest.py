"""One small real network, exported once for all tests of serving."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.models.heads import UnitLength, Unstandardise
from mcss_tf.models.resnet import NormaliseImage
from mcss_tf.serving import images, saved_model
from mcss_tf.serving.metadata import build_metadata

IMAGE_SIZE = 32


def small_model(num_joints: int | None = 16) -> keras.Model:
    """The layers of MCSS in a network with one block, with statistics that are not the initial ones.

    The real network has 11 million weights, which every export here would copy.
    """
    keras.utils.set_random_seed(3)
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    x = NormaliseImage(name="normalise")(images)
    x = layers.Conv2D(16, 7, 2, use_bias=False, name="conv1")(x)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(center=False, scale=False, name="bn1")(x))
    y = layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv2")(x)
    y = layers.BatchNormalization(center=False, scale=False, name="bn2")(y)
    x = layers.MaxPooling2D(4, name="pool")(layers.ReLU(name="relu2")(layers.Add(name="add")([x, y])))
    x = layers.Dense(32, activation="relu", dtype="float32")(layers.Flatten()(x))
    embedding = UnitLength(name="embedding")(layers.Dense(128, dtype="float32")(x))
    outputs = {"embedding": embedding}
    if num_joints is not None:
        pose = layers.Dense(3 * num_joints, dtype="float32", name="pose_linear")(embedding)
        outputs["pose_mm"] = Unstandardise(num_joints, name="pose_mm")(pose)
    model = keras.Model(images, outputs, name="mcss")
    rng = np.random.default_rng(4)
    if num_joints is not None:
        poses = rng.normal(100.0, 300.0, (20, num_joints, 3))
        model.get_layer("pose_mm").adapt(poses, np.ones((20, num_joints)))
    for _ in range(3):
        model(rng.integers(0, 256, (8, IMAGE_SIZE, IMAGE_SIZE, 3)).astype("float32"), training=True)
    return model


@pytest.fixture(scope="session")
def model() -> keras.Model:
    return small_model()


@pytest.fixture(scope="session")
def export_folder(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "mcss"
    metadata = build_metadata(model, HUMAN36M_17, {"size": IMAGE_SIZE, "context": 1.2}, {})
    saved_model.write(images.served(model, 1.2), metadata, folder)
    return folder


@pytest.fixture(scope="session")
def signatures(export_folder: Path) -> dict:
    """The signatures of the export, loaded once."""
    loaded = tf.saved_model.load(str(export_folder / "1"))
    return {**loaded.signatures, "kept alive": loaded}


@pytest.fixture(scope="session")
def jpegs(tmp_path_factory) -> list[Path]:
    """Three pictures and a file that is none."""
    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(5).integers(0, 256, (3, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    paths = [folder / f"{number}.jpg" for number in range(4)]
    for path, image in zip(paths, pixels, strict=False):
        path.write_bytes(tf.io.encode_jpeg(image, quality=95).numpy())
    paths[3].write_bytes(b"not an image")
    return paths


@pytest.fixture(scope="session")
def expected_rows(model: keras.Model, jpegs: list[Path]) -> dict[str, np.ndarray]:
    """The Keras model's own numbers of the pictures."""
    decoded = [
        tf.io.decode_jpeg(path.read_bytes(), channels=3, dct_method="INTEGER_ACCURATE") for path in jpegs[:3]
    ]
    outputs = model(tf.cast(tf.stack(decoded), tf.float32), training=False)
    return {name: value.numpy() for name, value in outputs.items()}


def assert_rows(embedding: np.ndarray, pose_mm: np.ndarray, status: np.ndarray, expected: dict) -> None:
    np.testing.assert_array_equal(status, [0, 0, 0, 1])
    np.testing.assert_allclose(embedding[:3], expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(pose_mm[:3], expected["pose_mm"], rtol=1e-4, atol=1e-2)
    assert np.isnan(embedding[3]).all()
    assert np.isnan(pose_mm[3]).all()
