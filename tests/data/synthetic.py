"""Small videos and recordings folders whose content says when and where it was taken."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 64, 48
BODY_WIDTH, BODY_HEIGHT = 12, 24


def body_box(time_s: float) -> np.ndarray:
    """Returns x0, y0, x1, y1 of the moving body: it walks through the picture once in 2 seconds."""
    x = round(4 + (WIDTH - BODY_WIDTH - 8) * (time_s % 2.0) / 2.0)
    return np.array([x, 12, x + BODY_WIDTH, 12 + BODY_HEIGHT], float)


def picture(time_s: float, has_body: bool = True, has_clock: bool = True) -> np.ndarray:
    """Returns uint8 [48, 64, 3]: a body before a grey room; the brightness of the top rows is the time."""
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    if has_clock:
        pixels[:6] = round(20 + 40 * (time_s % 5))
    if has_body:
        x0, y0, x1, y1 = body_box(time_s).astype(int)
        pixels[y0:y1, x0:x1] = (230, 200, 40)
    return pixels


def shown_time_s(pixels: np.ndarray) -> float:
    """Returns the time that `picture` wrote into a picture, to about 60 ms, modulo 5 s."""
    return (float(pixels[1:4].mean()) - 20) / 40


def write_video(
    path: Path,
    fps: Fraction | int = 10,
    duration_s: float = 2.0,
    start_s: float = 0.0,
    has_body: bool = True,
    has_clock: bool = True,
    gop: int = 12,
    movflags: str = "",
) -> None:
    """Writes what a camera films that starts at `start_s`."""
    fps = Fraction(fps)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream("mpeg4", rate=fps, bit_rate=4_000_000, options={"g": str(gop)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(round(duration_s * fps)):
            pixels = picture(start_s + float(index / fps), has_body, has_clock)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def write_recordings(
    root: Path, sequences: tuple[str, ...] = ("S1/walk",), cameras: tuple[str, ...] = ("a", "b"), **video
) -> Path:
    """Writes a recordings folder of equal videos and returns it."""
    for sequence in sequences:
        for camera in cameras:
            write_video(root / sequence / f"{camera}.mp4", **video)
    return root


def pose_mm(time_s: float) -> np.ndarray:
    """Returns a plausible standing Human3.6M-17 pose [17, 3] at `time_s`, Z up."""
    pose = np.array(
        [
            *[[0, 0, 900], [-130, 0, 900], [-130, 10, 480], [-130, 0, 60], [130, 0, 900], [130, 10, 480]],
            *[[130, 0, 60], [0, 0, 1150], [0, 0, 1400], [0, -60, 1500], [0, 0, 1650], [180, 0, 1380]],
            *[[200, 0, 1100], [200, -20, 860], [-180, 0, 1380], [-200, 0, 1100], [-200, -20, 860]],
        ],
        float,
    )
    return pose + np.array([500 * time_s, 0, 0])
