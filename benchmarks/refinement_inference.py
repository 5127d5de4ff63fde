"""Inference of CV-UGCN: pairs/s, and the ratio to the same products written by hand.

    taskset -c 0 python -m benchmarks.refinement_inference --batch=1
    python -m benchmarks.refinement_inference --batch=256

The reference is a function of tf.matmul on constant matrices: per layer one product with the rows of A_1,
A_2, ... and one with [W_1; W_2; ...], normalisation folded into the weights. It starts from the standardised
inputs, as the timed network does; the whole, with triangulation, is timed apart.
"""

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from mcss_tf.geometry.body_graph import body_parts
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.models.graph import GraphConvolution, build_refinement_model

FLAGS = flags.FLAGS
_CONVOLUTIONS = (
    "view_1", "view_2", "joints_down", "parts_down_1", "parts_down_2", "body_1", "body_2", "parts_up",
)  # fmt: skip


def fused_reference(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns, by hand, inputs [B, 2, 17, C] to corrections [B, 2, 17, 3] mm."""
    layers = {name: _folded(model, name) for name in (*_CONVOLUTIONS, "merge")}
    residual = model.get_layer("residual")
    parts = body_parts(HUMAN36M_17)
    part_of = [next(p for p, joints in enumerate(parts) if j in joints) for j in range(17)]
    both_parts = np.array([part_of, [len(parts) + p for p in part_of]]).ravel()

    def convolve(x: tf.Tensor, name: str) -> tf.Tensor:
        neighbours, weights, bias = layers[name]
        nodes = x.shape[1]
        x = tf.reshape(tf.matmul(neighbours, x), (-1, weights.shape[0]))
        return tf.reshape(tf.nn.relu(tf.matmul(x, weights) + bias), (-1, nodes, weights.shape[1]))

    def pool(x: tf.Tensor, groups: Sequence[Sequence[int]], nodes: int) -> tf.Tensor:
        moved = [[view * nodes + node for node in group] for view in range(2) for group in groups]
        return tf.stack([tf.reduce_max(tf.gather(x, group, axis=1), axis=1) for group in moved], axis=1)

    @tf.function
    def refine(features: tf.Tensor) -> tf.Tensor:
        x = tf.reshape(features, (-1, 34, features.shape[-1]))
        x = convolve(convolve(x, "view_1"), "view_2")
        skip_joints = convolve(x, "joints_down")
        x = convolve(pool(skip_joints, parts, 17), "parts_down_1")
        skip_parts = convolve(x, "parts_down_2")
        x = pool(skip_parts, [range(len(parts))], len(parts))
        x = convolve(convolve(x, "body_1"), "body_2")
        x = convolve(tf.repeat(x, len(parts), axis=1), "parts_up")
        _, weights, bias = layers["merge"]
        x = tf.nn.relu(tf.matmul(tf.concat([x, skip_parts], -1), weights) + bias)
        x = tf.concat([tf.gather(x, both_parts, axis=1), skip_joints], -1)
        x = tf.matmul(x, residual.kernel) + residual.bias
        return 100.0 * tf.reshape(x, (-1, 2, 17, 3))

    return refine


def _folded(model: keras.Model, name: str) -> tuple[np.ndarray | None, tf.Tensor, tf.Tensor]:
    """Returns neighbours, and weights and bias with the layer's normalisation folded in."""
    layer, norm = model.get_layer(name), model.get_layer(f"{name}_norm")
    scale = norm.gamma / tf.sqrt(norm.moving_variance + norm.epsilon)
    bias = (layer.bias - norm.moving_mean) * scale + norm.beta
    neighbours = layer.neighbours if isinstance(layer, GraphConvolution) else None
    return neighbours, tf.constant(layer.kernel * scale), tf.constant(bias)


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Returns the median time of a call after warming up."""
    for _ in range(3):
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main(argv: Sequence[str]) -> None:
    """Times triangulation, network and reference in turns, and compares their results."""
    del argv
    batch, rng = FLAGS.batch, np.random.default_rng(0)
    model = build_refinement_model(HUMAN36M_17)
    # As after training: else the zeros of the last layer hide what the others do.
    model.get_layer("residual").kernel.assign(rng.normal(0, 0.05, model.get_layer("residual").kernel.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.weights:
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    inputs = {
        "rays": tf.constant(rng.normal(0, 0.1, (batch, 2, 17, 2)), tf.float32),
        "confidence": tf.ones((batch, 2, 17)),
        "rotation": tf.constant(
            np.tile(np.stack([np.eye(3), [[0, 0, -1], [0, 1, 0], [1, 0, 0]]]), (batch, 1, 1, 1)), tf.float32
        ),
        "translation_mm": tf.constant(np.tile([[0, 0, 4000.0], [0, 0, 4000.0]], (batch, 1, 1)), tf.float32),
    }
    first = model.get_layer("view_1").input
    features = keras.Model(model.inputs, first)([inputs[tensor.name] for tensor in model.inputs])
    network = keras.Model(first, model.get_layer("residual").output, name="network")
    whole = tf.function(lambda x: model(x, training=False)["refined_mm"])
    alone = tf.function(lambda x: 100.0 * network(x, training=False))
    reference = fused_reference(model)
    difference = float(tf.reduce_max(tf.abs(alone(features) - reference(features))))
    # In turns, so that a busy machine is busy for all.
    times = {"whole": [], "network": [], "reference": []}
    for _ in range(FLAGS.rounds):
        times["whole"].append(seconds(lambda: whole(inputs), FLAGS.repeats))
        times["network"].append(seconds(lambda: alone(features), FLAGS.repeats))
        times["reference"].append(seconds(lambda: reference(features), FLAGS.repeats))
    best = {name: min(values) for name, values in times.items()}
    moved = float(tf.reduce_max(tf.abs(alone(features))))
    print(f"batch {batch}; moved by up to {moved:.3g} mm, where the reference differs by {difference:.2g} mm")
    for name, value in best.items():
        print(f"{name}: {1000 * value:.2f} ms, {batch / value:.0f} pairs/s")
    print(f"network / reference: {best['network'] / best['reference']:.2f}")


if __name__ == "__main__":
    flags.DEFINE_integer("batch", 256, "Pairs per call.", lower_bound=1)
    flags.DEFINE_integer("repeats", 10, "Calls of which the median counts.", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "Turns of which the best counts.", lower_bound=1)
    app.run(main)
