"""Refinement as the loop sees it: what a batch is, what it learns, what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import refinement as defaults
from mcss_tf import methods
from mcss_tf.data.keypoint_inputs import INPUTS, parse_view_sets, prepare_views
from mcss_tf.errors import InputError
from mcss_tf.evaluation.refinement import measure_refinement
from mcss_tf.geometry.cameras import world_to_camera
from mcss_tf.training.loop import build_optimizer, build_train_step, train
from mcss_tf.training.workdir import load_run, open_workdir
from tests.keypoint_datasets import cameras_with_lenses, make_keypoint_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_keypoint_dataset(tmp_path_factory.mktemp("keypoints"))


@pytest.fixture
def config():
    config = defaults.get_config()
    config.network.widths = (8, 12, 16)
    config.batch.num_instants = 6
    config.input.target = "annotation"
    config.train.steps = 6
    config.train.log_every = 2
    config.train.checkpoint_every = 3
    return config


def _batch(config, dataset, step=0):
    return next(iter(methods.get(config, dataset).train_batches(step)))


def test_a_batch_is_detections_in_and_annotations_as_targets(config, dataset):
    batch = _batch(config, dataset)
    assert batch["rays"].shape == batch["target_rays"].shape == (6, 2, 17, 2)
    assert not np.allclose(batch["rays"], batch["target_rays"], atol=1e-3)
    np.testing.assert_array_equal(batch["target_weight"], 1)
    assert 0.7 <= float(tf.reduce_min(batch["confidence"])) < float(tf.reduce_max(batch["confidence"])) <= 1


def test_targets_are_where_the_joints_are_seen(config, dataset):
    """The lens is undone: an annotation is the ray to the true joint, to a hundredth of a pixel."""
    views = prepare_views(dataset, "train", is_annotation=True)
    rig = list(cameras_with_lenses().values())
    for camera_id, camera in enumerate(rig):
        in_camera = world_to_camera(camera, views.joints_mm.astype(float))
        exact = in_camera[..., :2] / in_camera[..., 2:]
        np.testing.assert_allclose(views.rays_true[:, camera_id], exact, atol=1e-5)


def test_detections_as_targets_are_the_input_and_weigh_by_confidence(config, dataset):
    config.input.target = "detection"
    batch = _batch(config, dataset)
    np.testing.assert_array_equal(batch["rays"], batch["target_rays"])
    np.testing.assert_array_equal(batch["confidence"], batch["target_weight"])


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_noise_scale_moves_detections_towards_or_away_from_annotations(config, dataset, scale):
    config.input.noise_scale = scale
    scaled = _batch(config, dataset)
    config.input.noise_scale = 1.0
    usual = _batch(config, dataset)
    np.testing.assert_allclose(
        scaled["rays"] - scaled["target_rays"], scale * (usual["rays"] - usual["target_rays"]), atol=1e-5
    )


def test_without_undistortion_the_input_is_bent_and_the_target_is_not(config, dataset):
    config.input.noise_scale = 0.0
    config.input.undistort = False
    batch = _batch(config, dataset)
    off = np.abs(batch["rays"] - batch["target_rays"]).max(-1)
    assert off.max() > 2e-4  # 0.2 px
    radius = np.linalg.norm(batch["target_rays"], axis=-1)
    assert off[radius > 0.15].mean() > 4 * off[radius < 0.08].mean()
    # K^-1 x, by hand, for one keypoint.
    views = prepare_views(dataset, "train", is_annotation=True, noise_scale=0.0, undistort=False)
    matrix = next(iter(cameras_with_lenses().values())).matrix
    expected = (np.linalg.inv(matrix) @ [*views.keypoints_px[3, 0, 5, :2], 1])[:2]
    np.testing.assert_allclose(views.rays[3, 0, 5], expected, atol=1e-6)


def test_only_the_given_pairs_of_cameras_are_drawn(config, dataset):
    config.views.sets = "c0+c1, c1+c2"
    config.batch.num_instants = 24
    rig = np.stack([camera.rotation for camera in cameras_with_lenses().values()])
    seen = set()
    for rotations in _batch(config, dataset)["rotation"].numpy():
        seen.add(frozenset(int(np.argmin(np.abs(rig - r).sum((1, 2)))) for r in rotations))
    assert seen == {frozenset({0, 1}), frozenset({1, 2})}


def test_view_sets():
    assert parse_view_sets("a+b, a+c", 2, "abc") == [["a", "b"], ["a", "c"]]
    assert parse_view_sets("", 2, "abc") == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_batches_are_a_function_of_seed_and_step(config, dataset):
    method = methods.get(config, dataset)
    third = list(method.train_batches(0).take(3))[2]
    for name, value in next(iter(method.train_batches(2))).items():
        np.testing.assert_array_equal(value, third[name])


def test_training_brings_poses_nearer_to_the_truth_than_triangulation(config, dataset):
    """The 2D annotations alone correct the 3D poses of the instants they belong to."""
    config.batch.num_instants = 24
    config.network.widths = (16, 24, 32)
    config.train.learning_rate = 1e-2
    method = methods.get(config, dataset)
    keras.utils.set_random_seed(0)
    model = method.build_model()
    optimizer = build_optimizer(config, 120, 1, method.state.factor)
    optimizer.build(model.trainable_variables)
    step = build_train_step(method, model, optimizer)
    for batch in method.train_batches(0).take(120):
        step(batch)
    found = measure_refinement(model, config, dataset, "train", 64)["all"]
    assert found["refined"]["mpjpe_mm"] < 0.95 * found["dlt"]["mpjpe_mm"]


def test_the_paper_s_optimizer(config, dataset):
    method = methods.get(config, dataset)
    optimizer = build_optimizer(config, 10, 4, method.state.factor)
    assert optimizer.amsgrad
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)
    method.state.factor.assign(0.81)
    assert float(optimizer.learning_rate) == pytest.approx(0.81e-3)


def test_a_run_from_start_to_a_loaded_model(config, dataset, tmp_path):
    method = methods.get(config, dataset)
    model = train(method, config, open_workdir(tmp_path, config, dataset, []))
    again = load_run(tmp_path).model
    batch = {name: value for name, value in _batch(config, dataset).items() if name in INPUTS}
    np.testing.assert_allclose(
        again(batch, training=False)["refined_mm"], model(batch, training=False)["refined_mm"], atol=1e-3
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"input.target": "truth"},
            r"input\.target must be one of annotation, detection\. Received: 'truth'",
        ),
        ({"views.sets": "c0+c9"}, r"Cameras of views\.sets are among c0, c1, c2\. Received: c9"),
        ({"views.sets": "c0+c0"}, r"2 distinct cameras out of .* Received: \['c0', 'c0'\]"),
        ({"views.num": 4}, r"1 to 3 views of it\. Received: .* num_views=4"),
        (
            {f"loss.{name}": 0.0 for name in ("single", "cross", "consistency", "bone", "symmetry")},
            r"A loss must have a weight\. Received",
        ),
    ],
)
def test_bad_config(config, dataset, change, message):
    config.update_from_flattened_dict(change)
    with pytest.raises(InputError, match=message):
        methods.get(config, dataset)


def test_annotations_that_are_not_there(config, tmp_path):
    dataset = make_keypoint_dataset(tmp_path, annotated=False, instants=4)
    with pytest.raises(InputError, match=r"need exact keypoints .* Received: .* without them"):
        methods.get(config, dataset)
    config.input.target = "detection"
    assert _batch(config, dataset)["rays"].shape == (6, 2, 17, 2)
    config.input.noise_scale = 0.5
    with pytest.raises(InputError, match="need exact keypoints"):
        methods.get(config, dataset)


def test_an_uncalibrated_dataset(config, tmp_path):
    dataset = make_keypoint_dataset(tmp_path, calibrated=False, instants=4)
    with pytest.raises(InputError, match="alibrat"):
        methods.get(config, dataset)


def test_a_killed_run_goes_on_bit_by_bit(config, dataset, tmp_path):
    """Weights, AMSGrad's maxima and the plateau's memory are all in the checkpoint."""
    config.train.plateau_epochs = 1
    config.batch.num_instants = 12  # two steps an epoch

    class Killed(methods.METHODS["refinement"]):
        def train_batches(self, start_step):
            for number, batch in enumerate(super().train_batches(start_step), start=start_step):
                if number == 4:
                    raise MemoryError
                yield batch

    whole_method = methods.get(config, dataset)
    whole = train(whole_method, config, open_workdir(tmp_path / "whole", config, dataset, []))
    killed = open_workdir(tmp_path / "killed", config, dataset, [])
    with pytest.raises(MemoryError):
        train(Killed(config, dataset), config, killed)
    resumed_method = methods.get(config, dataset)
    resumed = train(resumed_method, config, killed)
    for here, there in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(here, there)
    for here, there in zip(whole_method.state.variables, resumed_method.state.variables, strict=True):
        np.testing.assert_array_equal(here, there)
