"""Files are whole or absent."""

import hashlib
import json
import os

import pytest

from mcss_tf import files


def test_atomic_write_replaces_only_when_the_block_succeeds(tmp_path):
    path = tmp_path / "deep" / "a.bin"
    with files.atomic_write(path) as file:
        file.write(b"one")
    with pytest.raises(OSError, match="disk full"):
        _write_half(path)
    assert path.read_bytes() == b"one"
    assert os.listdir(path.parent) == ["a.bin"], "no temporary file is left behind"


def _write_half(path):
    with files.atomic_write(path) as file:
        file.write(b"half of tw")
        raise OSError("disk full")


def test_written_files_follow_the_umask(tmp_path):
    files.write_text(tmp_path / "a.txt", "ä")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "ä"


def test_json_and_checksum(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": [1, 2.5, None]})
    text = (tmp_path / "a.json").read_bytes()
    assert json.loads(text) == {"b": [1, 2.5, None]}
    assert files.sha256(tmp_path / "a.json") == hashlib.sha256(text).hexdigest()
