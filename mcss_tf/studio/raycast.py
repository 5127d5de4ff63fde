"""Exact ray casting of rounded cones on the CPU: every shape is intersected only within its own rectangle of pixels.

All (shape, pixel) pairs of a picture are laid out in one flat list, so the work is a few dozen NumPy operations on long
arrays, however many shapes there are. A shape's elliptic cross-section is a circular one after its own linear map;
rays are mapped instead, and their parameter t stays the depth along the pixel's ray.
"""

import dataclasses

import numpy as np

from mcss_tf.geometry.cameras import Camera
from mcss_tf.studio.body import Shapes


@dataclasses.dataclass(frozen=True)
class Hits:
    """What the pixels of a picture see first; arrays have one row per pixel that sees a shape.

    Attributes:
        pixel: [N] flat index row * width + column.
        shape: [N] index of the shape.
        depth: [N] distance along the camera's axis, mm.
        local: [N, 3] hit point in the shape's frame (x across, y to its front, z along it), mm, depth axis unscaled.
        normal: [N, 3] unit normal in the world.
    """

    pixel: np.ndarray
    shape: np.ndarray
    depth: np.ndarray
    local: np.ndarray
    normal: np.ndarray


def local_frames(shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
    """Returns rotations [P, 3, 3] world to local (x across, y front, z axis) and axis lengths [P]."""
    axis = shapes.end - shapes.start
    # Neither end sphere may swallow the other: the side between them would not exist.
    slope = np.abs(shapes.radius_start - shapes.radius_end)
    height = np.maximum(np.linalg.norm(axis, axis=-1), 1.01 * slope + 1)
    z = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-6)
    y = shapes.front - (shapes.front * z).sum(-1, keepdims=True) * z
    # A front along the axis leaves the roll open; any perpendicular direction will do.
    spare = np.eye(3)[np.abs(z).argmin(-1)]
    spare = spare - (spare * z).sum(-1, keepdims=True) * z
    size = np.linalg.norm(y, axis=-1, keepdims=True)
    y = np.where(size > 1e-6, y, spare)
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([np.cross(y, z), y, z], axis=1), height


def bounds(shapes: Shapes, camera: Camera) -> np.ndarray:
    """Returns rectangles [P, 4] x0, y0, x1, y1 that hold each shape's picture (of its two bounding spheres)."""
    widest = np.maximum(1.0, shapes.depth)
    boxes = []
    for centre, radius in ((shapes.start, shapes.radius_start), (shapes.end, shapes.radius_end)):
        inside = centre @ camera.rotation.T + camera.translation_mm
        boxes.append(_sphere_bounds(inside, radius * widest, camera.matrix))
    return np.concatenate([np.minimum(*(b[:, :2] for b in boxes)), np.maximum(*(b[:, 2:] for b in boxes))], 1)


