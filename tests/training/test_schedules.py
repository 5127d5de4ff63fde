"""Learning rates at hand-computed steps; the ramp waits, rises and stays."""

import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.training.schedules import LearningRate, Ramp


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
    with pytest.raises(InputError, match="schedule must be step or cosine. Received: 'linear'"):
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
