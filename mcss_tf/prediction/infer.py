"""Runs an exported model over the frames of an input."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from mcss_tf.prediction.inputs import Crop, Input
from mcss_tf.prediction.results import Prediction, with_root
from mcss_tf.serving.exported import ExportedModel
from mcss_tf.serving.remote import RemoteModel

Advance = Callable[[int], None]


def predict_input(
    model: ExportedModel | RemoteModel, given: Input, batch_size: int, advance: Advance
) -> Prediction:
    """Embeds the person in every frame in which there is one, holding one batch of crops at a time.

    Args:
        model: an exported model, loaded or served.
        given: the input; it has a person in at least one frame, or it could not have been opened.
        batch_size: crops per call of the model.
        advance: called with the number of frames after every batch.
    """
    frames, times, boxes_px = [], [], []
    outputs: dict[str, list[np.ndarray]] = {}
    for batch in _batched(given.crops(model.crop_size), batch_size):
        found = [crop for crop in batch if crop.pixels is not None]
        if found:
            for name, value in model(np.stack([crop.pixels for crop in found])).items():
                outputs.setdefault(name, []).append(value)
            frames += [crop.frame for crop in found]
            times += [crop.time_s for crop in found]
            boxes_px += [crop.box_px for crop in found]
        advance(len(batch))
    skeleton = model.skeleton
    return Prediction(
        frames=np.array(frames),
        time_s=np.array(times),
        boxes_px=np.stack(boxes_px),
        embeddings=np.concatenate(outputs["embedding"]),
        poses_mm=None if skeleton is None else with_root(np.concatenate(outputs["pose_mm"]), skeleton),
        skeleton=skeleton,
        fps=given.info.fps,
    )


def _batched(crops: Iterator[Crop], size: int) -> Iterator[list[Crop]]:
    while batch := list(itertools.islice(crops, size)):
        yield batch
