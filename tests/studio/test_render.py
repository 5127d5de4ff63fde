"""The renderer: the person is where the joints say, pictures depend on the seed alone."""

import dataclasses

import numpy as np
import pytest

from mcss_tf.geometry.cameras import project
from mcss_tf.studio import figure
from mcss_tf.studio.anatomy import body_shapes
from mcss_tf.studio.body import make_body
from mcss_tf.studio.performer import perform
from mcss_tf.studio.render import Renderer, square_box
from mcss_tf.studio.room import make_cameras, make_room
from mcss_tf.studio.shapes import bounds

SIZE = 96


@pytest.fixture(scope="module")
def cameras():
    return make_cameras(0, 3, (256, 256))


@pytest.fixture(scope="module")
def renderer(cameras):
    return Renderer(make_room(0), cameras, SIZE, seed=0)


@pytest.fixture(scope="module")
def person():
    """A body in one loud colour, so that its pixels can be told from the room's."""
    body = make_body("S1", 0)
    colours = np.tile([255.0, 0, 255], (5, 1))
    loud = dataclasses.replace(body.outfit, colours=colours, second=colours, hair_style="bald")
    clip = perform("stretching", 2.0, 5.0, np.random.default_rng(2))
    return dataclasses.replace(body, outfit=loud), figure.pose_points(clip, body.lengths_mm)


def _is_person(image):
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return (red - green > 45) & (blue - green > 45)


def test_the_person_is_where_the_projected_joints_are(renderer, cameras, person):
    body, poses = person
    for index, points in enumerate(poses[::3]):
        images, boxes = renderer.crops(body, points, (index,))
        for image, box, camera in zip(images, boxes, cameras.values(), strict=True):
            pixels = (project(camera, points[:17]) + 0.5 - box[:2]) * SIZE / (box[2] - box[0])
            column, row = np.floor(pixels).astype(int).T
            # The top of the head is on the outline; all other joints are under the skin.
            assert _is_person(image)[row, column][np.arange(17) != 10].all()
            seen = np.flatnonzero(_is_person(image).any(0))
            # The box is tight around what is drawn: its context is 6 % on either side of the longer axis.
            tall = np.flatnonzero(_is_person(image).any(1))
            extent = max(np.ptp(seen), np.ptp(tall)) + 1
            assert 0.78 * SIZE < extent < 0.93 * SIZE


def test_boxes_are_square_whole_and_hold_the_body(cameras, person):
    body, poses = person
    for camera in cameras.values():
        rectangles = bounds(body_shapes(body, poses[0]), camera)
        x0, y0, x1, y1 = box = square_box(rectangles)
        assert x1 - x0 == y1 - y0
        assert box.dtype.kind == "i"
        assert x0 < rectangles[:, 0].min()
        assert y0 < rectangles[:, 1].min()
        assert x1 > rectangles[:, 2].max()
        assert y1 > rectangles[:, 3].max()


def test_pictures_repeat_by_seed_and_key(renderer, cameras, person):
    body, poses = person
    twin = Renderer(make_room(0), cameras, SIZE, seed=0)
    first, again = renderer.crops(body, poses[0], (3,))[0], twin.crops(body, poses[0], (3,))[0]
    np.testing.assert_array_equal(first, again)
    noise = np.array(renderer.crops(body, poses[0], (4,))[0], float) - np.array(first, float)
    # Only the sensor's noise depends on the key.
    assert 0.5 < noise.std() < 12
    assert np.abs(noise.mean()) < 0.5


def test_a_crop_equals_the_cut_full_frame(renderer, cameras, person):
    body, poses = person
    _, boxes = renderer.crops(body, poses[4], (0,))
    name = list(cameras)[1]
    x0, y0, x1, y1 = boxes[1].astype(int)
    sharp = Renderer(make_room(0), cameras, x1 - x0, seed=0).crops(body, poses[4], (0,))[0][1].astype(float)
    full = renderer.frame(name, body, poses[4], (0,))
    assert full.shape == (256, 256, 3)
    low, high = np.maximum([x0, y0], 0), np.minimum([x1, y1], 256)
    part = full[low[1] : high[1], low[0] : high[0]].astype(float)
    sharp = sharp[low[1] - y0 : high[1] - y0, low[0] - x0 : high[0] - x0]
    assert np.abs(part - sharp).mean() < 6
    assert (_is_person(part) ^ _is_person(sharp)).mean() < 0.01


def test_the_empty_room_stays_still(renderer, cameras, person):
    """What a background model relies on: far from the person a camera sees the same but for noise."""
    body, poses = person
    name = next(iter(cameras))
    frames = np.array(
        [renderer.frame(name, body, points, (index,)) for index, points in enumerate(poses[:3])]
    )
    ceiling = frames[:, :30].astype(float)
    assert np.abs(ceiling[0] - ceiling[1]).mean() < 8
    assert np.abs(np.median(ceiling, 0) - ceiling.mean(0)).mean() < 4


def test_a_body_casts_a_shadow_and_is_shaded(renderer, cameras, person):
    body, poses = person
    name = next(iter(cameras))
    full = renderer.frame(name, body, poses[0], (0,)).astype(float)
    steps = np.array([[1100, 0, 0], [-1100, 0, 0], [0, 1100, 0], [0, -1100, 0], [800, 800, 0]])
    empty = np.median([renderer.frame(name, body, poses[0] + step, (0,)) for step in steps], axis=0)
    darker = (empty - full).mean(-1)
    shadow = (darker > 12) & ~_is_person(full)
    assert shadow.sum() > 100
    values = full[_is_person(full)].max(-1)
    assert np.percentile(values, 90) > 1.25 * np.percentile(values, 10)
