"""One small real network, exported once for all tests of serving."""

from pathlib import Path

import keras
import numpy as np
import pytest

from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.models.heads import build_mcss_model
from mcss_tf.serving import saved_model
from mcss_tf.serving.metadata import build_metadata

IMAGE_SIZE = 32


def small_model(num_joints: int | None = 16) -> keras.Model:
    """The MCSS network at 32 pixels, with statistics and label moments that are not the initial ones."""
    keras.utils.set_random_seed(3)
    model = build_mcss_model(IMAGE_SIZE, num_joints=num_joints)
    rng = np.random.default_rng(4)
    if num_joints is not None:
        poses = rng.normal(100.0, 300.0, (20, num_joints, 3))
        model.get_layer("pose_mm").adapt(poses, np.ones((20, num_joints)))
    images = rng.integers(0, 256, (8, IMAGE_SIZE, IMAGE_SIZE, 3)).astype("float32")
    for _ in range(3):
        model(images, training=True)
    return model


@pytest.fixture(scope="session")
def model() -> keras.Model:
    return small_model()


@pytest.fixture(scope="session")
def export_folder(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "mcss"
    metadata = build_metadata(model, HUMAN36M_17, {"size": IMAGE_SIZE, "context": 1.2}, {})
    saved_model.write(model, metadata, folder)
    return folder
