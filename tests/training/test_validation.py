"""Validation in the loop: the best weights are kept, and a run that gets no better ends."""

import csv
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import common, lifting, refinement, tiny
from mcss_tf import methods
from mcss_tf.data.batches import image_batches
from mcss_tf.errors import InputError
from mcss_tf.training.loop import train
from mcss_tf.training.validation import Validation, averaged
from mcss_tf.training.workdir import load_run, open_workdir
from tests.helpers import make_tiny_dataset
from tests.keypoint_data import make_keypoint_dataset


def options(**changes):
    section = common.get_config().validation
    section.subjects, section.every_steps, section.metric = "S3", 2, "n_mpjpe_mm"
    section.update(changes)
    return section


def scripted(values, metric="n_mpjpe_mm"):
    """Returns a method whose validations give these values in turn, and a model and optimizer."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    source = iter(values)
    method = types.SimpleNamespace(
        validation_metrics=(metric,), validate=lambda model: {metric: next(source)}
    )
    return method, model, optimizer


def run_steps(validation, model, steps):
    """Sets the model's bias to the step and validates, step by step; returns where it stopped."""
    for step in steps:
        model.layers[0].bias.assign([float(step)])
        validation.run(step)
        if validation.should_stop():
            return step
    return None


def test_the_best_weights_are_kept():
    method, model, optimizer = scripted([5.0, 3.0, float("nan"), 4.0])
    validation = Validation(method, model, optimizer, options())
    assert run_steps(validation, model, (1, 2, 3, 4)) is None, "patience is off"
    assert validation.finish() == "kept the weights of step 2: validation n_mpjpe_mm 3"
    assert float(model.layers[0].bias[0]) == 2.0


def test_more_is_better_where_it_is():
    method, model, optimizer = scripted([0.1, 0.4, 0.2], "sync_hit_at_1")
    validation = Validation(method, model, optimizer, options(metric="sync_hit_at_1"))
    run_steps(validation, model, (1, 2, 3))
    assert validation.finish() == "kept the weights of step 2: validation sync_hit_at_1 0.4"


def test_patience_counts_validations_without_a_better_one():
    method, model, optimizer = scripted([5.0, 6.0, 4.0, 4.0, 4.5, 1.0])
    validation = Validation(method, model, optimizer, options(patience=2))
    assert run_steps(validation, model, range(1, 7)) == 5
    validation.finish()
    assert float(model.layers[0].bias[0]) == 3.0


def test_the_state_travels_with_checkpoints(tmp_path):
    method, model, optimizer = scripted([5.0, 3.0, 4.0])
    validation = Validation(method, model, optimizer, options(patience=2))
    run_steps(validation, model, (1, 2, 3))
    saved = tf.train.Checkpoint(validation=validation).save(str(tmp_path / "state"))
    method, model, optimizer = scripted([3.5])
    resumed = Validation(method, model, optimizer, options(patience=2))
    tf.train.Checkpoint(validation=resumed).restore(saved).assert_existing_objects_matched()
    assert run_steps(resumed, model, (4,)) == 4
    assert "step 2" in resumed.finish()
    assert float(model.layers[0].bias[0]) == 2.0


def test_without_a_metric_the_last_weights_stay():
    method, model, optimizer = scripted([1.0, 2.0])
    validation = Validation(method, model, optimizer, options(metric=""))
    run_steps(validation, model, (1, 2))
    assert validation.finish() == ""
    assert float(model.layers[0].bias[0]) == 2.0


def test_the_moving_average_is_what_is_measured():
    _, model, _ = scripted([])
    optimizer = keras.optimizers.Adam(use_ema=True, ema_momentum=0.5)
    optimizer.build(model.trainable_variables)
    bias = model.layers[0].bias
    values = []
    for _ in range(2):
        optimizer.apply([tf.ones((1, 1)), tf.ones(1)], model.trainable_variables)
        values.append(float(bias[0]))
    with averaged(optimizer, model):
        np.testing.assert_allclose(float(bias[0]), np.mean(values), rtol=1e-5)
    assert float(bias[0]) == values[1] != values[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "n_mpjpe"}, r"must be one that this data allows: n_mpjpe_mm. Received: 'n_mpjpe'"),
        ({"metric": "", "patience": 2}, r"patience needs a metric to wait for. Received: patience=2"),
        ({"every_steps": 0}, r"every_steps is at least 1 .* Received: every_steps=0"),
        ({"patience": -1}, r"patience at least 0. Received: .*patience=-1"),
    ],
)
def test_bad_options(changes, message):
    method, model, optimizer = scripted([])
    with pytest.raises(InputError, match=message):
        Validation(method, model, optimizer, options(**changes))
    method.validation_metrics = ()
    with pytest.raises(InputError, match=r"needs something to measure. Received: held out instants without"):
        Validation(method, model, optimizer, options())


