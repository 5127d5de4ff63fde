"""What a stock TensorFlow cannot run is found, also inside nested functions."""

from pathlib import Path

import tensorflow as tf

from mcss_tf.serving.portable import unportable_nodes


def save(function, folder: Path) -> Path:
    module = tf.Module()
    module.call = tf.function(function, input_signature=[tf.TensorSpec([None, 3])])
    tf.saved_model.save(module, str(folder), signatures={"call": module.call})
    return folder


def test_a_plain_graph_with_loops_passes(tmp_path: Path) -> None:
    folder = save(lambda x: {"y": tf.map_fn(lambda row: tf.sort(row), x)}, tmp_path / "model")
    assert unportable_nodes(folder) == []


def test_python_inside_a_loop_is_found(tmp_path: Path) -> None:
    def call(x):
        return {"y": tf.map_fn(lambda row: tf.py_function(lambda y: y, [row], tf.float32), x)}

    assert any("EagerPyFunc" in line for line in unportable_nodes(save(call, tmp_path / "model")))


def test_forced_compilation_inside_a_function_is_found(tmp_path: Path) -> None:
    compiled = tf.function(lambda x: 2 * x, jit_compile=True)
    folder = save(lambda x: {"y": tf.map_fn(compiled, x)}, tmp_path / "model")
    assert any("compiled by XLA" in line for line in unportable_nodes(folder))


def test_an_op_that_tensorflow_does_not_have_is_found(tmp_path: Path) -> None:
    folder = save(lambda x: {"y": tf.map_fn(lambda row: tf.math.cumsum(row), x)}, tmp_path / "model")
    graph = (folder / "saved_model.pb").read_bytes()
    # The same length keeps the file a valid protocol buffer.
    assert b"Cumsum" in graph
    (folder / "saved_model.pb").write_bytes(graph.replace(b"Cumsum", b"Mcssop"))
    assert any("custom op Mcssop" in line for line in unportable_nodes(folder))
