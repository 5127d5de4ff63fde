"""Image files that people bring: any format, turned upright, or refused."""

import io

import cv2
import numpy as np
from PIL import Image

from mcss_tf.errors import InputError

# A small file can claim to be of any size; this is several times the largest photographs.
_MAX_PIXELS = 200_000_000


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decodes a JPEG, PNG or other image file and turns it upright, as its EXIF orientation says.

    Args:
        data: the whole file.
        name: of the file, for the message.

    Returns:
        uint8 [H, W, 3] RGB.

    Raises:
        InputError: not an image, damaged, or of more than 200 megapixels.
    """
    pixels = None
    try:
        with Image.open(io.BytesIO(data)) as header:
            width, height = header.size
    except (OSError, ValueError, Image.DecompressionBombError):
        width = height = 0
    if width * height > _MAX_PIXELS:
        raise InputError(
            f"An image has at most {_MAX_PIXELS // 10**6} megapixels. "
            f"Received: {name} of {width} x {height}. Scale it down."
        )
    if data:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"An image must be readable. Received: {name}. Replace it.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
