"""The doctor tells what works, and fails where something needed does not."""

import pytest

from mcss_tf import doctor


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(doctor, "_training_step", lambda: ["12 ms"])


def test_a_sound_machine(capsys):
    assert doctor.main() == 0
    told = capsys.readouterr().out
    for part in ("tensorflow 2.21", "cores for this process", "CPU:0", "auto is", "h264", "12 ms"):
        assert part in told
    assert "agrees with its reference" in told or "plain reference is used" in told
    assert told.endswith("all that is needed works\n")


def test_what_is_broken_is_named(capsys, monkeypatch):
    def fail():
        raise RuntimeError("no decoder for h264")

    monkeypatch.setattr(doctor, "_video", fail)
    assert doctor.main() == 1
    told = capsys.readouterr().out
    assert "BROKEN: RuntimeError: no decoder for h264" in told
    assert "12 ms" in told, "the rest is still looked at"
    assert told.endswith("broken: video\n")


def test_an_op_that_disagrees_is_broken(monkeypatch):
    from mcss_tf.ops import library, reference

    if library.load() is None:
        pytest.skip("the op is not built here")
    expected = reference.hardest_negatives
    monkeypatch.setattr(
        reference, "hardest_negatives", lambda *arguments: [part + 1 for part in expected(*arguments)]
    )
    with pytest.raises(RuntimeError, match="find different negatives"):
        doctor._custom_op()
