"""Random changes of images, drawn statelessly: the same (seed, step, image) gives the same picture."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mcss_tf.geometry.canonical import canonical_pose
from mcss_tf.geometry.skeleton import Skeleton

_BLUR_RADIUS = 3


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far images are changed; 0 everywhere, the default, changes nothing (the paper's setting).

    Attributes:
        brightness: largest shift, as a fraction of full scale.
        contrast: largest relative change of contrast.
        colour: largest relative change of each colour channel.
        blur_px: largest standard deviation of a Gaussian blur, in pixels of the network's input.
        rotation_deg: largest rotation in the image plane.
        scale: largest relative change of size.
        translation: largest shift, as a fraction of the side.
        erase: probability of one rectangle of a random colour, up to half of each side.
        flip: probability of mirroring both images of a pair, or a labelled image and its pose.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0
    blur_px: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    erase: float = 0.0
    flip: float = 0.0

    @property
    def is_on(self) -> bool:
        """Whether anything is changed at all."""
        return any(dataclasses.astuple(self))


def augment_image(image: tf.Tensor, seed: tf.Tensor, options: Augmentation) -> tf.Tensor:
    """Changes one image; all but the flip, which both images of a pair and the pose must share.

    Args:
        image: uint8 [S, S, 3].
        seed: int64 [2].
        options: how far.

    Returns:
        uint8 [S, S, 3].
    """
    draw = _Draws(seed)
    changed = tf.cast(image, tf.float32)
    if options.rotation_deg or options.scale or options.translation:
        changed = _move(changed, draw, options)
    if options.blur_px:
        changed = _blur(changed, options.blur_px * draw.fraction())
    if options.contrast:
        mean = tf.reduce_mean(changed)
        changed = mean + (changed - mean) * (1 + options.contrast * draw.signed())
    if options.colour:
        changed *= 1 + options.colour * draw.signed([3])
    if options.brightness:
        changed += 255 * options.brightness * draw.signed()
    if options.erase:
        changed = _erase(changed, draw, options.erase)
    return tf.cast(tf.clip_by_value(tf.round(changed), 0, 255), tf.uint8)


def flip_canonical(
    pose_mm: np.ndarray, joint_mask: np.ndarray, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Mirrors canonical poses, as a mirrored image shows them.

    The mirror swaps left and right joints and negates x, the axis between the hips; Eq. 3 then turns the new
    left hip, the mirror image of the old right one, back to y = 0. Facing is along y and stays.

    Args:
        pose_mm: float32 [..., J, 3] canonical, all joints.
        joint_mask: float32 [..., J].
        skeleton: of J joints.

    Returns:
        pose_mm and joint_mask of the mirrored poses; zeros where the right hip was not observed, because the
        mirrored canonical frame stands on it.
    """
    mirror = list(skeleton.mirror)
    mirrored = pose_mm[..., mirror, :] * np.array([-1, 1, 1], pose_mm.dtype)
    mask = joint_mask[..., mirror]
    canonical, valid = canonical_pose(mirrored, skeleton)
    mask = mask * (valid & (mask[..., skeleton.left_hip] > 0))[..., None]
    return canonical * (mask[..., None] > 0), mask.astype(joint_mask.dtype)


def flip_camera(
    pose_mm: np.ndarray, joint_mask: np.ndarray, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Mirrors poses [..., J, 3] in the axes of a camera: left and right change places, x its sign."""
    mirror = list(skeleton.mirror)
    return pose_mm[..., mirror, :] * np.array([-1, 1, 1], pose_mm.dtype), joint_mask[..., mirror]


class _Draws:
    """A stream of random numbers that depends on nothing but its seed."""

    def __init__(self, seed: tf.Tensor):
        self._seed = seed
        self._count = 0

    def fraction(self, shape: Sequence[int] = ()) -> tf.Tensor:
        """Returns uniform numbers in [0, 1)."""
        self._count += 1
        seed = tf.random.fold_in(self._seed, self._count)
        return tf.random.stateless_uniform(shape, seed)

    def signed(self, shape: Sequence[int] = ()) -> tf.Tensor:
        """Returns uniform numbers in [-1, 1)."""
        return 2 * self.fraction(shape) - 1


def _move(image: tf.Tensor, draw: _Draws, options: Augmentation) -> tf.Tensor:
    """Rotates, scales and shifts about the centre; the border is repeated outwards."""
    side = tf.cast(tf.shape(image)[0], tf.float32)
    angle = options.rotation_deg * (np.pi / 180) * draw.signed()
    scale = 1 + options.scale * draw.signed()
    shift = side * options.translation * draw.signed([2])
    # The op maps output to input pixels: x_in = (x_out - centre - shift) / scale, rotated, + centre.
    cos, sin, centre = tf.cos(angle) / scale, tf.sin(angle) / scale, (side - 1) / 2
    x, y = -centre - shift[0], -centre - shift[1]
    rows = [cos, -sin, cos * x - sin * y + centre, sin, cos, sin * x + cos * y + centre, 0.0, 0.0]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack(rows)[None],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )[0]


def _blur(image: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Convolves with a Gaussian, one axis after the other."""
    offsets = tf.range(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=tf.float32)
    weights = tf.nn.softmax(-(offsets**2) / (2 * tf.maximum(sigma, 1e-3) ** 2))
    padding = [[_BLUR_RADIUS, _BLUR_RADIUS], [_BLUR_RADIUS, _BLUR_RADIUS], [0, 0]]
    padded = tf.pad(image, padding, mode="SYMMETRIC")
    kernel = tf.tile(weights[:, None, None, None], [1, 1, 3, 1])
    down = tf.nn.depthwise_conv2d(padded[None], kernel, [1, 1, 1, 1], "VALID")
    across = tf.nn.depthwise_conv2d(down, tf.transpose(kernel, [1, 0, 2, 3]), [1, 1, 1, 1], "VALID")
    return across[0]


def _erase(image: tf.Tensor, draw: _Draws, probability: float) -> tf.Tensor:
    """Fills a rectangle with one colour, as if something stood before the person."""
    side = tf.shape(image)[0]
    extent = draw.fraction([2]) / 2
    corner = draw.fraction([2]) * (1 - extent)
    place = tf.linspace(0.0, 1.0, side)
    is_row = (place >= corner[0]) & (place <= corner[0] + extent[0])
    is_column = (place >= corner[1]) & (place <= corner[1] + extent[1])
    is_erased = is_row[:, None] & is_column[None, :] & (draw.fraction() < probability)
    return tf.where(is_erased[..., None], 255 * draw.fraction([3]), image)
