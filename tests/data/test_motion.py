import numpy as np
import pytest

from mcss_tf.data import keypoints_io, motion, tracking
from tests.data import synthetic


def overlap(a, b):
    """Intersection over union of boxes [F, 4]."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = np.clip(sides, 0, None).prod(1)
    return both / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both)


def test_background_wins_although_a_body_covers_it_most_of_the_time():
    """A varied body stands before a pixel 70 % of the time; the median would show the body."""
    rng = np.random.default_rng(0)
    samples = rng.integers(88, 92, (40, 4, 4, 3)).astype(np.uint8)
    samples[:28, 1:3, 1:3] = rng.integers(120, 250, (28, 2, 2, 3))
    assert np.median(samples, axis=0).max() > 110
    background = motion.still_background(samples)
    assert background.dtype == np.uint8
    assert background.min() >= 88
    assert background.max() <= 92


def test_body_in_front_of_a_background():
    background = np.full((180, 320, 3), 90, np.uint8)
    pixels = background.copy()
    pixels[40:120, 100:130] = 200
    pixels[150:153, 10:13] = 200
    (body,) = motion.bodies(pixels, background)
    np.testing.assert_allclose(body.box, [100, 40, 130, 120], atol=1.5)
    assert motion.bodies(background, background) == []


def test_walking_body_is_found(tmp_path):
    synthetic.write_video(tmp_path / "a.mp4", duration_s=4.0, has_clock=False)
    boxes = motion.find_boxes(tmp_path / "a.mp4")
    expected = np.stack([synthetic.body_box(index / 10) for index in range(40)])
    assert boxes.shape == (40, 4)
    assert overlap(boxes, expected).min() > 0.6


def test_empty_room(tmp_path):
    synthetic.write_video(tmp_path / "a.mp4", duration_s=1.0, has_body=False, has_clock=False)
    boxes = motion.find_boxes(tmp_path / "a.mp4")
    assert np.isnan(boxes).all()


@pytest.mark.parametrize("camera", ["cam01", "cam03"])
def test_real_person_is_found_where_the_keypoints_are(balancing, camera):
    """A bystander stands at the back of cam01; 1.7 s is little to learn a background from."""
    by_motion = tracking.fill_and_smooth(motion.find_boxes(balancing / "videos" / f"{camera}.mp4"), 60)
    keypoints = keypoints_io.read_keypoints(balancing / "pose-associated" / f"{camera}_json", 100)
    by_keypoints = tracking.fill_and_smooth(keypoints_io.keypoint_boxes(keypoints), 60)
    overlaps = overlap(by_motion, by_keypoints)
    assert np.mean(overlaps) > 0.75
    assert np.min(overlaps) > 0.6
