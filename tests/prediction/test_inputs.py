"""Videos, images and folders: the crops are those of `prepare`, and every bad input has its message."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mcss_tf.data import boxes, crops, video
from mcss_tf.errors import InputError
from mcss_tf.prediction.inputs import Input
from tests.prediction.conftest import (
    CONTEXT,
    CROP_SIZE,
    FPS,
    NUM_FRAMES,
    frame_pixels,
    write_image,
    write_video,
)


def test_a_videos_crops_are_made_as_prepare_makes_them(walk: Path) -> None:
    squares = boxes.find_boxes("motion", walk.parent, {"cam1": walk}, {"cam1": video.probe(walk)}, CONTEXT)[
        "cam1"
    ]
    given = Input(walk, "auto", CONTEXT, fps=99)
    assert (given.box_mode, given.info.fps, given.num_found) == ("motion", FPS, NUM_FRAMES)
    found = list(given.crops(CROP_SIZE))
    assert [crop.frame for crop in found] == list(range(NUM_FRAMES))
    for crop, frame, square in zip(found, video.read_frames(walk), squares, strict=True):
        np.testing.assert_array_equal(crop.pixels, frame.crop(square, CROP_SIZE))
        assert np.abs(crop.pixels - crops.crop(frame.rgb(), square, CROP_SIZE).astype(float)).mean() < 2
        assert crop.time_s == pytest.approx(frame.index / FPS, abs=1e-3)
    # The square is around the block: 60 pixels high, times the context.
    middle = found[15].box_px
    assert middle[3] - middle[1] == pytest.approx(60 * CONTEXT, abs=6)
    assert middle[[0, 2]].mean() == pytest.approx(10 + 3 * 15 + 12, abs=5)


def test_boxes_from_a_file_beside_the_video_with_one_row_per_camera(tmp_path: Path) -> None:
    for camera in ("cam1", "cam2"):
        write_video(tmp_path / f"{camera}.mp4", num_frames=6)
    rows = np.full((2, 6, 4), np.nan)
    rows[0], rows[1, 2:4] = (0, 0, 20, 20), (40, 30, 80, 90)
    np.savez(tmp_path / "boxes.npz", boxes=rows)
    given = Input(tmp_path / "cam2.mp4", "auto", 1.0, fps=30)
    assert given.box_mode == "file"
    found = [crop.frame for crop in given.crops(16) if crop.pixels is not None]
    assert found == [2, 3]
    assert given.num_found == 2
    np.testing.assert_allclose(list(given.crops(16))[2].box_px, [30, 30, 90, 90])


def test_an_image_is_taken_whole_and_padded_to_a_square(tmp_path: Path) -> None:
    path = write_image(tmp_path / "photo.png", np.full((20, 40, 3), 99, np.uint8))
    (crop,) = Input(path, "auto", CONTEXT, fps=30).crops(8)
    np.testing.assert_allclose(crop.box_px, [0, -10, 40, 30])
    assert crop.pixels[4, 4].tolist() == [99, 99, 99]
    assert crop.pixels[0, 4].tolist() == [0, 0, 0]


def test_a_photo_lying_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "phone.jpg", exif=exif)
    given = Input(tmp_path / "phone.jpg", "full", CONTEXT, fps=30)
    (crop,) = given.crops(8)
    assert crop.rgb().shape == (60, 40, 3)
    assert (given.info.width, given.info.height) == (40, 60)


def test_a_folder_of_pictures_of_different_sizes(tmp_path: Path) -> None:
    write_image(tmp_path / "2.png", np.full((30, 30, 3), 50, np.uint8))
    write_image(tmp_path / "10.png", np.full((10, 20, 3), 70, np.uint8))
    found = list(Input(tmp_path, "full", CONTEXT, fps=4).crops(8))
    assert [crop.time_s for crop in found] == [0.0, 0.25]
    np.testing.assert_allclose(found[0].box_px, [0, 0, 30, 30])
    np.testing.assert_allclose(found[1].box_px, [0, -5, 20, 15])
    with pytest.raises(
        InputError, match=r"one static camera. Received: .* images of 2 sizes. Give --boxes=full"
    ):
        Input(tmp_path, "auto", CONTEXT, fps=4)


def test_a_folder_of_images_from_one_camera_equals_its_video(tmp_path: Path) -> None:
    for index in range(NUM_FRAMES):
        write_image(tmp_path / f"{index}.png", frame_pixels(index))
    given = Input(tmp_path, "auto", CONTEXT, fps=FPS)
    assert (given.box_mode, given.num_found) == ("motion", NUM_FRAMES)
    middle = list(given.crops(16))[15].box_px
    assert middle[[0, 2]].mean() == pytest.approx(10 + 3 * 15 + 12, abs=5)


def test_an_input_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"a video, an image or a folder of images. Received: .*none.mp4, which"
    ):
        Input(tmp_path / "none.mp4", "auto", CONTEXT, fps=30)


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(InputError, match=r"must be readable to its end. Received: .*notes.mp4"):
        Input(tmp_path / "notes.mp4", "auto", CONTEXT, fps=30)


def test_a_damaged_image(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(InputError, match=r"An image must be readable. Received: .*photo.jpg"):
        Input(tmp_path / "photo.jpg", "auto", CONTEXT, fps=30)


def test_a_video_in_which_nobody_moves(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no person in any frame of .*still.mp4 with --boxes=motion"):
        Input(write_video(tmp_path / "still.mp4", moves=False), "auto", CONTEXT, fps=30)


def test_boxes_that_are_not_there(walk: Path) -> None:
    with pytest.raises(InputError, match="--boxes=file needs a boxes.npz"):
        Input(walk, "file", CONTEXT, fps=30)
