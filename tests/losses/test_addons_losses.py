"""The metric losses as parts of Keras: training, saving, precision, labels, errors, and their mathematics."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mcss_tf import losses
from mcss_tf.errors import InputError
from mcss_tf.losses import mining
from mcss_tf.losses.pairwise import paired_distance
from tests.losses import naive

BATCH_LOSSES = [losses.TripletHardLoss, losses.TripletSemiHardLoss, losses.LiftedStructLoss]
FUNCTIONS = [losses.triplet_hard_loss, losses.triplet_semihard_loss, losses.lifted_struct_loss]
EUCLIDEAN = ["L2", "squared-L2"]


@keras.saving.register_keras_serializable(package="test")
def manhattan(embeddings):
    return keras.ops.sum(keras.ops.abs(embeddings[:, None] - embeddings[None]), axis=2)


@st.composite
def batches(draw):
    """A seeded batch of 2 to 20 rows in 1 to 6 classes, some rows copies of others.

    Coordinates are multiples of 1/8, so that equal distances are equal however they are computed.
    """
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    num_rows, dim = draw(st.integers(2, 20)), draw(st.integers(1, 5))
    embeddings = random.integers(-16, 17, (num_rows, dim)) / 8
    copies = random.integers(0, num_rows, (2, draw(st.integers(0, 3))))
    embeddings[copies[0]] = embeddings[copies[1]]
    return random.integers(0, draw(st.integers(1, 6)), num_rows).astype("int32"), embeddings


def batch(num_rows=12, dim=4, num_classes=3, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, num_classes, num_rows), random.normal(size=(num_rows, dim))


def gradient_of(function, labels, embeddings, **options):
    x = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(labels, x, **options)
    return tape.gradient(value, x).numpy()


# Hand-made points on a line: a at 0 and 1, b at 3 and 7.
LINE = np.array([[0.0], [1.0], [3.0], [7.0]], "float32")
LINE_LABELS = np.array([0, 0, 1, 1])


def test_hard_triplets_on_a_line():
    """Farthest positive, nearest negative: (1, 3), (1, 2), (4, 2), (4, 6): hinges 0, 0, 3, 0 at margin 1."""
    assert float(losses.triplet_hard_loss(LINE_LABELS, LINE)) == 0.75


def test_semihard_triplets_on_a_line():
    """At 0 and 1: d_ap 1, nearest farther negatives 3 and 2: 0. At 3: d_ap 4, none farther, farthest 3: 2.
    At 7: d_ap 4, nearest farther 6: 0.
    """
    assert float(losses.triplet_semihard_loss(LINE_LABELS, LINE)) == 0.5


def test_lifted_structure_of_two_classes():
    """Rows 0, 1 of one class, 4 of another: J = 1 + log(e^(1-4) + e^(1-3)); both orders, half its square."""
    loss = losses.lifted_struct_loss(np.array([0, 0, 1]), LINE[[0, 1, 2]] * [[1], [1], [4 / 3]])
    assert float(loss) == pytest.approx(max(0, 1 + np.log(np.exp(-3) + np.exp(-2))) ** 2 / 2, abs=1e-6)


@pytest.mark.parametrize("metric", EUCLIDEAN)
@settings(max_examples=20, deadline=None)
@given(batches())
def test_mining_without_a_matrix_is_mining_in_the_matrix(metric, drawn):
    labels, embeddings = drawn
    groups = mining.label_groups(labels)
    distances = naive.distances_of(embeddings, metric)
    rows = np.arange(len(labels))
    lean = mining.hardest_euclidean(tf.constant(embeddings), groups)
    matrix = mining.hardest_in_matrix(tf.constant(distances), groups)
    # Of equally far rows each may choose its own.
    for chosen, expected in zip(lean, matrix, strict=True):
        np.testing.assert_allclose(distances[rows, chosen], distances[rows, expected], atol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
@settings(max_examples=20, deadline=None)
@given(batches())
def test_equals_the_loops(function, drawn):
    labels, embeddings = drawn
    expected = getattr(naive, function.__name__)(labels, embeddings)
    assert float(function(labels, embeddings)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
@settings(max_examples=12, deadline=None)
@given(batches(), st.integers(0, 2**31))
def test_order_and_names_of_labels_do_not_matter(function, drawn, seed):
    labels, embeddings = drawn
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    names = random.permutation(100)[: labels.max() + 1] - 50
    value = float(function(labels, embeddings))
    assert float(function(names[labels][order], embeddings[order])) == pytest.approx(
        value, rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize("function", [losses.triplet_hard_loss, losses.triplet_semihard_loss])
@settings(max_examples=12, deadline=None)
@given(batches(), st.sampled_from([0.125, 0.5, 2.0, 8.0]))
def test_scales_with_the_embeddings_and_the_margin(function, drawn, scale):
    labels, embeddings = drawn
    expected = scale * float(function(labels, embeddings, margin=1.0))
    scaled = float(function(labels, scale * embeddings, margin=scale))
    assert scaled == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
@settings(max_examples=12, deadline=None)
@given(batches(), st.integers(0, 2**31))
def test_rotation_and_shift_do_not_matter(function, drawn, seed):
    labels, embeddings = drawn
    random = np.random.default_rng(seed)
    # No two distances stay equal: which row is semi-hard is a jump there.
    embeddings = embeddings + random.normal(size=embeddings.shape)
    dim = embeddings.shape[1]
    rotation, _ = np.linalg.qr(random.normal(size=(dim, dim)))
    moved = embeddings @ rotation + random.normal(size=dim)
    assert float(function(labels, moved)) == pytest.approx(float(function(labels, embeddings)), abs=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
@settings(max_examples=12, deadline=None)
@given(batches())
def test_gradient_is_finite_and_moves_no_centre(function, drawn):
    labels, embeddings = drawn
    gradient = gradient_of(function, labels, embeddings)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (losses.triplet_hard_loss, {}),
        (losses.triplet_hard_loss, {"soft": True, "distance_metric": "squared-L2"}),
        (losses.triplet_hard_loss, {"distance_metric": "angular"}),
        (losses.triplet_semihard_loss, {}),
        (losses.triplet_semihard_loss, {"distance_metric": "angular"}),
        (losses.lifted_struct_loss, {}),
    ],
)
def test_gradient_is_that_of_finite_differences(function, options):
    labels, embeddings = batch()
    gradient, step = gradient_of(function, labels, embeddings, **options), 1e-6
    value = tf.function(lambda x: function(labels, x, **options))
    expected = np.zeros_like(embeddings)
    for place in np.ndindex(embeddings.shape):
        shift = np.zeros_like(embeddings)
        shift[place] = step
        ends = [float(value(tf.constant(embeddings + sign * shift))) for sign in (1, -1)]
        expected[place] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


@pytest.mark.parametrize("squared", [False, True])
def test_distances_of_coinciding_rows_have_no_gradient(squared):
    x = tf.ones((3, 2))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        values = losses.pairwise_distance(x, squared=squared), paired_distance(x, tf.ones((3, 2)), squared)
    for value in values:
        assert not value.numpy().any()
        assert not tape.gradient(value, x).numpy().any()


def test_near_duplicates_are_accurate_where_the_product_form_is_not():
    """Two rows 1e-3 apart and 1 from the origin: |x|^2 + |y|^2 - 2 x.y keeps two digits of their distance."""
    x = np.array([[1, 0], [1, 1e-3], [1, 2.5e-3], [0, 1]], "float32")
    value = float(losses.triplet_hard_loss(np.array([0, 0, 1, 1]), x, margin=0.0))
    assert value == pytest.approx(naive.triplet_hard_loss(np.array([0, 0, 1, 1]), x, margin=0.0), rel=1e-6)


@pytest.mark.parametrize("make", BATCH_LOSSES)
def test_labels_that_float32_cannot_tell_apart(make):
    labels, embeddings = batch()
    loss, embeddings = make(), embeddings.astype("float32")
    large = labels.astype("int64") + 2**24 * 5
    assert len(np.unique(large.astype("float32"))) < len(np.unique(large))
    assert float(loss(large, embeddings)) == float(loss(labels, embeddings)) > 0


@pytest.mark.parametrize("make", BATCH_LOSSES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(make, dtype):
    labels, embeddings = batch()
    halves = tf.cast(embeddings, dtype)
    function = next(f for f in FUNCTIONS if f.__name__.replace("_", "") == make.__name__.lower())
    precise = function(labels, tf.cast(halves, "float32"))
    assert function(labels, halves).dtype == dtype
    assert float(function(labels, halves)) == float(tf.cast(precise, dtype))
    # The classes keep float32, which is what a loss scale multiplies.
    assert make()(labels, halves).dtype == "float32"
    assert float(make()(labels, halves)) == float(precise)


def test_nan_embeddings_give_a_nan_loss():
    labels, embeddings = batch()
    embeddings[:] = np.nan
    for function in FUNCTIONS:
        assert np.isnan(float(function(labels, embeddings)))


@pytest.mark.parametrize(
    "loss",
    [
        losses.TripletHardLoss(margin=0.3, soft=True, distance_metric="squared-L2", name="hard"),
        losses.TripletHardLoss(distance_metric=manhattan),
        losses.TripletSemiHardLoss(margin=0.3, distance_metric="angular", dtype="float64"),
        losses.LiftedStructLoss(margin=0.3),
        losses.ContrastiveLoss(margin=0.3, reduction="sum"),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_saves_and_loads(loss):
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    labels, embeddings = batch()
    if isinstance(loss, losses.ContrastiveLoss):
        labels, embeddings = labels > 1, embeddings[:, 0] ** 2
    assert float(copy(labels, embeddings)) == float(loss(labels, embeddings))


def test_a_function_as_metric():
    labels, embeddings = batch()
    difference = np.abs(embeddings[:, None] - embeddings[None]).sum(axis=2)
    hardest = []
    for i in range(len(labels)):
        positives, negatives = naive.split(labels, i)
        hardest.append(max(0, 1 + difference[i, positives].max() - difference[i, negatives].min()))
    value = losses.triplet_hard_loss(labels, embeddings, distance_metric=manhattan)
    assert float(value) == pytest.approx(np.mean(hardest))


@pytest.mark.parametrize("make", BATCH_LOSSES)
def test_trains_in_fit_and_loads_with_its_model(make, tmp_path):
    """Three clusters that a random projection mixes: training is to part them."""
    labels, inputs = batch(num_rows=48, dim=6)
    inputs += 2 * np.eye(6)[labels]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.03), make(), jit_compile=False)
    # 48 = 20 + 20 + 8: the last batch has another size.
    history = model.fit(inputs, labels, batch_size=20, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(inputs, labels, verbose=0) == pytest.approx(
        model.evaluate(inputs, labels, verbose=0), rel=1e-5
    )


@pytest.mark.parametrize("make", BATCH_LOSSES)
def test_compiled_by_xla_is_the_same(make):
    labels, embeddings = batch()
    embeddings = embeddings.astype("float32")
    loss = make()
    compiled = tf.function(loss, jit_compile=True)
    assert float(compiled(labels, embeddings)) == pytest.approx(float(loss(labels, embeddings)), rel=1e-5)
    compiled_gradient = tf.function(lambda x: tf.gradients(loss(labels, x), x)[0], jit_compile=True)
    expected = gradient_of(loss, labels, embeddings)
    np.testing.assert_allclose(compiled_gradient(tf.constant(embeddings)), expected, atol=1e-6)


@pytest.mark.parametrize("make", BATCH_LOSSES)
def test_error_weight_per_row(make):
    labels, embeddings = batch()
    with pytest.raises(
        InputError, match=r"its weight is one number. Received: sample_weight of shape \(12,\)"
    ):
        make()(labels, embeddings, sample_weight=np.ones(12))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("labels", "embeddings", "received"),
    [
        (np.zeros((4, 3)), np.zeros((4, 2), "float32"), r"float32 \(4, 2\), labels \(4, 3\)"),
        (np.zeros(3), np.zeros((4, 2), "float32"), r"float32 \(4, 2\), labels \(3,\)"),
        (np.zeros(4), np.zeros(4, "float32"), r"float32 \(4,\), labels \(4,\)"),
        (np.zeros(4), np.zeros((4, 2), "int32"), r"int32 \(4, 2\), labels \(4,\)"),
    ],
)
def test_error_batch(function, labels, embeddings, received):
    with pytest.raises(InputError, match=rf"A batch is .* Received: embeddings {received}\. Give each"):
        function(labels, embeddings)


@pytest.mark.parametrize("make", BATCH_LOSSES[:2])
def test_error_metric(make):
    with pytest.raises(InputError, match="Received: distance_metric='cosine'"):
        make(distance_metric="cosine")
