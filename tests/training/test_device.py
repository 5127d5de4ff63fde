"""Precision follows the processor, and only known names are taken."""

import keras
import pytest

from mcss_tf.errors import InputError
from mcss_tf.training import device


@pytest.fixture(autouse=True)
def _restore_policy():
    yield
    keras.config.set_dtype_policy("float32")


def test_cpu_flags_are_read_from_the_first_processor(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu sse2 avx512_bf16\n\nprocessor\t: 1\nflags\t: fpu\n")
    assert device.cpu_flags(cpuinfo) == {"fpu", "sse2", "avx512_bf16"}
    assert device.cpu_flags(tmp_path / "absent") == set()


@pytest.mark.parametrize(
    ("flags", "policy"),
    [({"avx2"}, "float32"), ({"avx512_bf16"}, "mixed_bfloat16"), ({"amx_bf16", "avx2"}, "mixed_bfloat16")],
)
def test_auto_uses_bfloat16_only_in_hardware(flags, policy, monkeypatch):
    monkeypatch.setattr(device.tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(device, "cpu_flags", lambda path: flags)
    assert device.set_precision("auto") == policy
    assert keras.config.dtype_policy().name == policy
    assert not device.use_jit_compile()


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpu_needs_compute_capability_8(capability, fast, monkeypatch):
    monkeypatch.setattr(device.tf.config, "list_physical_devices", lambda kind: ["gpu"])
    monkeypatch.setattr(
        device.tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": capability}
    )
    assert device.has_fast_bfloat16() is fast
    assert device.use_jit_compile()


def test_named_precision_is_taken_as_it_is():
    assert device.set_precision("mixed_bfloat16") == "mixed_bfloat16"
    with pytest.raises(InputError, match="precision must be one of auto, .* Received: 'float16'"):
        device.set_precision("float16")
