"""What the header of a video promises, and whether the file keeps it."""

import dataclasses
from pathlib import Path

import av

from mcss_tf.data.images import MAX_PIXELS
from mcss_tf.errors import InputError

# FFmpeg's names of the containers that are read. It guesses by content, and one of its guesses is a playlist.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo"
# A file that ends this much before its header says was cut off while it was copied or written.
MIN_FRACTION = 0.98


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What the header of a video says: frames per second, frames, seconds, and pixels as displayed."""

    fps: float
    num_frames: int
    duration_s: float
    width: int
    height: int


def probe(path: Path) -> VideoInfo:
    """Reads the header of a video and makes sure that its end is there, without decoding it.

    Raises:
        InputError: if it is not readable, holds no pictures, or is cut off.
    """
    try:
        with open_video(path) as container:
            info = _header(path, container)
            last_s = _last_packet_s(container, info)
    except (av.error.FFmpegError, OSError) as error:
        raise unreadable(path, error) from error
    if last_s + 2 / info.fps < MIN_FRACTION * info.duration_s:
        raise truncated(path, f"frames up to {last_s:.2f} s", f"{info.duration_s:.2f} s")
    return info


def open_video(path: Path) -> av.container.InputContainer:
    """Opens a video that may come from anywhere: no playlist that names other files, no gigantic frames."""
    container = av.open(str(path), options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"})
    for stream in container.streams.video:
        size = stream.codec_context.width, stream.codec_context.height
        if size[0] * size[1] > MAX_PIXELS:
            container.close()
            raise InputError(
                f"A frame has at most {MAX_PIXELS} pixels. Received: {size[0]} x {size[1]} in {path}. "
                "Convert it to a smaller size with ffmpeg."
            )
        # A stream may change its size on the way: the decoder refuses such a frame.
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return container


def _header(path: Path, container: av.container.InputContainer) -> VideoInfo:
    if not container.streams.video:
        raise InputError(
            f"A camera's file must hold a video. Received: {path} without one. Remove or replace it."
        )
    stream = container.streams.video[0]
    duration_s = _duration_s(container, stream)
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    num_frames = stream.frames or round(duration_s * rate)
    if num_frames < 1 or rate <= 0:
        raise InputError(
            f"A video must have frames and a frame rate. Received: {path} with {num_frames} frames at "
            f"{rate:g} frames per second. Convert it with ffmpeg, for example to .mp4."
        )
    first = next(container.decode(stream), None)
    if first is None:
        raise truncated(path, "no frame", f"{num_frames} frames")
    width, height = (first.width, first.height)
    if first.rotation % 180:
        width, height = height, width
    return VideoInfo(rate, num_frames, duration_s, width, height)


def _duration_s(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _last_packet_s(container: av.container.InputContainer, info: VideoInfo) -> float:
    """Seconds from the first frame to the end of the last packet that can be read."""
    stream = container.streams.video[0]
    start = stream.start_time or 0
    target_s = max(0.0, MIN_FRACTION * info.duration_s - 1.0)
    container.seek(start + int(target_s / stream.time_base), stream=stream)
    last = start
    for packet in container.demux(stream):
        if packet.pts is not None:
            last = max(last, packet.pts + (packet.duration or 0))
    return float((last - start) * stream.time_base)


def unreadable(path: Path, error: Exception) -> InputError:
    """Returns the error for a file that FFmpeg gave up on."""
    return InputError(
        f"A video must be readable to its end. Received: {path} ({error}). Copy or convert it again; "
        "a file whose recording or copying was interrupted cannot be used."
    )


def truncated(path: Path, found: str, promised: str) -> InputError:
    """Returns the error for a file that ends before its header says."""
    return InputError(
        f"A video must be as long as its header says. Received: {path} with {found} of {promised}. "
        "It is truncated or damaged: copy or convert it again."
    )
