"""Precision and compilation by device: what is fast on one is slow on another."""

import resource
import sys
from pathlib import Path

import keras
import tensorflow as tf

from mcss_tf.errors import InputError

PRECISIONS = ("auto", "float32", "mixed_bfloat16")
# Processor flags under which bfloat16 products run in hardware; elsewhere they are emulated, and slower.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def set_precision(precision: str) -> str:
    """Sets Keras's global policy and returns its name.

    Args:
        precision: "float32", "mixed_bfloat16", or "auto": mixed where the device multiplies bfloat16 in
            hardware (GPU of compute capability 8 or more, CPU with AVX512-BF16 or AMX), else float32.

    Raises:
        InputError: any other name.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"train.precision must be one of {', '.join(PRECISIONS)}. Received: {precision!r}. "
            "float16 is not offered: it needs loss scaling."
        )
    if precision == "auto":
        precision = "mixed_bfloat16" if has_fast_bfloat16() else "float32"
    keras.config.set_dtype_policy(precision)
    return precision


def has_fast_bfloat16() -> bool:
    """Returns whether the device that trains multiplies bfloat16 in hardware."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    return bool(BFLOAT16_FLAGS & cpu_flags(Path("/proc/cpuinfo")))


def cpu_flags(cpuinfo: Path) -> set[str]:
    """Returns the processor's feature flags; empty where the file does not exist (not Linux)."""
    if not cpuinfo.is_file():
        return set()
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def make_deterministic() -> None:
    """Makes every operation of this process give the same bits on every run, on a GPU as well."""
    tf.config.experimental.enable_op_determinism()


def peak_memory_mb() -> dict[str, float]:
    """Returns the most memory that this process has held so far, in MB: of the host and of each GPU."""
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"host": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
    for number in range(len(tf.config.list_logical_devices("GPU"))):
        peak[f"gpu{number}"] = round(tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"] / 1e6, 1)
    return peak


def use_jit_compile() -> bool:
    """Returns whether to compile the step with XLA: on a GPU only; on a CPU it is 13 times slower."""
    return bool(tf.config.list_physical_devices("GPU"))
