"""One instant and its serialized form, a `tf.train.Example`; docs/architecture.md lists the features."""

import dataclasses
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from mcss_tf.data.images import decode_image

_NAMES = ("subject", "sequence", "action")


@dataclasses.dataclass
class Instant:
    """One moment of one sequence, seen by V cameras (J joints, S = crop size).

    Attributes:
        subject: name of the person.
        sequence: name of the sequence.
        action: what the person does; may be empty.
        frame: frame number of the reference camera.
        time_s: its time in seconds.
        split: "train" or "test".
        cameras: V names of the cameras that see this instant.
        images: V uint8 RGB images [S, S, 3]; none in a dataset of keypoints alone.
        boxes_px: float32 [V, 4], x0, y0, x1, y1 of each crop in its full frame; None without images.
        joints_mm: float32 [J, 3], world, Z up; None without 3D labels.
        joint_mask: float32 [J], 1 where the joint was observed; None means all of them.
        keypoints_px: float32 [V, J, 3], x, y in the full frame and confidence; None where unknown.
        keypoints_true_px: float32 [V, J, 2], where the joints truly are; None where unknown.
    """

    subject: str
    sequence: str
    action: str
    frame: int
    time_s: float
    split: str
    cameras: Sequence[str]
    images: Sequence[np.ndarray] = ()
    boxes_px: np.ndarray | None = None
    joints_mm: np.ndarray | None = None
    joint_mask: np.ndarray | None = None
    keypoints_px: np.ndarray | None = None
    keypoints_true_px: np.ndarray | None = None


def encode_instant(instant: Instant, jpegs: list[bytes], canonical_mm: np.ndarray | None) -> bytes:
    """Returns the serialized Example; equal instants give equal bytes."""
    feature = {k: _bytes([getattr(instant, k).encode()]) for k in _NAMES}
    feature["frame"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(instant.frame)]))
    feature["cameras"] = _bytes([name.encode() for name in instant.cameras])
    feature["images"] = _bytes(jpegs)
    values = {
        "time_s": instant.time_s,
        "boxes_px": instant.boxes_px,
        "joints_mm": instant.joints_mm,
        "canonical_mm": canonical_mm,
        "joint_mask": instant.joint_mask,
        "keypoints_px": instant.keypoints_px,
        "keypoints_true_px": instant.keypoints_true_px,
    }
    if instant.joints_mm is not None and instant.joint_mask is None:
        values["joint_mask"] = np.ones(len(instant.joints_mm))
    for name, value in values.items():
        if value is not None:
            flat = np.asarray(value, np.float32).ravel()
            feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=flat))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def decode_instant(data: bytes, with_images: bool = True) -> dict[str, Any]:
    """Decodes a serialized Example into its features.

    Args:
        data: the Example.
        with_images: False leaves `images` empty, which is far faster where only numbers are wanted.

    Returns:
        `subject`, `sequence`, `action`: str; `frame`: int; `time_s`: float; `cameras`: list of str;
        `images`: list of uint8 RGB [S, S, 3]; `boxes_px`: float32 [V, 4] or None; `joints_mm`,
        `canonical_mm`: float32 [J, 3] or None; `joint_mask`: float32 [J] or None; `keypoints_px`: float32
        [V, J, 3] or None; `keypoints_true_px`: float32 [V, J, 2] or None.
    """
    feature = tf.train.Example.FromString(data).features.feature
    decoded: dict[str, Any] = {k: feature[k].bytes_list.value[0].decode() for k in _NAMES}
    decoded["frame"] = feature["frame"].int64_list.value[0]
    decoded["time_s"] = feature["time_s"].float_list.value[0]
    decoded["cameras"] = [name.decode() for name in feature["cameras"].bytes_list.value]
    jpegs = feature["images"].bytes_list.value if with_images else ()
    decoded["images"] = [decode_image(image, "an image of the record") for image in jpegs]
    num_views = len(decoded["cameras"])
    shapes = {
        "boxes_px": (num_views, 4),
        "joints_mm": (-1, 3),
        "canonical_mm": (-1, 3),
        "joint_mask": (-1,),
        "keypoints_px": (num_views, -1, 3),
        "keypoints_true_px": (num_views, -1, 2),
    }
    for name, shape in shapes.items():
        values = np.array(feature[name].float_list.value, np.float32) if name in feature else None
        decoded[name] = None if values is None else values.reshape(shape)
    return decoded


def locate_images(
    data: bytes, cameras: Sequence[str], jpegs: list[bytes], all_cameras: Sequence[str]
) -> dict[str, np.ndarray]:
    """Returns where each camera's JPEG lies within the Example, so that one image can be read alone."""
    offsets = np.zeros(len(all_cameras), np.int32)
    lengths = np.zeros(len(all_cameras), np.int32)
    checksums = np.zeros(len(all_cameras), np.uint32)
    for camera, jpeg in zip(cameras, jpegs, strict=True):
        column = list(all_cameras).index(camera)
        # The length prefix belongs to the match: a JPEG alone could be the start of a longer field.
        offsets[column] = data.index(_varint(len(jpeg)) + jpeg) + len(_varint(len(jpeg)))
        lengths[column] = len(jpeg)
        checksums[column] = zlib.crc32(jpeg)
    return {"image_offset": offsets, "image_length": lengths, "image_crc32": checksums}


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    # OpenCV encodes a reversed view in twice the time, because it copies it pixel by pixel first.
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    is_encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape}")
    return data.tobytes()


def _varint(value: int) -> bytes:
    """Returns a length as Protocol Buffers write it: seven bits a byte, the high bit on all but the last."""
    head = b""
    while value > 127:
        head += struct.pack("B", value & 127 | 128)
        value >>= 7
    return head + struct.pack("B", value)


def _bytes(values: list[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
