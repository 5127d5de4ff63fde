from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from mcss_tf.data import video
from mcss_tf.errors import InputError
from tests.data import synthetic


def test_probe_and_decoding_agree(tmp_path):
    synthetic.write_video(tmp_path / "a.mp4", fps=10, duration_s=2.0)
    info = video.probe(tmp_path / "a.mp4")
    frames = list(video.read_frames(tmp_path / "a.mp4"))
    assert (info.fps, info.num_frames, info.width, info.height) == (10.0, 20, 64, 48)
    assert info.duration_s == pytest.approx(2.0)
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(20) / 10, atol=1e-3)
    shown = [synthetic.shown_time_s(frame.rgb()) for frame in frames]
    np.testing.assert_allclose(shown, np.arange(20) / 10, atol=0.08)


def test_times_are_timestamps_not_frame_numbers(tmp_path):
    """Of 20 frames at 10 per second every third is removed: the rest keep their own times."""
    import av

    path = tmp_path / "gaps.mkv"
    kept = [index for index in range(20) if index % 3]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in kept:
            frame = av.VideoFrame.from_ndarray(synthetic.picture(index / 10), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    times = [frame.time_s for frame in video.read_frames(path)]
    np.testing.assert_allclose(times, (np.array(kept) - kept[0]) / 10, atol=2e-3)


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.9])
def test_truncated_video_is_named(tmp_path, fraction):
    """The index stands first (faststart), so the header still promises all frames."""
    path = tmp_path / "cut.mp4"
    synthetic.write_video(path, duration_s=8.0, movflags="faststart")
    whole = path.read_bytes()
    start = whole.index(b"mdat")
    path.write_bytes(whole[: start + int(fraction * (len(whole) - start))])
    with pytest.raises(InputError, match=r"cut\.mp4.*(truncated|cannot be used)"):
        video.probe(path)
    with pytest.raises(InputError, match=r"cut\.mp4"):
        list(video.read_frames(path))


def test_file_that_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"not a video" * 100)
    with pytest.raises(InputError, match=r"readable to its end. Received: .*a\.mp4"):
        video.probe(tmp_path / "a.mp4")


def test_sound_without_pictures(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    with pytest.raises(InputError, match="must hold a video"):
        video.probe(tmp_path / "a.mkv")


def test_phone_videos_are_turned_upright(tmp_path):
    """A phone held upright stores pictures lying down, and a matrix that turns them clockwise."""
    path = tmp_path / "phone.mp4"
    synthetic.write_video(path, duration_s=0.5)
    content = path.read_bytes()
    matrix = content.index(b"tkhd") + 4 + 40
    turned = np.array([0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000], ">i4").tobytes()
    path.write_bytes(content[:matrix] + turned + content[matrix + 36 :])
    info = video.probe(path)
    frame = next(video.read_frames(path))
    upright = frame.rgb()
    assert (info.width, info.height) == (48, 64)
    assert upright.shape == (64, 48, 3)
    expected = np.rot90(synthetic.picture(0.0), -1)
    assert np.abs(upright.astype(int) - expected).mean() < 6
    crop = frame.crop(np.array([4.0, 10, 44, 50]), 40)
    assert np.abs(crop.astype(int) - upright[10:50, 4:44]).mean() < 3


def test_folder_of_images(tmp_path):
    folder = tmp_path / "cam"
    folder.mkdir()
    for index in (10, 2, 1):
        Image.fromarray(synthetic.picture(index / 10)).save(folder / f"{index}.png")
    info = video.probe(folder, fps=5.0)
    frames = list(video.read_frames(folder, fps=5.0))
    assert (info.num_frames, info.duration_s, info.width, info.height) == (3, 0.6, 64, 48)
    np.testing.assert_allclose([frame.time_s for frame in frames], [0.0, 0.2, 0.4])
    shown = [synthetic.shown_time_s(frame.rgb()) for frame in frames]
    np.testing.assert_allclose(shown, [0.1, 0.2, 1.0], atol=0.03)


def test_folder_of_images_needs_a_rate_and_images(tmp_path):
    folder = tmp_path / "cam"
    folder.mkdir()
    with pytest.raises(InputError, match="must hold images"):
        video.probe(folder, fps=5.0)
    Image.fromarray(synthetic.picture(0.0)).save(folder / "0.png")
    with pytest.raises(InputError, match=r"fps = 30\.0"):
        video.probe(folder)
    (folder / "0.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"image must be readable.*0\.png"):
        video.probe(folder, fps=5.0)


@pytest.mark.parametrize("gop", [1, 600])
def test_samples_are_spread_over_the_video(tmp_path, gop):
    """With many key frames, and with a single one."""
    path = tmp_path / "a.mp4"
    synthetic.write_video(path, duration_s=4.0, gop=gop)
    shown = [synthetic.shown_time_s(rgb) for rgb in video.sample_frames(path, 8, lambda rgb: rgb)]
    assert 6 <= len(shown) <= 9
    assert min(shown) < 0.6
    assert max(shown) > 3.0
    assert np.diff(shown).max() < 1.3


def test_frame_times_without_decoding_are_those_of_the_frames(tmp_path):
    synthetic.write_video(tmp_path / "a.mp4", fps=Fraction(30000, 1001), duration_s=1.5)
    expected = [frame.time_s for frame in video.read_frames(tmp_path / "a.mp4")]
    np.testing.assert_allclose(video.frame_times_s(tmp_path / "a.mp4"), expected, atol=1e-6)


def test_frame_times_of_the_real_recording(balancing):
    path = balancing / "videos" / "cam02.mp4"
    expected = [frame.time_s for frame in video.read_frames(path)]
    np.testing.assert_allclose(video.frame_times_s(path), expected, atol=1e-6)


def test_frame_times_of_images_and_of_no_video(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.png").touch()
    np.testing.assert_allclose(video.frame_times_s(tmp_path, 10.0), [0, 0.1, 0.2])
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"must be readable to its end\. Received: .*a\.mp4"):
        video.frame_times_s(tmp_path / "a.mp4")
