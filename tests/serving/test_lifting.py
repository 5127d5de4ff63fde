"""The exported lifting model: pixels and intrinsics in, the poses of the trained model out."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.data.keypoint_views import load_keypoint_views
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.models.lifter import build_lifter
from mcss_tf.serving import lifting, saved_model
from mcss_tf.serving.exported import METADATA, ExportedModel
from tests.keypoint_data import CAMERAS, make_cameras, make_keypoint_dataset


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_lifter(17, 0, width=16, num_blocks=1, dropout=0.1)


@pytest.fixture(scope="module")
def version(model, tmp_path_factory):
    info = {"dataset": {"skeleton": HUMAN36M_17.to_json()}}
    metadata = lifting.describe_lifting(model, info)
    return saved_model.write(lifting.served(model), metadata, tmp_path_factory.mktemp("export"))


def test_pixels_give_the_pose_of_the_rays(model, version, tmp_path):
    """The lens is undone inside the graph as OpenCV undoes it in `prepare`."""
    views = load_keypoint_views(make_keypoint_dataset(tmp_path, error_px=2.0), "test")
    cameras = make_cameras()
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    for number, name in enumerate(CAMERAS):
        count = len(views)
        served = serve(
            keypoints_px=tf.constant(views.keypoints_px[:, number]),
            matrix=tf.constant(np.float32([cameras[name].matrix] * count)),
            distortion=tf.constant(np.float32([cameras[name].distortion] * count)),
        )
        confidence = views.keypoints_px[:, number, :, 2:]
        expected = model(np.concatenate([views.rays[:, number], confidence], -1))
        assert served["pose_mm"].shape == (count, 17, 3)
        for key, value in expected.items():
            np.testing.assert_allclose(served[key], value, rtol=1e-3, atol=0.5)


def test_it_says_what_it_takes(version):
    metadata = json.loads((version / METADATA).read_text())
    assert metadata["method"] == "lifting"
    inputs = metadata["signatures"]["serving_default"]["inputs"]
    assert [tensor["name"] for tensor in inputs] == ["keypoints_px", "matrix", "distortion"]
    assert inputs[0]["shape"] == ["batch", 17, 3]


def test_it_is_no_model_of_images(version):
    with pytest.raises(InputError, match=r"Only a model of images.*Received: .*a model of lifting"):
        ExportedModel(version.parent)
