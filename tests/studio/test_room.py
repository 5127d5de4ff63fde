"""The room and its cameras."""

import numpy as np
import pytest

from mcss_tf.geometry.cameras import project, world_to_camera
from mcss_tf.studio import figure
from mcss_tf.studio.anatomy import body_shapes
from mcss_tf.studio.backdrop import background
from mcss_tf.studio.body import make_body
from mcss_tf.studio.motion import procedural_takes
from mcss_tf.studio.room import ROOM_MM, make_cameras, make_room
from mcss_tf.studio.shapes import bounds


@pytest.mark.parametrize("num_cameras", [1, 2, 4, 7])
def test_cameras_stand_inside_the_room_around_the_stage(num_cameras):
    cameras = make_cameras(3, num_cameras, (320, 240))
    centres = np.array([camera.centre_mm for camera in cameras.values()])
    assert len(cameras) == num_cameras
    assert (np.abs(centres[:, :2]) < ROOM_MM[:2] / 2).all()
    assert (centres[:, 2] > 1000).all()
    angles = np.sort(np.arctan2(centres[:, 1], centres[:, 0]))
    if num_cameras > 1:
        assert np.diff(angles).min() > 0.5 * 2 * np.pi / num_cameras


def test_people_on_the_stage_are_inside_every_frame():
    inside = []
    for seed in range(6):
        cameras = make_cameras(seed, 4, (640, 640))
        body = make_body("S1", seed)
        for take in procedural_takes(seed, "S1", 160, 2.0):
            points = figure.pose_points(take.clip_of(), body.lengths_mm)[::5]
            for pose in points:
                shapes = body_shapes(body, pose)
                for camera in cameras.values():
                    rectangles = bounds(shapes, camera)
                    inside.append(rectangles.min() > 0 and rectangles.max() < 640)
    assert np.mean(inside) > 0.99


def test_the_background_is_the_room_the_camera_sees():
    room = make_room(0)
    camera = make_cameras(0, 4, (160, 120))["cam02"]
    image, is_floor = background(room, camera)
    assert image.shape == (120, 160, 3)
    assert image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 255
    # Points of the open floor around the stage are floor in the picture; those high on the walls are not.
    for x, y in ((0, 0), (600, -300), (-500, 500)):
        column, row = project(camera, np.array([x, y, 0.0])).round().astype(int)
        assert is_floor[row, column]
    for corner in ([1, 1], [1, -1], [-1, 1], [-1, -1]):
        wall = np.array([*(0.49 * ROOM_MM[:2] * corner), 1900])
        column, row = project(camera, wall).round().astype(int)
        if world_to_camera(camera, wall)[2] > 0 and 0 <= column < 160 and 0 <= row < 120:
            assert not is_floor[row, column]


def test_rooms_differ_by_seed_only():
    cameras = make_cameras(0, 1, (40, 30))
    first, again, other = (background(make_room(seed), cameras["cam01"])[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 2