def _sphere_bounds(centre: np.ndarray, radius: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Bounds of spheres [P, 3] in camera coordinates: the two tangents in the x-z and in the y-z plane."""
    out = np.empty((len(centre), 4))
    z2 = centre[:, 2] ** 2 - radius**2
    for axis, focal, middle in ((0, matrix[0, 0], matrix[0, 2]), (1, matrix[1, 1], matrix[1, 2])):
        product = centre[:, axis] * centre[:, 2]
        root = radius * np.sqrt(np.maximum(centre[:, axis] ** 2 + z2, 0))
        out[:, axis] = focal * (product - root) / z2 + middle
        out[:, axis + 2] = focal * (product + root) / z2 + middle
    return out


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
    shape, column, row = _fragments(bounds(shapes, view), size)
    # Local frame scaled so that the cross-section is a circle: y / depth.
    scaled = frame.copy()
    scaled[:, 1] /= shapes.depth[:, None]
    eye = -camera.rotation.T @ camera.translation_mm
    origin = np.einsum("pij,pj->pi", scaled, eye - shapes.start)
    to_local = scaled @ camera.rotation.T @ np.linalg.inv(matrix)
    distance, local = _intersect(origin, to_local, height, shapes, shape, column, row)
    hit = np.flatnonzero(np.isfinite(distance))
    pixel = row[hit] * size + column[hit]
    nearest = _first_of_each(pixel, distance[hit])
    hit, pixel = hit[nearest], pixel[nearest]
    shape, local = shape[hit], local[:, hit].T
    normal = _normals(local, shapes, height, shape)
    normal[:, 1] /= shapes.depth[shape]
    normal = np.einsum("nji,nj->ni", frame[shape], normal)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    local[:, 1] *= shapes.depth[shape]
    return Hits(pixel, shape, distance[hit], local, normal)


def _fragments(boxes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists every (shape, column, row) whose pixel centre may lie in the shape's rectangle."""
    low = np.clip(np.floor(boxes[:, :2] - 0.5), 0, size).astype(np.int32)
    high = np.clip(np.ceil(boxes[:, 2:] + 0.5), 0, size).astype(np.int32)
    extent = np.maximum(high - low, 0)
    count = extent[:, 0] * extent[:, 1]
    shape = np.repeat(np.arange(len(boxes), dtype=np.int32), count)
    inner = np.arange(len(shape), dtype=np.int32) - np.repeat(np.cumsum(count) - count, count).astype(
        np.int32
    )
    width = extent[:, 0][shape]
    row = inner // width
    column = inner - row * width
    return shape, column + low[:, 0][shape], row + low[:, 1][shape]


def _intersect(origin, to_local, height, shapes: Shapes, shape, column, row) -> tuple[np.ndarray, np.ndarray]:
    """Intersects rays with rounded cones along local z; returns t [N] (inf: no hit) and hit points [3, N].

    The cone's side solves k2 t^2 + 2 k1 t + k0 = 0 (Quilez, "rounded cone - intersection"); a solution beyond the
    side's two ends is replaced by the end sphere's.
    """
    # Computed in units of the shape's larger radius, so that float32 suffices.
    ra, rb = shapes.radius_start, shapes.radius_end
    ox, oy, oz = origin.T
    slope = ra - rb
    m0, m5 = height**2, (origin**2).sum(-1)
    d2 = m0 - slope**2
    k0 = d2 * m5 - (height * oz) ** 2 + height * oz * slope * ra * 2 - m0 * ra**2
    u, v = column + 0.5, row + 0.5
    table = to_local.reshape(-1, 9)[shape].T
    dx = table[0] * u + table[1] * v + table[2]
    dy = table[3] * u + table[4] * v + table[5]
    dz = table[6] * u + table[7] * v + table[8]
    a = dx * dx + dy * dy + dz * dz
    constants = np.stack([ox, oy, oz, height, slope, d2, k0, m5, ra, rb])[:, shape]
    ox, oy, oz, height, slope, d2, k0, m5, ra, rb = constants
    b = ox * dx + oy * dy + oz * dz
    m2 = height * dz
    k2 = d2 * a - m2 * m2
    k1 = d2 * b - height * oz * m2 + m2 * slope * ra
    root = k1 * k1 - k0 * k2
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (-np.sqrt(root) - k1) / k2
        along = height * oz - ra * slope + t * m2
        side = (along > 0) & (along < d2)
        t_start = _sphere(a, b, m5 - ra * ra)
        t_end = _sphere(a, b - height * dz, m5 - 2 * height * oz + height * height - rb * rb)
        t = np.where(side, t, np.fmin(t_start, t_end))
    t = np.where(np.isfinite(t) & (t > 0), t, np.inf)
    finite = np.where(np.isfinite(t), t, 0)
    return t, np.stack([ox + finite * dx, oy + finite * dy, oz + finite * dz])


def _sphere(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Returns the nearer solution of a t^2 + 2 b t + c = 0; NaN where there is none."""
    return (-b - np.sqrt(b * b - a * c)) / a


def _first_of_each(pixel: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Returns the index of the nearest hit of every pixel."""
    order = np.lexsort((depth, pixel))
    ordered = pixel[order]
    first = np.ones(len(order), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first]


def _normals(local: np.ndarray, shapes: Shapes, height: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Returns normals [N, 3] (any length) in the circular frame: away from the nearest sphere of the cone's family."""
    slope, h = (shapes.radius_start - shapes.radius_end)[shape], height[shape]
    across = np.hypot(local[:, 0], local[:, 1])
    # The sphere that touches the surface here has its centre at z - across * tan, within the segment.
    tangent = slope / np.sqrt(np.maximum(h * h - slope * slope, 1e-6))
    centre = np.clip(local[:, 2] - across * tangent, 0, h)
    normal = local.copy()
    normal[:, 2] -= centre
    return normal
