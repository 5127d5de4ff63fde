"""What is known of a recorded sequence before its pixels are cropped: boxes, keypoints, poses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcss_tf.data import boxes, keypoints_io
from mcss_tf.data.poses_io import Poses, read_poses
from mcss_tf.data.sources.recording_settings import read_settings
from mcss_tf.geometry import joint_names
from mcss_tf.geometry.skeleton import Skeleton

if TYPE_CHECKING:
    from mcss_tf.data.sources.recordings import RecordingOptions, RecordingSequence

KEYPOINT_NAMES = {
    "body_25": joint_names.BODY_25,
    "body_25b": joint_names.BODY_25B,
    "coco_17": joint_names.COCO_17,
}


@dataclasses.dataclass
class Material:
    """What is known of a sequence.

    Attributes:
        squares: by camera, boxes [F, 4], NaN where nobody was found.
        keypoints: by camera, [F, J, 3]; None where unknown.
        poses: 3D labels; None without.
        pose_rows: by frame of the reference camera, the row of its label.
    """

    squares: dict[str, np.ndarray]
    keypoints: dict[str, np.ndarray] | None
    poses: Poses | None
    pose_rows: dict[int, int]

    def is_found(self, camera: str, frame: int) -> bool:
        """Whether the person's box is known in a frame; headers may promise a frame too few."""
        squares = self.squares[camera]
        return frame < len(squares) and bool(np.isfinite(squares[frame]).all())


def read_material(spec: RecordingSequence, options: RecordingOptions) -> Material:
    """Finds boxes and reads labels and keypoints.

    Raises:
        InputError: if a camera never sees the person, or a file is malformed.
    """
    squares = boxes.find_boxes(spec.box_mode, spec.folder, spec.videos, spec.infos, options.context)
    poses = read_sequence_poses(spec, options.skeleton)
    rows = {} if poses is None else {int(frame): row for row, frame in enumerate(poses.frames)}
    return Material(squares, _read_keypoints(spec, options.root, options.skeleton), poses, rows)


def read_sequence_poses(spec: RecordingSequence, skeleton: Skeleton) -> Poses | None:
    """Returns the 3D labels; None where the sequence has none, or they are not to be used.

    Raises:
        InputError: if the file is malformed.
    """
    if spec.pose_file is None:
        return None
    info = spec.infos[spec.reference]
    return read_poses(spec.pose_file, skeleton, info.num_frames, info.fps)


def _read_keypoints(spec: RecordingSequence, root: Path, skeleton: Skeleton) -> dict[str, np.ndarray] | None:
    """Returns the keypoints [F, J, 3] by camera, where it is known which joints they are of."""
    kind = read_settings(root / "recordings.toml").keypoints
    folders = {camera: spec.folder / "keypoints" / camera for camera in spec.cameras}
    if kind is None or not all(folder.is_dir() for folder in folders.values()):
        return None
    return {
        camera: keypoints_io.on_skeleton(
            folder, spec.infos[camera].num_frames, KEYPOINT_NAMES[kind], skeleton
        )
        for camera, folder in folders.items()
    }
