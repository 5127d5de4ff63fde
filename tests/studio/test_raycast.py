"""Ray casting against a reference that intersects hundreds of spheres per cone, pixel by pixel."""

import numpy as np
import pytest

from mcss_tf.geometry.cameras import look_at, world_to_camera
from mcss_tf.studio.raycast import cast
from mcss_tf.studio.shapes import Shapes, bounds, local_frames

SIZE = 48


def _camera(position=(0.0, -3000.0, 300.0)):
    camera = look_at("c", (SIZE, SIZE), 110.0, position, (0, 0, 200))
    # `cast` counts pixel edges.
    return camera, camera.matrix + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


def _shapes(rows):
    columns = [np.array(column, float) for column in zip(*rows, strict=True)]
    return Shapes(*columns, part=np.arange(len(rows)))


def _naive(shapes, camera, matrix):
    """A rounded cone is the union of the spheres between its ends; returns depth [S, S] and shape [S, S]."""
    depth, owner = np.full((SIZE, SIZE), np.inf), np.full((SIZE, SIZE), -1)
    frames, _ = local_frames(shapes)
    column, row = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    rays = np.stack([column, row, np.ones_like(row)], -1) @ (camera.rotation.T @ np.linalg.inv(matrix)).T
    for index in range(len(shapes.part)):
        squeeze = frames[index] / np.array([1, shapes.depth[index], 1])[:, None]
        direction = rays @ squeeze.T
        for s in np.linspace(0, 1, 400):
            centre = shapes.start[index] * (1 - s) + shapes.end[index] * s
            radius = shapes.radius_start[index] * (1 - s) + shapes.radius_end[index] * s
            origin = squeeze @ (camera.centre_mm - centre)
            a, b = (direction**2).sum(-1), direction @ origin
            root = b * b - a * (origin @ origin - radius**2)
            t = np.where(root >= 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
            owner = np.where(t < depth, index, owner)
            depth = np.minimum(t, depth)
    return depth, owner


@pytest.mark.parametrize("seed", range(4))
def test_random_cones_equal_the_reference(seed):
    rng = np.random.default_rng(seed)
    rows = [
        (*rng.uniform((-400, -400, -200), (400, 400, 600), (2, 3)), *rng.uniform(30, 150, 2),
         rng.normal(size=3), rng.uniform(0.4, 1.3))
        for _ in range(5)
    ]  # fmt: skip
    shapes = _shapes(rows)
    camera, matrix = _camera()
    hits = cast(shapes, camera, SIZE, matrix)
    depth, owner = _naive(shapes, camera, matrix)
    got = np.full(SIZE * SIZE, np.inf)
    got[hits.pixel] = hits.depth
    got = got.reshape(SIZE, SIZE)
    both = np.isfinite(got) & np.isfinite(depth)
    assert both.sum() > 150
    # 400 spheres fall short of the cone by a hair, at the outline and in depth.
    assert (np.isfinite(got) ^ np.isfinite(depth)).sum() <= 3
    short = depth[both] - got[both]
    assert short.min() > -1e-6
    assert np.percentile(short, 98) < 0.5
    same = owner.reshape(-1)[hits.pixel] == hits.shape
    assert same.mean() > 0.99


def test_a_sphere_straight_ahead_by_hand():
    """The nearest point of a sphere of radius 100 at 3000 mm is 2900 mm away and faces the camera."""
    camera = look_at("c", (SIZE, SIZE), 60.0, (0, -3000, 200), (0, 0, 200))
    matrix = camera.matrix + np.array([[0, 0, 1.0], [0, 0, 1.0], [0, 0, 0]])
    shapes = _shapes([((0, 0, 200), (0, 1, 200), 100, 100, (0, 0, 1), 1.0)])
    hits = cast(shapes, camera, SIZE, matrix)
    centre = np.flatnonzero(hits.pixel == (SIZE // 2) * SIZE + SIZE // 2)[0]
    assert hits.depth[centre] == pytest.approx(2900, abs=0.1)
    np.testing.assert_allclose(hits.normal[centre], [0, -1, 0], atol=1e-3)
    np.testing.assert_array_equal(np.sort(hits.pixel), np.unique(hits.pixel))


def test_normals_are_perpendicular_to_the_surface():
    """Neighbouring hits of one shape span the surface."""
    camera, matrix = _camera()
    shapes = _shapes([((-300, 50, 0), (300, -100, 500), 260, 90, (0, 1, 0.3), 0.6)])
    matrix = np.diag([4, 4, 1]) @ matrix
    hits = cast(shapes, camera, SIZE * 4, matrix)
    rows, columns = np.divmod(hits.pixel, SIZE * 4)
    rays = np.stack([columns + 0.5, rows + 0.5, np.ones_like(rows)], -1) @ np.linalg.inv(matrix).T
    points = (rays * hits.depth[:, None] - camera.translation_mm) @ camera.rotation
    step = np.flatnonzero((np.diff(hits.pixel) == 1) & (hits.normal[1:] @ camera.rotation[2] < -0.5))
    tangent = points[step + 1] - points[step]
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    middle = hits.normal[step] + hits.normal[step + 1]
    assert np.abs((tangent * middle).sum(-1)).max() < 0.02


def test_bounds_hold_every_hit_and_are_tight():
    rng = np.random.default_rng(0)
    camera, matrix = _camera((900.0, -2500.0, 800.0))
    for _ in range(10):
        start = rng.uniform(-200, 200, 3)
        shapes = _shapes([(start, start + rng.normal(size=3) * 80, 120, 60, (0, 0, 1), 1.0)])
        hits = cast(shapes, camera, SIZE, matrix)
        rows, columns = np.divmod(hits.pixel, SIZE)
        x0, y0, x1, y1 = bounds(shapes, camera)[0] + 0.5
        assert x0 <= columns.min() + 0.5 <= x0 + 1.5
        assert x1 - 1.5 <= columns.max() + 0.5 <= x1
        assert y0 <= rows.min() + 0.5 <= y0 + 1.5
        assert y1 - 1.5 <= rows.max() + 0.5 <= y1


def test_local_points_lie_where_the_ray_does():
    camera, matrix = _camera()
    shapes = _shapes([((-200, 0, 100), (150, 60, 300), 90, 50, (0, -1, 0), 0.7)])
    hits = cast(shapes, camera, SIZE, matrix)
    frames, _ = local_frames(shapes)
    world = hits.local @ frames[0] + shapes.start[0]
    np.testing.assert_allclose(world_to_camera(camera, world)[:, 2], hits.depth, atol=1e-6)


def test_an_end_inside_the_other_sphere_is_still_drawn():
    camera, matrix = _camera()
    hits = cast(_shapes([((0, 0, 200), (0, 0, 210), 150, 20, (0, 1, 0), 1.0)]), camera, SIZE, matrix)
    assert len(hits.pixel) > 20
    assert np.isfinite(hits.normal).all()


def test_nothing_in_sight():
    camera, matrix = _camera()
    hits = cast(_shapes([((5000, 0, 200), (5000, 0, 400), 50, 50, (0, 1, 0), 1.0)]), camera, SIZE, matrix)
    assert len(hits.pixel) == 0
