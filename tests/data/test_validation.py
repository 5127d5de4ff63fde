"""What is held out of training: whole subjects or sequences, never the test split."""

import numpy as np
import pytest

from configs import common
from mcss_tf.data.validation import hold_out
from mcss_tf.errors import InputError
from tests.helpers import make_tiny_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_tiny_dataset(
        tmp_path_factory.mktemp("data"),
        subjects=("S1", "S2", "S9"),
        test_subjects=("S9",),
        sequences=4,
        instants=2,
    )


def options(**changes):
    config = common.get_config().validation
    config.update(changes)
    return config


def test_off_by_default(dataset):
    assert hold_out(dataset, options()) is dataset
    assert len(dataset.split_rows("validation")) == 0


def test_a_named_subject_moves_from_training_to_validation(dataset):
    held_out = hold_out(dataset, options(subjects="S2"))
    subject = held_out.index.subject
    assert set(subject[held_out.split_rows("validation")]) == {dataset.subjects.index("S2")}
    assert set(subject[held_out.split_rows("train")]) == {dataset.subjects.index("S1")}
    np.testing.assert_array_equal(held_out.split_rows("test"), dataset.split_rows("test"))
    assert len(dataset.split_rows("train")) == 16, "the dataset itself is as it was"
    assert held_out.checksum == dataset.checksum
    row = held_out.split_rows("validation")[:1]
    assert held_out.read(row) == dataset.read(row)


def test_a_fraction_takes_whole_sequences_of_every_training_subject(dataset):
    held_out = hold_out(dataset, options(fraction=0.5))
    index = held_out.index
    held, kept = held_out.split_rows("validation"), held_out.split_rows("train")
    assert not set(index.sequence[held]) & set(index.sequence[kept])
    assert [len(np.unique(index.sequence[held[index.subject[held] == s]])) for s in (0, 1)] == [2, 2]
    np.testing.assert_array_equal(
        np.sort(np.concatenate([held, kept])), dataset.split_rows("train"), "nothing is lost"
    )


def test_the_draw_depends_on_its_own_seed_alone(dataset):
    draws = [
        tuple(np.unique(dataset.index.sequence[hold_out(dataset, o).split_rows("validation")]))
        for o in (options(fraction=0.25), options(fraction=0.25), options(fraction=0.25, seed=3))
    ]
    assert draws[0] == draws[1] != draws[2]


def test_a_small_fraction_takes_one_and_a_large_one_leaves_one(dataset):
    for fraction, held in ((0.01, 1), (0.99, 3)):
        rows = hold_out(dataset, options(fraction=fraction)).split_rows("validation")
        assert len(np.unique(dataset.index.sequence[rows])) == 2 * held


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subjects": "S2", "fraction": 0.1}, r"takes subjects or a fraction. Received: .*='S2', .*=0.1"),
        ({"subjects": "S2,S9"}, r"subjects of the train split, S1, S2. Received: S9. Correct"),
        ({"subjects": "S1,S2"}, r"train split must not be empty. Received: .*='S1,S2'"),
        ({"fraction": 1.0}, r"above 0 and below 1. Received: 1.0"),
        ({"fraction": -0.1}, r"above 0 and below 1. Received: -0.1"),
    ],
)
def test_bad_options(dataset, changes, message):
    with pytest.raises(InputError, match=message):
        hold_out(dataset, options(**changes))


def test_single_sequences_cannot_be_shared(tmp_path):
    with pytest.raises(InputError, match=r"validation split must not be empty. .* 2 training subjects"):
        hold_out(make_tiny_dataset(tmp_path, instants=2), options(fraction=0.5))
