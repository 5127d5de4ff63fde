import numpy as np
import pytest

from mcss_tf.data import boxes, video
from mcss_tf.errors import InputError
from tests.data import synthetic
from tests.data.test_keypoints_io import person, write_frame


@pytest.fixture
def sequence(tmp_path):
    """Two cameras that see the same walking body, 20 frames each."""
    synthetic.write_recordings(tmp_path, has_clock=False)
    return tmp_path / "S1" / "walk"


def _find(sequence, mode, context=1.0):
    videos = {camera: sequence / f"{camera}.mp4" for camera in ("a", "b")}
    infos = {camera: video.probe(path) for camera, path in videos.items()}
    return boxes.find_boxes(mode, sequence, videos, infos, context)


def test_square():
    found = boxes.square(np.array([[10.0, 20.0, 30.0, 80.0], [np.nan] * 4]), context=1.5)
    np.testing.assert_allclose(found[0], [20 - 45, 50 - 45, 20 + 45, 50 + 45])
    assert np.isnan(found[1]).all()


def test_squares_are_whole_and_square():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 100, (50, 2))
    found = boxes.square(np.concatenate([corner, corner + rng.uniform(1, 90, (50, 2))], 1), 1.25)
    np.testing.assert_array_equal(found, np.rint(found))
    np.testing.assert_array_equal(found[:, 2] - found[:, 0], found[:, 3] - found[:, 1])


def test_auto_takes_the_file_then_keypoints_then_motion(sequence):
    assert boxes.choose_mode("auto", sequence, ("a", "b")) == "motion"
    for camera in ("a", "b"):
        write_frame(sequence / "keypoints" / camera / "0.json", person(0))
    assert boxes.choose_mode("auto", sequence, ("a", "b")) == "keypoints"
    np.savez(sequence / "boxes.npz", boxes=np.zeros((2, 20, 4)))
    assert boxes.choose_mode("auto", sequence, ("a", "b")) == "file"
    assert boxes.choose_mode("full", sequence, ("a", "b")) == "full"


def test_modes_without_what_they_need(sequence):
    with pytest.raises(InputError, match="needs a boxes.npz"):
        boxes.choose_mode("file", sequence, ("a", "b"))
    write_frame(sequence / "keypoints" / "a" / "0.json", person(0))
    with pytest.raises(InputError, match=r"for every camera. Received: .*walk without \['b'\]"):
        boxes.choose_mode("auto", sequence, ("a", "b"))
    with pytest.raises(InputError, match="--boxes is one of auto"):
        boxes.choose_mode("guess", sequence, ("a", "b"))


def test_full_is_the_square_around_the_frame(sequence):
    found = _find(sequence, "full", context=1.5)
    np.testing.assert_array_equal(found["b"], np.tile([0, -8, 64, 56], (20, 1)))


def test_motion_follows_the_body(sequence):
    found = _find(sequence, "motion")["a"]
    expected = np.stack([synthetic.body_box(index / 10) for index in range(20)])
    centres = (found[:, :2] + found[:, 2:]) / 2
    np.testing.assert_allclose(centres, (expected[:, :2] + expected[:, 2:]) / 2, atol=4)


def test_keypoints_and_missing_frames(sequence):
    for camera, last in (("a", 20), ("b", 8)):
        for frame in range(last):
            write_frame(sequence / "keypoints" / camera / f"{frame}.json", person(frame))
    found = _find(sequence, "keypoints", context=1.25)
    np.testing.assert_allclose(found["a"][10], [30 - 62, 60 - 62, 30 + 63, 60 + 63], atol=2)
    assert np.isfinite(found["b"]).all(1).tolist() == [True] * 8 + [False] * 12


def test_file_by_order_or_by_name(sequence):
    arrays = np.zeros((2, 20, 4))
    arrays[0], arrays[1] = (0, 0, 10, 10), (20, 20, 40, 40)
    np.savez(sequence / "boxes.npz", boxes=arrays)
    np.testing.assert_array_equal(_find(sequence, "file")["b"][3], [20, 20, 40, 40])
    np.savez(sequence / "boxes.npz", boxes=arrays, cameras=["b", "a"])
    np.testing.assert_array_equal(_find(sequence, "file")["b"][3], [0, 0, 10, 10])


@pytest.mark.parametrize("mode", ["motion", "keypoints", "file"])
def test_nobody_found(sequence, mode):
    synthetic.write_video(sequence / "b.mp4", has_body=False, has_clock=False)
    write_frame(sequence / "keypoints" / "a" / "0.json", person(0))
    write_frame(sequence / "keypoints" / "b" / "0.json")
    arrays = np.tile([0.0, 0, 10, 10], (2, 20, 1))
    arrays[1] = np.nan
    np.savez(sequence / "boxes.npz", boxes=arrays)
    with pytest.raises(InputError, match=rf"no person in any frame of .*b\.mp4 with --boxes={mode}"):
        _find(sequence, mode)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"box": np.zeros((2, 20, 4))}, "must hold `boxes`"),
        ({"boxes": np.zeros((3, 20, 4))}, r"\[2 cameras, frames, 4\]. Received: \(3, 20, 4\)"),
        ({"boxes": np.tile([0, 0, 5, 5], (2, 19, 1))}, "cover the 20 frames of camera a"),
        ({"boxes": np.tile([0, 0, 5, 5], (2, 20, 1)), "cameras": ["b", "c"]}, "20 frames of b, c"),
        ({"boxes": np.tile([50, 50, 9, 9], (2, 20, 1))}, "x0 < x1"),
    ],
)
def test_wrong_file(sequence, arrays, message):
    np.savez(sequence / "boxes.npz", **arrays)
    with pytest.raises(InputError, match=message):
        _find(sequence, "file")
