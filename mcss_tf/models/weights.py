"""ImageNet initialisation from a file the user has: torchvision/timm names in safetensors or npz."""

from pathlib import Path

import keras
import numpy as np
from absl import logging
from keras import layers

from mcss_tf.errors import InputError

# The classifier and torchvision's step counters have no counterpart in a backbone.
IGNORED_PREFIXES = ("fc.",)
IGNORED_SUFFIXES = (".num_batches_tracked",)
BATCH_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def load_imagenet_weights(backbone: keras.Model, path: str | Path) -> None:
    """Initialises the backbone from a torchvision-named file (`.safetensors` or `.npz`).

    Our batch normalisation is affine-free, the file's is gamma * z + beta. What can be kept is kept:

    * the sign of gamma moves into the convolution before it (BN(-x) = -BN(x));
    * |gamma| moves into the convolution after it where only a ReLU lies between (ReLU(c z) = c ReLU(z));
    * beta, and |gamma| in front of a residual sum or of the stem's pooling, have no place: dropped.

    So the result is the pretrained filters, not the pretrained function; the moving statistics are the
    file's and settle on the new function in training. Every dropped part is counted in one log line.

    Args:
        backbone: of `build_resnet`; its layers carry the file's names.
        path: the file.

    Raises:
        InputError: unreadable file, missing or unknown names, or other shapes; nothing is assigned then.
    """
    arrays = _read(Path(path))
    norms = [layer for layer in backbone.layers if isinstance(layer, layers.BatchNormalization)]
    convolutions = {layer.name: layer for layer in backbone.layers if isinstance(layer, layers.Conv2D)}
    _check(arrays, norms, convolutions, path)
    kernels = {name: arrays[f"{name}.weight"].astype(np.float32) for name in convolutions}
    num_scales_dropped = 0
    for norm in norms:
        gamma, mean = (
            arrays[f"{norm.name}.{part}"].astype(np.float32) for part in ("weight", "running_mean")
        )
        sign = np.where(gamma < 0, -1.0, 1.0).astype(np.float32)
        kernels[convolution_before(norm.name)] *= sign[:, None, None, None]
        norm.moving_mean.assign(mean * sign)
        norm.moving_variance.assign(arrays[f"{norm.name}.running_var"])
        follower = convolution_after(norm.name)
        if follower in kernels:
            kernels[follower] *= np.abs(gamma)[None, :, None, None]
        else:
            num_scales_dropped += gamma.size
    for name, layer in convolutions.items():
        # PyTorch keeps (out, in, height, width), Keras (height, width, in, out).
        layer.kernel.assign(kernels[name].transpose(2, 3, 1, 0))
    logging.warning(
        "Backbone initialised from %s: %d convolutions; affine-free BatchNorm dropped %d offsets and %d "
        "scales that fold nowhere.",
        path,
        len(convolutions),
        sum(norm.moving_mean.shape[0] for norm in norms),
        num_scales_dropped,
    )


def convolution_before(norm: str) -> str:
    """Returns the convolution a norm follows: bn1 -> conv1, downsample.1 -> downsample.0."""
    return norm[:-1] + "0" if ".downsample." in norm else norm.replace("bn", "conv")


def convolution_after(norm: str) -> str:
    """Returns the name of the next convolution within the block; it does not exist for the last norm."""
    if norm == "bn1" or ".downsample." in norm:
        return ""
    prefix, number = norm.rsplit("bn", 1)
    return f"{prefix}conv{int(number) + 1}"


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix not in (".safetensors", ".npz"):
        raise InputError(
            "backbone.weights must be a .safetensors or .npz file with torchvision's names. "
            f"Received: {path}. Save the state_dict of a .pth file with safetensors.torch.save_file first."
        )
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        from safetensors.numpy import load_file  # here: only users of such a file pay for the import

        return load_file(path)
    except Exception as error:
        raise InputError(
            f"backbone.weights must be a readable file. Received: {path} ({error}). "
            "Check the path and the file."
        ) from error


def _check(arrays: dict, norms: list, convolutions: dict, path: str | Path) -> None:
    """Compares names and shapes with the backbone's before anything is assigned."""
    expected = {}
    for name, layer in convolutions.items():
        height, width, inputs, outputs = layer.kernel.shape
        expected[f"{name}.weight"] = (outputs, inputs, height, width)
    for norm in norms:
        expected.update({f"{norm.name}.{part}": tuple(norm.moving_mean.shape) for part in BATCH_NORM_PARTS})
    names = {
        name
        for name in arrays
        if not name.startswith(IGNORED_PREFIXES) and not name.endswith(IGNORED_SUFFIXES)
    }
    problems = [f"missing {name}" for name in sorted(expected.keys() - names)]
    problems += [f"unknown {name}" for name in sorted(names - expected.keys())]
    problems += [
        f"{name} has shape {arrays[name].shape}, not {expected[name]}"
        for name in sorted(names & expected.keys())
        if arrays[name].shape != expected[name]
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise InputError(
            f"backbone.weights must hold this ResNet's names and shapes. Received: {path}: {shown}. "
            "Set backbone.depth and width to the file's network, or give another file."
        )
