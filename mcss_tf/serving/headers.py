"""Reads the size and EXIF orientation of JPEG and PNG files in the graph, before anything is decoded."""

from typing import NamedTuple

import tensorflow as tf

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION_TAG, SHORT = 0x0112, 3
# A file needs a handful of segments before its image data; a hostile one has millions.
MAX_SEGMENTS = 500
# Bytes read beyond the position of a segment or a TIFF header; zeros of so many are added to every file.
_MARGIN = 32


class Header(NamedTuple):
    """What a file says about itself; scalars.

    Attributes:
        is_image: bool; it begins as a JPEG or PNG file does, and its size could be read.
        width, height: int64 pixels as stored, that is before the orientation is applied.
        orientation: int32, EXIF's 1 to 8; 1 where there is none or it makes no sense.
        num_scans: int64, how often an image of this size may have to be gone through; 1 for PNG.
    """

    is_image: tf.Tensor
    width: tf.Tensor
    height: tf.Tensor
    orientation: tf.Tensor
    num_scans: tf.Tensor


# A function of its own: built once, however many signatures read files.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def read_header(contents: tf.Tensor) -> Header:
    """Reads the header of one file, a scalar string; never fails, whatever the bytes."""
    size = tf.strings.length(contents)
    # Zeros at the end let every read of a few bytes succeed; what is read there is refused by its position.
    data = tf.io.decode_raw(contents, tf.uint8)
    data = tf.concat([data, tf.zeros([_MARGIN], tf.uint8)], 0)

    def other() -> Header:
        zero = tf.zeros([], tf.int64)
        return Header(tf.constant(False), zero, zero, tf.constant(1), zero)

    is_jpeg = tf.strings.substr(contents, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(contents, 0, 8) == PNG_SIGNATURE
    return tf.cond(
        is_jpeg, lambda: _jpeg(data, size), lambda: tf.cond(is_png, lambda: _png(data, size), other)
    )


def _number(data: tf.Tensor, at: tf.Tensor | int, num_bytes: int) -> tf.Tensor:
    """Returns the big-endian number at a position, int64."""
    digits = tf.cast(data[at : at + num_bytes], tf.int64)
    return tf.reduce_sum(digits * [256**power for power in reversed(range(num_bytes))])


def _jpeg(data: tf.Tensor, size: tf.Tensor) -> Header:
    """Walks the segments up to the frame header, which holds the size; EXIF comes before it."""

    def is_frame(code: tf.Tensor) -> tf.Tensor:
        # C0..CF, without the tables of Huffman (C4), of arithmetic coding (CC), and the reserved C8.
        return (code & 0xF0 == 0xC0) & (code != 0xC4) & (code != 0xC8) & (code != 0xCC)

    def goes_on(at: tf.Tensor, exif: tf.Tensor, code: tf.Tensor) -> tf.Tensor:
        return (at > 0) & ~is_frame(code)

    def step(at: tf.Tensor, exif: tf.Tensor, code: tf.Tensor) -> tuple[tf.Tensor, ...]:
        code = _number(data, at + 1, 1)
        length = _number(data, at + 2, 2)
        is_exif = (code == 0xE1) & (_number(data, at + 4, 6) == int.from_bytes(b"Exif\0\0")) & (exif == 0)
        # 00 to BF, image data (D0 to DA) and other markers without a length have no place before the frame.
        is_segment = (code > 0xBF) & ((code < 0xD0) | (code > 0xDA)) & (length >= 2) & (code != 0xFF)
        is_fill = code == 0xFF
        inside = (data[at] == 0xFF) & (at + 10 <= size)
        following = tf.where(is_fill, at + 1, at + 2 + tf.cast(length, tf.int32))
        following = tf.where(is_frame(code), at, following)
        following = tf.where(inside & (is_fill | is_segment) & (following < size), following, -1)
        return following, tf.where(is_exif, at + 10, exif), tf.where(following > 0, code, 0)

    start = (tf.constant(2), tf.constant(0), tf.zeros([], tf.int64))
    at, exif, code = tf.while_loop(goes_on, step, start, maximum_iterations=MAX_SEGMENTS)
    found = (at > 0) & is_frame(code)
    at = tf.maximum(at, 0)
    # Image data never hold FF DA; a thumbnail within EXIF may, once or a few times.
    num_scans = tf.math.count_nonzero((data[:-1] == 0xFF) & (data[1:] == 0xDA))
    height, width = _number(data, at + 5, 2), _number(data, at + 7, 2)
    return Header(found & (height * width > 0), width, height, _orientation(data, exif, size), num_scans)


def _png(data: tf.Tensor, size: tf.Tensor) -> Header:
    """The size is in the first chunk; eXIf, if there is one, comes before the image data."""

    def goes_on(at: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
        return (at > 0) & (exif == 0)

    def step(at: tf.Tensor, exif: tf.Tensor) -> tuple[tf.Tensor, ...]:
        length, kind = _number(data, at, 4), _number(data, at + 4, 4)
        following = tf.cast(at, tf.int64) + 12 + length
        is_last = (kind == int.from_bytes(b"IDAT")) | (following + 12 > tf.cast(size, tf.int64))
        following = tf.cast(tf.where(is_last, tf.constant(-1, tf.int64), following), tf.int32)
        return following, tf.where(kind == int.from_bytes(b"eXIf"), at + 8, exif)

    _, exif = tf.while_loop(goes_on, step, (tf.constant(8), tf.constant(0)), maximum_iterations=MAX_SEGMENTS)
    width, height = _number(data, 16, 4), _number(data, 20, 4)
    is_header = (_number(data, 8, 4) == 13) & (_number(data, 12, 4) == int.from_bytes(b"IHDR")) & (size >= 33)
    # PNG allows 31 bits a side, so their product fits.
    is_sane = (width > 0) & (height > 0) & (width < 2**31) & (height < 2**31)
    return Header(is_header & is_sane, width, height, _orientation(data, exif, size), tf.ones([], tf.int64))


def _orientation(data: tf.Tensor, tiff: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in a TIFF header at a position (0: there is none), int32."""

    def read() -> tf.Tensor:
        little = data[tiff] == ord("I")

        def numbers(pairs: tf.Tensor) -> tf.Tensor:
            """Turns [..., 2] bytes into numbers in the byte order of the header."""
            pairs = tf.cast(pairs, tf.int32)
            first, second = pairs[..., 0], pairs[..., 1]
            return tf.where(little, first + 256 * second, 256 * first + second)

        high_low = numbers(tf.reshape(data[tiff + 4 : tiff + 8], [2, 2]))
        high_low = tf.where(little, high_low[::-1], high_low)
        # A directory beyond 64 kB cannot lie in a JPEG's segment; this also keeps the sum within int32.
        directory = tiff + tf.where(high_low[0] == 0, high_low[1], 0)
        directory = tf.minimum(directory, size)
        count = numbers(data[directory : directory + 2])
        entries = data[directory + 2 : directory + 2 + 12 * count]
        entries = tf.reshape(entries[: tf.size(entries) // 12 * 12], [-1, 12])
        is_tag = (numbers(entries[:, :2]) == ORIENTATION_TAG) & (numbers(entries[:, 2:4]) == SHORT)
        values = tf.boolean_mask(numbers(entries[:, 8:10]), is_tag)
        return tf.concat([values, [1]], 0)[0]

    value = tf.cond((tiff > 0) & (tiff + 8 <= size), read, lambda: tf.constant(1))
    return tf.where((value >= 1) & (value <= 8), value, 1)
