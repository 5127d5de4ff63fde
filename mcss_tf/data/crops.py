"""Square crops of frames."""

import cv2
import numpy as np


def crop(pixels: np.ndarray, box_px: np.ndarray, size: int) -> np.ndarray:
    """Cuts a square out of a frame and resizes it; what lies beyond the frame is black.

    Args:
        pixels: uint8 [H, W, 3].
        box_px: x0, y0, x1, y1, whole numbers, square; may lie partly or wholly outside of the frame.
        size: side of the result in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = (round(float(edge)) for edge in box_px)
    inside = pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if inside.size == 0:
        return np.zeros((size, size, 3), np.uint8)
    top, bottom = max(-y0, 0), max(y1 - height, 0)
    left, right = max(-x0, 0), max(x1 - width, 0)
    whole = inside
    if top or bottom or left or right:
        whole = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    # Averaging over areas keeps the patterns of clothes from aliasing; it is meaningless when enlarging.
    shrinks = whole.shape[0] > size
    return cv2.resize(whole, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
