"""Our losses against what tensorflow-addons computed, and against plain loops where that is wrong."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mcss_tf import losses
from mcss_tf.files import sha256
from tests.losses import naive

ROOT = Path(__file__).parents[2]
FUNCTIONS = ("triplet_hard_loss", "triplet_semihard_loss", "lifted_struct_loss")
WITHOUT_NEGATIVE = {"one_class", "two_rows_alike", "one_row"}
WITHOUT_POSITIVE = {"no_positive", "two_rows_apart", "one_row"}


@functools.cache
def golden():
    with np.load(ROOT / "tests" / "golden" / "addons.npz") as file:
        arrays = dict(file)
    return json.loads(str(arrays.pop("index"))), arrays


def entries() -> list:
    return [
        pytest.param(number, entry, id=f"{entry['name']}-{entry['case']}-{number}")
        for number, entry in enumerate(golden()[0]["entries"])
    ]


def is_addons_wrong(entry: dict) -> bool:
    """Where tensorflow-addons gives NaN or inf, or a loss to absent triplets: docs/dependencies.md."""
    name, case = entry["name"], entry["case"]
    if name == "triplet_hard_loss":
        return case in WITHOUT_NEGATIVE or (case == "far_apart" and "soft" in entry["options"])
    if name == "triplet_semihard_loss":
        return case in WITHOUT_NEGATIVE | WITHOUT_POSITIVE
    return name == "lifted_struct_loss" and case in WITHOUT_NEGATIVE | WITHOUT_POSITIVE | {"far_apart"}


def ours(entry: dict, labels, inputs) -> tuple[np.ndarray, np.ndarray]:
    """Value and gradient as `benchmarks/peers/write_addons_golden.py` takes them."""
    loss = getattr(losses, entry["name"])
    inputs = tf.convert_to_tensor(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        if "sample_weight" in entry:
            value = loss(**entry["options"])(labels, inputs, sample_weight=entry["sample_weight"])
        elif entry["name"].endswith("distance"):
            value = loss(inputs, **entry["options"])
        else:
            value = loss(labels, inputs, **entry["options"])
        weights = tf.reshape(tf.range(1, tf.size(value) + 1), tf.shape(value))
        total = tf.reduce_sum(value * tf.cast(weights, value.dtype))
    return value.numpy(), tape.gradient(total, inputs).numpy()


def summed_over_duplicates(inputs: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """At a tie tensorflow-addons spreads the gradient over the equal rows, and we give it to one of them."""
    if inputs.ndim == 1:
        return gradient
    _, which = np.unique(inputs, axis=0, return_inverse=True)
    return np.stack([gradient[which.reshape(-1) == i].sum(axis=0) for i in range(which.max() + 1)])


def assert_close(actual, expected):
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=1e-6)


def test_golden_file_belongs_to_the_script():
    script = ROOT / "benchmarks" / "peers" / "write_addons_golden.py"
    message = "the script changed: write the golden file again, as the script's docstring says"
    assert golden()[0]["script_sha256"] == sha256(script), message


def test_golden_file_covers_every_loss():
    index, _ = golden()
    assert index["versions"]["tensorflow-addons"] == "0.23.0"
    assert {*losses.__all__} == {entry["name"] for entry in index["entries"]}


@pytest.mark.parametrize(("number", "entry"), entries())
def test_against_tensorflow_addons(number, entry):
    arrays = golden()[1]
    labels, inputs = arrays[f"labels/{entry['case']}"], arrays[f"inputs/{entry['case']}"]
    value, gradient = ours(entry, labels, inputs)
    expected, expected_gradient = arrays[f"value/{number}"], arrays[f"gradient/{number}"]

    assert np.isfinite(gradient).all()
    assert value.dtype == np.float32
    if entry["name"] in FUNCTIONS:
        assert_close(value, getattr(naive, entry["name"])(labels, inputs, **entry["options"]))
    if is_addons_wrong(entry):
        # A difference that is gone is to be taken off the list.
        assert not np.abs(value - expected) < 1e-3
        return
    assert value.shape == expected.shape
    assert_close(value, expected)
    # Under this metric all rows are equally far from a zero row: which of them is chosen is arbitrary.
    if (entry["case"], entry["options"].get("distance_metric")) != ("zero_vectors", "angular"):
        merge = functools.partial(summed_over_duplicates, inputs)
        assert_close(merge(gradient), merge(expected_gradient))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("case", sorted(WITHOUT_NEGATIVE))
def test_a_batch_without_negatives_moves_nothing(name, case):
    """tensorflow-addons takes the farthest positive (hard) or the row itself (semi-hard) for the negative."""
    arrays = golden()[1]
    entry = {"name": name, "options": {}}
    value, gradient = ours(entry, arrays[f"labels/{case}"], arrays[f"inputs/{case}"])
    assert value == 0
    assert (gradient == 0).all()
