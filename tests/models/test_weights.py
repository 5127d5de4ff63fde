"""ImageNet initialisation: what is kept is exact, what does not fit is refused by name."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from mcss_tf.errors import InputError
from mcss_tf.models.resnet import DEPTHS, EXPANSION, build_resnet
from mcss_tf.models.weights import load_imagenet_weights


def torchvision_arrays(depth, seed=0):
    """Names and shapes of torchvision's ResNet, written out independently of the code under test."""
    rng = np.random.default_rng(seed)
    arrays = {"fc.weight": np.zeros((1000, 8), np.float32), "fc.bias": np.zeros(1000, np.float32)}

    def add(conv, norm, outputs, inputs, size):
        scale = np.sqrt(2 / (inputs * size * size))
        arrays[f"{conv}.weight"] = rng.normal(0, scale, (outputs, inputs, size, size)).astype(np.float32)
        arrays[f"{norm}.weight"] = rng.uniform(-1.5, 1.5, outputs).astype(np.float32)
        arrays[f"{norm}.bias"] = rng.normal(size=outputs).astype(np.float32)
        arrays[f"{norm}.running_mean"] = rng.normal(size=outputs).astype(np.float32)
        arrays[f"{norm}.running_var"] = rng.uniform(0.5, 2, outputs).astype(np.float32)
        arrays[f"{norm}.num_batches_tracked"] = np.array(7)

    repeats, is_bottleneck = DEPTHS[depth]
    add("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, num_blocks in enumerate(repeats):
        width = 64 * 2**stage
        outputs = width * (EXPANSION if is_bottleneck else 1)
        for index in range(num_blocks):
            name = f"layer{stage + 1}.{index}"
            sizes = (1, 3, 1) if is_bottleneck else (3, 3)
            channels = [inputs] + [width] * (len(sizes) - 1) + [outputs]
            for k, size in enumerate(sizes, start=1):
                add(f"{name}.conv{k}", f"{name}.bn{k}", channels[k], channels[k - 1], size)
            if index == 0 and (stage > 0 or inputs != outputs):
                add(f"{name}.downsample.0", f"{name}.downsample.1", outputs, inputs, 1)
            inputs = outputs
    return arrays


def numpy_convolution(x, weight, stride, pad):
    """The textbook sum over a zero-padded window; x [H, W, I], weight in PyTorch's order [O, I, k, k]."""
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    size = weight.shape[-1]
    height = (x.shape[0] - size) // stride + 1
    out = np.zeros((height, height, weight.shape[0]))
    for row in range(height):
        for column in range(height):
            window = x[row * stride : row * stride + size, column * stride : column * stride + size]
            out[row, column] = np.einsum("hwi,oihw->o", window, weight)
    return out


def numpy_norm(x, arrays, name):
    mean, var, gamma, beta = (
        arrays[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * gamma + beta


def numpy_block(x, arrays, name, stride):
    """torchvision's BasicBlock with its affine normalisation."""
    y = numpy_convolution(x, arrays[f"{name}.conv1.weight"], stride, 1)
    y = np.maximum(numpy_norm(y, arrays, f"{name}.bn1"), 0)
    y = numpy_norm(numpy_convolution(y, arrays[f"{name}.conv2.weight"], 1, 1), arrays, f"{name}.bn2")
    shortcut = numpy_convolution(x, arrays[f"{name}.downsample.0.weight"], stride, 0)
    return np.maximum(y + numpy_norm(shortcut, arrays, f"{name}.downsample.1"), 0)


@pytest.mark.parametrize(("depth", "suffix"), [(18, ".npz"), (34, ".safetensors"), (50, ".safetensors")])
def test_every_array_arrives(depth, suffix, tmp_path):
    arrays = torchvision_arrays(depth)
    path = tmp_path / f"resnet{suffix}"
    save_file(arrays, path) if suffix == ".safetensors" else np.savez(path, **arrays)
    backbone = build_resnet(32, depth)
    load_imagenet_weights(backbone, path)
    sign = np.sign(arrays["bn1.weight"])
    np.testing.assert_array_equal(
        backbone.get_layer("conv1").kernel.numpy(),
        arrays["conv1.weight"].transpose(2, 3, 1, 0) * sign,
    )
    np.testing.assert_array_equal(backbone.get_layer("bn1").moving_mean, arrays["bn1.running_mean"] * sign)
    np.testing.assert_array_equal(
        backbone.get_layer("layer4.1.bn2").moving_variance, arrays["layer4.1.bn2.running_var"]
    )


def test_block_equals_the_affine_one_where_folding_is_exact(tmp_path):
    # Exact when beta is 0 and the gammas before the sum are +-1; bn1's gamma is arbitrary, signs included.
    arrays = torchvision_arrays(18)
    for key in ("layer2.0.bn1", "layer2.0.bn2", "layer2.0.downsample.1"):
        arrays[f"{key}.bias"][:] = 0
    for key in ("layer2.0.bn2", "layer2.0.downsample.1"):
        arrays[f"{key}.weight"] = np.ones_like(arrays[f"{key}.weight"])
    save_file(arrays, tmp_path / "resnet18.safetensors")
    backbone = build_resnet(64, 18)
    load_imagenet_weights(backbone, tmp_path / "resnet18.safetensors")
    x = np.maximum(np.random.default_rng(3).normal(size=(6, 6, 64)), 0).astype(np.float32)
    y = run_block(backbone, "layer2.0", x[None])
    expected = numpy_block(x, arrays, "layer2.0", stride=2)
    np.testing.assert_allclose(y[0], expected, rtol=1e-3, atol=1e-4)


def run_block(backbone, name, x):
    """Runs the layers of one basic block of our backbone, padding included, in their graph order."""
    layer = backbone.get_layer
    y = layer(f"{name}.conv1")(layer(f"{name}.conv1.pad")(x))
    y = layer(f"{name}.relu1")(layer(f"{name}.bn1")(y, training=False))
    y = layer(f"{name}.bn2")(layer(f"{name}.conv2")(y), training=False)
    shortcut = layer(f"{name}.downsample.1")(layer(f"{name}.downsample.0")(x), training=False)
    return layer(f"{name}.relu")(layer(f"{name}.add")([shortcut, y])).numpy()


def test_what_was_dropped_is_logged(tmp_path, caplog):
    np.savez(tmp_path / "resnet18.npz", **torchvision_arrays(18))
    with caplog.at_level("WARNING", logger="absl"):
        load_imagenet_weights(build_resnet(32, 18), tmp_path / "resnet18.npz")
    # 4800 normalised channels; per block the last norm, plus three projections and the stem, fold nowhere.
    dropped = 64 + 2 * (64 + 128 + 256 + 512) + (128 + 256 + 512)
    assert f"20 convolutions; affine-free BatchNorm dropped 4800 offsets and {dropped} scales" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("layer3.1.conv2.weight"), "missing layer3.1.conv2.weight"),
        (lambda a: a.update({"conv2.weight": np.zeros(3)}), "unknown conv2.weight"),
        (lambda a: a.update({"bn1.weight": np.zeros(32)}), r"bn1.weight has shape \(32,\), not \(64,\)"),
    ],
)
def test_mismatch_names_what_differs_and_changes_nothing(change, message, tmp_path):
    arrays = torchvision_arrays(18)
    change(arrays)
    np.savez(tmp_path / "resnet18.npz", **arrays)
    backbone = build_resnet(32, 18)
    before = [w.numpy() for w in backbone.weights]
    with pytest.raises(InputError, match=f"names and shapes. Received: .*{message}"):
        load_imagenet_weights(backbone, tmp_path / "resnet18.npz")
    assert all(np.array_equal(a, b) for a, b in zip(before, backbone.weights, strict=True))


def test_another_depth_is_refused(tmp_path):
    np.savez(tmp_path / "resnet34.npz", **torchvision_arrays(34))
    with pytest.raises(InputError, match=r"unknown layer1.2.bn1.bias.*more. Set backbone.depth"):
        load_imagenet_weights(build_resnet(32, 18), tmp_path / "resnet34.npz")


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must be a .safetensors or .npz file .* Received: .*x.pth"):
        load_imagenet_weights(build_resnet(32, 18), tmp_path / "x.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00")
    for name in ("cut.safetensors", "absent.npz"):
        with pytest.raises(InputError, match=rf"must be a readable file. Received: .*{name}"):
            load_imagenet_weights(build_resnet(32, 18), tmp_path / name)
