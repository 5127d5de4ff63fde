import itertools

import numpy as np
import pytest

from mcss_tf.data import tracking
from mcss_tf.data.tracking import Candidate


def _at(x, score=0.5, size=20.0):
    return Candidate(np.array([x, 0.0, x + size / 2, size]), score)


def test_the_likelier_of_two_still_people_is_chosen():
    assert tracking.choose_person([[_at(0, 0.3), _at(200, 0.6)]] * 5) == [1] * 5


def test_one_frame_of_higher_score_elsewhere_does_not_pull_the_track():
    frames = [[_at(t, 0.6), _at(200, 0.4)] for t in range(9)]
    frames[4] = [_at(4, 0.5), _at(200, 0.9)]
    assert tracking.choose_person(frames) == [0] * 9


def test_order_within_frames_does_not_matter():
    frames = [[_at(t, 0.6), _at(200, 0.4)] if t % 2 else [_at(200, 0.4), _at(t, 0.6)] for t in range(6)]
    assert tracking.choose_person(frames) == [1, 0, 1, 0, 1, 0]


def test_frames_without_anybody():
    assert tracking.choose_person([[], [_at(0)], [], [_at(1)], []]) == [None, 0, None, 0, None]
    assert tracking.choose_person([[], []]) == [None, None]
    assert tracking.choose_person([]) == []


def test_against_all_paths():
    rng = np.random.default_rng(1)
    frames = [
        [_at(x, s) for x, s in zip(rng.uniform(0, 60, 3), rng.uniform(0, 1, 3), strict=True)]
        for _ in range(5)
    ]

    def value(path):
        chosen = [frame[i] for frame, i in zip(frames, path, strict=True)]
        jumps = [min(abs(b.box[0] - a.box[0]) / 20.0, 1.0) for a, b in itertools.pairwise(chosen)]
        return sum(c.score for c in chosen) - 2.0 * sum(jumps)

    best = max(itertools.product(range(3), repeat=5), key=value)
    assert tracking.choose_person(frames) == list(best)


def test_short_gaps_are_closed_and_long_ones_stay():
    boxes = np.tile([10.0, 20.0, 30.0, 60.0], (40, 1))
    boxes[3:6] = np.nan
    boxes[15:30] = np.nan
    smooth = tracking.fill_and_smooth(boxes, fps=10.0)
    is_found = np.isfinite(smooth).all(1)
    assert is_found[:15].all()
    assert not is_found[15:30].any()
    assert is_found[30:].all()
    np.testing.assert_allclose(smooth[is_found], np.tile([10.0, 20.0, 30.0, 60.0], (25, 1)))


def test_single_wrong_box_is_forgotten_and_uniform_motion_kept():
    x = 3.0 * np.arange(50)
    boxes = np.stack([x, x, x + 20, x + 40], 1)
    wrong = boxes.copy()
    wrong[25] = [500, 500, 900, 900]
    smooth = tracking.fill_and_smooth(wrong, fps=30.0)
    np.testing.assert_allclose(smooth[10:40], boxes[10:40], atol=2.0)


def test_jitter_shrinks():
    rng = np.random.default_rng(0)
    boxes = np.array([100.0, 100.0, 200.0, 300.0]) + rng.normal(0, 5, (200, 4))
    smooth = tracking.fill_and_smooth(boxes, fps=30.0)
    assert np.diff(smooth, axis=0).std() < 0.2 * np.diff(boxes, axis=0).std()


@pytest.mark.parametrize("num_frames", [0, 1, 2])
def test_tiny_tracks(num_frames):
    boxes = np.tile([1.0, 2.0, 3.0, 4.0], (num_frames, 1))
    np.testing.assert_allclose(tracking.fill_and_smooth(boxes, 30.0), boxes)
    assert np.isnan(tracking.fill_and_smooth(np.full((num_frames, 4), np.nan), 30.0)).all()
