"""What the keypoints of a view say about its triangulated joints, beside where they are."""

from typing import Any

import keras
from keras import ops

from mcss_tf.losses.reprojection import MIN_DEPTH_MM

# Rays of a person a few metres away span about a tenth, misses of a detector a few thousandths; networks like
# inputs of about 1, and none far beyond.
_RAY_GAIN, _MISS_GAIN, _MAX_MISS = 5.0, 200.0, 5.0
NUM_EVIDENCE = 5


@keras.saving.register_keras_serializable("mcss_tf")
class Evidence(keras.layers.Layer):
    """Returns the ray of each triangulated joint, by how much it misses the keypoint, and the confidence.

    Two views leave one equation a joint to spare: a miss tells that one of the two keypoints is wrong, and
    the confidences which. Where a lens was not undone, its error is a function of the ray.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs: dict[str, Any], coarse_mm: Any) -> Any:
        """Returns float32 [B, V, J, 5].

        Args:
            inputs: `rays` [B, V, J, 2] and `confidence` [B, V, J].
            coarse_mm: [B, V, J, 3], triangulated in each view's camera.
        """
        rays = coarse_mm[..., :2] / ops.maximum(coarse_mm[..., 2:], MIN_DEPTH_MM)
        confidence = ops.expand_dims(inputs["confidence"], -1)
        missed = ops.where(confidence > 0, inputs["rays"] - rays, 0.0)
        missed = ops.clip(_MISS_GAIN * missed, -_MAX_MISS, _MAX_MISS)
        return ops.concatenate([_RAY_GAIN * rays, missed, confidence], axis=-1)
