"""Inference over an input: every found frame once, in order, whatever the batch."""

from pathlib import Path

import numpy as np
import pytest

from mcss_tf.prediction.infer import predict_input
from mcss_tf.prediction.inputs import Input
from mcss_tf.serving.exported import ExportedModel
from tests.prediction.conftest import CONTEXT, CROP_SIZE, NUM_FRAMES, write_video


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_results_are_those_of_each_crop_alone(walk: Path, pose_model: Path, batch_size: int) -> None:
    model, given, advanced = ExportedModel(pose_model), Input(walk, "auto", CONTEXT, 30.0), []
    prediction = predict_input(model, given, batch_size, advanced.append)
    assert sum(advanced) == NUM_FRAMES
    assert max(advanced) == min(batch_size, NUM_FRAMES)
    np.testing.assert_array_equal(prediction.frames, np.arange(NUM_FRAMES))
    assert prediction.poses_mm.shape == (NUM_FRAMES, 17, 3)
    np.testing.assert_array_equal(prediction.poses_mm[:, 0], 0)
    for row, crop in enumerate(given.crops(CROP_SIZE)):
        if row % 10 == 3:
            alone = model(crop.pixels[None])
            np.testing.assert_allclose(prediction.embeddings[row], alone["embedding"][0], atol=1e-5)
            np.testing.assert_allclose(
                prediction.poses_mm[row, 1:], alone["pose_mm"][0], rtol=1e-4, atol=1e-2
            )
            np.testing.assert_array_equal(prediction.boxes_px[row], crop.box_px)


def test_frames_without_a_person_are_left_out(embedding_model: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "cam1.mp4", num_frames=6)
    boxes = np.full((1, 6, 4), np.nan)
    boxes[0, [1, 5]] = (10, 30, 40, 90)
    boxes[0, 2] = (13, 30, 43, 90)
    np.savez(tmp_path / "boxes.npz", boxes=boxes)
    prediction = predict_input(
        ExportedModel(embedding_model),
        Input(tmp_path / "cam1.mp4", "file", CONTEXT, 30.0),
        4,
        lambda count: None,
    )
    # Frames 3 and 4 are a short gap, which is bridged; frame 0 comes before the person.
    np.testing.assert_array_equal(prediction.frames, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(prediction.time_s, np.arange(1, 6) / 15, atol=1e-3)
    assert prediction.poses_mm is None
    assert prediction.skeleton is None
    assert prediction.embeddings.shape == (5, 8)
