"""The overlay: what is drawn is where it should be, and the video keeps the input's time."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mcss_tf.data import video
from mcss_tf.geometry.skeleton import HUMAN36M_17, Skeleton
from mcss_tf.prediction.drawing import DistanceMatrix, SkeletonView
from mcss_tf.prediction.infer import predict_input
from mcss_tf.prediction.inputs import Crop, Input
from mcss_tf.prediction.overlay import OverlayPainter, VideoWriter, write_overlay
from mcss_tf.prediction.results import Prediction
from mcss_tf.serving.exported import ExportedModel
from tests.helpers import STANDING_MM
from tests.prediction.conftest import CONTEXT, CROP_SIZE, FPS, NUM_FRAMES, write_image

YELLOW = (255, 196, 0)


def where(image: np.ndarray, channel: int, other: int) -> np.ndarray:
    """Returns the mean (x, y) of pixels in which one channel clearly exceeds another."""
    mask = image[..., channel].astype(int) - image[..., other] > 60
    assert mask.any()
    return np.argwhere(mask).mean(axis=0)[::-1]


def test_from_the_front_the_persons_left_is_on_the_right_and_the_head_is_up() -> None:
    arm_out = STANDING_MM.copy()
    arm_out[13] = (600, 0, 470)
    view = SkeletonView(arm_out[None], HUMAN36M_17, azimuth_deg=0, size=200)
    image = view.draw(arm_out)
    left, right = where(image, 2, 0), where(image, 0, 2)
    assert left[0] > 100 > right[0]
    higher = SkeletonView(arm_out[None], HUMAN36M_17, 0, 200)._project(arm_out)[0]
    assert higher[10, 1] < higher[0, 1] < higher[3, 1]


def test_from_the_left_side_what_is_in_front_of_the_person_is_on_the_left() -> None:
    skeleton = Skeleton("pointer", ("root", "left_finger"), (-1, 0))
    # Canonical poses face -y.
    pointing = np.array([[0, 0, 0], [0, -500, 0]], np.float32)
    image = SkeletonView(pointing[None], skeleton, azimuth_deg=90, size=100).draw(pointing)
    assert where(image, 2, 0)[0] < 50


def test_sides_are_told_by_any_way_of_naming_them() -> None:
    """OpenPose's `LWrist` is blue and `RWrist` red, like `left_wrist` and `right_wrist`."""
    skeleton = Skeleton("short", ("Neck", "LWrist", "RWrist"), (-1, 0, 0))
    pose = np.array([[0, 0, 0], [500, 0, 0], [-500, 0, 0]], np.float32)
    image = SkeletonView(pose[None], skeleton, azimuth_deg=0, size=100).draw(pose)
    assert where(image, 2, 0)[0] > 50 > where(image, 0, 2)[0]


def test_equal_embeddings_are_bright_and_the_cross_marks_the_frame() -> None:
    embeddings = np.eye(2)[[0, 0, 1, 1]]
    image = DistanceMatrix(embeddings, 80).draw(1)
    brightness = image.astype(int).sum(-1)
    assert brightness[10, 35] > 2 * brightness[10, 70]
    np.testing.assert_array_equal(image[30], 255)
    np.testing.assert_array_equal(image[:, 30], 255)


def test_the_box_is_drawn_where_it_is_and_a_frame_without_person_says_so() -> None:
    prediction = Prediction(
        np.array([3]),
        np.array([0.1]),
        np.array([[100.0, 100, 300, 300]]),
        np.ones((1, 4)) / 2,
        None,
        None,
        30.0,
    )
    painter = OverlayPainter(prediction, 640, 480)
    rgb = np.zeros((480, 640, 3), np.uint8)
    crop = Crop(3, 0.1, lambda: rgb, prediction.boxes_px[0], np.full((8, 8, 3), 180, np.uint8))
    canvas = painter.paint(crop)
    assert canvas.shape[:2][::-1] == painter.size
    scale = (painter.size[1]) / 480
    rows, columns = np.nonzero((canvas[:, : round(640 * scale)] == YELLOW).all(-1))
    for edge, positions in ((100, columns.min()), (300, columns.max()), (100, rows.min()), (300, rows.max())):
        assert positions == pytest.approx(edge * scale, abs=3)
    empty = painter.paint(Crop(4, 0.2, lambda: rgb, None, None))
    assert not (empty == YELLOW).all(-1).any()
    assert (empty[:, round(640 * scale) :] > 240).all()


def test_video_frames_keep_their_uneven_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.1, 0.5, 0.54]
    with VideoWriter(tmp_path / "out.mp4", (64, 48), 25.0) as writer:
        for time_s in times:
            writer.write(np.full((48, 64, 3), round(255 * time_s), np.uint8), time_s)
    frames = list(video.read_frames(tmp_path / "out.mp4"))
    np.testing.assert_allclose([frame.time_s for frame in frames], times, atol=1e-3)


@pytest.mark.parametrize("kind", ["pose_model", "embedding_model"])
def test_an_overlay_has_every_frame_of_its_input(
    kind: str, walk: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model, given = ExportedModel(request.getfixturevalue(kind)), Input(walk, "auto", CONTEXT, 30.0)
    prediction = predict_input(model, given, 32, lambda count: None)
    advanced = []
    write_overlay(prediction, given, CROP_SIZE, tmp_path, advanced.append)
    assert sum(advanced) == NUM_FRAMES
    info = video.probe(tmp_path / "overlay.mp4")
    assert info.num_frames == NUM_FRAMES
    assert info.duration_s == pytest.approx(NUM_FRAMES / FPS, abs=0.1)
    panels = 2 if kind == "pose_model" else 1
    assert info.width == pytest.approx(480 + panels * 180, abs=8)


def test_an_image_gets_a_picture(pose_model: Path, tmp_path: Path) -> None:
    path = write_image(tmp_path / "photo.png", np.full((300, 200, 3), 90, np.uint8))
    given = Input(path, "auto", CONTEXT, 30.0)
    prediction = predict_input(ExportedModel(pose_model), given, 32, lambda count: None)
    write_overlay(prediction, given, CROP_SIZE, tmp_path, lambda count: None)
    assert not (tmp_path / "overlay.mp4").exists()
    picture = cv2.imread(str(tmp_path / "overlay.png"))
    assert picture.shape[1] > picture.shape[0] * 1.5
