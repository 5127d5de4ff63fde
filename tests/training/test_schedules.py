"""Learning rates at hand-computed steps; the ramp waits, rises and stays."""

import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.training.schedules import LearningRate, Plateau, Ramp


def test_step_schedule_drops_to_a_tenth():
    rate = LearningRate("step", 1e-3, num_steps=100, warmup_steps=0, drop_every_steps=40)
    np.testing.assert_allclose(
        [rate(k) for k in (0, 39, 40, 79, 80)], [1e-3, 1e-3, 1e-4, 1e-4, 1e-5], rtol=1e-5
    )


def test_cosine_schedule_ends_at_zero():
    rate = LearningRate("cosine", 2.0, num_steps=60, warmup_steps=0, drop_every_steps=1)
    np.testing.assert_allclose([rate(k) for k in (0, 20, 30, 60)], [2.0, 1.5, 1.0, 0.0], atol=1e-5)


@pytest.mark.parametrize("name", ["step", "cosine"])
def test_warm_up_is_linear(name):
    rate = LearningRate(name, 1.0, num_steps=10**6, warmup_steps=4, drop_every_steps=10**6)
    np.testing.assert_allclose([rate(k) for k in range(6)], [0.25, 0.5, 0.75, 1, 1, 1], rtol=1e-5)


def test_config_makes_the_same_schedule():
    rate = LearningRate("cosine", 2.0, 60, 5, 7)
    assert float(LearningRate(**rate.get_config())(17)) == float(rate(17))


def test_unknown_schedule_is_refused():
    with pytest.raises(InputError, match="schedule must be step or cosine, .* Received: 'linear'"):
        LearningRate("linear", 1.0, 1, 0, 1)


def test_ramp_rises_in_ready_steps_only():
    ramp, values = Ramp(4), []
    for is_ready in (False, True, True, False, True, True, True):
        ramp.advance(tf.constant(is_ready))
        values.append(float(ramp.value))
    assert values == [0, 0.25, 0.5, 0.5, 0.75, 1, 1]


def test_ramp_without_length_jumps():
    ramp = Ramp(0)
    ramp.advance(tf.constant(True))
    assert float(ramp.value) == 1.0


def test_plateau_falls_after_epochs_without_a_new_least_loss():
    """Two steps an epoch, patience 2: epochs of loss 4, 3, 3, 5 | 3, 3 | 1, 1, 1 |"""
    plateau = Plateau(decay=0.5, patience_epochs=2, steps_per_epoch=2)
    factors = []
    for loss in (4.0, 3.0, 3.0, 5.0, 3.0, 3.0, 1.0, 1.0, 1.0):
        for step in (loss - 0.5, loss + 0.5):
            plateau.advance(tf.constant(step))
        factors.append(float(plateau.factor))
    assert factors == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_the_learning_rate_follows_a_plateau_inside_a_compiled_function():
    plateau = Plateau(decay=0.9, patience_epochs=1, steps_per_epoch=1)
    rate = LearningRate("plateau", 1.0, 100, 0, 1, plateau.factor)

    @tf.function
    def step(loss):
        plateau.advance(loss)
        return rate(tf.constant(5))

    rates = [float(step(tf.constant(loss))) for loss in (2.0, 2.0, 1.0, 3.0)]
    np.testing.assert_allclose(rates, [1, 0.9, 0.9, 0.81], rtol=1e-6)


def test_plateau_of_a_method_that_does_not_watch_its_loss():
    with pytest.raises(InputError, match=r"plateau where the method watches its loss\. Received: 'plateau'"):
        LearningRate("plateau", 1.0, 100, 0, 1)
