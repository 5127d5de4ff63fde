"""Calls the registered handler through a StableHLO module: the one place that uses TensorFlow's tf2xla."""

import functools

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

_TYPES = {tf.float32: "f32", tf.bfloat16: "bf16"}

# TensorFlow fills in "?" from the operands' shapes when it compiles: that needs the module's attribute, and
# operands 5 and 6, which give the shapes of the four results.
_MODULE = """
module @hardest_negatives attributes {{jax.uses_shape_polymorphism = true}} {{
  func.func public @main(
      {platform}%anchors: {anchors}, %positives: {positives}, %threshold: tensor<f32>{groups})
      -> (tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xf32>) {{
    %rows = stablehlo.get_dimension_size %anchors, dim = 0 : ({anchors}) -> tensor<i32>
    %columns = stablehlo.get_dimension_size %positives, dim = 0 : ({positives}) -> tensor<i32>
    %row_shape = stablehlo.reshape %rows : (tensor<i32>) -> tensor<1xi32>
    %column_shape = stablehlo.reshape %columns : (tensor<i32>) -> tensor<1xi32>
    {defaults}
    %result:4 = stablehlo.custom_call @mcss_hardest_negatives(
        %anchors, %positives, %threshold, %row_groups, %column_groups, %row_shape, %column_shape) {{
      api_version = 4 : i32, indices_of_shape_operands = dense<[5, 5, 6, 6]> : tensor<4xi64>
    }} : ({anchors}, {positives}, tensor<f32>, tensor<?xi32>, tensor<?xi32>, tensor<1xi32>, tensor<1xi32>)
      -> (tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xf32>)
    return %result#0, %result#1, %result#2, %result#3
      : tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xf32>
  }}
}}
"""


def hardest_negatives(anchors, positives, threshold, row_groups, column_groups, has_cuda):
    """The compiled op; arguments and results as in `reference.hardest_negatives`, but groups may be None.

    Args:
      has_cuda: whether the library has a CUDA handler.
    """
    given = [x for x in (row_groups, column_groups) if x is not None]
    return xla.call_module(
        [tf.stop_gradient(x) for x in (anchors, positives, threshold)] + given,
        version=9,
        module=_module(
            anchors.dtype, anchors.shape[1], row_groups is not None, column_groups is not None, has_cuda
        ),
        Tout=[tf.int32, tf.float32, tf.int32, tf.float32],
        Sout=[anchors.shape[:1], anchors.shape[:1], positives.shape[:1], positives.shape[:1]],
        # With several platforms TensorFlow passes the index of the current one as a first operand.
        platforms=("CPU", "CUDA") if has_cuda else ("CPU",),
    )


@functools.cache
def _module(dtype, dim, has_row_groups, has_column_groups, has_cuda):
    embeddings = f"tensor<?x{'?' if dim is None else dim}x{_TYPES[dtype]}>"
    groups, defaults = [], []
    for side, is_given in (("row", has_row_groups), ("column", has_column_groups)):
        if is_given:
            groups.append(f", %{side}_groups: tensor<?xi32>")
        else:
            defaults.append(
                f"%{side}_groups = stablehlo.dynamic_iota %{side}_shape, dim = 0 "
                ": (tensor<1xi32>) -> tensor<?xi32>"
            )
    return _MODULE.format(
        platform="%platform: tensor<i32>, " if has_cuda else "",
        anchors=embeddings,
        positives=embeddings,
        groups="".join(groups),
        defaults="\n    ".join(defaults),
    ).encode()
