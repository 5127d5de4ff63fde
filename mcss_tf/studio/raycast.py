"""Exact ray casting of rounded cones on the CPU, each within its own rectangle of pixels.

All (shape, pixel) pairs of a picture are laid out in one flat list, so the work is a few dozen NumPy
operations on long arrays, however many shapes there are. A shape's elliptic cross-section is a circular one
after its own linear map; rays are mapped instead, and their parameter t stays the depth from the camera.
"""

import dataclasses

import numpy as np

from mcss_tf.geometry.cameras import Camera
from mcss_tf.studio.shapes import Shapes, bounds, local_frames


@dataclasses.dataclass(frozen=True)
class Hits:
    """What the pixels of a picture see first; arrays have one row per pixel that sees a shape.

    Attributes:
        pixel: [N] flat index row * width + column.
        shape: [N] index of the shape.
        depth: [N] distance along the camera's axis, mm.
        local: [N, 3] hit point in the shape's frame: x across, y to its front, z along it, mm.
        normal: [N, 3] unit normal in the world.
    """

    pixel: np.ndarray
    shape: np.ndarray
    depth: np.ndarray
    local: np.ndarray
    normal: np.ndarray


def cast(shapes: Shapes, camera: Camera, size: int, matrix: np.ndarray) -> Hits:
    """Finds what a square picture of a camera sees.

    Args:
        shapes: What there is, all of it in front of the camera.
        camera: Where from; only rotation and translation are read.
        size: Width and height in pixels.
        matrix: [3, 3] intrinsics of the picture (the camera's, moved and scaled to the crop).

    Returns:
        The nearest hit of every pixel that has one.
    """
    frame, height = local_frames(shapes)
    view = dataclasses.replace(camera, matrix=matrix)
    rays = _list_rays(bounds(shapes, view), size)
    # Local frame scaled so that the cross-section is a circle: y / depth.
    scaled = frame.copy()
    scaled[:, 1] /= shapes.depth[:, None]
    eye = np.einsum("pij,pj->pi", scaled, camera.centre_mm - shapes.start)
    to_local = scaled @ camera.rotation.T @ np.linalg.inv(matrix)
    hit, depth, local = _intersect(eye, to_local, height, shapes, rays)
    pixel = rays.row[hit] * size + rays.column[hit]
    nearest = _first_of_each(pixel, depth, size * size)
    pixel, depth, local = pixel[nearest], depth[nearest], local[nearest]
    shape = rays.shape[hit[nearest]]
    normal = _normals(local, shapes, height, shape)
    normal[:, 1] /= shapes.depth[shape]
    normal = np.einsum("nji,nj->ni", frame[shape], normal)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    local[:, 1] *= shapes.depth[shape]
    return Hits(pixel, shape, depth, local, normal)


@dataclasses.dataclass(frozen=True)
class _Rays:
    """Every (shape, column, row) whose pixel may see the shape: the rectangles of all shapes, one by one."""

    count: np.ndarray
    shape: np.ndarray
    column: np.ndarray
    row: np.ndarray

    def spread(self, value: np.ndarray) -> np.ndarray:
        """Repeats a value per shape for each of its rays."""
        return np.repeat(value, self.count)


def _list_rays(boxes: np.ndarray, size: int) -> _Rays:
    low = np.clip(np.floor(boxes[:, :2] - 0.5), 0, size).astype(np.int32)
    high = np.clip(np.ceil(boxes[:, 2:] + 0.5), 0, size).astype(np.int32)
    extent = np.maximum(high - low, 0)
    count = extent[:, 0] * extent[:, 1]
    shape = np.repeat(np.arange(len(boxes), dtype=np.int32), count)
    first = (np.cumsum(count) - count).astype(np.int32)
    inner = np.arange(len(shape), dtype=np.int32) - np.repeat(first, count)
    width = np.repeat(extent[:, 0], count)
    row = inner // width
    column = inner - row * width
    return _Rays(count, shape, column + np.repeat(low[:, 0], count), row + np.repeat(low[:, 1], count))


