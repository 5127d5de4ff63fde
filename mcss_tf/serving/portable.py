"""Proof that a SavedModel runs wherever TensorFlow does: no custom op, no Python, no forced compiler."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

# Ops of the public API that need a Python interpreter or one machine's compiler all the same.
UNPORTABLE_OPS = frozenset(
    {"PyFunc", "PyFuncStateless", "EagerPyFunc", "XlaCallModule", "XlaLaunch", "XlaHostCompute"}
)
# Hands a function to XLA; TensorFlow Serving refuses a model that has it.
COMPILER_ATTRIBUTE = "_XlaMustCompile"


def unportable_nodes(saved_model_dir: Path) -> list[str]:
    """Returns what a stock TensorFlow could not run, as `function/node: reason`; empty if nothing.

    A custom op inside a nested function (of a loop, of `map_fn`) escapes `saved_model_cli scan` and even
    loading, so every function of the library is walked.
    """
    saved_model = SavedModel.FromString((saved_model_dir / "saved_model.pb").read_bytes())
    found = []
    for meta_graph in saved_model.meta_graphs:
        library = meta_graph.graph_def.library
        functions = {function.signature.name for function in library.function}
        for function in library.function:
            if _forces_compiler(function.attr):
                found.append(f"{function.signature.name}: compiled by XLA")
        for where, node in _nodes(meta_graph.graph_def):
            if reason := _reason(node, functions):
                found.append(f"{where}/{node.name}: {reason}")
    return found


def _nodes(graph_def: tf.compat.v1.GraphDef) -> Iterator[tuple[str, NodeDef]]:
    for node in graph_def.node:
        yield "main graph", node
    for function in graph_def.library.function:
        for node in function.node_def:
            yield function.signature.name, node


def _reason(node: NodeDef, functions: set[str]) -> str | None:
    if node.op in UNPORTABLE_OPS:
        return f"op {node.op} needs more than TensorFlow"
    # Ops that a library registered at run time are not part of tf.raw_ops; a function may be called by name.
    if not hasattr(tf.raw_ops, node.op) and node.op not in functions and not node.op.startswith("_"):
        return f"custom op {node.op}"
    return "compiled by XLA" if _forces_compiler(node.attr) else None


def _forces_compiler(attributes: dict) -> bool:
    return COMPILER_ATTRIBUTE in attributes and attributes[COMPILER_ATTRIBUTE].b
