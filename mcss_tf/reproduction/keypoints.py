"""What is measured of networks of keypoints: lifting and refinement."""

from typing import Any

import keras
import numpy as np
from ml_collections import ConfigDict

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.evaluation import lifted
from mcss_tf.evaluation.refinement import measure_refinement
from mcss_tf.reproduction.keypoint_rows import NOISE

_BATCH = 256


def measure_keypoints(
    what: str, model: keras.Model, config: ConfigDict, dataset: PreparedDataset
) -> dict[str, Any]:
    """Measures a network on the test split.

    Args:
        what: "test", or of refinement "noise": errors of the detections scaled, and the slope of the error
            over that scale, mm per CPN.
        model: the network.
        config: it was trained with.
        dataset: to measure on.
    """
    if config.method == "lifting":
        return lifted.measure(lifted.lift(model, dataset, "test", config.data.keypoints))
    if what == "test":
        return measure_refinement(model, config, dataset, "test", _BATCH)
    found = {str(scale): _at_noise(model, config, dataset, scale / 100) for scale in NOISE}
    errors = {m: [at[m]["mpjpe_mm"] for at in found.values()] for m in found["100"]}
    slope = {m: float(np.polyfit(np.array(NOISE) / 100, mm, 1)[0]) for m, mm in errors.items()}
    return {"noise": found, "slope": slope}


def _at_noise(
    model: keras.Model, config: ConfigDict, dataset: PreparedDataset, scale: float
) -> dict[str, Any]:
    scaled = config.copy_and_resolve_references()
    scaled.input.noise_scale = scale
    return measure_refinement(model, scaled, dataset, "test", _BATCH)["all"]
