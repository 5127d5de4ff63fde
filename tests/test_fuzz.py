"""A few hundred damaged and hostile files for every parser; benchmarks/fuzz_parsers.py takes 10,000."""

import pytest

from tests import fuzz


@pytest.mark.parametrize("parser", fuzz.PARSERS, ids=lambda parser: parser.name)
def test_nothing_but_an_input_error(parser, tmp_path):
    counts = fuzz.fuzz(parser, 300, 0, tmp_path)
    assert counts["refused"] > 50, "the changes must reach what is checked"


def test_another_exception_and_a_hang_are_faults(tmp_path, monkeypatch):
    def fail_at_a_short_file(path):
        if len(path.read_bytes()) < 10:
            raise KeyError("x")

    def never_end(path):
        while len(path.read_bytes()) < 10:
            pass

    monkeypatch.setattr(fuzz, "MAX_SECONDS", 1)
    for read, message in ((fail_at_a_short_file, r"KeyError\('x'\)"), (never_end, r"Hang\(\)")):
        broken = fuzz.Parser("broken", fuzz._write("a", "0123456789" * 3), read, fuzz.change_bytes)
        with pytest.raises(AssertionError, match=rf"broken, input \d+ \(.*fault-broken.*\): {message}"):
            fuzz.fuzz(broken, 300, 0, tmp_path)
