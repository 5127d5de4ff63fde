"""Measured errors are those that were put in."""

import numpy as np
import pytest
from PIL import Image

from configs import refinement as defaults
from mcss_tf.errors import InputError
from mcss_tf.evaluation.refinement import measure_refinement, refinement_tables
from mcss_tf.evaluation.refinement_figure import draw_refined
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.models.graph import build_refinement_model
from tests.keypoint_datasets import cameras_with_lenses, make_keypoint_dataset


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return make_keypoint_dataset(tmp_path_factory.mktemp("exact"), noise_px=0.0, instants=10)


@pytest.fixture
def config():
    return defaults.get_config()


@pytest.fixture
def model():
    return build_refinement_model(HUMAN36M_17, widths=(4, 6, 8))


def test_exact_keypoints_have_no_error(model, config, exact):
    found = measure_refinement(model, config, exact, "test", 4)
    assert found["num_inputs"] == 3 * 10
    assert set(found["sets"]) == {"c0+c1", "c0+c2", "c1+c2"}
    assert found["excluded_fraction"] == 0
    for method in ("dlt", "weighted_dlt", "refined"):
        for value in found["all"][method].values():
            assert value < 0.1


def test_a_known_shift_is_absolute_error_and_no_relative_one(model, config, exact):
    """+100 mm along x of each camera is, in the world, the mean of the cameras' x axes times 100 mm."""
    model.get_layer("residual").bias.assign([1.0, 0, 0])
    config.views.sets = "c0+c1"
    found = measure_refinement(model, config, exact, "test", 64)["all"]["refined"]
    axes = [camera.rotation[0] for camera in cameras_with_lenses(2).values()]
    expected = np.linalg.norm(100 * np.mean(axes, axis=0))
    assert found["mpjpe_mm"] == pytest.approx(expected, abs=0.1)
    assert found["median_error_mm"] == pytest.approx(expected, abs=0.1)
    assert found["root_relative_mpjpe_mm"] < 0.1


def test_lenses_left_in_are_an_error_of_triangulation(model, config, tmp_path):
    noisy = make_keypoint_dataset(tmp_path, instants=10)
    config.input.undistort = False
    config.input.noise_scale = 0.0
    found = measure_refinement(model, config, noisy, "test", 64)["all"]
    assert found["dlt"]["mpjpe_mm"] > 1
    assert found["undistorted_dlt"]["mpjpe_mm"] < 0.1


def test_noise_and_its_scale(model, config, tmp_path):
    noisy = make_keypoint_dataset(tmp_path, noise_px=5.0, instants=20)
    errors = []
    for scale in (0.0, 0.5, 1.0):
        config.input.noise_scale = scale
        errors.append(measure_refinement(model, config, noisy, "test", 64)["all"]["dlt"]["mpjpe_mm"])
    assert errors[0] < 0.1
    assert errors[2] == pytest.approx(2 * errors[1], rel=0.1)
    # 5 px at 4.5 m and focal length 1145 are 20 mm an axis.
    assert 15 < errors[2] < 60


def test_tables_show_all_methods(model, config, exact):
    metrics = measure_refinement(model, config, exact, "test", 64)
    table, by_set = refinement_tables(metrics)
    assert table.header[1:] == ["two-view DLT", "DLT weighted by confidence", "refined"]
    assert len(table.rows) == 3
    assert [row[0] for row in by_set.rows] == ["c0+c1", "c0+c2", "c1+c2"]


def test_a_dataset_without_3d_joints(model, config, tmp_path):
    dataset = make_keypoint_dataset(tmp_path, labelled=False, instants=4)
    with pytest.raises(InputError, match=r"measured against 3D joints\. Received: .* test split has none"):
        measure_refinement(model, config, dataset, "test", 4)


def test_cameras_that_are_not_there(model, config, exact):
    config.views.sets = "c0+c7"
    with pytest.raises(InputError, match=r"Cameras of views\.sets .*Received: c7"):
        measure_refinement(model, config, exact, "test", 4)


def test_the_figure_shows_six_instants(model, config, exact, tmp_path):
    draw_refined(model, config, exact, "test", tmp_path / "skeletons.png")
    picture = np.asarray(Image.open(tmp_path / "skeletons.png").convert("RGB")).astype(int)
    green = (picture[..., 1] > picture[..., 0] + 50) & (picture[..., 1] > picture[..., 2] + 30)
    # Something is drawn in every sixth of the width, in both rows.
    for half in np.array_split(green[40:], 2, axis=0):
        assert all(part.sum() > 30 for part in np.array_split(half, 6, axis=1))
