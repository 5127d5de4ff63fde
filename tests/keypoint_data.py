"""A small dataset of keypoints without images, made through the real writer."""

from pathlib import Path

import numpy as np

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.example import Instant
from mcss_tf.data.records import finish_dataset, write_sequence
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.geometry.cameras import Camera, look_at, project
from mcss_tf.geometry.skeleton import HUMAN36M_17
from tests.helpers import STANDING_MM

CAMERAS = ("a", "b", "c")


def make_cameras(names: tuple[str, ...] = CAMERAS) -> dict[str, Camera]:
    """Returns cameras 5 m from the origin, at different azimuths and with different lenses."""
    cameras = {}
    for number, name in enumerate(names):
        angle = 0.4 + 1.7 * number
        position = (5000 * np.cos(angle), 5000 * np.sin(angle), 1500.0 + 200 * number)
        straight = look_at(name, (1000, 1000), 1100.0 + 20 * number, position, (0.0, 0.0, 900.0))
        lens = np.array([-0.2, 0.2, -0.001, 0.001, 0.0])
        cameras[name] = Camera(
            name, (1000, 1000), straight.matrix, lens, straight.rotation, straight.translation_mm
        )
    return cameras


def poses(num: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Returns [num, 17, 3] mm: standing people who turn, wander, and move every joint a little."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, num)
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(num), np.ones(num)
    turn = np.array([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]]).transpose(2, 0, 1)
    joints = scale * (STANDING_MM + rng.normal(0, 60, (num, 17, 3))) @ turn.transpose(0, 2, 1)
    place = np.concatenate([rng.uniform(-600, 600, (num, 2)), np.full((num, 1), 900.0)], 1)
    return joints + place[:, None]


def make_keypoint_dataset(
    path: str | Path,
    *,
    num_instants: int = 12,
    num_sequences: int = 2,
    error_px: float = 0.0,
    missing_views: bool = False,
    labelled: bool = True,
    calibrated: bool = True,
    true_keypoints: bool = True,
    confidence: float = 1.0,
    unit: float = 1.0,
    camera_unit: float = 1.0,
) -> PreparedDataset:
    """Writes subjects S1 (train) and S2 (test).

    Args:
        path: folder to write.
        num_instants: of each sequence.
        num_sequences: of each subject.
        error_px: standard deviation of the keypoints.
        missing_views: leaves camera `i % 3` out of every third instant i.
        labelled, calibrated, true_keypoints: whether the dataset holds these.
        confidence: of every keypoint.
        unit: the joints are multiplied by it.
        camera_unit: the cameras' translations are multiplied by it.
    """
    cameras = make_cameras()
    results, calibrations = [], {}
    for s, (subject, split) in enumerate((("S1", "train"), ("S2", "test"))):
        for q in range(num_sequences):
            action = ("walking", "sitting")[q % 2]
            spec = SequenceSpec(subject, f"clip{q}", action, CAMERAS, 10.0, num_instants / 10)
            joints = poses(num_instants, seed=10 * s + q, scale=1 + 0.1 * s)
            rng = np.random.default_rng([s, q])
            instants = []
            for i, pose in enumerate(joints):
                names = [
                    c for n, c in enumerate(CAMERAS) if not (missing_views and i % 3 == 0 and n == i % 3)
                ]
                true_px = np.stack([project(cameras[c], pose) for c in names]).astype(np.float32)
                noisy = true_px + error_px * rng.normal(size=true_px.shape)
                keypoints = np.concatenate([noisy, np.full_like(noisy[..., :1], confidence)], -1)
                instants.append(
                    Instant(
                        subject, spec.sequence, action, i, i / 10, split, names,
                        joints_mm=(unit * pose).astype(np.float32) if labelled else None,
                        keypoints_px=keypoints.astype(np.float32),
                        keypoints_true_px=true_px if true_keypoints else None,
                    )
                )  # fmt: skip
            results.append(write_sequence(path, spec, instants, HUMAN36M_17, 0))
            if calibrated:
                calibrations[subject, spec.sequence] = {
                    name: Camera(
                        name, c.size, c.matrix, c.distortion, c.rotation, camera_unit * c.translation_mm
                    )
                    for name, c in cameras.items()
                }
    return finish_dataset(
        path, source="test", skeleton=HUMAN36M_17, crop_size=0, results=results, calibrations=calibrations
    )
