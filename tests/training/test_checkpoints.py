"""Checkpoints: whole or passed over, and only so many of them."""

import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.errors import InputError
from mcss_tf.training.checkpoints import Checkpoints
from mcss_tf.training.workdir import Workdir


class Part(tf.Module):
    def __init__(self, value=0.0):
        super().__init__()
        self.weights = tf.Variable(tf.fill((40, 25), value), trainable=False)
        self.count = tf.Variable(int(value), trainable=False)


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of steps 3, 6 and 9, whose values are the step."""
    part = Part()
    checkpoints = Checkpoints(Workdir(tmp_path), keep=3, part=part)
    for step in (3, 6, 9):
        part.weights.assign(tf.fill((40, 25), float(step)))
        part.count.assign(step)
        checkpoints.save(step)
        part.weights.assign(tf.fill((40, 25), -1.0))
    return tmp_path / "checkpoints"


def restore(folder, part=None):
    part = part or Part()
    checkpoints = Checkpoints(Workdir(folder.parent), part=part)
    step, warnings = checkpoints.restore()
    return step, warnings, part


def test_the_state_is_that_of_the_moment_of_saving(saved):
    step, warnings, part = restore(saved)
    assert (step, warnings, int(part.count)) == (9, [], 9)
    np.testing.assert_array_equal(part.weights, np.full((40, 25), 9.0, np.float32))


@pytest.mark.parametrize("keep", [1, 2])
def test_only_the_newest_stay(tmp_path, keep):
    part = Part()
    checkpoints = Checkpoints(Workdir(tmp_path), keep=keep, part=part)
    for step in range(1, 5):
        checkpoints.save(step)
    left = sorted(path.stem for path in (tmp_path / "checkpoints").glob("*.index"))
    assert left == [f"ckpt-{step}" for step in range(5 - keep, 5)]
    with pytest.raises(InputError, match=r"--keep is .* at least 1\. Received: 0"):
        Checkpoints(Workdir(tmp_path), keep=0, part=part)


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip(folder / "ckpt-9.data-00000-of-00001", 2000),
        lambda folder: flip(folder / "ckpt-9.index", 30),
        lambda folder: (folder / "ckpt-9.data-00000-of-00001").unlink(),
        lambda folder: (folder / "ckpt-9.data-00000-of-00001").write_bytes(b""),
        lambda folder: (folder / "ckpt-9.index").write_bytes(b""),
        lambda folder: (folder / "ckpt-9.index").write_bytes((folder / "ckpt-9.index").read_bytes()[:-9]),
    ],
    ids=["flipped data", "flipped index", "no data", "empty data", "empty index", "cut index"],
)
def test_a_damaged_one_gives_way_to_the_one_before(saved, damage):
    damage(saved)
    step, warnings, part = restore(saved)
    assert (step, int(part.count)) == (6, 6)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{saved / 'ckpt-9'} is damaged (")
    np.testing.assert_array_equal(part.weights, np.full((40, 25), 6.0, np.float32))


def test_the_list_beside_them_is_not_needed(saved):
    (saved / "checkpoint").write_bytes(b"\0garbage")
    assert restore(saved)[0] == 9


def test_leftovers_of_a_kill_are_removed(saved):
    half_written = saved / "ckpt-12_temp"
    half_written.mkdir()
    (half_written / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    assert restore(saved)[0] == 9
    assert not half_written.exists()


def test_a_run_never_starts_anew_because_its_checkpoints_are_damaged(saved):
    for step in (3, 6, 9):
        (saved / f"ckpt-{step}.index").write_bytes(b"")
    part = Part(5.0)
    with pytest.raises(InputError, match=r"resumes from a whole checkpoint\. Received: .*ckpt-9 .*ckpt-3 "):
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


def test_a_disk_that_is_full_is_told(tmp_path):
    (tmp_path / "checkpoints").write_bytes(b"a file where the folder should be")
    checkpoints = Checkpoints(Workdir(tmp_path), part=Part())
    with pytest.raises(OSError, match=r"checkpoint .*checkpoints/ckpt-1"):
        checkpoints.save(1)
