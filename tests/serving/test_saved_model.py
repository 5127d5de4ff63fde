"""The exported graph: the Keras model's numbers, any batch, any TensorFlow."""

import gc
import io
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.python.framework.func_graph import FuncGraph

from mcss_tf.serving import saved_model
from mcss_tf.serving.exported import ExportedModel
from mcss_tf.serving.images import served
from mcss_tf.serving.signatures import signatures_of
from tests.serving.conftest import IMAGE_SIZE, small_model

RUN_EVERY_SIGNATURE = """
import sys
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
given = np.load(sys.argv[2], allow_pickle=False)
results = {}
for name, signature in loaded.signatures.items():
    inputs = {key: given[key] for key in signature.structured_input_signature[1]}
    outputs = signature(**{key: tf.constant(value.tolist() if value.dtype.kind == "S" else value)
                           for key, value in inputs.items()})
    results.update({f"{name}/{key}": value.numpy() for key, value in outputs.items()})
assert not any(name.startswith("mcss_tf") for name in sys.modules)
np.savez(sys.argv[3], **results)
"""


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def images(count: int, size: int = IMAGE_SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def write(model: keras.Model, metadata: dict, folder: Path) -> Path:
    return saved_model.write(served(model, 1.2), metadata, folder)


@pytest.fixture(scope="module")
def exported(export_folder: Path) -> ExportedModel:
    return ExportedModel(export_folder)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_images_gives_the_keras_models_numbers(
    model: keras.Model, exported: ExportedModel, batch: int
) -> None:
    given = images(batch)
    expected = model(given.astype("float32"), training=False)
    received = exported(given)
    assert received.keys() == {"embedding", "pose_mm"}
    np.testing.assert_allclose(received["embedding"], expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(received["pose_mm"], expected["pose_mm"], rtol=1e-4, atol=1e-2)
    assert received["embedding"].shape == (batch, 128)
    assert received["pose_mm"].shape == (batch, 16, 3)


def test_every_signature_runs_in_a_process_that_has_only_tensorflow(
    model: keras.Model, export_folder: Path, tmp_path: Path
) -> None:
    given = images(3, seed=1)
    np.savez(
        tmp_path / "in.npz",
        images=given,
        image_bytes=np.array([png(image) for image in given], object).astype("S"),
        # Around it goes the context of the export, so this box gives the image as it is.
        boxes_px=np.tile(
            np.float32([[0, 0, IMAGE_SIZE, IMAGE_SIZE]]) / 1.2 + IMAGE_SIZE * (1 - 1 / 1.2) / 2, (3, 1)
        ),
    )
    command = [
        sys.executable,
        "-c",
        RUN_EVERY_SIGNATURE,
        export_folder / "1",
        tmp_path / "in.npz",
        tmp_path / "out.npz",
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    expected = model(given.astype("float32"), training=False)
    with np.load(tmp_path / "out.npz") as received:
        assert {name.split("/")[0] for name in received} == set(signatures_of(True, False))
        for name in received:
            output = name.split("/")[1]
            if output == "status":
                np.testing.assert_array_equal(received[name], [0, 0, 0])
            else:
                np.testing.assert_allclose(received[name], expected[output], rtol=1e-4, atol=1e-2)


def test_signatures_have_the_names_types_and_shapes_of_the_table(signatures: dict) -> None:
    sizes = {"embedding_dim": 128, "num_joints": 16}
    for name, signature in signatures_of(True, False).items():
        found = signatures[name]
        for tensors, specs in (
            (signature.inputs, found.structured_input_signature[1]),
            (signature.outputs, found.structured_outputs),
        ):
            assert specs.keys() == {tensor.name for tensor in tensors}
            for tensor in tensors:
                spec = tensor.resolved(sizes).spec()
                assert specs[tensor.name].dtype == spec.dtype
                assert specs[tensor.name].shape.as_list() == spec.shape.as_list()


def test_jpeg_bytes_give_the_numbers_of_training(model: keras.Model, signatures: dict) -> None:
    # Larger than the network's square, and smooth as photographs are: decoding and resizing both matter.
    rows = np.linspace(0, 255, 96, dtype=np.float32)
    photo = np.stack(
        [np.add.outer(rows, rows[::-1]) / 2, np.outer(rows, rows) / 255, np.outer(rows, 255 - rows) / 255], -1
    )
    jpeg = tf.io.encode_jpeg(photo.astype(np.uint8), quality=95)
    decoded = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
    resized = tf.round(tf.image.resize(decoded, [IMAGE_SIZE, IMAGE_SIZE], antialias=True))
    received = signatures["serving_default"](image_bytes=jpeg[None])
    expected = model(resized[None], training=False)
    np.testing.assert_allclose(received["embedding"], expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(received["pose_mm"], expected["pose_mm"], rtol=1e-4, atol=1e-2)


def test_bytes_of_different_sizes_share_a_batch(model: keras.Model, signatures: dict) -> None:
    small, large = images(1)[0], np.full((90, 60, 3), 200, np.uint8)
    received = signatures["serving_default"](
        image_bytes=tf.constant([png(small), png(large), tf.io.encode_jpeg(large).numpy()])
    )
    expected = model(small[None].astype("float32"), training=False)
    np.testing.assert_allclose(received["embedding"][:1], expected["embedding"], atol=1e-4)
    # A flat colour survives JPEG, so both files of it give one embedding.
    np.testing.assert_allclose(received["embedding"][1], received["embedding"][2], atol=2e-2)


def test_a_model_without_poses_exports_only_embeddings(tmp_path: Path) -> None:
    model = small_model(num_joints=None)
    metadata = {"image_size": IMAGE_SIZE, "pose": None, "signatures": {"images": {}}}
    write(model, metadata, tmp_path / "mcss")
    exported = ExportedModel(tmp_path / "mcss")
    assert exported.skeleton is None
    assert exported(images(2)).keys() == {"embedding"}


def test_versions_are_added_and_never_overwritten(
    export_folder: Path, model: keras.Model, tmp_path: Path
) -> None:
    folder = tmp_path / "mcss"
    (folder / "7").mkdir(parents=True)
    (folder / "7" / "keep").write_text("mine")
    metadata = {"image_size": IMAGE_SIZE, "pose": None}
    assert write(model, metadata, folder) == folder / "8"
    assert (folder / "7" / "keep").read_text() == "mine"
    assert json.loads((folder / "8" / "assets" / "mcss.json").read_text()) == metadata
    assert sorted(child.name for child in folder.iterdir()) == ["7", "8"]


def test_a_model_trained_in_mixed_precision_serves_float32(tmp_path: Path) -> None:
    expected_model = small_model()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = small_model()
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(expected_model.get_weights())
    given = images(4)
    expected = expected_model(given.astype("float32"), training=False)
    rounded = mixed(given.astype("float32"), training=False)
    assert np.abs(rounded["pose_mm"] - expected["pose_mm"]).max() > 0.1, (
        "the model was not mixed to begin with"
    )
    metadata = {"image_size": IMAGE_SIZE, "pose": {}, "signatures": {"images": {}}}
    write(mixed, metadata, tmp_path / "mcss")
    received = ExportedModel(tmp_path / "mcss")(given)
    np.testing.assert_allclose(received["embedding"], expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(received["pose_mm"], expected["pose_mm"], rtol=1e-4, atol=1e-2)


@keras.saving.register_keras_serializable("test")
class CallsPython(keras.layers.Layer):
    def call(self, x):
        return tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), x.shape)


def test_a_graph_with_python_in_it_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    image = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    embedding = keras.layers.GlobalAveragePooling2D()(CallsPython()(image))
    bad = keras.Model(image, {"embedding": embedding})
    with pytest.raises(RuntimeError, match=r"stock TensorFlow. Received: .*EagerPyFunc.* Take these out"):
        write(bad, {}, tmp_path / "mcss")
    assert list((tmp_path / "mcss").iterdir()) == []


def test_a_model_that_is_let_go_of_is_freed(export_folder: Path) -> None:
    """Custom gradients in an export would stay registered, and with them all of its graphs and weights."""

    def graphs() -> list[FuncGraph]:
        gc.collect()
        return [thing for thing in gc.get_objects() if isinstance(thing, FuncGraph)]

    before = len(graphs())
    loaded = ExportedModel(export_folder)
    assert len(graphs()) > before
    del loaded
    assert len(graphs()) <= before
