"""Image files that people bring: any format, turned upright, or refused before they fill the memory."""

import contextlib
import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mcss_tf.errors import InputError

MAX_PIXELS = 100_000_000  # 300 MB of RGB


def decode_image(data: bytes, name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes a JPEG, PNG or other image file and turns it upright, as its EXIF orientation says.

    Args:
        data: the whole file.
        name: of the file, for the message.
        size: (width, height) that it must have; None: any of at most `MAX_PIXELS`.

    Returns:
        uint8 [H, W, 3] RGB.

    Raises:
        InputError: not an image, damaged, of more than 100 megapixels, or of another size.
    """
    # A small file can claim to be of any size: the header is read first.
    width, height = _read_size(data, name)
    if width * height > MAX_PIXELS or size not in (None, (width, height)):
        wanted = f"{size[0]} x {size[1]} pixels" if size else f"a size that memory holds, {MAX_PIXELS} pixels"
        raise InputError(f"An image has {wanted}. Received: {name} of {width} x {height}. Replace it.")
    pixels = None
    if width * height > 0:
        with contextlib.suppress(cv2.error):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise InputError(f"An image must be readable. Received: {name}. Replace it.")
    return pixels


def read_image(path: Path) -> np.ndarray:
    """Reads an image file; see `decode_image`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"An image must be readable. Received: {path} ({error.strerror}). Replace it."
        ) from error
    return decode_image(data, str(path))


def _read_size(data: bytes, name: str) -> tuple[int, int]:
    """Returns width and height of the header; 0, 0 where Pillow knows no such format."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own limits, one lower and one higher than ours
            with Image.open(io.BytesIO(data)) as header:
                return header.size
    except Image.DecompressionBombError as error:
        raise InputError(f"An image has a size that memory holds. Received: {name}: {error}") from error
    except Exception:  # a dozen kinds, by format, on damaged headers
        return 0, 0
