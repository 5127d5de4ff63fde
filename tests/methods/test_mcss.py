"""MCSS as a method: what is read, what is minimised, when the threshold rises, what counts as collapse."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from configs import tiny
from mcss_tf import methods
from mcss_tf.errors import InputError
from mcss_tf.losses.contrastive import multiview_contrastive_loss
from mcss_tf.methods.mcss import all_view_pairs, label_options, spread
from mcss_tf.training.loop import train
from mcss_tf.training.workdir import open_workdir
from tests.helpers import make_tiny_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("labelled"), instants=12)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("unlabelled"), instants=12, labelled=False)


def first_batch(method):
    return next(iter(method.train_batches(0)))


def test_total_is_the_weighted_sum_of_its_terms(dataset):
    config = tiny.get_config()
    config.loss.metric_weight, config.loss.pose_weight = 3.0, 0.5
    method = methods.get(config, dataset)
    model, batch = method.build_model(), first_batch(method)
    scalars = method.losses(model, batch)
    np.testing.assert_allclose(scalars["total"], 3.0 * scalars["metric"] + 0.5 * scalars["pose"], rtol=1e-6)
    np.testing.assert_allclose(
        scalars["metric"], scalars["pull"] + scalars["push_anchor"] + scalars["push_positive"], rtol=1e-6
    )
    # The same numbers from the parts: one forward of all images, the loss on its rows, L1 by hand.
    images = np.concatenate([batch["anchor_image"], batch["positive_image"], batch["labelled_image"]])
    outputs = model(images, training=True)
    embedding = outputs["embedding"].numpy()
    terms = multiview_contrastive_loss(embedding[:4], embedding[4:8], margin=1.0, threshold=0.0)
    np.testing.assert_allclose(scalars["metric"], terms.total, rtol=1e-4)
    error = np.abs(outputs["pose_mm"].numpy()[8:] - batch["pose_mm"]) / model.get_layer("pose_mm").std_mm
    np.testing.assert_allclose(scalars["pose"], error.mean(), rtol=1e-4)


def test_every_two_views_of_an_instant_are_a_pair():
    # Views u of instants i as the points (u, i).
    embedding = np.array([(u, i) for u in range(4) for i in range(2)], np.float32)
    anchors, positives, group = all_view_pairs(embedding, np.array([7, 9, 7, 9]), 4)
    np.testing.assert_array_equal(group, [7, 9] * 6)
    np.testing.assert_array_equal(anchors[:, 1], positives[:, 1])
    of_seven = {(int(a[0]), int(p[0])) for a, p in zip(anchors[::2], positives[::2], strict=True)}
    assert of_seven == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


@pytest.mark.parametrize(("cameras", "num_views"), [(3, 2), (4, 4), (5, 4)])
def test_several_positives_are_means_over_all_pairs_of_views(tmp_path, cameras, num_views):
    config = tiny.get_config()
    config.batch.views = 4
    method = methods.get(config, make_tiny_dataset(tmp_path, instants=12, cameras=cameras))
    assert f"instants in {num_views} views" in method.describe()
    model, batch = method.build_model(), first_batch(method)
    images = np.concatenate([batch[name] for name in ("anchor_image", "positive_image", "labelled_image")])
    views = np.split(model(images, training=True)["embedding"].numpy()[:8], num_views)
    squared = [((a - b) ** 2).sum(-1) for a, b in itertools.combinations(views, 2)]
    np.testing.assert_allclose(method.losses(model, batch)["pull"], np.sqrt(squared).mean(), rtol=1e-4)


@pytest.mark.parametrize("views", [0, 1, 3])
def test_an_odd_number_of_views_is_refused(tmp_path, views):
    config = tiny.get_config()
    config.batch.views = views
    with pytest.raises(InputError, match=rf"batch.views is even.*Received: views={views}, num_pairs=4"):
        methods.get(config, make_tiny_dataset(tmp_path, instants=12, cameras=4))


def test_target_standardisation_is_that_of_the_labelled_training_poses(dataset):
    config = tiny.get_config()
    config.labels.subjects = "S2"
    layer = methods.get(config, dataset).build_model().get_layer("pose_mm")
    rows = dataset.index.has_pose & (dataset.index.subject == dataset.subjects.index("S2"))
    poses = dataset.index.canonical_mm[rows][:, 1:]
    np.testing.assert_allclose(layer.mean_mm, poses.mean(axis=0), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(layer.std_mm, np.maximum(poses.std(axis=0), 1.0), rtol=1e-3, atol=1e-2)


def test_baseline_reads_labelled_images_only(dataset):
    config = tiny.get_config()
    config.loss.metric_weight = 0.0
    method = methods.get(config, dataset)
    batch = first_batch(method)
    assert set(batch) == {"labelled_image", "pose_mm", "pose_mask", "step"}
    scalars = method.losses(method.build_model(), batch)
    assert set(scalars) == {"total", "pose"}
    assert float(scalars["total"]) == float(scalars["pose"]) > 0
    assert method.pictures(None, batch) == {}
    assert method.find_collapse({"total": 1.0}) is None


def test_without_labels_only_the_metric_is_trained(unlabelled):
    method = methods.get(tiny.get_config(), unlabelled)
    model, batch = method.build_model(), first_batch(method)
    assert set(batch) == {"anchor_image", "positive_image", "group", "step"}
    assert set(model.output) == {"embedding"}
    assert float(method.losses(model, batch)["total"]) > 0
    config = tiny.get_config()
    config.loss.metric_weight = 0.0
    with pytest.raises(InputError, match=r"labelled images only. Received: .* without 3D poses"):
        methods.get(config, unlabelled)


def test_threshold_waits_for_spread_then_ramps(dataset):
    config = tiny.get_config()
    config.loss.threshold_ramp_steps = 2
    method = methods.get(config, dataset)
    model, batch = method.build_model(), first_batch(method)
    thresholds = []
    for value in (0.4, 0.6, 0.6, 0.6):
        method.after_step({"spread": tf.constant(value)})
        thresholds.append(float(method.losses(model, batch)["threshold"]))
    np.testing.assert_allclose(thresholds, [0.0, 0.15, 0.3, 0.3], rtol=1e-6)


def test_spread_of_equal_and_of_opposite_points():
    assert float(spread(tf.ones((5, 3)))) == 0.0
    np.testing.assert_allclose(spread(tf.constant([[1.0, 0], [-1, 0], [0, 1], [0, -1]])), 1.0)


@pytest.mark.parametrize(
    ("means", "message"),
    [
        (
            {"admissible_fraction": 0.0, "spread": 0.1, "threshold": 0.3},
            "admissible_fraction=0 .*threshold 0.3",
        ),
        ({"admissible_fraction": 1.0, "spread": 0.001, "threshold": 0.0}, "spread=0.001"),
    ],
)
def test_collapse_is_named(dataset, means, message):
    method = methods.get(tiny.get_config(), dataset)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(method.find_collapse(means))
    assert method.find_collapse({"admissible_fraction": 1.0, "spread": 0.5, "threshold": 0.0}) is None


def test_pictures_show_each_anchor_its_positive_and_its_hardest_negative(dataset):
    method = methods.get(tiny.get_config(), dataset)
    model, batch = method.build_model(), first_batch(method)
    grid = method.pictures(model, batch)["hardest_negatives"]
    assert grid.shape == (4 * 32, 3 * 32, 3)
    assert grid.dtype == np.uint8
    e = model(np.concatenate([batch["anchor_image"], batch["positive_image"]]))["embedding"].numpy()
    for row in range(4):
        distances = np.linalg.norm(e[row] - e[4:], axis=1)
        distances[row] = np.inf
        expected = [
            batch["anchor_image"][row],
            batch["positive_image"][row],
            batch["positive_image"][int(np.argmin(distances))],
        ]
        np.testing.assert_array_equal(grid[32 * row : 32 * row + 32], np.concatenate(expected, axis=1))


def test_an_anchor_without_negative_gets_grey(dataset):
    config = tiny.get_config()
    config.loss.threshold, config.loss.threshold_ramp_steps = 5.0, 0
    method = methods.get(config, dataset)
    method.after_step({"spread": tf.constant(1.0)})
    grid = method.pictures(method.build_model(), first_batch(method))["hardest_negatives"]
    assert (grid[:, 64:] == 128).all()


def test_gap_is_auto_or_seconds(dataset):
    config = tiny.get_config()
    assert "4 instants in 2 views, at least 1 s apart," in methods.get(config, dataset).describe()
    config.batch.min_gap_s = "0.5"
    assert "4 instants in 2 views, at least 0.5 s apart," in methods.get(config, dataset).describe()
    config.batch.min_gap_s = "soon"
    with pytest.raises(InputError, match="min_gap_s must be \"auto\" or seconds. Received: 'soon'"):
        methods.get(config, dataset)


def test_labels_are_words_or_names():
    labels = tiny.get_config().labels
    assert label_options(labels) == {"subjects": "all", "fraction": 1.0, "seed": 0}
    labels.subjects = "S1, S5"
    assert label_options(labels)["subjects"] == ["S1", "S5"]


def test_cameras_that_are_left_out_are_not_read(dataset):
    config = tiny.get_config()
    config.loss.metric_weight = 0.0
    all_steps = methods.get(config, dataset).steps_per_epoch
    config.data.without_cameras = "cam0, cam2"
    assert methods.get(config, dataset).steps_per_epoch == all_steps // 3


def test_mixed_batches_are_longer_epochs_of_any_subject(dataset):
    config = tiny.get_config()
    config.batch.num_pairs, config.batch.subjects = 8, "mixed"
    method = methods.get(config, dataset)
    groups = np.array([batch["group"] for batch in method.train_batches(0).take(method.steps_per_epoch)])
    assert len(groups) == 3  # 24 instants of two subjects together
    assert any(len(set(dataset.index.subject[rows])) == 2 for rows in groups)
    config.batch.subjects = "two"
    with pytest.raises(InputError, match=r"one of one, mixed, per_replica. Received: 'two'"):
        methods.get(config, dataset)


def test_a_run_goes_on_from_the_weights_of_another(dataset, unlabelled, tmp_path):
    config = tiny.get_config()
    config.train.steps = 2
    first = train(methods.get(config, dataset), config, open_workdir(tmp_path / "first", config, dataset, []))
    config.train.init_from = str(tmp_path / "first")
    for one, other in zip(methods.get(config, dataset).build_model().weights, first.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    # On unlabelled images the embedding changes and the pose head stays.
    second = train(
        methods.get(config, unlabelled), config, open_workdir(tmp_path / "second", config, unlabelled, [])
    )
    for name, is_equal in (("pose_linear", True), ("embedding_linear", False)):
        kernels = (model.get_layer(name).kernel.numpy() for model in (first, second))
        assert np.array_equal(*kernels) == is_equal
    config.image_size = 48
    with pytest.raises(InputError, match=r"on images of 48 pixels.* with 32 pixels and embedding, pose"):
        methods.get(config, dataset).build_model()


def test_smooth_loss_is_added_with_its_weight(dataset):
    config = tiny.get_config()
    config.loss.softmax_weight, config.loss.temperature = 0.5, 0.2
    method = methods.get(config, dataset)
    model, batch = method.build_model(), first_batch(method)
    scalars = method.losses(model, batch)
    hard = scalars["pull"] + scalars["push_anchor"] + scalars["push_positive"]
    np.testing.assert_allclose(scalars["metric"], hard + 0.5 * scalars["softmax"], rtol=1e-5)
    # All embeddings nearly equal, as at the start: one among the pairs of the batch, by chance.
    assert 0 < float(scalars["softmax"]) < 2 * np.log(len(batch["group"]))
