"""Small inputs: a figure that walks through a still room, as a video and as images."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.models.heads import build_mcss_model
from mcss_tf.serving import images, saved_model
from mcss_tf.serving.metadata import build_metadata

NUM_FRAMES, WIDTH, HEIGHT, FPS = 30, 160, 120, 15
CONTEXT = 1.3
CROP_SIZE = 48


def frame_pixels(index: int) -> np.ndarray:
    """A person-sized block, 24 x 60 pixels, that moves 3 pixels a frame over a structured background."""
    pixels = np.tile(np.linspace(60, 120, WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, 1, 3))
    left = 10 + 3 * index
    pixels[30:90, left : left + 24] = (230, 40 + 4 * index, 30)
    return pixels


def write_video(path: Path, num_frames: int = NUM_FRAMES, moves: bool = True) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(num_frames):
            pixels = frame_pixels(index if moves else 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_image(path: Path, pixels: np.ndarray) -> Path:
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("walk") / "cam1.mp4")


def export_untrained(folder: Path, num_joints: int | None, image_size: int = 32) -> Path:
    """Exports an untrained network whose pose head has label moments."""
    model = build_mcss_model(image_size, num_joints=num_joints, hidden_dim=16, embedding_dim=8)
    if num_joints is not None:
        poses = np.random.default_rng(0).normal(0, 300, (20, num_joints, 3))
        model.get_layer("pose_mm").adapt(poses, np.ones((20, num_joints)))
    metadata = build_metadata(model, HUMAN36M_17, {"size": CROP_SIZE, "context": CONTEXT}, {})
    saved_model.write(images.served(model, CONTEXT), metadata, folder)
    return folder


@pytest.fixture(scope="session")
def pose_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_untrained(tmp_path_factory.mktemp("pose") / "mcss", 16)


@pytest.fixture(scope="session")
def embedding_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_untrained(tmp_path_factory.mktemp("embedding") / "mcss", None)
