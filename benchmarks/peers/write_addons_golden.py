"""Writes what tensorflow-addons computes to `tests/golden/addons.npz`: the oracle of `mcss_tf.losses`.

Run in the peers' environment, from the root of the repository (`make peers` makes it):

    .venv-peers/bin/python -m benchmarks.peers.write_addons_golden

The file holds the inputs of each case, the values and gradients of each entry, the versions and this script's
SHA-256, so that a test fails when the script changes and the file does not.
"""

import json
import platform
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

from mcss_tf.files import atomic_write, sha256

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "addons.npz"
FUNCTIONS = {
    "pairwise_distance": lambda labels, inputs, **options: tfa.losses.metric_learning.pairwise_distance(
        inputs, **options
    ),
    "angular_distance": lambda labels, inputs: tfa.losses.metric_learning.angular_distance(inputs),
    "triplet_hard_loss": tfa.losses.triplet_hard_loss,
    "triplet_semihard_loss": tfa.losses.triplet_semihard_loss,
    "lifted_struct_loss": tfa.losses.lifted_struct_loss,
    "contrastive_loss": tfa.losses.contrastive_loss,
}
OPTIONS = {
    "pairwise_distance": [{}, {"squared": True}],
    "angular_distance": [{}],
    "triplet_hard_loss": [
        {},
        {"margin": 0.2},
        {"soft": True},
        {"distance_metric": "squared-L2"},
        {"distance_metric": "angular", "margin": 0.5},
        {"distance_metric": "squared-L2", "soft": True},
    ],
    "triplet_semihard_loss": [
        {},
        {"margin": 0.2},
        {"distance_metric": "squared-L2"},
        {"distance_metric": "angular", "margin": 0.5},
    ],
    "lifted_struct_loss": [{}, {"margin": 0.3}],
    "contrastive_loss": [{}, {"margin": 0.4}],
}
# The classes, with the weights that they accept: those of a whole batch refuse a weight per row.
ROW_WEIGHTS = [0.0, 0.5, 1.0, 1.5, 2.0, 0.0, 1.0, 1.0, 0.25, 1.0, 3.0, 1.0]
CLASSES = [
    ("TripletHardLoss", "grid", {"soft": True}, [None, 0.5]),
    ("TripletSemiHardLoss", "grid", {"margin": 0.2}, [None, 0.5]),
    ("LiftedStructLoss", "grid", {"margin": 0.3}, [None, 0.5]),
    ("ContrastiveLoss", "pairs", {"margin": 0.4}, [None, 0.5, ROW_WEIGHTS]),
    ("ContrastiveLoss", "pairs", {"reduction": "sum"}, [None, ROW_WEIGHTS]),
    ("ContrastiveLoss", "pairs", {"reduction": "none"}, [None, ROW_WEIGHTS]),
]


def embedding_cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns labels int32 [num_rows] and embeddings float32 [num_rows, dim] by name.

    Coordinates are multiples of 1/8 (but in `unit` and `column_labels`): float32 then holds every square and
    sum exactly, and tensorflow-addons' product form gives 0 between duplicates instead of rounding noise.
    """
    random = np.random.default_rng(20)

    def grid(num_rows: int, dim: int) -> np.ndarray:
        return random.integers(-16, 17, (num_rows, dim)) / 8

    unit = random.normal(size=(24, 16))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    duplicates = grid(8, 4)
    duplicates[3], duplicates[5] = duplicates[0], duplicates[0]
    zeros = grid(8, 4)
    zeros[:3] = 0
    cases = {
        "unit": (random.integers(0, 6, 24), unit),
        "grid": (random.integers(0, 4, 16), grid(16, 7)),
        "column_labels": (random.integers(0, 3, (12, 1)), random.normal(size=(12, 5))),
        "duplicates": (np.array([0, 0, 1, 0, 1, 2, 2, 1]), duplicates),
        "zero_vectors": (np.array([0, 1, 0, 1, 0, 1, 2, 2]), zeros),
        "one_class": (np.zeros(5), grid(5, 3)),
        "no_positive": (np.arange(5), grid(5, 3)),
        "one_positive_pair": (np.array([0, 0, 1]), grid(3, 3)),
        "two_rows_alike": (np.array([0, 0]), grid(2, 3)),
        "two_rows_apart": (np.array([0, 1]), grid(2, 3)),
        "one_row": (np.array([0]), grid(1, 3)),
        "all_one_point": (np.array([0, 0, 1, 1]), np.ones((4, 3))),
        "far_apart": (np.array([0, 0, 1, 1]), 64 * grid(4, 3)),
    }
    return {
        name: (labels.astype("int32"), inputs.astype("float32")) for name, (labels, inputs) in cases.items()
    }


def pair_cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns int32 [num_pairs] (1: same) and distances float32 [num_pairs] by name."""
    random = np.random.default_rng(21)
    return {
        "pairs": (random.integers(0, 2, 12).astype("int32"), random.uniform(0, 2, 12).astype("float32")),
        "pairs_at_zero": (np.array([0, 1], "int32"), np.zeros(2, "float32")),
        "pairs_at_margin": (np.array([0, 1], "int32"), np.ones(2, "float32")),
    }


def value_and_gradient(function, labels, inputs, **options) -> tuple[np.ndarray, np.ndarray]:
    """Returns the value, and the gradient of its sum weighted 1, 2, 3...: no symmetry hides a transpose."""
    variable = tf.convert_to_tensor(inputs)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = function(tf.convert_to_tensor(labels), variable, **options)
        weights = tf.reshape(tf.range(1, tf.size(value) + 1), tf.shape(value))
        total = tf.reduce_sum(value * tf.cast(weights, value.dtype))
    return value.numpy(), tape.gradient(total, variable).numpy()


def main() -> None:
    arrays, entries = {}, []

    def add(entry: dict, function, labels, inputs, **options) -> None:
        number = len(entries)
        value, gradient = value_and_gradient(function, labels, inputs, **options)
        arrays[f"value/{number}"], arrays[f"gradient/{number}"] = value, gradient
        entries.append(entry)

    groups = {True: pair_cases(), False: embedding_cases()}
    for cases in groups.values():
        for name, (labels, inputs) in cases.items():
            arrays[f"labels/{name}"], arrays[f"inputs/{name}"] = labels, inputs
    for name, function in FUNCTIONS.items():
        for case, (labels, inputs) in groups[name == "contrastive_loss"].items():
            for options in OPTIONS[name]:
                add({"name": name, "case": case, "options": options}, function, labels, inputs, **options)
    for name, case, options, weights in CLASSES:
        labels, inputs = groups[name == "ContrastiveLoss"][case]
        for sample_weight in weights:
            entry = {"name": name, "case": case, "options": options, "sample_weight": sample_weight}
            loss = getattr(tfa.losses, name)(**options)
            add(entry, loss, labels, inputs, sample_weight=sample_weight)

    versions = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "tensorflow-addons": tfa.__version__,
        "numpy": np.__version__,
    }
    index = {"script_sha256": sha256(__file__), "versions": versions, "entries": entries}
    with atomic_write(GOLDEN) as file:
        np.savez_compressed(file, index=np.array(json.dumps(index)), **arrays)
    print(f"{GOLDEN}: {len(entries)} entries, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
