"""The loop on a tiny dataset: bit-equal resume, signals, NaN and collapse stops, what is left on disk."""

import csv
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from configs import tiny
from mcss_tf import methods
from mcss_tf.training.checkpoints import catch_signals
from mcss_tf.training.loop import build_optimizer, train
from mcss_tf.training.watch import TrainingStoppedError
from mcss_tf.training.workdir import load_run, open_workdir
from tests.helpers import make_tiny_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("data"), instants=12)


@pytest.fixture
def config():
    return tiny.get_config()


def run(config, dataset, path, method_class=None):
    method = (method_class or methods.METHODS["mcss"])(config, dataset)
    return train(method, config, open_workdir(path, config, dataset, []))


def rows_of(path):
    with open(path / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def interrupting(step, signum):
    """Returns MCSS that sends this process a signal while it delivers batch number `step` (from 0)."""

    class Interrupting(methods.METHODS["mcss"]):
        def train_batches(self, start_step):
            for number, batch in enumerate(super().train_batches(start_step), start=start_step):
                if number == step:
                    os.kill(os.getpid(), signum)
                yield batch

    return Interrupting


def killed(step):
    """Returns MCSS that dies at batch `step` without any chance to save."""

    class Killed(methods.METHODS["mcss"]):
        def train_batches(self, start_step):
            for number, batch in enumerate(super().train_batches(start_step), start=start_step):
                if number == step:
                    raise MemoryError
                yield batch

    return Killed


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    return run(tiny.get_config(), dataset, path), path


def assert_same_weights(model, other):
    assert len(model.weights) == len(other.weights) == 68
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


def test_a_run_leaves_all_its_parts(uninterrupted):
    model, path = uninterrupted
    assert {p.name for p in path.iterdir()} == {
        "run.json",
        "config.json",
        "checkpoints",
        "log.jsonl",
        "metrics.csv",
        "tensorboard",
        "model.keras",
    }
    assert_same_weights(model, load_run(path).model)
    rows = rows_of(path)
    assert [int(row["step"]) for row in rows] == [2, 3, 4, 6]
    assert {"total", "pull", "push_anchor", "push_positive", "admissible_fraction", "spread", "threshold",
            "pose", "learning_rate", "images_per_s"} <= set(rows[0])  # fmt: skip
    events = next((path / "tensorboard").iterdir())
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert {"total", "spread", "hardest_negatives"} <= tags


def test_resume_after_sigterm_is_bit_equal(config, dataset, uninterrupted, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(config, dataset, tmp_path / "run", interrupting(3, signal.SIGTERM))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert "stopped after step 4, which is saved" in capsys.readouterr().out
    assert not (tmp_path / "run" / "model.keras").exists()
    resumed = run(config, dataset, tmp_path / "run")
    assert "steps 5-6" in capsys.readouterr().out
    assert_same_weights(resumed, uninterrupted[0])


def test_resume_after_a_kill_between_checkpoints_is_bit_equal(
    config, dataset, uninterrupted, tmp_path, capsys
):
    with pytest.raises(MemoryError):
        run(config, dataset, tmp_path / "run", killed(4))
    assert [int(row["step"]) for row in rows_of(tmp_path / "run")] == [2, 3, 4]
    capsys.readouterr()
    resumed = run(config, dataset, tmp_path / "run")
    assert "steps 4-6" in capsys.readouterr().out, "the last checkpoint is that of step 3"
    assert_same_weights(resumed, uninterrupted[0])
    # Row 4 of the killed run was dropped and written anew.
    assert [int(row["step"]) for row in rows_of(tmp_path / "run")] == [2, 3, 4, 6]


def test_signal_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as stopped, catch_signals() as caught:
        signal.raise_signal(signal.SIGTERM)
    assert caught == [signal.SIGTERM]
    assert stopped.value.code == 128 + signal.SIGTERM, "nobody heeded it, as after the last step"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_nan_stops_the_run_and_is_not_checkpointed(config, dataset, tmp_path):
    class Poisoned(methods.METHODS["mcss"]):
        def losses(self, model, batch):
            scalars = super().losses(model, batch)
            factor = tf.where(batch["step"] == 4, float("nan"), 1.0)
            return {name: value * factor for name, value in scalars.items()}

    with pytest.raises(TrainingStoppedError, match=r"must stay finite. Received: total=nan, .* in steps 5-6"):
        run(config, dataset, tmp_path / "run", Poisoned)
    assert [p.name for p in (tmp_path / "run" / "checkpoints").glob("*")] == ["ckpt-3.npz"]


def test_a_collapse_stops_the_run(config, dataset, tmp_path):
    # A threshold no two unit vectors can exceed, from the first step on: the dead zone.
    config.loss.threshold, config.loss.threshold_spread, config.loss.threshold_ramp_steps = 2.5, 0.0, 1
    config.train.collapse_steps = 3
    with pytest.raises(
        TrainingStoppedError, match=r"not collapse. Received: admissible_fraction=0 .* in steps 3-6"
    ):
        run(config, dataset, tmp_path / "run")


def test_epochs_count_where_no_steps_are_given_and_the_average_is_what_is_kept(
    config, dataset, uninterrupted, tmp_path
):
    # 2 subjects of 12 instants, 4 a batch: 6 steps an epoch, the very steps of the uninterrupted run.
    config.train.steps, config.train.epochs = 0, 1
    config.train.ema_decay = 0.5
    model = run(config, dataset, tmp_path / "run")
    assert int(rows_of(tmp_path / "run")[-1]["step"]) == 6
    last, averaged = (m.get_layer("embedding_linear").kernel.numpy() for m in (uninterrupted[0], model))
    assert not np.array_equal(averaged, last)
    np.testing.assert_allclose(averaged, last, atol=0.01)
    norms = [m.get_layer("backbone").get_layer("bn1").moving_mean for m in (uninterrupted[0], model)]
    np.testing.assert_array_equal(*norms)


@pytest.mark.parametrize(
    "schedule",
    [
        {"drop_every_epochs": 2, "warmup_epochs": 1.0},
        {"drop_every_steps": 6, "warmup_steps": 3, "drop_every_epochs": 9, "warmup_epochs": 9.0},
    ],
)
def test_learning_rate_follows_epochs_or_steps(config, schedule):
    config.train.learning_rate = 0.6
    config.train.update(schedule)
    optimizer = build_optimizer(config, num_steps=100, steps_per_epoch=3)
    rates = []
    for iteration in (0, 1, 2, 5, 6):
        optimizer.iterations.assign(iteration)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6, 0.6, 0.06], rtol=1e-6)
