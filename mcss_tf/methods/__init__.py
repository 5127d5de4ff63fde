"""One file per paper: its model, losses and batches behind one small interface."""

from typing import Any

from ml_collections import ConfigDict

from mcss_tf.data.validation import hold_out
from mcss_tf.errors import InputError
from mcss_tf.methods.lifting import Lifting
from mcss_tf.methods.mcss import MCSS
from mcss_tf.methods.refinement import Refinement

METHODS = {"mcss": MCSS, "lifting": Lifting, "refinement": Refinement}


def get(config: ConfigDict, dataset: Any) -> Any:
    """Returns the method that `config.method` names, for the prepared dataset.

    Raises:
        InputError: unknown method, one of images for a dataset of keypoints, or nothing to hold out.
    """
    if config.method not in METHODS:
        raise InputError(
            f"method must be one of {', '.join(METHODS)}. Received: {config.method!r}. Choose one of these."
        )
    if config.method == "mcss" and not dataset.crop_size:
        raise InputError(
            f"MCSS learns from images. Received: {dataset.path}, which holds keypoints alone. "
            "Use configs/lifting_mocap.py or configs/refinement_mocap.py, or prepare images."
        )
    return METHODS[config.method](config, hold_out(dataset, config.validation))
