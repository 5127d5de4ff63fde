"""Preparing through Apache Beam writes the bytes that processes write; skipped where Beam is absent."""

import importlib.util
import sys

import pytest

from mcss_tf.data.beam import prepare_with_beam
from mcss_tf.data.preparation import prepare_dataset
from mcss_tf.data.sources.recordings import RecordingOptions, RecordingsSource
from mcss_tf.errors import InputError
from tests.data import synthetic

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is not installed: mcss_tf[beam]"
)
OPTIONS = "--runner=DirectRunner --direct_num_workers=1"


@pytest.fixture
def source(tmp_path):
    synthetic.write_recordings(tmp_path / "in", ("S1/walk", "S2/walk", "S3/walk"), has_clock=False)
    return RecordingsSource(RecordingOptions(root=tmp_path / "in", crop_size=32, boxes="full"))


@needs_beam
def test_beam_writes_what_processes_write(source, tmp_path):
    specs, counted = source.sequences(), []
    prepare_dataset(source, specs, tmp_path / "one", 32, {"a": 1}, 1, lambda _: None)
    beam = prepare_with_beam(source, specs, tmp_path / "two", 32, {"a": 1}, OPTIONS, counted.append)
    beam.verify()
    assert sum(counted) == 60
    one, two = ((tmp_path / name / "dataset.json").read_text() for name in ("one", "two"))
    assert one == two
    assert not (tmp_path / "two" / ".prepare").exists()


@needs_beam
def test_a_sequence_that_fails_does_not_undo_the_others(source, tmp_path):
    specs = source.sequences()
    path = tmp_path / "in" / "S2" / "walk" / "a.mp4"
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    with pytest.raises(InputError, match="S2/walk/a.mp4"):
        prepare_with_beam(source, specs, tmp_path / "out", 32, {"a": 1}, OPTIONS, lambda _: None)
    shard = tmp_path / "out" / "records" / "S1" / "walk.train.tfrecord"
    before = shard.stat().st_mtime_ns
    path.write_bytes(whole)
    prepare_with_beam(source, specs, tmp_path / "out", 32, {"a": 1}, OPTIONS, lambda _: None).verify()
    assert shard.stat().st_mtime_ns == before


def test_without_beam(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"needs Apache Beam.*pip install 'mcss_tf\[beam\]'"):
        prepare_with_beam(source, source.sequences(), tmp_path / "out", 32, {}, OPTIONS, lambda _: None)
    assert not (tmp_path / "out").exists()
