"""2D keypoints as OpenPose and its successors write them: one JSON a frame, any number of people."""

import re
from pathlib import Path

import numpy as np

from mcss_tf import files
from mcss_tf.data import tracking
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton, map_joints

_MIN_CONFIDENCE = 0.1
_MIN_KEYPOINTS = 4  # fewer do not outline a body


def read_keypoints(folder: Path, num_frames: int) -> np.ndarray:
    """Reads the keypoints of the person, one JSON a frame, numbered from 0 in the file name.

    Of several people the one is taken who is seen most surely, largest, and without jumps between frames.

    Args:
        folder: JSON files whose name ends in the frame number, such as `cam01.0000.json` or
            `walk_000000000000_keypoints.json`.
        num_frames: frames of the camera's video.

    Returns:
        float [F, K, 3], x, y in pixels and confidence; NaN in frames without file or person.

    Raises:
        InputError: if there is no JSON, one is malformed, or a number lies beyond the video.
    """
    people: list[list[np.ndarray]] = [[] for _ in range(num_frames)]
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError(f"A keypoints folder must hold one JSON a frame. Received: {folder} with none.")
    for path in paths:
        people[_frame_number(path, num_frames)] = _read_people(path)
    sizes = {len(person) for frame in people for person in frame}
    if len(sizes) > 1:
        raise InputError(
            f"All people of a camera must have the same keypoints. Received: {sorted(sizes)} keypoints in "
            f"{folder}. Export one kind of skeleton."
        )
    keypoints = np.full((num_frames, max(sizes, default=0), 3), np.nan)
    for frame, choice in enumerate(tracking.choose_person(_candidates(people))):
        if choice is not None:
            keypoints[frame] = people[frame][choice]
    return keypoints


def keypoint_boxes(keypoints_px: np.ndarray) -> np.ndarray:
    """Returns the boxes [F, 4] around the confident keypoints [F, K, 3]; NaN where nobody was found."""
    boxes_px = np.full((len(keypoints_px), 4), np.nan)
    for frame, person in enumerate(keypoints_px):
        if np.isfinite(person).all() and len(person):
            boxes_px[frame] = _box(person)
    return boxes_px


def _box(person: np.ndarray) -> np.ndarray:
    seen = person[person[:, 2] >= _MIN_CONFIDENCE, :2]
    return np.concatenate([seen.min(0), seen.max(0)])


def _candidates(people: list[list[np.ndarray]]) -> list[list[tracking.Candidate]]:
    """Scores everybody by confidence and by size compared with the largest person of the recording."""
    heights = [[float(np.ptp(_box(person)[1::2])) for person in frame] for frame in people]
    tallest = max((height for frame in heights for height in frame), default=1.0) or 1.0
    return [
        [
            tracking.Candidate(_box(person), float(person[:, 2].mean()) * height / tallest)
            for person, height in zip(frame, frame_heights, strict=True)
        ]
        for frame, frame_heights in zip(people, heights, strict=True)
    ]


def _frame_number(path: Path, num_frames: int) -> int:
    digits = re.findall(r"\d+", path.stem)
    if not digits or int(digits[-1]) >= num_frames:
        raise InputError(
            f"Keypoint files are numbered by frame, 0 to {num_frames - 1} in this video. Received: {path}. "
            "Rename the files, or remove those beyond the video."
        )
    return int(digits[-1])


def _read_people(path: Path) -> list[np.ndarray]:
    """Returns the people [K, 3] of one frame who have enough confident keypoints."""
    try:
        people = files.read_json(path)["people"]
        # `{}` is how Pose2Sim says that the person was not seen by this camera.
        found = [np.array(person["pose_keypoints_2d"], float).reshape(-1, 3) for person in people if person]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            'Keypoints must be OpenPose JSON: {"people": [{"pose_keypoints_2d": [x, y, confidence, ...]}]}.'
            f" Received: {path} ({type(error).__name__}: {error}). Export the keypoints again."
        ) from error
    found = [np.nan_to_num(person) for person in found]
    return [person for person in found if (person[:, 2] >= _MIN_CONFIDENCE).sum() >= _MIN_KEYPOINTS]


def on_skeleton(folder: Path, num_frames: int, names: tuple[str, ...], skeleton: Skeleton) -> np.ndarray:
    """Reads keypoints named `names` onto a skeleton: [F, J, 3], confidence 0 where a joint was not seen.

    Raises:
        InputError: if the files hold another number of keypoints.
    """
    keypoints = np.nan_to_num(read_keypoints(folder, num_frames))
    if keypoints.shape[1] not in (0, len(names)):
        raise InputError(
            f"`keypoints` in recordings.toml says that a person has {len(names)} keypoints. "
            f"Received: {keypoints.shape[1]} in {folder}. Correct or remove it."
        )
    if not keypoints.shape[1]:
        return np.zeros((num_frames, skeleton.num_joints, 3), np.float32)
    return map_joints(keypoints, names, skeleton, has_confidence=True)[0].astype(np.float32)
