"""Small datasets of calibrated keypoints without images, through the real writer."""

from pathlib import Path

import numpy as np

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.records import Instant, finish_dataset, write_sequence
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.geometry.cameras import Camera, look_at, project
from mcss_tf.geometry.skeleton import HUMAN36M_17
from tests.helpers import STANDING_MM


def cameras_with_lenses(num_cameras: int = 3) -> dict[str, Camera]:
    """Cameras c0, c1, ... around the room, whose lenses bend by several pixels."""
    cameras = {}
    for number in range(num_cameras):
        angle = 1.3 * number + 0.3
        position = (4500 * np.cos(angle), 4500 * np.sin(angle), 1500)
        straight = look_at(f"c{number}", (1000, 1000), 1145, position, (0, 0, 900))
        lens = np.array([-0.2, 0.24, 0.001, -0.001, 0.0])
        cameras[straight.name] = Camera(
            straight.name, straight.size, straight.matrix, lens, straight.rotation, straight.translation_mm
        )
    return cameras


def make_keypoint_dataset(
    path: str | Path,
    *,
    instants: int = 24,
    cameras: int = 3,
    noise_px: float = 5.0,
    labelled: bool = True,
    annotated: bool = True,
    calibrated: bool = True,
    seed: int = 0,
) -> PreparedDataset:
    """Writes S1 (train) and S9 (test) as poses somewhere in the room, seen by calibrated cameras.

    Args:
        path: folder to write.
        instants: per subject.
        cameras: number of views.
        noise_px: standard deviation of the detections.
        labelled: whether 3D joints are stored.
        annotated: whether exact keypoints are stored beside the detections.
        calibrated: whether the cameras are stored.
        seed: of poses and noise.
    """
    rig = cameras_with_lenses(cameras)
    results = []
    for split, subject in (("train", "S1"), ("test", "S9")):
        rng = np.random.default_rng([seed, len(split)])
        spec = SequenceSpec(subject, "walk", "walking", tuple(rig), 5.0, instants / 5.0)
        drawn = []
        for frame in range(instants):
            pose = STANDING_MM + rng.normal(0, 40, STANDING_MM.shape) + [*rng.uniform(-400, 400, 2), 900]
            true_px = np.stack([project(camera, pose) for camera in rig.values()])
            detected = true_px + rng.normal(0, noise_px, true_px.shape) if noise_px else true_px
            confidence = rng.uniform(0.7, 1.0, (*true_px.shape[:-1], 1))
            drawn.append(
                Instant(
                    subject=subject,
                    sequence="walk",
                    action="walking",
                    frame=frame,
                    time_s=frame / 5.0,
                    split=split,
                    cameras=list(rig),
                    joints_mm=pose.astype(np.float32) if labelled else None,
                    keypoints_px=np.concatenate([detected, confidence], -1).astype(np.float32),
                    keypoints_true_px=true_px.astype(np.float32) if annotated else None,
                )
            )
        results.append(write_sequence(path, spec, drawn, HUMAN36M_17, 0))
    calibrations = {(r.spec.subject, r.spec.sequence): rig if calibrated else None for r in results}
    return finish_dataset(
        path, source="tiny", skeleton=HUMAN36M_17, crop_size=0, results=results, calibrations=calibrations
    )