def test_held_out_instants_are_never_trained_on(tmp_path):
    config = tiny.get_config()
    config.validation.subjects = "S3"
    dataset = make_tiny_dataset(tmp_path, subjects=("S1", "S2", "S3"), instants=12)
    method = methods.get(config, dataset)
    held = dataset.subjects.index("S3")
    for batch in method.train_batches(0).take(method.steps_per_epoch):
        assert held not in dataset.index.subject[batch["group"].numpy()]
    assert method.steps_per_epoch == 6
    scalars = method.validate(method.build_model())
    assert set(scalars) == set(method.validation_metrics) >= {"n_mpjpe_mm", "sync_hit_at_1"}
    images = image_batches(method._dataset, "validation", image_size=32, batch_size=36)
    assert set(dataset.index.subject[next(iter(images))["row"].numpy()]) == {held}


@pytest.fixture(scope="module")
def keypoints(tmp_path_factory):
    return make_keypoint_dataset(tmp_path_factory.mktemp("keypoints"), num_instants=40, error_px=2.0)


@pytest.fixture
def config():
    config = lifting.get_config()
    config.batch_size = 16
    config.model.width, config.model.num_blocks, config.model.dropout = 32, 1, 0.0
    config.train.log_every, config.train.checkpoint_every = 2, 3
    config.validation.fraction = 0.5
    config.validation.every_steps = 2
    config.validation.metric = "root_mm"
    return config


class DiedError(Exception):
    """Stands for a kill."""


def run(config, dataset, path, die_at=None):
    method = methods.get(config, dataset)
    if die_at is not None:
        batches = method.train_batches

        def dying(start_step):
            for number, batch in enumerate(batches(start_step), start=start_step):
                if number == die_at:
                    raise DiedError
                yield batch

        method.train_batches = dying
    return train(method, config, open_workdir(path, config, dataset, []))


def validations(path):
    with open(path / "validation.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_loop_keeps_the_best_and_resumes_bit_equal(config, keypoints, tmp_path, capsys):
    # A rate at which the error jumps about, so that the last is not the best.
    config.train.learning_rate, config.train.steps = 0.3, 11
    model = run(config, keypoints, tmp_path / "whole")
    rows = validations(tmp_path / "whole")
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8, 10, 11]
    best = min(rows, key=lambda row: float(row["root_mm"]))
    assert best is not rows[-1]
    assert f"kept the weights of step {best['step']}:" in capsys.readouterr().out
    measured = methods.get(config, keypoints).validate(load_run(tmp_path / "whole").model)
    np.testing.assert_allclose(measured["root_mm"], float(best["root_mm"]), rtol=1e-5)
    with pytest.raises(DiedError):
        run(config, keypoints, tmp_path / "killed", die_at=7)
    resumed = run(config, keypoints, tmp_path / "killed")
    assert validations(tmp_path / "killed") == rows
    for a, b in zip(model.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_loop_stops_early_and_a_stopped_run_stays_stopped(config, keypoints, tmp_path, capsys):
    config.train.learning_rate, config.train.steps, config.validation.patience = 0.3, 40, 1
    run(config, keypoints, tmp_path / "run")
    rows = validations(tmp_path / "run")
    errors = [float(row["root_mm"]) for row in rows]
    assert len(rows) < 20
    assert errors[-1] >= errors[-2], "the first that is no better ends the run"
    stopped = f"stopped before step {int(rows[-1]['step']) + 1}: root_mm has not become better"
    assert stopped in capsys.readouterr().out
    (tmp_path / "run" / "model.keras").unlink()
    run(config, keypoints, tmp_path / "run")
    assert stopped in capsys.readouterr().out
    assert (tmp_path / "run" / "model.keras").is_file()
    assert validations(tmp_path / "run") == rows


def test_refinement_validates_too(keypoints):
    config = refinement.get_config()
    config.network.widths, config.batch.num_instants = (8, 12, 16), 6
    config.validation.fraction = 0.5
    method = methods.get(config, keypoints)
    scalars = method.validate(method.build_model())
    assert set(scalars) == set(method.validation_metrics) >= {"mpjpe_mm", "root_relative_mpjpe_mm"}
    assert scalars["mpjpe_mm"] > 0
