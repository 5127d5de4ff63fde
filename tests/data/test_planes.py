"""Crops out of planes against crops of the whole RGB frame: within 2 levels on average, 8 at most anywhere.

FFmpeg's quick conversion of a frame rounds down, by up to 3 levels; against exact arithmetic 2.5 is it.
"""

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcss_tf.data import crops, planes, video

MEAN, MOST = 2.0, 8.0
EXACT = 2.5
FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p")


def smooth(height: int, width: int) -> np.ndarray:
    """Returns an RGB picture without sharp edges, asymmetric, with colours that limited ranges can show."""
    rows, columns = np.mgrid[:height, :width]
    red = 60 + 120 * rows / height
    green = 120 + 50 * np.sin(columns / 9) * np.cos(rows / 13)
    blue = 60 + 130 * columns / width
    return np.stack([red, green, blue], -1).astype(np.uint8)


def decoded(height: int, width: int, pixel_format: str) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(smooth(height, width), format="rgb24").reformat(format=pixel_format)


def differences(frame: av.VideoFrame, box: tuple[int, ...], size: int) -> np.ndarray:
    plain = crops.crop(planes.upright(frame), np.array(box, float), size)
    quick = planes.crop_decoded(frame, np.array(box, float), size)
    assert quick.shape == (size, size, 3)
    assert quick.dtype == np.uint8
    return np.abs(quick - plain.astype(float))


@settings(max_examples=150, deadline=None)
@given(
    pixel_format=st.sampled_from(FORMATS),
    frame_size=st.sampled_from([(120, 160), (121, 161), (161, 120)]),
    turns=st.integers(0, 3),
    corner=st.tuples(st.integers(-60, 140), st.integers(-60, 140)),
    side=st.integers(20, 150),
    size=st.sampled_from([16, 33, 64]),
)
def test_as_the_way_over_rgb(pixel_format, frame_size, turns, corner, side, size):
    """Odd frames and boxes, boxes that leave the frame, quarter turns, shrinking and enlarging."""
    frame = decoded(*frame_size, pixel_format)
    box = (*corner, corner[0] + side, corner[1] + side)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planes, "_quarter_turns", lambda _: turns)
        difference = differences(frame, box, size)
    # Where the picture meets the black beyond it, an edge moves by a fraction of a pixel.
    assert difference.mean() < MEAN + (3.0 if _leaves(box, frame_size, turns) else 0.0)
    if not _leaves(box, frame_size, turns):
        assert difference.max() <= MOST


def _leaves(box, frame_size, turns) -> bool:
    height, width = frame_size if turns % 2 == 0 else frame_size[::-1]
    return min(box) < 0 or box[2] > width or box[3] > height


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("box", [(8, 4, 72, 68), (9, 5, 73, 69), (-24, -16, 40, 48), (70, 60, 134, 124)])
def test_against_exact_means(pixel_format, box):
    """Planes repeated up to full size, black around, means of 4 x 4, then the formulas of BT.601."""
    frame = decoded(90, 110, pixel_format)
    down, across = {"yuv420p": (2, 2), "yuvj420p": (2, 2), "yuv422p": (1, 2), "yuv444p": (1, 1)}[pixel_format]
    is_full = pixel_format == "yuvj420p"
    channels = []
    for number, plane in enumerate(frame.planes):
        samples = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        if number:
            samples = np.kron(samples, np.ones((down, across)))
        black = 128 if number else 0 if is_full else 16
        wide = np.pad(samples[:90, :110].astype(float), 100, constant_values=black)
        cut = wide[box[1] + 100 : box[3] + 100, box[0] + 100 : box[2] + 100]
        channels.append(cut.reshape(16, 4, 16, 4).mean((1, 3)))
    y, cb, cr = channels[0], channels[1] - 128, channels[2] - 128
    if not is_full:
        y, cb, cr = (y - 16) * 255 / 219, cb * 255 / 224, cr * 255 / 224
    expected = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    found = planes.crop_decoded(frame, np.array(box, float), 16)
    assert np.abs(found - expected.clip(0, 255)).max() <= EXACT


@pytest.mark.parametrize("space", [1, 2, 5, 6, 9])
@pytest.mark.parametrize("colour_range", [0, 1, 2])
def test_matrix_and_range_are_those_of_the_tags(space, colour_range):
    """Against FFmpeg's own conversion of flat colours; 4 (FCC), which is rare, goes its way."""
    for levels in ((120, 90, 170), (60, 140, 120), (200, 128, 128)):
        frame = av.VideoFrame(32, 32, "yuv444p")
        for plane, level in zip(frame.planes, levels, strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        frame.colorspace, frame.color_range = space, colour_range
        expected = frame.to_ndarray(format="rgb24")[16, 16].astype(int)
        found = planes.crop_decoded(frame, np.array([4.0, 4, 28, 28]), 16)
        assert np.abs(found - expected).max() <= 1
        frame.colorspace = 4
        np.testing.assert_array_equal(
            planes.crop_decoded(frame, np.array([4.0, 4, 20, 20]), 16), planes.upright(frame)[4:20, 4:20]
        )


@pytest.mark.parametrize("pixel_format", ["gray", "yuv420p10le", "nv12", "rgb24", "yuva420p"])
def test_other_formats_go_over_rgb(pixel_format):
    assert differences(decoded(90, 110, pixel_format), (-3, 5, 71, 79), 32).max() == 0


@pytest.mark.parametrize("box", [(200, 0, 240, 40), (0, -50, 40, -10), (110, 10, 150, 50)])
def test_wholly_outside_is_black(box):
    assert not planes.crop_decoded(decoded(90, 110, "yuv420p"), np.array(box, float), 16).any()


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuvj420p"])
def test_frames_of_a_real_decoder(tmp_path, pixel_format):
    """H.264 of an odd size where its colours allow it; the decoder pads its lines."""
    path: Path = tmp_path / "a.mp4"
    size = (161, 121) if pixel_format == "yuv444p" else (162, 122)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
        (stream.width, stream.height), stream.pix_fmt = size, pixel_format
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(smooth(*size[::-1]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    for frame in video.read_frames(path):
        for box in ((31, 20, 91, 80), (30, 21, 150, 141)):
            plain = crops.crop(frame.rgb(), np.array(box, float), 40)
            assert np.abs(frame.crop(np.array(box, float), 40) - plain.astype(float)).mean() < MEAN
