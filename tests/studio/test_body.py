"""Subjects: people differ, sides do not."""

import numpy as np

from mcss_tf.studio import figure
from mcss_tf.studio.anatomy import body_shapes
from mcss_tf.studio.body import make_body
from mcss_tf.studio.performer import perform
from mcss_tf.studio.wardrobe import NUM_PARTS


def test_bone_lengths_vary_as_between_people():
    lengths = np.array([make_body(f"S{index}", 0).lengths_mm for index in range(200)])
    spread = lengths[:, 1:].std(0) / lengths[:, 1:].mean(0)
    assert (spread > 0.04).all()
    assert (spread < 0.12).all()
    np.testing.assert_allclose(lengths.mean(0)[1:], figure.LENGTHS_MM[1:], rtol=0.03)


def test_left_and_right_bones_are_equal():
    lengths = make_body("S1", 0).lengths_mm
    for right, left in ((1, 4), (2, 5), (3, 6), (14, 11), (15, 12), (16, 13), (17, 18), (20, 19)):
        assert lengths[right] == lengths[left]


def test_a_name_is_a_person():
    first, again, other = make_body("S1", 0), make_body("S1", 0), make_body("S1", 1)
    np.testing.assert_array_equal(first.lengths_mm, again.lengths_mm)
    np.testing.assert_array_equal(first.outfit.colours, again.outfit.colours)
    assert not np.array_equal(first.outfit.colours, other.outfit.colours)


def test_a_mirrored_pose_has_mirrored_shapes():
    """So neither cut nor colour tells left from right."""
    swap = np.arange(22)
    for right, left in ((1, 4), (2, 5), (3, 6), (14, 11), (15, 12), (16, 13), (17, 18), (20, 19)):
        swap[[right, left]] = left, right
    for seed in range(12):
        body = make_body("S1", seed)
        clip = perform("dancing", 1.0, 2.0, np.random.default_rng(seed))
        points = figure.pose_points(clip, body.lengths_mm)[0]
        shapes, mirrored = body_shapes(body, points), body_shapes(body, points[swap] * [-1, 1, 1])
        rows = {_row(s, r, p) for s, r, p in zip(shapes.start, shapes.radius_start, shapes.part, strict=True)}
        seen = zip(mirrored.start * [-1, 1, 1], mirrored.radius_start, mirrored.part, strict=True)
        # The bar across the shoulders starts at the other one; everything else maps onto itself.
        assert len({_row(*row) for row in seen} - rows) <= 1


def test_shapes_cover_the_joints_and_have_sensible_sizes():
    for seed in range(12):
        body = make_body("S1", seed)
        points = figure.pose_points(perform("walking", 1.0, 2.0, np.random.default_rng(0)), body.lengths_mm)[
            0
        ]
        shapes = body_shapes(body, points)
        assert 20 <= len(shapes.part) <= 60
        assert set(shapes.part) <= set(range(NUM_PARTS))
        radii = np.concatenate([shapes.radius_start, shapes.radius_end])
        assert radii.min() > 5
        assert radii.max() < 260
        ends = np.concatenate([shapes.start, shapes.end])
        nearest = np.linalg.norm(points[:17, None] - ends, axis=-1).min(1)
        assert nearest.max() < 150


def _row(start, radius, part):
    return (*(round(float(value), 3) + 0.0 for value in start), round(float(radius), 3), int(part))
