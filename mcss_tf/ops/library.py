"""Finds, builds, loads and registers the op's shared library, once per process and only when first needed."""

import ctypes
import functools
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from absl import logging

from mcss_tf.ops import build


class Library(NamedTuple):
    """A registered library."""

    path: Path
    has_cuda: bool


@functools.cache
def load() -> Library | None:
    """Returns the registered library, or None (after one warning) where the plain reference must do.

    `MCSS_TF_CUSTOM_OPS=0` asks for the reference, without a warning.
    """
    if os.environ.get("MCSS_TF_CUSTOM_OPS", "1") == "0":
        return None
    try:
        return _register(_find_or_build())
    except (build.BuildError, OSError) as error:
        warnings.warn(
            f"mcss_tf uses its slower plain TensorFlow hardest_negatives: {error}. "
            "Set MCSS_TF_CUSTOM_OPS=0 to choose this and silence the warning.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _find_or_build() -> Path:
    with_cuda = bool(tf.config.list_physical_devices("GPU"))
    if with_cuda and build.find_nvcc() is None:
        raise build.BuildError(
            "a GPU is visible, but nvcc, which compiles the op for it, is not found; "
            "install the CUDA toolkit (or set CUDA_HOME)"
        )
    sources = build.source_dir()
    # Put there by the installation.
    library = sources / build.library_name(sources, tf.__version__, with_cuda)
    if not library.exists():
        compilers = build.compiler_versions(with_cuda)
        library = build.cache_dir() / build.library_name(sources, tf.__version__, with_cuda, compilers)
        if not library.exists():
            logging.info("Compiling the hardest_negatives op into %s, once (seconds).", library)
            build.build_once(library, sources, tf.sysconfig.get_include(), with_cuda)
    return library


def _register(path: Path) -> Library:
    framework = ctypes.CDLL(str(Path(tf.sysconfig.get_lib()) / "libtensorflow_framework.so.2"))
    framework.XLA_FFI_GetApi.restype = ctypes.c_void_p
    library = ctypes.CDLL(str(path))
    message = ctypes.create_string_buffer(1000)
    api = ctypes.c_void_p(framework.XLA_FFI_GetApi())
    if library.McssRegister(api, message, ctypes.c_int64(len(message))):
        raise build.BuildError(f"TensorFlow {tf.__version__} refused the op: {message.value.decode()}")
    return Library(path, bool(library.McssHasCuda()))
