"""What is behind people, found from their crops alone, and other places put behind them.

The other view of an instant can be found by where in the room the person stands, which the floor and walls
of a crop show: the embedding then learns the room instead of the pose. Cameras that stand still give the
cure without any label: the median of what one of them saw in a place is that place without people.
"""

import dataclasses

import cv2
import numpy as np
import tensorflow as tf

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.example import decode_instant
from mcss_tf.data.images import decode_image
from mcss_tf.errors import InputError

# Crops of a camera that medians are taken of; more change them little.
_CROPS = 200
# A place is known where at least so many of them show it beside the person, who stands in the middle: this
# share of the width on either side of it.
_SHOWN = 5
_MIDDLE = 0.2
# Differences of a colour, of 255: below the first a pixel is background, above the second it is the person.
_SOFT = (16.0, 40.0)
# A camera has moved if, on average of some crops, a larger share of the pixels is none of its background.
_CHECKED_CROPS = 16
_LARGEST_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class Backgrounds:
    """What the cameras see without people, for each subject's recordings on their own.

    Attributes:
        plates: uint8 [P, H, W, 4], a camera's view each: RGB and, in the last channel, 255 where it is known.
            Reduced so that crops about keep their resolution.
        number: int32 [subjects, cameras], the plate; -1 where there is none.
        origin_px, scale: float32 [P, 2] and [P]: a point x of the frame lies at scale (x - origin) there.
        boxes_px: float32 [rows of the index, C, 4], of the crops; NaN where there is none.
        subject: int [rows of the index].
        crops: int [K, 2], row and camera of every crop that has a box.
    """

    plates: np.ndarray
    number: np.ndarray
    origin_px: np.ndarray
    scale: np.ndarray
    boxes_px: np.ndarray
    subject: np.ndarray
    crops: np.ndarray

    def look(self, rows: np.ndarray, cameras: np.ndarray, size: int) -> np.ndarray:
        """Returns uint8 [N, size, size, 4], what crops would show without the person; see `plates`."""
        plate = self.number[self.subject[rows], cameras]
        box = self.boxes_px[rows, cameras]
        step = (box[:, 2] - box[:, 0]) * self.scale[plate] / size
        # Pixel k covers k to k + 1 of a crop's parts; its centre is half a pixel further, in the plate too.
        centre = (0.5 * step - 0.5)[:, None]
        shift = (box[:, :2] - self.origin_px[plate]) * self.scale[plate][:, None] + centre
        seen = np.empty((len(rows), size, size, 4), np.uint8)
        for target, number, factor, (x, y) in zip(seen, plate, step.tolist(), shift.tolist(), strict=True):
            transform = np.array([[factor, 0, x], [0, factor, y]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            cv2.warpAffine(self.plates[number], transform, (size, size), dst=target, flags=flags)
        return seen

    def draw(self, fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows and cameras of crops that uniform numbers [N] in [0, 1) choose among all."""
        rows, cameras = self.crops[(np.float64(fraction) * len(self.crops)).astype(int)].T
        return rows, cameras


def find_backgrounds(dataset: PreparedDataset, rows: np.ndarray) -> Backgrounds:
    """Takes the median of what each camera saw of each place, subject by subject.

    Args:
        dataset: of images.
        rows: of the index, whose crops are used.

    Raises:
        InputError: a camera did not stand still while it recorded a subject.
    """
    boxes_px = _read_boxes(dataset, rows)
    subjects = dataset.index.subject[rows]
    number = np.full((len(dataset.subjects), len(dataset.cameras)), -1, np.int32)
    found, checked = [], []
    for subject in np.unique(subjects):
        for camera in range(len(dataset.cameras)):
            own = rows[(subjects == subject) & np.isfinite(boxes_px[rows, camera, 0])]
            if len(own):
                number[subject, camera] = len(found)
                found.append(_plate(dataset, _spread(own, _CROPS), camera, boxes_px[:, camera]))
                checked.append((_spread(own, _CHECKED_CROPS), camera))
    height, width = (max(plate.shape[axis] for plate, _, _ in found) for axis in (0, 1))
    plates = np.zeros((len(found), height, width, 4), np.uint8)
    for padded, (plate, _, _) in zip(plates, found, strict=True):
        padded[: plate.shape[0], : plate.shape[1]] = plate
    origins = np.array([origin for _, origin, _ in found], np.float32)
    scales = np.array([scale for _, _, scale in found], np.float32)
    crops = np.argwhere(np.isfinite(boxes_px[..., 0]))
    backgrounds = Backgrounds(plates, number, origins, scales, boxes_px, dataset.index.subject, crops)
    for own, camera in checked:
        _check_stillness(dataset, backgrounds, own, camera)
    return backgrounds


def replace_backgrounds(
    images: tf.Tensor, behind: tf.Tensor, instead: tf.Tensor, is_replaced: tf.Tensor
) -> tf.Tensor:
    """Puts another place behind people.

    Args:
        images: uint8 [N, S, S, 3].
        behind: uint8 [N, S, S, 4] of `Backgrounds.look`, what is there.
        instead: uint8 [N, S, S, 4], what is to be there.
        is_replaced: bool [N].

    Returns:
        uint8 [N, S, S, 3].
    """
    is_person = tf.where(is_replaced[:, None, None, None], find_people(images, behind), 1.0)
    mixed = is_person * tf.cast(images, tf.float32) + (1 - is_person) * tf.cast(instead[..., :3], tf.float32)
    return tf.cast(tf.round(mixed), tf.uint8)


def find_people(images: tf.Tensor, behind: tf.Tensor) -> tf.Tensor:
    """Returns float32 [N, S, S, 1] from 0, background, to 1, the person or unknown; see above."""
    behind = tf.cast(behind, tf.float32)
    difference = tf.abs(tf.cast(images, tf.float32) - behind[..., :3])
    # A person is no single pixel: the mean of a neighbourhood drops the noise of JPEG and closes gaps.
    difference = tf.nn.avg_pool2d(tf.reduce_max(difference, axis=-1, keepdims=True), 3, 1, "SAME")
    low, high = _SOFT
    is_person = tf.clip_by_value((difference - low) / (high - low), 0.0, 1.0)
    return tf.maximum(is_person, 1 - behind[..., 3:] / 255)


def _read_boxes(dataset: PreparedDataset, rows: np.ndarray) -> np.ndarray:
    boxes_px = np.full((len(dataset.index), len(dataset.cameras), 4), np.nan, np.float32)
    for row in rows:
        instant = decode_instant(dataset.read([row])[0], with_images=False)
        boxes_px[row, [dataset.cameras.index(name) for name in instant["cameras"]]] = instant["boxes_px"]
    boxes_px[~dataset.index.is_present()] = np.nan
    return boxes_px


def _read_crops(dataset: PreparedDataset, rows: np.ndarray, camera: int) -> list[np.ndarray]:
    """Returns the images [S, S, 3] of one camera."""
    jpegs = dataset.read_images(rows, np.full(len(rows), camera))
    return [
        decode_image(jpeg, f"{dataset.path}, row {row}", (dataset.crop_size, dataset.crop_size))
        for row, jpeg in zip(rows, jpegs, strict=True)
    ]


def _spread(rows: np.ndarray, num: int) -> np.ndarray:
    """Returns at most so many of the rows, evenly over all of them."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), num)).astype(int)]


def _plate(
    dataset: PreparedDataset, rows: np.ndarray, camera: int, boxes_px: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns plate uint8 [H, W, 4], origin in the frame and scale of one camera's view."""
    boxes_px = boxes_px[rows]
    scale = dataset.crop_size / float(np.median(boxes_px[:, 2] - boxes_px[:, 0]))
    origin = boxes_px[:, :2].min(0)
    width, height = np.ceil((boxes_px[:, 2:].max(0) - origin) * scale).astype(int).tolist()
    # Crops in the plate's pixels, and of them what is beside the person; 255 where a crop shows nothing.
    stack = np.full((2, len(rows), height, width, 3), 255, np.uint8)
    for number, (image, box) in enumerate(zip(_read_crops(dataset, rows, camera), boxes_px, strict=True)):
        x0, y0 = np.round((box[:2] - origin) * scale).astype(int)
        side = max(1, round(float(box[2] - box[0]) * scale))
        resized = np.minimum(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), 254)
        whole, beside = stack[:, number, y0 : y0 + side, x0 : x0 + side]
        whole[:] = beside[:] = resized[: whole.shape[0], : whole.shape[1]]
        beside[:, round(side * (0.5 - _MIDDLE)) : round(side * (0.5 + _MIDDLE))] = 255
    (anywhere, count), (beside, count_beside) = (_median(layers) for layers in stack)
    colours = np.where((count_beside >= _SHOWN)[..., None], beside, anywhere)
    colours[count == 0] = 0
    # What was only ever seen in the middle may be somebody who did not move.
    return np.dstack([colours, np.where(count_beside >= _SHOWN, 255, 0).astype(np.uint8)]), origin, scale


def _median(layers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns medians [H, W, 3] of uint8 [K, H, W, 3] without the 255s, and of how many they are [H, W]."""
    ordered = np.sort(layers, axis=0)
    count = (ordered[..., 0] < 255).sum(0)
    middle = (count // 2).clip(max=len(layers) - 1)
    return np.take_along_axis(ordered, middle[None, ..., None], axis=0)[0], count


def _check_stillness(
    dataset: PreparedDataset, backgrounds: Backgrounds, rows: np.ndarray, camera: int
) -> None:
    behind = backgrounds.look(rows, np.full(len(rows), camera), dataset.crop_size)
    share = float(tf.reduce_mean(find_people(np.stack(_read_crops(dataset, rows, camera)), behind)))
    if share > _LARGEST_SHARE:
        subject = dataset.subjects[dataset.index.subject[rows[0]]]
        raise InputError(
            "augment.background needs cameras that stand still while a subject is recorded. "
            f"Received: crops of {subject} from {dataset.cameras[camera]}, {share:.0%} of whose pixels are "
            f"not what is usually there, in {dataset.path}. Set it to 0."
        )
