"""Loads TensorFlow for an entry point without what it says to everybody on start-up.

Imported first by every entry point. Before its logging is set up TensorFlow writes to standard error
whatever TF_CPP_MIN_LOG_LEVEL says; a user's terminal shows it once per worker process.
"""

import os

import mcss_tf


def _load_quietly() -> None:
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(nowhere)
        os.close(stderr)


if mcss_tf.IS_QUIET:
    _load_quietly()
