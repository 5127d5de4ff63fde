"""How much of the decoder's speed is left when frames are cropped and stored: same videos, same cores.

    python -m benchmarks.decode [--videos=DIR] [--crop_sizes=128,256] [--processes=2] [--json=FILE]

Each process decodes the videos of a sequence, one thread each, once only decoding and once as `prepare` does:
cropping every 5th frame, JPEG, records. Without --videos two sets are taken: the real recording beside the
project, where it is there (four cameras, 100 frames of 1080 x 1920), and one made in the format of Human3.6M
(1000 x 1000, 50 frames a second, H.264 of 4 Mbit/s, a figure moving in a still room). The target is 80 %.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
from absl import app, flags

from mcss_tf import files
from mcss_tf.data import video
from mcss_tf.data.records import write_sequence
from mcss_tf.data.sources.calibrated import cropped_instants, sequence_spec
from mcss_tf.data.sources.frame_labels import Labels
from mcss_tf.geometry.skeleton import HUMAN36M_17

_VIDEOS = flags.DEFINE_string("videos", None, "Folder of videos of one sequence.")
_STRIDE = flags.DEFINE_integer("stride", 5, "Every how many frames are cropped; all are decoded.")
_CROP_SIZES = flags.DEFINE_list("crop_sizes", ["128", "256"], "Sides of the crops, pixels.")
_PROCESSES = flags.DEFINE_integer("processes", 2, "As many as cores.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed repeats of each; medians count.")
_JSON = flags.DEFINE_string("json", None, "File for the figures; stdout has them as a table.")
_REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "pose2sim_balancing" / "videos"
TARGET = 0.8


def main(_: Sequence[str]) -> int:
    """Prints both rates and their ratio for every set and size; status 1 where one is below the target."""
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), []
        for source, paths in _sets(folder).items():
            rows += [{"videos": source, **row} for row in measure(paths, folder / "out")]
    for row in rows:
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    if _JSON.value:
        files.write_json(_JSON.value, rows)
    return int(min(row["ratio"] for row in rows) < TARGET)


def _sets(folder: Path) -> dict[str, list[Path]]:
    given = Path(_VIDEOS.value) if _VIDEOS.value else _REAL
    sets = {}
    if given.is_dir():
        sets[given.parent.name] = sorted(p for p in given.iterdir() if p.suffix in video.VIDEO_SUFFIXES)
    if not _VIDEOS.value:
        sets["made, 1000 x 1000"] = 4 * [_make_video(folder / "made.mp4")]
    return sets


def measure(paths: list[Path], output: Path) -> list[dict[str, float | int]]:
    """Times decoding and preparing in turns, so that a busy machine slows both; a row for each crop size."""
    sizes = [0, *map(int, _CROP_SIZES.value)]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(_PROCESSES.value)
    with ProcessPoolExecutor(_PROCESSES.value, context, _start, (barrier,)) as pool:
        times = [[_together(pool, paths, size, output) for size in sizes] for _ in range(_REPEATS.value + 1)]
    seconds = np.array(times[1:])  # [repeats, sizes, 2], wall clock and processor; the first warmed up
    median_s, ratios = np.median(seconds, 0), np.median(seconds[:, :1] / seconds, 0)
    num_frames = _PROCESSES.value * sum(video.probe(path).num_frames for path in paths)
    return [
        {
            "crop_size": size,
            "decoded_frames_per_s": num_frames / median_s[0, 0],
            "prepared_frames_per_s": num_frames / median_s[column, 0],
            "ratio": ratios[column, 0],
            "ratio_of_processor_time": ratios[column, 1],
        }
        for column, size in enumerate(sizes)
        if size
    ]


def _together(pool: ProcessPoolExecutor, paths: list[Path], size: int, output: Path) -> np.ndarray:
    """Returns seconds and processor seconds of a process, the means of all, which work at the same time."""
    numbers = range(_PROCESSES.value)
    tasks = [pool.submit(_task, paths, size, _STRIDE.value, output / str(number)) for number in numbers]
    return np.mean([task.result() for task in tasks], 0)


def _start(barrier: "multiprocessing.synchronize.Barrier") -> None:
    global _barrier
    _barrier = barrier
    cv2.setNumThreads(1)
    video.set_decoder_threads(1)


def _task(paths: list[Path], crop_size: int, stride: int, output: Path) -> tuple[float, float]:
    """Returns seconds and processor seconds of one process; all begin together. Size 0 only decodes."""
    call = _preparing(paths, crop_size, stride, output) if crop_size else lambda: decode(paths)
    _barrier.wait()
    start, start_cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - start_cpu


def decode(paths: list[Path]) -> None:
    """Decodes every frame and does nothing with it."""
    for path in paths:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for _ in container.decode(stream):
                pass


def _preparing(paths: list[Path], crop_size: int, stride: int, output: Path) -> Callable[[], None]:
    """Returns what decodes side by side, crops, encodes and writes records; boxes move by a pixel a frame."""
    videos = {f"{number} {path.stem}": path for number, path in enumerate(paths)}
    num_frames = min(video.probe(path).num_frames for path in paths)
    spec = sequence_spec("S1", "walk", "", videos, num_frames, stride, "train")
    boxes_px = {}
    for camera, path in videos.items():
        info = video.probe(path)
        middle = np.array([info.width / 4, info.height / 4, 3 * info.width / 4, 3 * info.height / 4])
        boxes_px[camera] = middle + (spec.frames % 50)[:, None]
    joints = np.random.default_rng(0).normal(scale=300, size=(len(spec.frames), 17, 3))
    labels = Labels(joints, np.ones((len(joints), 17)), boxes_px)
    return lambda: write_sequence(
        output, spec, cropped_instants(spec, labels, crop_size, 1.0), HUMAN36M_17, crop_size
    )


def _make_video(path: Path, num_frames: int = 200, side: int = 1000) -> Path:
    """Films a figure that walks through a room, with the noise of a sensor."""
    rng = np.random.default_rng(0)
    room = cv2.GaussianBlur(rng.uniform(0, 255, (side, side, 3)).astype(np.float32), (0, 0), 6)
    room = 120 + 6 * (room - room.mean())
    cloth = cv2.GaussianBlur(rng.uniform(0, 255, (500, 160, 3)).astype(np.float32), (0, 0), 2) + 60
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50, bit_rate=4_000_000)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for number in range(num_frames):
            picture = room + rng.normal(scale=2, size=(side, side, 1)).astype(np.float32)
            left = 250 + round(150 * np.sin(number / 40)) + number % 3
            picture[250:750, left : left + 160] = cloth
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


if __name__ == "__main__":
    sys.exit(app.run(main))
