from fractions import Fraction

import numpy as np
import pytest

from mcss_tf.data import synchrony, video
from tests.data import synthetic


def _frames(times_s):
    for index, time_s in enumerate(times_s):
        yield video.Frame(index, time_s, lambda: None)


def _pair(streams, offsets_s=None, reference="a", stride=1, tolerance_s=0.05):
    streams = {camera: _frames(times_s) for camera, times_s in streams.items()}
    paired = synchrony.paired(streams, offsets_s or {}, reference, stride, tolerance_s)
    return [(time_s, {camera: frame.index for camera, frame in frames.items()}) for time_s, frames in paired]


def test_nearest_frames_pair():
    found = _pair({"a": [0.0, 0.1, 0.2], "b": [0.04, 0.09, 0.16, 0.19]})
    assert found == [(0.0, {"a": 0, "b": 0}), (0.1, {"a": 1, "b": 1}), (0.2, {"a": 2, "b": 3})]


def test_frames_further_apart_than_the_tolerance_are_left_out():
    found = _pair({"a": [0.0, 0.1, 0.2, 0.3], "b": [0.0, 0.3]}, tolerance_s=0.05)
    assert [set(frames) for _, frames in found] == [{"a", "b"}, {"a"}, {"a"}, {"a", "b"}]


def test_offsets_move_a_camera_on_the_common_clock():
    found = _pair({"a": [0.0, 0.1, 0.2], "b": [0.0, 0.1, 0.2]}, offsets_s={"b": 0.1})
    assert [frames.get("b") for _, frames in found] == [None, 0, 1]
    found = _pair({"a": [0.0, 0.1], "b": [0.0, 0.1]}, offsets_s={"a": 1.0, "b": 1.0})
    assert [time_s for time_s, _ in found] == [1.0, 1.1]


def test_stride_counts_frames_of_the_reference():
    found = _pair({"a": np.arange(10) / 10, "b": np.arange(10) / 10}, stride=4)
    assert [frames for _, frames in found] == [{"a": i, "b": i} for i in (0, 4, 8)]


def test_cameras_keep_their_order_whatever_the_reference():
    found = _pair({"a": [0.0], "b": [0.0], "c": [0.0]}, reference="b")
    assert list(found[0][1]) == ["a", "b", "c"]


def test_against_all_pairs():
    """The streaming pairing finds what comparing every frame with every other finds."""
    rng = np.random.default_rng(0)
    reference, other = np.sort(rng.uniform(0, 5, 60)), np.sort(rng.uniform(0, 5, 80))
    found = _pair({"a": reference, "b": other}, tolerance_s=0.03)
    for time_s, frames in found:
        nearest = np.abs(other - time_s).argmin()
        expected = nearest if abs(other[nearest] - time_s) <= 0.03 else None
        assert frames.get("b") == expected


def test_cameras_of_slightly_different_rate_pair_the_right_frames(tmp_path):
    """After 40 s, 29.97 frames per second are 1.2 frames behind 30: frame numbers pair the wrong ones."""
    rates = {"a": Fraction(30), "b": Fraction(30000, 1001)}
    times = {camera: [float(i / rate) for i in range(int(40 * rate))] for camera, rate in rates.items()}
    synthetic.write_video(tmp_path / "a.mp4", fps=rates["a"], duration_s=40.0)
    synthetic.write_video(tmp_path / "b.mp4", fps=rates["b"], duration_s=40.0)
    streams = {camera: video.read_frames(tmp_path / f"{camera}.mp4") for camera in rates}
    tolerance_s = synchrony.default_tolerance_s([float(rate) for rate in rates.values()])
    assert tolerance_s == pytest.approx(0.5 * 1001 / 30000)
    num_wrong_by_number = 0
    pairs = list(synchrony.paired(streams, {}, "a", 1, tolerance_s))
    assert len(pairs) == 1200
    for time_s, frames in pairs[:-2]:
        assert abs(times["b"][frames["b"].index] - time_s) <= tolerance_s + 1e-3
        num_wrong_by_number += frames["b"].index != frames["a"].index
    assert num_wrong_by_number > 500


def test_a_truncated_camera_is_noticed_although_its_end_is_not_paired():
    def broken():
        yield from _frames([0.0, 0.1, 0.2])
        raise ValueError("truncated")

    with pytest.raises(ValueError, match="truncated"):
        list(synchrony.paired({"a": _frames([0.0]), "b": broken()}, {}, "a", 1, 0.05))


@pytest.mark.parametrize("seed", range(5))
def test_nearest_frames_of_times_alone_are_those_of_the_streams(seed):
    rng = np.random.default_rng(seed)
    times = {name: np.sort(rng.uniform(0, 1, rng.integers(1, 12))) for name in "ab"}
    expected = [frames.get("b", -1) for _, frames in _pair(times)]
    assert synchrony.nearest_frames(times["b"], times["a"], 0.05).tolist() == expected
