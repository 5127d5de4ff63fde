"""Random changes of a batch of images, from numbers drawn elsewhere: the same numbers, the same pictures."""

import dataclasses

import cv2
import numpy as np
import tensorflow as tf

from mcss_tf.geometry.canonical import canonical_pose
from mcss_tf.geometry.skeleton import Skeleton

_BLUR_RADIUS = 3
# How many uniform numbers each change takes of an image. A change that is off takes them too, so that
# switching it leaves the others as they were.
_TAKES = {
    "rotation": 1, "scale": 1, "shift": 2, "blur": 1, "contrast": 1, "colour": 3, "brightness": 1, "hue": 1,
    "is_erased": 1, "extent": 2, "corner": 2, "paint": 3,
}  # fmt: skip
_ENDS = dict(zip(_TAKES, np.cumsum(list(_TAKES.values())).tolist(), strict=True))
NUM_DRAWS = sum(_TAKES.values())


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far images are changed; 0 everywhere, the default, changes nothing (the paper's setting).

    Attributes:
        brightness: largest shift, as a fraction of full scale.
        contrast: largest relative change of contrast.
        colour: largest relative change of each colour channel.
        hue_deg: largest rotation of all colours about grey; 180 makes red clothes any colour.
        blur_px: largest standard deviation of a Gaussian blur, in pixels of the network's input.
        rotation_deg: largest rotation in the image plane.
        scale: largest relative change of size.
        translation: largest shift, as a fraction of the side.
        erase: probability of one rectangle of a random colour, up to half of each side.
        background: probability of putting another place behind the person; see `background`.
        flip: probability of mirroring both images of a pair, or a labelled image and its pose.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0
    hue_deg: float = 0.0
    blur_px: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    erase: float = 0.0
    background: float = 0.0
    flip: float = 0.0

    @property
    def is_on(self) -> bool:
        """Whether anything is changed at all."""
        return any(dataclasses.astuple(self))


def augment_images(images: tf.Tensor, draws: tf.Tensor, options: Augmentation) -> tf.Tensor:
    """Changes images, each in its own way; all but the flip, which both images of a pair and the pose share.

    Args:
        images: uint8 [N, S, S, 3].
        draws: float32 [N, NUM_DRAWS], uniform in [0, 1).
        options: how far.

    Returns:
        uint8 [N, S, S, 3].
    """
    draw = _Draws(draws)
    if options.rotation_deg or options.scale or options.translation:
        images = _move(images, draw, options)
    changed = tf.cast(images, tf.float32)
    if options.blur_px:
        changed = _blur(changed, options.blur_px * draw.fraction("blur")[:, 0])
    matrix, offset = _colours(changed, draw, options)
    if matrix is not None:
        changed = tf.einsum("nhwc,ncd->nhwd", changed, matrix) + offset[:, None, None]
    if options.erase:
        changed = _erase(changed, draw, options.erase)
    return tf.cast(tf.clip_by_value(tf.round(changed), 0, 255), tf.uint8)


def flip_images(images: tf.Tensor, is_flipped: tf.Tensor) -> tf.Tensor:
    """Mirrors those of the images [N, S, S, 3] for which bool [N] is_flipped."""
    return tf.where(is_flipped[:, None, None, None], tf.reverse(images, [2]), images)


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
    """Uniform numbers of N images, by the change that they are for."""

    def __init__(self, draws: tf.Tensor):
        self._draws = draws

    def fraction(self, name: str) -> tf.Tensor:
        """Returns [N, how many the change takes] in [0, 1)."""
        return self._draws[:, _ENDS[name] - _TAKES[name] : _ENDS[name]]

    def signed(self, name: str) -> tf.Tensor:
        """Returns the same in [-1, 1)."""
        return 2 * self.fraction(name) - 1


def _move(images: tf.Tensor, draw: _Draws, options: Augmentation) -> tf.Tensor:
    """Rotates, scales and shifts uint8 images about the centre; the border is repeated outwards."""
    side = tf.cast(tf.shape(images)[1], tf.float32)
    angle = options.rotation_deg * (np.pi / 180) * draw.signed("rotation")[:, 0]
    scale = 1 + options.scale * draw.signed("scale")[:, 0]
    shift_x, shift_y = tf.unstack(side * options.translation * draw.signed("shift"), axis=1)
    # From output to input pixels: x_in = (x_out - centre - shift) / scale, rotated, + centre.
    cos, sin, centre = tf.cos(angle) / scale, tf.sin(angle) / scale, (side - 1) / 2
    x, y = -centre - shift_x, -centre - shift_y
    rows = [cos, -sin, cos * x - sin * y + centre, sin, cos, sin * x + cos * y + centre]
    moved = tf.numpy_function(_warp, [images, tf.stack(rows, axis=1)], tf.uint8, stateful=False)
    return tf.ensure_shape(moved, images.shape)


def _warp(images: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    # OpenCV takes an eighth of the time of TensorFlow's projective transform.
    moved = np.empty_like(images)
    for image, transform, target in zip(images, transforms.reshape(-1, 2, 3), moved, strict=True):
        cv2.warpAffine(
            image,
            transform,
            image.shape[1::-1],
            dst=target,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return moved


def _blur(images: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Convolves each image with a Gaussian of its own sigma [N], one axis after the other."""
    offsets = tf.range(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=tf.float32)
    weights = tf.nn.softmax(-(offsets**2) / (2 * tf.maximum(sigma, 1e-3) ** 2)[:, None])
    for axis in (1, 2):
        side = images.shape[axis] or tf.shape(images)[axis]
        padding = [[0, 0]] * 4
        padding[axis] = [_BLUR_RADIUS, _BLUR_RADIUS]
        padded = tf.pad(images, padding, mode="SYMMETRIC")
        shifted = (tf.gather(padded, tf.range(k, k + side), axis=axis) for k in range(2 * _BLUR_RADIUS + 1))
        images = sum(weights[:, k, None, None, None] * part for k, part in enumerate(shifted))
    return images


def _colours(images: tf.Tensor, draw: _Draws, options: Augmentation) -> tuple[tf.Tensor | None, ...]:
    """Returns what is linear in the colours: matrices [N, 3, 3] and offsets [N, 3], or None where off."""
    if not (options.contrast or options.colour or options.hue_deg or options.brightness):
        return None, None
    contrast = 1 + options.contrast * draw.signed("contrast")
    offset = (1 - contrast) * tf.reduce_mean(images, axis=[1, 2, 3])[:, None]
    gain = 1 + options.colour * draw.signed("colour")
    matrix = contrast[:, None] * tf.linalg.diag(gain)
    offset = offset * gain + 255 * options.brightness * draw.signed("brightness")
    if options.hue_deg:
        turn = _hue_rotation(options.hue_deg * (np.pi / 180) * draw.signed("hue")[:, 0])
        matrix = turn @ matrix
    return matrix, offset


def _hue_rotation(angle: tf.Tensor) -> tf.Tensor:
    """Returns rotations [N, 3, 3] of RGB about the grey axis."""
    cos, third = tf.cos(angle)[:, None, None], 1 / 3
    cross = tf.constant([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], tf.float32) * third**0.5
    return cos * tf.eye(3) + (1 - cos) * third + tf.sin(angle)[:, None, None] * cross


def _erase(images: tf.Tensor, draw: _Draws, probability: float) -> tf.Tensor:
    """Fills a rectangle with one colour, as if something stood before the person."""
    extent = draw.fraction("extent") / 2
    corner = draw.fraction("corner") * (1 - extent)
    place = tf.linspace(0.0, 1.0, tf.shape(images)[1])
    inside = (place >= corner[..., None]) & (place <= (corner + extent)[..., None])
    is_erased = inside[:, 0, :, None] & inside[:, 1, None, :]
    is_erased &= (draw.fraction("is_erased") < probability)[:, :, None]
    return tf.where(is_erased[..., None], 255 * draw.fraction("paint")[:, None, None], images)
