"""One file per paper: its model, losses and batches behind one small interface."""

from typing import Any

from ml_collections import ConfigDict

from mcss_tf.errors import InputError
from mcss_tf.methods.mcss import MCSS

METHODS = {"mcss": MCSS}


def get(config: ConfigDict, dataset: Any) -> Any:
    """Returns the method that `config.method` names, for the prepared dataset.

    Raises:
        InputError: unknown method.
    """
    if config.method not in METHODS:
        raise InputError(
            f"method must be one of {', '.join(METHODS)}. Received: {config.method!r}. Choose one of these."
        )
    return METHODS[config.method](config, dataset)
