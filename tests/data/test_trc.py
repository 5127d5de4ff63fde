"""TRC files: what is written is read back, and looks as other programs expect."""

import numpy as np
import pytest

from mcss_tf.data import trc
from mcss_tf.errors import InputError


def _markers(num_frames: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1500, 1500, (num_frames, 2, 3))


def test_written_markers_are_read_back_in_their_frames(tmp_path):
    markers = _markers()
    markers[1, 0] = np.nan
    trc.write_trc(tmp_path / "a.trc", markers, [0, 4, 5], ["hip", "knee"], 29.97)
    frames, joints_mm, names = trc.read_trc(tmp_path / "a.trc", 29.97)
    assert (frames.tolist(), names) == ([0, 4, 5], ["hip", "knee"])
    np.testing.assert_allclose(joints_mm, markers, atol=1e-3)


def test_the_cells_are_where_other_programs_look_for_them(tmp_path):
    """Z up (100, 200, 300) mm is Y up (0.2, 0.3, 0.1) m, as in Pose2Sim's own files."""
    trc.write_trc(tmp_path / "a.trc", np.array([[[100.0, 200, 300], [np.nan] * 3]]), [7], ["a", "b"], 10)
    lines = [line.split("\t") for line in (tmp_path / "a.trc").read_text().splitlines()]
    assert lines[0][:3] == ["PathFileType", "4", "(X/Y/Z)"]
    header = dict(zip(lines[1], lines[2], strict=True))
    assert header["DataRate"] == "10"
    assert (header["NumFrames"], header["NumMarkers"], header["Units"]) == ("1", "2", "m")
    assert lines[3] == ["Frame#", "Time", "a", "", "", "b", "", ""]
    assert lines[4] == ["", "", "X1", "Y1", "Z1", "X2", "Y2", "Z2"]
    assert lines[5] == ["8", "0.700000", "0.200000", "0.300000", "0.100000", "", "", ""]


def test_real_file_survives_reading_and_writing(tmp_path, balancing):
    frames, markers, names = trc.read_trc(balancing / "pose-3d.trc", 60.0)
    trc.write_trc(tmp_path / "again.trc", markers, frames, names, 60.0)
    again = trc.read_trc(tmp_path / "again.trc", 60.0)
    np.testing.assert_array_equal(again[0], frames)
    np.testing.assert_allclose(again[1], markers, atol=1e-3)
    assert again[2] == names


def test_not_a_trc(tmp_path):
    (tmp_path / "a.trc").write_text("Frame#\t1\n")
    with pytest.raises(InputError, match=r"five header lines .* Received: .*a\.trc"):
        trc.read_trc(tmp_path / "a.trc", 10.0)
