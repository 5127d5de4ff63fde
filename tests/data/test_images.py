"""Images and videos from anywhere: what is too large is refused before it is decoded."""

import fractions
import resource
import struct

import av
import cv2
import numpy as np
import pytest

from mcss_tf.data import images, video
from mcss_tf.errors import InputError

_RGB = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def jpeg():
    return cv2.imencode(".jpg", _RGB[..., ::-1])[1].tobytes()


def claiming(data, width, height):
    """Returns a JPEG whose header claims another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def write_video(path, pictures):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number, picture in enumerate(pictures):
            packet = av.Packet(picture)
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = fractions.Fraction(1, 30)
            container.mux(packet)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_images_are_decoded_as_opencv_does(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), _RGB[..., ::-1])
    np.testing.assert_array_equal(images.read_image(path), cv2.imread(str(path))[..., ::-1])


@pytest.mark.parametrize("side", [11_000, 65_500])
def test_a_gigantic_image_is_refused_without_its_memory(side):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="An image has a size that memory holds.*Received: a.jpg"):
        images.decode_image(claiming(jpeg(), side, side), "a.jpg")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_size_that_is_asked_for():
    assert images.decode_image(jpeg(), "a", (64, 48)).shape == (48, 64, 3)
    with pytest.raises(InputError, match="An image has 48 x 48 pixels. Received: a of 64 x 48. Replace it."):
        images.decode_image(jpeg(), "a", (48, 48))


@pytest.mark.parametrize("data", [b"", b"no image", jpeg()[:100], b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_is_no_image(data):
    with pytest.raises(InputError, match="An image must be readable. Received: a. Replace it."):
        images.decode_image(data, "a")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"must be readable. Received: .*b.jpg \(No such file"):
        images.read_image(tmp_path / "b.jpg")


def test_a_video_whose_frames_become_gigantic(tmp_path):
    write_video(tmp_path / "good.mkv", [jpeg()] * 10)
    assert len(list(video.read_frames(tmp_path / "good.mkv"))) == 10
    write_video(tmp_path / "bad.mkv", [jpeg()] * 5 + [claiming(jpeg(), 11_000, 11_000)] * 5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="must be readable to its end"):
        list(video.read_frames(tmp_path / "bad.mkv"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "ffconcat version 1.0\nfile a.mkv\n"]
)
def test_a_playlist_is_no_video(tmp_path, text):
    write_video(tmp_path / "a.mkv", [jpeg()] * 10)
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(InputError, match="must be readable to its end"):
        video.probe(tmp_path / "list.mp4")
