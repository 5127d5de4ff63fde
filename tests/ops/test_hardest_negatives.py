import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mcss_tf.errors import InputError
from mcss_tf.ops import hardest_negatives, library
from tests.ops import oracle

MODES = {
    "eager": lambda function: function,
    "function": tf.function,
    "xla": lambda function: tf.function(function, jit_compile=True),
}


@pytest.fixture(params=["custom", "reference"])
def implementation(request, monkeypatch):
    use(request.param, monkeypatch)
    return request.param


@pytest.fixture(params=MODES)
def select(request, implementation):
    """`hardest_negatives` in each mode, taking and returning NumPy arrays."""
    mode = MODES[request.param]

    def run(anchors, positives, threshold, row_groups=None, column_groups=None):
        def call(anchors, positives, threshold):
            return hardest_negatives(
                anchors, positives, threshold, row_groups=row_groups, column_groups=column_groups
            )

        return [x.numpy() for x in mode(call)(anchors, positives, tf.constant(threshold, tf.float32))]

    return run


def use(name, monkeypatch):
    if name == "reference":
        monkeypatch.setattr(library, "load", lambda: None)
    elif library.load() is None:
        pytest.skip("the compiled op is switched off or cannot be built here")


def on_a_line(*positions):
    return np.array(positions, np.float32)[:, None]


def test_hand_made_line(select):
    # anchors  0 . . 3 . . . 7        positives  . 1 . . . 5 . . 8
    anchors, positives = on_a_line(0, 3, 7), on_a_line(1, 5, 8)
    anchor_index, anchor_distance, positive_index, positive_distance = select(anchors, positives, 0.0)
    # Anchor 0 (at 0) may not take positive 0 (at 1), its own: 5 is the nearest other. And so on.
    assert anchor_index.tolist() == [1, 0, 1]
    assert anchor_distance.tolist() == [5, 2, 2]
    assert positive_index.tolist() == [1, 2, 1]
    assert positive_distance.tolist() == [2, 2, 5]


def test_threshold_is_strict(select):
    anchors, positives = on_a_line(0, 3, 7), on_a_line(1, 5, 8)
    anchor_index, anchor_distance, *_ = select(anchors, positives, 2.0)
    assert anchor_index.tolist() == [1, 2, 0]  # distance 2 is no longer admissible
    assert anchor_distance.tolist() == [5, 5, 6]


def test_ties_go_to_the_lowest_index(select):
    anchors, positives = on_a_line(*[0] * 40), on_a_line(*[1, -1] * 35)
    anchor_index, _, positive_index, _ = select(anchors, positives, 0.0)
    assert anchor_index.tolist() == [1] + [0] * 39
    assert positive_index.tolist() == [1] + [0] * 69


def test_nothing_admissible(select):
    anchors, positives = on_a_line(0, 3), on_a_line(1, 5, 8)
    for arguments in [
        (anchors, positives, 100.0),
        (anchors, positives, np.nan),
        (anchors, positives, np.inf),
    ]:
        anchor_index, anchor_distance, positive_index, positive_distance = select(*arguments)
        assert anchor_index.tolist() == [-1, -1]
        assert positive_index.tolist() == [-1, -1, -1]
        assert np.isposinf(anchor_distance).all()
        assert np.isposinf(positive_distance).all()


def test_groups_exclude_more_than_the_diagonal(select):
    anchors, positives = on_a_line(0, 3, 7), on_a_line(1, 5, 8, 9)
    row_groups, column_groups = np.array([0, 0, 1], np.int32), np.array([0, 1, 2, 1], np.int32)
    anchor_index, anchor_distance, positive_index, _ = select(
        anchors, positives, 0.0, row_groups, column_groups
    )
    assert anchor_index.tolist() == [1, 1, 2]
    assert anchor_distance.tolist() == [5, 2, 1]
    assert positive_index.tolist() == [2, 1, 2, 1]


def test_one_replica_of_a_gathered_batch(select):
    # Rows 4..7 of eight against all eight columns: the same answers as in the whole batch.
    rng = np.random.default_rng(0)
    anchors, positives = rng.normal(size=(2, 8, 5)).astype(np.float32)
    whole = select(anchors, positives, 0.5)
    part = select(anchors[4:], positives, 0.5, np.arange(4, 8, dtype=np.int32))
    np.testing.assert_array_equal(part[0], whole[0][4:])
    np.testing.assert_array_equal(part[1], whole[1][4:])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_embedding_that_is_not_finite_is_never_chosen(select, value):
    anchors, positives = on_a_line(0, value, 7), on_a_line(1, 5, value)
    anchor_index, anchor_distance, positive_index, positive_distance = select(anchors, positives, -1.0)
    assert anchor_index.tolist() == [1, -1, 1]
    assert positive_index.tolist() == [2, 2, -1]
    assert anchor_distance.tolist() == [5, np.inf, 2]
    assert positive_distance.tolist() == [6, 2, np.inf]


