"""Image files that people bring: any format, turned upright, or refused."""

import contextlib
import io

import cv2
import numpy as np
from PIL import Image

from mcss_tf.errors import InputError


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decodes a JPEG, PNG or other image file and turns it upright, as its EXIF orientation says.

    Args:
        data: the whole file.
        name: of the file, for the message.

    Returns:
        uint8 [H, W, 3] RGB.

    Raises:
        InputError: not an image, damaged, or of more than 178 megapixels.
    """
    try:
        # A small file can claim to be of any size: the header is read first.
        with Image.open(io.BytesIO(data)) as header:
            width, height = header.size
    except Image.DecompressionBombError as error:
        raise InputError(f"An image has a size that memory holds. Received: {name}: {error}") from error
    except (OSError, ValueError, SyntaxError):
        width = height = 0
    pixels = None
    if width * height > 0:
        with contextlib.suppress(cv2.error):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"An image must be readable. Received: {name}. Replace it.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
