"""The exported refinement: any keypoints and cameras in, poses in the cameras and in the world out."""

import json

import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import project, world_to_camera
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.models.graph import build_refinement_model
from mcss_tf.serving import refinement, saved_model
from mcss_tf.serving.exported import ExportedModel
from tests.geometry.test_triangulation import people
from tests.keypoint_datasets import cameras_with_lenses

INFO = {"dataset": {"skeleton": HUMAN36M_17.to_json()}, "method": "refinement"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = build_refinement_model(HUMAN36M_17, widths=(4, 6, 8))
    metadata = refinement.describe_refinement(model, INFO)
    return saved_model.write(
        refinement.served(model, undistort=True), metadata, tmp_path_factory.mktemp("model")
    )


def _request(points_mm, cameras):
    pixels = np.stack([project(camera, points_mm) for camera in cameras], 1)
    keypoints = np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1)
    values = {
        "keypoints_px": keypoints,
        "matrix": np.stack([camera.matrix for camera in cameras]),
        "distortion": np.stack([camera.distortion for camera in cameras]),
        "rotation": np.stack([camera.rotation for camera in cameras]),
        "translation_mm": np.stack([camera.translation_mm for camera in cameras]),
    }
    return {
        name: tf.constant(value if name == "keypoints_px" else np.stack([value] * len(points_mm)), tf.float32)
        for name, value in values.items()
    }


def test_exact_keypoints_come_back_in_cameras_and_world(exported):
    """An untrained network is the triangulation, so the truth is known to the last stage."""
    points, cameras = people(0, 5, 17), list(cameras_with_lenses(2).values())
    outputs = tf.saved_model.load(str(exported)).signatures["serving_default"](**_request(points, cameras))
    np.testing.assert_allclose(outputs["world_mm"], points, atol=0.5)
    for view, camera in enumerate(cameras):
        np.testing.assert_allclose(outputs["refined_mm"][:, view], world_to_camera(camera, points), atol=0.5)
        np.testing.assert_allclose(outputs["coarse_mm"][:, view], outputs["refined_mm"][:, view], atol=1e-3)


def test_a_model_that_learned_its_lenses_does_not_undo_them():
    model = build_refinement_model(HUMAN36M_17, widths=(4, 6, 8))
    request = _request(people(0, 3, 17), list(cameras_with_lenses(2).values()))
    _, function = refinement.served(model, undistort=False)["serving_default"]
    straight = {**request, "distortion": tf.zeros_like(request["distortion"])}
    np.testing.assert_array_equal(function(**request)["world_mm"], function(**straight)["world_mm"])


def test_what_it_says_about_itself(exported):
    metadata = json.loads((exported / "assets" / "mcss.json").read_text())
    assert (metadata["method"], metadata["num_views"]) == ("refinement", 2)
    assert metadata["skeleton"]["joint_names"] == list(HUMAN36M_17.joint_names)
    tensors = metadata["signatures"]["serving_default"]
    loaded = tf.saved_model.load(str(exported)).signatures["serving_default"]
    specs = loaded.structured_input_signature[1]
    assert {tensor["name"] for tensor in tensors["inputs"]} == set(specs)
    for tensor in tensors["inputs"]:
        sizes = [None if isinstance(size, str) else size for size in tensor["shape"]]
        assert specs[tensor["name"]].shape.as_list() == sizes
    assert {tensor["name"] for tensor in tensors["outputs"]} == set(loaded.structured_outputs)


def test_it_is_no_model_of_images(exported):
    with pytest.raises(InputError, match=r"Only a model of images .*Received: .* a model of refinement"):
        ExportedModel(exported.parent)
