"""Light on bodies and their shadow on the floor."""

import cv2
import numpy as np

from mcss_tf.geometry.cameras import Camera, world_to_camera
from mcss_tf.studio.raycast import Hits
from mcss_tf.studio.shapes import Shapes

# What is lower than this darkens the floor below it.
_CONTACT_MM = 160


def brightness(hits: Hits, light: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Returns how bright surfaces are: sky light, the main light, and darkening behind nearer limbs.

    Args:
        hits: What the pixels see.
        light: [3] unit vector towards the main light.
        matrix: [3, 3] intrinsics of the picture.
        size: Width and height of the picture in pixels.

    Returns:
        [N] factors of the hits' colours, about 0.4 to 1.2.
    """
    lambert = hits.normal @ light
    shade = 0.5 + 0.14 * hits.normal[:, 2] + 0.46 * np.clip(0.2 + 0.8 * lambert, 0, None)
    # Where the surroundings are nearer than the pixel, light is blocked: the limb in front stands out.
    # (Unsharp masking of the depth buffer, Luft et al., SIGGRAPH 2006.)
    depth = np.zeros((size, size), np.float32)
    weight = np.zeros((size, size), np.float32)
    depth.reshape(-1)[hits.pixel] = hits.depth
    weight.reshape(-1)[hits.pixel] = 1
    distance = float(hits.depth.mean()) if len(hits.depth) else 1.0
    mean, weight = (_blur(image, 80 * matrix[0, 0] / distance) for image in (depth, weight))
    nearer = hits.depth - (mean / np.maximum(weight, 1e-6)).reshape(-1)[hits.pixel]
    return shade * (1 - 0.42 * np.clip(nearer / 160, -0.3, 1))


def floor_shadow(
    shapes: Shapes, light: np.ndarray, camera: Camera, matrix: np.ndarray, size: int
) -> np.ndarray:
    """Returns the shadow on the floor: the body's along the light, and contact below what is near the floor.

    Args:
        shapes: The body.
        light: [3] unit vector towards the main light.
        camera: Where from.
        matrix: [3, 3] intrinsics of the picture.
        size: Width and height of the picture in pixels.

    Returns:
        [size, size] float32 in 0..1, as if everything were floor.
    """
    outline = _shadow_outlines(shapes, light, camera, matrix)
    body, contact = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    for polygon, height in zip(outline, np.minimum(shapes.start[:, 2], shapes.end[:, 2]), strict=True):
        hull = cv2.convexHull(polygon)
        cv2.fillConvexPoly(body, hull, 255)
        if height < _CONTACT_MM:
            cv2.fillConvexPoly(contact, hull, 255)
    px_per_mm = matrix[0, 0] / world_to_camera(camera, shapes.start)[:, 2].mean()
    soft, near = _blur(body, 110 * px_per_mm), _blur(contact, 40 * px_per_mm)
    return np.maximum(0.45 * soft.astype(np.float32), 0.55 * near.astype(np.float32)) / 255


def _shadow_outlines(shapes: Shapes, light: np.ndarray, camera: Camera, matrix: np.ndarray) -> np.ndarray:
    """Returns polygons [P, 16, 2] px around each shape's shadow on the floor."""
    angle = np.arange(8) * (2 * np.pi / 8)
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    slant = light[:2] / light[2]
    rims = []
    for centre, radius in ((shapes.start, shapes.radius_start), (shapes.end, shapes.radius_end)):
        rim = centre[:, None] + 0.9 * radius[:, None, None] * circle
        rim[..., :2] -= slant * rim[..., 2:]
        rim[..., 2] = 0
        rims.append(rim)
    pixels = world_to_camera(camera, np.concatenate(rims, axis=1)) @ matrix.T
    return np.rint(pixels[..., :2] / pixels[..., 2:]).astype(np.int32)


def _blur(image: np.ndarray, radius_px: float) -> np.ndarray:
    """Two box filters: close to a Gaussian and much cheaper."""
    width = max(round(radius_px), 1) * 2 + 1
    return cv2.blur(cv2.blur(image, (width, width)), (width, width))
