"""How much of the decoder's speed is left when frames are cropped and stored: same videos, same cores.

    python -m benchmarks.decode [--videos=DIR] [--stride=5] [--crop_size=224] [--json=FILE]

Without --videos the real recording beside the project is used (four cameras, 100 frames of 1080 x 1920 each),
else four videos are made (1000 x 1000, 50 frames per second, as in Human3.6M). The target is 80 %.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
from absl import app, flags

from mcss_tf import files
from mcss_tf.data import video
from mcss_tf.data.records import write_sequence
from mcss_tf.data.sources.calibrated import (
    CalibratedSequence,
    Labels,
    cropped_instants,
    sequence_spec,
)
from mcss_tf.geometry.skeleton import HUMAN36M_17

_VIDEOS = flags.DEFINE_string("videos", None, "Folder of videos of one sequence.")
_STRIDE = flags.DEFINE_integer("stride", 5, "Every how many frames are cropped; all are decoded.")
_CROP_SIZE = flags.DEFINE_integer("crop_size", 224, "Side of the crops, pixels.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed repeats of each; medians count.")
_JSON = flags.DEFINE_string("json", None, "File for the figures; stdout has them as a table.")
_REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "pose2sim_balancing" / "videos"
TARGET = 0.8


def main(_: Sequence[str]) -> int:
    """Prints both rates and their ratio; status 1 where it is below the target."""
    with tempfile.TemporaryDirectory() as folder:
        if _VIDEOS.value is None and not _REAL.is_dir():
            _make_videos(Path(folder) / "videos")
        source = (
            Path(_VIDEOS.value) if _VIDEOS.value else _REAL if _REAL.is_dir() else Path(folder) / "videos"
        )
        paths = sorted(path for path in source.iterdir() if path.suffix in video.VIDEO_SUFFIXES)
        figures = measure({path.stem: path for path in paths}, Path(folder) / "out")
    for name, value in figures.items():
        print(f"{name:22} {value:.4g}" if isinstance(value, float) else f"{name:22} {value}")
    if _JSON.value:
        files.write_json(_JSON.value, figures)
    return int(figures["ratio"] < TARGET)


def measure(videos: dict[str, Path], output: Path) -> dict[str, float | int]:
    """Times both in turns, so that a busy machine slows both."""
    num_frames = min(video.probe(path).num_frames for path in videos.values())
    spec = sequence_spec("S1", "walk", "", videos, num_frames, _STRIDE.value, "train")
    labels = middle_boxes(spec)
    decoding, preparing = [], []
    for _ in range(_REPEATS.value + 1):
        decoding.append(seconds_of(lambda: decode(videos)))
        preparing.append(seconds_of(lambda: prepare(spec, labels, output)))
    # The first of each warms the page cache.
    decode_s, prepare_s = statistics.median(decoding[1:]), statistics.median(preparing[1:])
    return {
        "cameras": len(videos),
        "frames": num_frames,
        "stride": _STRIDE.value,
        "decoded_frames_per_s": len(videos) * num_frames / decode_s,
        "prepared_frames_per_s": len(videos) * num_frames / prepare_s,
        "ratio": decode_s / prepare_s,
        "target": TARGET,
    }


def decode(videos: dict[str, Path]) -> None:
    """Decodes every frame with the settings of `video.read_frames` and does nothing with it."""
    for path in videos.values():
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for _ in container.decode(stream):
                pass


def middle_boxes(spec: CalibratedSequence) -> Labels:
    """Returns labels whose boxes are the middle half of every picture."""
    boxes_px = {}
    for camera, path in spec.videos.items():
        info = video.probe(path)
        box = [info.width / 4, info.height / 4, 3 * info.width / 4, 3 * info.height / 4]
        boxes_px[camera] = np.tile(box, (len(spec.frames), 1))
    joints = np.random.default_rng(0).normal(scale=300, size=(len(spec.frames), 17, 3))
    return Labels(joints, np.ones((len(joints), 17)), boxes_px)


def prepare(spec: CalibratedSequence, labels: Labels, output: Path) -> None:
    """Decodes side by side, crops, encodes and writes records."""
    instants = cropped_instants(spec, labels, _CROP_SIZE.value, 1.0)
    write_sequence(output, spec, instants, HUMAN36M_17, _CROP_SIZE.value)


def seconds_of(call: Callable[[], None]) -> float:
    """Returns how long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _make_videos(folder: Path) -> None:
    """Films a moving texture: flat pictures would decode faster than real ones."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (150, 250, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for camera in range(4):
        with av.open(str(folder / f"{camera}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=50, bit_rate=8_000_000)
            stream.width = stream.height = 1000
            for number in range(150):
                shift = 2 * number + 50 * camera
                frame = np.ascontiguousarray(texture[:1000, shift : shift + 1000])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())


if __name__ == "__main__":
    sys.exit(app.run(main))
