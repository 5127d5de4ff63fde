"""A run that goes wrong is stopped with the steps in which it did."""

import pytest

from mcss_tf.training.watch import TrainingStoppedError, Watch


def collapsed_below_one(means):
    return f"spread={means['spread']}" if means["spread"] < 1 else None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_the_interval(value):
    watch = Watch(collapsed_below_one, patience_steps=10)
    watch.check({"total": 1.0, "spread": 2.0}, 1, 50)
    with pytest.raises(
        TrainingStoppedError, match=rf"must stay finite. Received: total={value} in steps 51-100"
    ):
        watch.check({"total": value, "spread": 2.0}, 51, 100)


def test_collapse_stops_after_patience_and_names_all_its_steps():
    watch = Watch(collapsed_below_one, patience_steps=20)
    watch.check({"spread": 2.0}, 1, 10)
    watch.check({"spread": 0.1}, 11, 20)
    with pytest.raises(TrainingStoppedError, match=r"must not collapse. Received: spread=0.2 in steps 11-30"):
        watch.check({"spread": 0.2}, 21, 30)


def test_recovery_resets_patience():
    watch = Watch(collapsed_below_one, patience_steps=20)
    for first, value in ((1, 0.1), (11, 2.0), (21, 0.1), (31, 2.0)):
        watch.check({"spread": value}, first, first + 9)