def _intersect(
    eye: np.ndarray, to_local: np.ndarray, height: np.ndarray, shapes: Shapes, rays: _Rays
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intersects rays with rounded cones along local z.

    The cone's side solves k2 t^2 + 2 k1 t + k0 = 0 (Quilez, "rounded cone - intersection"); a solution
    beyond the side's two ends is replaced by the end sphere's. A ray that misses the infinite cone misses
    the spheres within it, so only the others are looked at further.

    Returns:
        Indices [N] of the rays that hit, t [N] and hit points [N, 3].
    """
    ra, rb = shapes.radius_start, shapes.radius_end
    slope, oz = ra - rb, eye[:, 2]
    d2, m5 = height**2 - slope**2, (eye**2).sum(-1)
    k0 = d2 * m5 - (height * oz) ** 2 + 2 * height * oz * slope * ra - (height * ra) ** 2
    u, v = rays.column + 0.5, rays.row + 0.5
    dx, dy, dz = (rays.spread(to_local[:, i, 0]) * u + rays.spread(to_local[:, i, 1]) * v
                  + rays.spread(to_local[:, i, 2]) for i in range(3))  # fmt: skip
    a = dx * dx + dy * dy + dz * dz
    b = rays.spread(eye[:, 0]) * dx + rays.spread(eye[:, 1]) * dy + rays.spread(oz) * dz
    k2 = rays.spread(d2) * a - rays.spread(height**2) * (dz * dz)
    k1 = rays.spread(d2) * b + rays.spread(height * (slope * ra - height * oz)) * dz
    root = k1 * k1 - rays.spread(k0) * k2
    near = np.flatnonzero(root >= 0)
    shape, direction = rays.shape[near], np.stack([dx[near], dy[near], dz[near]])
    a, b, h, dz = a[near], b[near], height[shape], direction[2]
    # A ray along a cylinder's axis never meets its side (k2 = 0): NaN, which is beyond it too.
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (-np.sqrt(root[near]) - k1[near]) / k2[near]
        along = (height * oz - ra * slope)[shape] + t * h * dz
    beyond = np.flatnonzero(~((along > 0) & (along < d2[shape])))
    ends = shape[beyond]
    t_start = _sphere(a[beyond], b[beyond], (m5 - ra * ra)[ends])
    t_end = _sphere(
        a[beyond], b[beyond] - (h * dz)[beyond], (m5 - 2 * height * oz + height**2 - rb * rb)[ends]
    )
    t[beyond] = np.fmin(t_start, t_end)
    hit = np.flatnonzero(t > 0)
    return near[hit], t[hit], eye[shape[hit]] + (t[hit] * direction[:, hit]).T


def _sphere(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Returns the nearer solution of a t^2 + 2 b t + c = 0; NaN where there is none."""
    root = b * b - a * c
    return np.where(root >= 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.nan)


def _first_of_each(pixel: np.ndarray, depth: np.ndarray, num_pixels: int) -> np.ndarray:
    """Returns the index of the nearest hit of every pixel that has one; of two equally near, the later."""
    nearest = np.full(num_pixels, np.inf)
    np.minimum.at(nearest, pixel, depth)
    winners = np.flatnonzero(depth == nearest[pixel])
    owner = np.full(num_pixels, -1)
    owner[pixel[winners]] = winners
    return owner[owner >= 0]


def _normals(local: np.ndarray, shapes: Shapes, height: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Returns normals [N, 3] of any length in the circular frame: away from the sphere that touches there."""
    slope, h = (shapes.radius_start - shapes.radius_end)[shape], height[shape]
    across = np.hypot(local[:, 0], local[:, 1])
    # The sphere that touches the surface here has its centre at z - across * tan, within the segment.
    tangent = slope / np.sqrt(np.maximum(h * h - slope * slope, 1e-6))
    centre = np.clip(local[:, 2] - across * tangent, 0, h)
    normal = local.copy()
    normal[:, 2] -= centre
    return normal
