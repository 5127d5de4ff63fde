"""Checkpoints: written beside training, whole or passed over, and only so many of them."""

import time

import numpy as np
import pytest
import tensorflow as tf

from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.training.checkpoints import Checkpoints
from mcss_tf.training.workdir import Workdir


class Part(tf.Module):
    def __init__(self, value=0.0):
        super().__init__()
        self.weights = tf.Variable(tf.fill((40, 25), value), trainable=False)
        self.count = tf.Variable(int(value), trainable=False)


def set_values(part, step):
    part.weights.assign(tf.fill((40, 25), float(step)))
    part.count.assign(step)


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of steps 3, 6 and 9, whose values are the step."""
    part = Part()
    with Checkpoints(Workdir(tmp_path), keep=3, part=part) as checkpoints:
        for step in (3, 6, 9):
            set_values(part, step)
            checkpoints.save(step)
            set_values(part, -1)  # training goes on while the thread writes
    return tmp_path / "checkpoints"


def restore(folder, part=None):
    part = part or Part()
    with Checkpoints(Workdir(folder.parent), part=part) as checkpoints:
        step, warnings = checkpoints.restore()
    return step, warnings, part


def steps_in(folder):
    return sorted(int(path.stem.partition("-")[2]) for path in folder.iterdir())


def test_the_state_is_that_of_the_moment_of_saving(saved):
    step, warnings, part = restore(saved)
    assert (step, warnings, int(part.count)) == (9, [], 9)
    np.testing.assert_array_equal(part.weights, np.full((40, 25), 9.0, np.float32))


def test_one_of_an_earlier_version_is_restored_and_makes_room(tmp_path):
    part = Part()
    set_values(part, 7)
    folder = tmp_path / "checkpoints"
    # As it was written: lists of variables by the name of their part, beside the step.
    state = tf.train.Checkpoint(step=tf.Variable(7, dtype=tf.int64), part=list(part.variables))
    tf.train.CheckpointManager(state, str(folder), max_to_keep=2).save(checkpoint_number=7)
    step, warnings, restored = restore(folder)
    assert (step, warnings, int(restored.count)) == (7, [], 7)
    np.testing.assert_array_equal(restored.weights, part.weights)
    flip(folder / "ckpt-7.data-00000-of-00001", 2000)
    with pytest.raises(InputError, match=r"Received: .*ckpt-7\.index is damaged \("):
        restore(folder)
    with Checkpoints(Workdir(tmp_path), keep=1, part=part) as checkpoints:
        checkpoints.save(8)
    assert {path.name for path in folder.iterdir()} == {"checkpoint", "ckpt-8.npz"}


@pytest.mark.parametrize("keep", [1, 2])
def test_only_the_newest_stay(tmp_path, keep):
    part = Part()
    with Checkpoints(Workdir(tmp_path), keep=keep, part=part) as checkpoints:
        for step in range(1, 5):
            checkpoints.save(step)
    assert steps_in(tmp_path / "checkpoints") == list(range(5 - keep, 5))
    with pytest.raises(InputError, match=r"--keep is .* at least 1\. Received: 0"):
        Checkpoints(Workdir(tmp_path), keep=0, part=part)


def test_what_was_passed_over_makes_room_for_what_is_whole(saved):
    (saved / "ckpt-9.npz").write_bytes(b"")
    part = Part()
    with Checkpoints(Workdir(saved.parent), keep=1, part=part) as checkpoints:
        assert checkpoints.restore()[0] == 6
        checkpoints.save(7)  # by a signal, say
    assert steps_in(saved) == [7]
    assert restore(saved)[0] == 7


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: flip(path, 2000),
        lambda path: flip(path, path.read_bytes().index(b"NUMPY") + 1),
        lambda path: flip(path, -30),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(path.read_bytes()[:3000]),
        lambda path: np.savez(path, **{"part/0": np.int32(9)}),
        lambda path: np.savez(path, **{"part/0": np.int32(9), "part/1": np.zeros((25, 40), np.float32)}),
        lambda path: np.savez(path, **{"part/0": np.int32(9), "part/1": np.zeros((40, 25))}),
    ],
    ids=["data", "header", "directory", "empty", "cut", "half", "no array", "other shape", "other dtype"],
)
def test_a_damaged_one_gives_way_to_the_one_before(saved, damage):
    damage(saved / "ckpt-9.npz")
    step, warnings, part = restore(saved)
    assert (step, int(part.count)) == (6, 6)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{saved / 'ckpt-9.npz'} is damaged (")
    np.testing.assert_array_equal(part.weights, np.full((40, 25), 6.0, np.float32))


def test_leftovers_of_a_kill_are_removed(saved):
    half_written = saved / ".ckpt-12.npz.a1b2.tmp"
    half_written.write_bytes(b"half")
    assert restore(saved)[0] == 9
    assert not half_written.exists()


def test_a_run_never_starts_anew_because_its_checkpoints_are_damaged(saved):
    for step in (3, 6, 9):
        (saved / f"ckpt-{step}.npz").write_bytes(b"")
    part = Part(5.0)
    with pytest.raises(InputError, match=r"resumes from a whole checkpoint\. Received: .*ckpt-9.* .*ckpt-3"):
        restore(saved, part)
    assert int(part.count) == 5, "nothing was half restored"


def test_another_model_is_not_restored(saved):
    class Other(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(tf.zeros((3, 2)), trainable=False)
            self.count = tf.Variable(0, trainable=False)

    with pytest.raises(InputError, match="resumes from a whole checkpoint"):
        restore(saved, Other())


@pytest.mark.parametrize("when", ["at the end", "at the next save", "at the next step"])
def test_a_disk_that_is_full_is_told(tmp_path, when):
    (tmp_path / "checkpoints").write_bytes(b"a file where the folder should be")

    def save():
        with Checkpoints(Workdir(tmp_path), part=Part()) as checkpoints:
            checkpoints.save(1)
            if when == "at the next save":
                checkpoints.save(2)
            while when == "at the next step":
                checkpoints.check()
                time.sleep(0.001)

    with pytest.raises(OSError, match=r"checkpoint .*checkpoints/ckpt-1\.npz could not be written: .*exists"):
        save()


def test_what_went_wrong_first_is_what_is_told(tmp_path):
    (tmp_path / "checkpoints").write_bytes(b"a file where the folder should be")

    def save():
        with Checkpoints(Workdir(tmp_path), part=Part()) as checkpoints:
            checkpoints.save(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save()


@pytest.mark.slow
def test_a_thousand_saves_beside_steps(tmp_path):
    part = Part()
    read = tf.data.Dataset.range(10**9).map(
        lambda step: tf.numpy_function(lambda x: x + 1, [step], tf.int64), num_parallel_calls=2
    )

    @tf.function
    def step(count):
        for _ in tf.range(200):
            part.weights.assign(tf.matmul(part.weights, tf.eye(25)))
        part.weights.assign(tf.fill((40, 25), tf.cast(count, tf.float32)))
        part.count.assign(tf.cast(count, tf.int32))

    with Checkpoints(Workdir(tmp_path), keep=1000, part=part) as checkpoints:
        for count in read.prefetch(2).take(1000):
            step(count)
            checkpoints.save(int(count))
    assert steps_in(tmp_path / "checkpoints") == list(range(1, 1001))
    for number in range(1, 1001):
        state = files.load_npz(tmp_path / "checkpoints" / f"ckpt-{number}.npz", "A checkpoint")
        assert state["part/0"] == number
        np.testing.assert_array_equal(state["part/1"], np.full((40, 25), number, np.float32))
