"""What an interrupted preparation keeps."""

import pickle

from mcss_tf.data.preparation import prepare_dataset, prepare_group
from mcss_tf.data.preparation_state import fingerprint, open_state
from mcss_tf.data.sources.recordings import RecordingOptions, RecordingsSource
from tests.data import synthetic


def test_sequences_that_were_prepared_elsewhere_are_kept(tmp_path, monkeypatch):
    """A spec that travelled to another process pickles to other bytes and is the same sequence."""
    synthetic.write_recordings(tmp_path / "in", ("S1/walk", "S2/walk"), has_clock=False)
    source = RecordingsSource(RecordingOptions(root=tmp_path / "in", crop_size=32, boxes="full"))
    specs = source.sequences()
    open_state(tmp_path / "out", {"a": 1})
    for spec in specs:
        travelled = pickle.loads(pickle.dumps(spec))
        prepare_group([travelled], [fingerprint(spec)], source, tmp_path / "out", 32)
    monkeypatch.setattr(RecordingsSource, "instants", None)  # whoever decodes again, fails
    again = RecordingsSource(source.options)
    prepare_dataset(again, again.sequences(), tmp_path / "out", 32, {"a": 1}, 1, lambda _: None).verify()
