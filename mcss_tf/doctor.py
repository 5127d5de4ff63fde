"""Says whether this machine can train, and how fast: python -m mcss_tf.doctor

Prints versions, devices, what the processor can do, whether the custom op is built and used, and the time of
a small training step. The exit status is 1 if something that is needed does not work.
"""

import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mcss_tf.startup  # before TensorFlow is imported
from mcss_tf.training import device

_PACKAGES = ("tensorflow", "keras", "numpy", "ml_collections", "opencv-python-headless", "av", "pillow")
_CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
_BATCH, _SIDE, _STEPS = 16, 64, 5


def main() -> int:
    """Prints what was found; returns the exit status."""
    broken = []
    for title, check in (
        ("versions", _versions),
        ("machine", _machine),
        ("devices", _devices),
        ("precision", lambda: [f"auto is {device.set_precision('auto')}"]),
        ("custom op", _custom_op),
        ("video", _video),
        ("training step", _training_step),
    ):
        try:
            lines = check()
        except Exception as error:  # whatever is broken is what is to be told
            lines = [f"BROKEN: {type(error).__name__}: {error}"]
            broken.append(title)
        for number, line in enumerate(lines):
            print(f"{title if number == 0 else '':16}{line}")
    print(f"broken: {', '.join(broken)}" if broken else "all that is needed works")
    return 1 if broken else 0


def _versions() -> list[str]:
    return [
        f"mcss_tf {mcss_tf.__version__}, Python {platform.python_version()}",
        ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES),
    ]


def _machine() -> list[str]:
    flags = device.cpu_flags(Path("/proc/cpuinfo"))
    found = ", ".join(flag for flag in _CPU_FLAGS if flag in flags) or "none of the features looked for"
    return [f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores for this process", found]


def _devices() -> list[str]:
    import tensorflow as tf

    found = tf.config.list_physical_devices()
    lines = [f"{one.name} {tf.config.experimental.get_device_details(one) or ''}".strip() for one in found]
    return [*lines, f"steps are {'' if device.use_jit_compile() else 'not '}compiled with XLA"]


def _custom_op() -> list[str]:
    """Runs the op and its plain reference on the same numbers."""
    import numpy as np
    import tensorflow as tf

    from mcss_tf.ops import hardest_negatives, library, reference

    compiled = library.load()
    if compiled is None:
        return ["not built or not wanted: the slower plain reference is used; see docs/custom_op.md"]
    rng = np.random.default_rng(0)
    rows, columns = (tf.constant(rng.normal(size=(64, 16)), tf.float32) for _ in range(2))
    received = hardest_negatives(rows, columns, 0.0)
    expected = reference.hardest_negatives(rows, columns, 0.0, tf.range(64), tf.range(64))
    if not np.array_equal(received.anchor_index, expected[0]):
        raise RuntimeError("the custom op and its reference find different negatives")
    return [f"used, agrees with its reference: {compiled.path}"]


def _video() -> list[str]:
    import av

    needed = [name for name in ("h264", "hevc", "mpeg4", "mjpeg") if name not in av.codecs_available]
    if needed:
        raise RuntimeError(f"no decoder for {', '.join(needed)}")
    return ["h264, hevc, mpeg4 and mjpeg can be decoded"]


def _training_step() -> list[str]:
    """Times the step of a small network on noise."""
    import keras
    import numpy as np
    import tensorflow as tf

    from mcss_tf.losses.contrastive import multiview_contrastive_loss
    from mcss_tf.models.heads import build_mcss_model

    model = build_mcss_model(_SIDE, num_joints=None, hidden_dim=64, embedding_dim=32)
    optimizer = keras.optimizers.Adam(1e-3)
    images = np.random.default_rng(0).integers(0, 256, (2 * _BATCH, _SIDE, _SIDE, 3), np.uint8)

    @tf.function(jit_compile=device.use_jit_compile())
    def step(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            embedding = model(images, training=True)["embedding"]
            loss = multiview_contrastive_loss(
                embedding[:_BATCH], embedding[_BATCH:], margin=1.0, threshold=0.0
            ).total
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    first_s, loss = _timed(lambda: float(step(images)))
    median_s = statistics.median(_timed(lambda: float(step(images)))[0] for _ in range(_STEPS))
    if not np.isfinite(loss):
        raise RuntimeError(f"the loss is {loss}")
    return [
        f"{1000 * median_s:.0f} ms for {2 * _BATCH} images of {_SIDE} x {_SIDE} pixels through ResNet-18: "
        f"{2 * _BATCH / median_s:.0f} images/s (the first took {first_s:.1f} s)"
    ]


def _timed(function: Callable[[], float]) -> tuple[float, float]:
    start = time.monotonic()
    value = function()
    return time.monotonic() - start, value


if __name__ == "__main__":
    sys.exit(main())
