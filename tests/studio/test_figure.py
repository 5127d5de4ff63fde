"""Figures: proportions come and go, feet stay on the floor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.studio import figure
from mcss_tf.studio.performer import perform


@pytest.fixture
def clip():
    return perform("dancing", 2.0, 10.0, np.random.default_rng(3))


def test_the_first_17_points_are_human36m():
    assert tuple(figure.PARENTS[:17]) == HUMAN36M_17.parents


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.7, 1.4), seed=st.integers(0, 99))
def test_bones_have_the_body_s_lengths_and_the_clip_s_directions(scale, seed):
    rng = np.random.default_rng(seed)
    clip = perform("kicking", 1.0, 5.0, rng)
    lengths = figure.LENGTHS_MM * scale * rng.uniform(0.9, 1.1, figure.NUM_POINTS)
    points = figure.pose_points(clip, lengths)
    bones = (points - points[:, figure.PARENTS])[:, 1:]
    measured = np.linalg.norm(bones, axis=-1)
    np.testing.assert_allclose(measured, np.broadcast_to(lengths[1:], measured.shape), rtol=1e-9)
    np.testing.assert_allclose(bones / measured[..., None], clip.directions[:, 1:], atol=1e-9)


def test_skin_touches_the_floor_unless_the_clip_leaves_it(clip):
    for scale in (0.8, 1.2):
        points = figure.pose_points(clip, figure.LENGTHS_MM * scale)
        np.testing.assert_allclose(figure.lowest_skin_mm(points), 0, atol=1e-6)


def test_jumps_keep_their_height_in_leg_lengths():
    clip = perform("jumping", 4.0, 10.0, np.random.default_rng(0))
    assert clip.clearance.max() > 0.1
    points = figure.pose_points(clip, figure.LENGTHS_MM)
    leg = figure.leg_length_mm(figure.LENGTHS_MM)
    np.testing.assert_allclose(figure.lowest_skin_mm(points), clip.clearance * leg, atol=1e-6)


def test_points_to_clip_and_back_on_any_floor(clip):
    points = figure.pose_points(clip, figure.LENGTHS_MM)
    measured = figure.clip_from_points("a", "b", 10.0, points - np.array([0, 0, 730]))
    np.testing.assert_allclose(figure.pose_points(measured, figure.LENGTHS_MM), points, atol=1e-6)


def test_resampling_halves_and_doubles(clip):
    half = figure.resample(clip, 5.0)
    np.testing.assert_allclose(half.directions, clip.directions[::2], atol=1e-9)
    assert half.duration_s == clip.duration_s == figure.resample(clip, 20.0).duration_s
    double = figure.resample(clip, 20.0)
    np.testing.assert_allclose(double.directions[::2], clip.directions, atol=1e-9)
    # Half-way frames lie between their neighbours, and bones keep unit length.
    np.testing.assert_allclose(np.linalg.norm(double.directions[:, 1:], axis=-1), 1, atol=1e-9)
    np.testing.assert_allclose(double.root_xy[1], (clip.root_xy[0] + clip.root_xy[1]) / 2)


def test_placing_turns_about_the_vertical_and_stays_on_the_stage(clip):
    far = figure.dataclasses.replace(clip, root_xy=clip.root_xy * 40 + 7)
    placed = figure.place(far, np.pi / 2, 0.9)
    assert np.linalg.norm(placed.root_xy, axis=-1).max() <= 0.9 + 1e-9
    x, y, z = np.moveaxis(clip.directions, -1, 0)
    np.testing.assert_allclose(placed.directions, np.stack([-y, x, z], -1), atol=1e-9)
