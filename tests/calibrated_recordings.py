"""Recordings of a known moving person: videos, calibration and keypoint JSON that agree exactly."""

import json
from pathlib import Path

import numpy as np

from mcss_tf.geometry.cameras import Camera, look_at, project, save_calibration
from mcss_tf.geometry.joint_names import COCO_17
from tests.data import synthetic

NUM_FRAMES, FPS = 20, 10.0


def ring(num_cameras: int) -> dict[str, Camera]:
    """Cameras a, b, c, ... around the person."""
    angles = 2 * np.pi * np.arange(num_cameras) / max(num_cameras, 3) + 0.3
    return {
        name: look_at(name, (1000, 800), 900, (4000 * np.cos(a), 4000 * np.sin(a), 1500), (500, 0, 900))
        for name, a in zip("abcdef", angles, strict=False)
    }


def coco_mm(frame: float) -> np.ndarray:
    """Returns the COCO joints [17, 3] of the walking person at a frame."""
    pose = synthetic.pose_mm(frame / FPS)
    head = pose[10] + np.array(
        [[0, -90, -100], [30, -80, -70], [-30, -80, -70], [70, 0, -80], [-70, 0, -80]], float
    )
    return np.concatenate([head, pose[[11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3]]])


def write(root: Path, num_cameras: int = 3, sequence: str = "S1/walk") -> dict[str, Camera]:
    """Writes videos, exact keypoints, calibration and settings; returns the cameras."""
    cameras = ring(num_cameras)
    synthetic.write_recordings(root, (sequence,), tuple(cameras))
    for name, camera in cameras.items():
        for frame in range(NUM_FRAMES):
            pixels = np.c_[project(camera, coco_mm(frame)), np.full(len(COCO_17), 0.9)]
            write_keypoints(root / sequence / "keypoints" / name, frame, pixels)
    save_calibration(root / "cameras.toml", cameras)
    (root / "recordings.toml").write_text('keypoints = "coco_17"\n')
    return cameras


def write_keypoints(folder: Path, frame: int, keypoints_px: np.ndarray) -> None:
    """Writes one person [K, 3] as OpenPose does."""
    folder.mkdir(parents=True, exist_ok=True)
    people = {"people": [{"pose_keypoints_2d": keypoints_px.ravel().tolist()}]}
    (folder / f"{folder.name}_{frame:012d}_keypoints.json").write_text(json.dumps(people))
