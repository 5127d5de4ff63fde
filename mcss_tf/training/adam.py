"""Adam in one pass over weights and moments."""

from typing import Any

import keras
import tensorflow as tf

from mcss_tf.training import device


@keras.saving.register_keras_serializable("mcss_tf")
class Adam(keras.optimizers.Adam):
    """Keras's Adam, whose update of a variable is TensorFlow's fused kernel: the same numbers to rounding.

    Keras makes ten passes over weights and moments, the kernel one, under every strategy. (XLA fuses as well,
    but cannot compile an update that replicas share.)
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.amsgrad and device.use_jit_compile():  # XLA has no such kernel, and fuses Keras's operations
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        dtype = variable.dtype
        step = tf.cast(self.iterations.value + 1, dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        arguments = {
            "var": variable.handle,
            "m": self._momentums[index].value.handle,
            "v": self._velocities[index].value.handle,
            "beta1_power": tf.pow(beta_1, step),
            "beta2_power": tf.pow(beta_2, step),
            "lr": tf.cast(learning_rate, dtype),
            "beta1": beta_1,
            "beta2": beta_2,
            "epsilon": tf.cast(self.epsilon, dtype),
            "grad": tf.cast(gradient, dtype),
        }
        if self.amsgrad:
            hat = self._velocity_hats[index].value.handle
            tf.raw_ops.ResourceApplyAdamWithAmsgrad(vhat=hat, **arguments)
        else:
            tf.raw_ops.ResourceApplyAdam(**arguments)
