"""ONNX Runtime and LiteRT give the Keras model's numbers, at any batch size."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.serving.folding import fold_batch_norm
from mcss_tf.serving.formats import FORMATS, check_formats, write_formats
from tests.serving.conftest import IMAGE_SIZE


def images(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)


def assert_parity(model: keras.Model, given: np.ndarray, received: dict) -> None:
    expected = model(given.astype("float32"), training=False)
    np.testing.assert_allclose(received["embedding"], expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(received["pose_mm"], expected["pose_mm"], rtol=1e-4, atol=1e-2)


def test_onnx_runtime_gives_the_same_numbers(model: keras.Model, tmp_path) -> None:
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    write_formats(fold_batch_norm(model), ["onnx"], tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / FORMATS["onnx"], providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for batch in (1, 5):
        received = dict(zip(names, session.run(None, {"images": images(batch)}), strict=True))
        assert_parity(model, images(batch), received)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_litert_gives_the_same_numbers(model: keras.Model, tmp_path) -> None:
    write_formats(fold_batch_norm(model), ["litert"], tmp_path)
    for batch in (1, 5):
        interpreter = tf.lite.Interpreter(str(tmp_path / FORMATS["litert"]))
        run = interpreter.get_signature_runner("serving_default")
        assert_parity(model, images(batch), run(images=images(batch)))


def test_an_unknown_format() -> None:
    with pytest.raises(
        InputError, match=r"--format is one or more of onnx, litert. Received: 'coreml'. Choose"
    ):
        check_formats(["coreml"])


def test_onnx_without_its_converter(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tf2onnx", None)
    check_formats(["litert"])
    with pytest.raises(InputError, match=r"written by tf2onnx. Received: a Python without it. Install it"):
        check_formats(["onnx"])