def test_near_duplicates_are_accurate(select):
    # Unit vectors within 1e-3 of each other: the product form would have an error of 10 % and more here.
    rng = np.random.default_rng(0)
    centre = rng.normal(size=128)
    embeddings = centre / np.linalg.norm(centre) + 1e-4 * rng.normal(size=(2, 40, 128))
    anchors, positives = embeddings.astype(np.float32)
    expected = oracle.hardest_negatives(anchors, positives, 1.5e-3)
    assert 1.5e-3 < expected[1].min() < 1.7e-3
    oracle.assert_same(select(anchors, positives, 1.5e-3), expected)


def test_bfloat16_is_computed_in_full(select):
    rng = np.random.default_rng(0)
    anchors, positives = (tf.cast(rng.normal(size=(33, 20)), tf.bfloat16) for _ in range(2))
    expected = oracle.hardest_negatives(anchors.numpy(), positives.numpy(), 0.3)
    oracle.assert_same(select(anchors, positives, 0.3), expected)


@pytest.mark.parametrize("shapes", [((0, 3), (0, 3)), ((0, 3), (4, 3)), ((4, 3), (0, 3)), ((3, 0), (4, 0))])
def test_empty(select, shapes):
    anchors, positives = (np.zeros(shape, np.float32) for shape in shapes)
    oracle.assert_same(select(anchors, positives, -1.0), oracle.hardest_negatives(anchors, positives, -1.0))


@pytest.mark.parametrize("size", [479, 480, 481, 1055, 1057])
def test_on_and_off_the_blocks(implementation, size):
    rng = np.random.default_rng(size)
    anchors, positives = rng.normal(size=(2, size, 40)).astype(np.float32)
    for rows, columns in [(anchors, positives[:100]), (anchors[:100], positives)]:
        expected = oracle.hardest_negatives(rows, columns, 5.0)
        oracle.assert_same([x.numpy() for x in hardest_negatives(rows, columns, 5.0)], expected)


def test_random_cases_in_every_mode(select):
    rng = np.random.default_rng(0)
    for _ in range(5):
        case = oracle.random_case(rng)
        oracle.assert_same(select(*case), oracle.hardest_negatives(*case))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["custom", "reference"])
def test_ten_thousand_random_cases(name, monkeypatch):
    use(name, monkeypatch)
    num_examples, num_cases = (100, 100) if name == "custom" else (20, 25)

    @settings(max_examples=num_examples, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def check(seed):
        rng = np.random.default_rng(seed)
        for _ in range(num_cases):
            anchors, positives, threshold, row_groups, column_groups = case = oracle.random_case(rng)
            selected = hardest_negatives(
                anchors, positives, threshold, row_groups=row_groups, column_groups=column_groups
            )
            oracle.assert_same([x.numpy() for x in selected], oracle.hardest_negatives(*case))

    check()


def test_runs_are_bitwise_equal(implementation):
    anchors, positives = np.random.default_rng(0).normal(size=(2, 600, 64)).astype(np.float32)
    runs = [[x.numpy().tobytes() for x in hardest_negatives(anchors, positives, 9.0)] for _ in range(5)]
    assert all(run == runs[0] for run in runs)


def test_the_selection_is_not_differentiated(implementation):
    anchors, positives = (tf.random.normal([5, 3], seed=seed) for seed in (0, 1))
    threshold = tf.constant(0.1)
    with tf.GradientTape() as tape:
        tape.watch([anchors, positives, threshold])
        selected = hardest_negatives(anchors, positives, threshold)
        total = tf.reduce_sum(selected.anchor_distance) + tf.reduce_sum(selected.positive_distance)
    assert tape.gradient(total, [anchors, positives, threshold]) == [None, None, None]


@pytest.mark.parametrize("dim", [3, None])
def test_unknown_batch_size(implementation, dim):
    signature = [tf.TensorSpec([None, dim]), tf.TensorSpec([None, dim]), tf.TensorSpec([])]
    function = tf.function(hardest_negatives, input_signature=signature)
    for num_anchors, num_positives in [(4, 4), (7, 2), (0, 3)]:
        rng = np.random.default_rng(num_anchors)
        anchors, positives = (rng.normal(size=(num, 3)).astype("f") for num in (num_anchors, num_positives))
        expected = oracle.hardest_negatives(anchors, positives, 0.5)
        oracle.assert_same([x.numpy() for x in function(anchors, positives, 0.5)], expected)


def test_a_schedule_of_thresholds_does_not_retrace(implementation):
    function = tf.function(hardest_negatives, jit_compile=True)
    anchors, positives = on_a_line(0, 3, 7), on_a_line(1, 5, 8)
    chosen = [function(anchors, positives, tf.constant(t)).anchor_index.numpy()[1] for t in (0.0, 2.0, 5.0)]
    assert chosen == [0, 2, -1]
    assert function.experimental_get_tracing_count() == 1


def test_inside_dataset_map(implementation):
    embeddings = np.random.default_rng(0).normal(size=(6, 2, 10, 4)).astype(np.float32)
    dataset = tf.data.Dataset.from_tensor_slices(embeddings)
    selected = dataset.map(lambda pair: hardest_negatives(pair[0], pair[1], 0.5), num_parallel_calls=2)
    for pair, actual in zip(embeddings, selected.as_numpy_iterator(), strict=True):
        oracle.assert_same(actual, oracle.hardest_negatives(*pair, 0.5))


class PushLoss(keras.losses.Loss):
    """Pushes each embedding from its hardest negative; predictions are [batch, 2, dim]."""

    def call(self, y_true, y_pred):
        anchors, positives = y_pred[:, 0], y_pred[:, 1]
        selected = hardest_negatives(anchors, positives, tf.constant(0.01))
        negatives = tf.gather(positives, tf.maximum(selected.anchor_index, 0))
        push = tf.nn.relu(4.0 - tf.reduce_sum((anchors - negatives) ** 2, axis=1))
        return tf.where(selected.anchor_index >= 0, push, 0.0)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_inside_keras_fit(implementation, jit_compile):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2, 6)), keras.layers.Dense(3)])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=PushLoss(), jit_compile=jit_compile)
    inputs = np.random.default_rng(0).normal(size=(16, 2, 6)).astype(np.float32)
    history = model.fit(inputs, np.zeros(16), batch_size=8, epochs=5, verbose=0)
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]


