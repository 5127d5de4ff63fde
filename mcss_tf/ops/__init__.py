"""Operations with a compiled implementation and a plain TensorFlow one behind a single signature."""

from mcss_tf.ops.hardest_negatives import HardestNegatives, hardest_negatives

__all__ = ["HardestNegatives", "hardest_negatives"]