@pytest.mark.slow
@pytest.mark.parametrize("enabled", ["0", "1"])
def test_under_mirrored_strategy(enabled):
    """Logical devices must be made before TensorFlow starts, hence another process."""
    program = """
        import numpy as np, tensorflow as tf
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
        from mcss_tf.ops import hardest_negatives
        from tests.ops import oracle
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        embeddings = np.random.default_rng(0).normal(size=(12, 2, 4)).astype(np.float32)
        dataset = strategy.experimental_distribute_dataset(
            tf.data.Dataset.from_tensor_slices(embeddings).batch(12))

        def step(pairs):
            context = tf.distribute.get_replica_context()
            positives = context.all_gather(pairs[:, 1], axis=0)
            rows = tf.range(6) + 6 * context.replica_id_in_sync_group
            return hardest_negatives(pairs[:, 0], positives, 0.5, row_groups=rows).anchor_index

        run = tf.function(lambda pairs: strategy.run(step, args=(pairs,)))
        parts = [strategy.experimental_local_results(run(pairs)) for pairs in dataset]
        actual = np.concatenate([part.numpy() for part in parts[0]])
        expected = oracle.hardest_negatives(embeddings[:, 0], embeddings[:, 1], 0.5)[0]
        np.testing.assert_array_equal(actual, expected)
        print("replicas", len(parts[0]))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "MCSS_TF_CUSTOM_OPS": enabled},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "replicas 2" in result.stdout


@pytest.mark.parametrize(
    ("anchors", "positives", "groups", "message"),
    [
        (
            tf.zeros([2, 3], tf.float64),
            tf.zeros([2, 3]),
            None,
            "Received: anchors float64, positives float32",
        ),
        (tf.zeros([2, 3], tf.float16), tf.zeros([2, 3], tf.float16), None, "float32 or bfloat16"),
        (tf.zeros([2, 3]), tf.zeros([2, 4]), None, r"Received: anchors \(2, 3\), positives \(2, 4\)"),
        (tf.zeros([2, 3, 1]), tf.zeros([2, 3, 1]), None, "one embedding in each row"),
        (tf.zeros([2, 3]), tf.zeros([2, 3]), [1, 2, 3], r"row_groups .* Received: row_groups \(3,\)"),
    ],
)
def test_arguments_that_do_not_fit(anchors, positives, groups, message):
    with pytest.raises(InputError, match=message):
        hardest_negatives(anchors, positives, 0.0, row_groups=groups)


def test_shapes_that_turn_out_not_to_fit(monkeypatch):
    use("custom", monkeypatch)
    signature = [tf.TensorSpec([None, None]), tf.TensorSpec([None, None])]
    function = tf.function(lambda a, p: hardest_negatives(a, p, 0.0), input_signature=signature)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"Received: anchors \[2, 3\], positives \[2, 4\]"
    ):
        function(tf.zeros([2, 3]), tf.zeros([2, 4]))
