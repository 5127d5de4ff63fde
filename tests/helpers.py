"""Small data for tests, made through the same code as users' data."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from absl import flags

from mcss_tf.data.records import Instant, PreparedDataset, finish_dataset, write_sequence
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.geometry.skeleton import HUMAN36M_17

# A standing person, mm, pelvis at the origin, left is +x, front is -y (human36m_17 order).
STANDING_MM = np.array(
    [
        [0, 0, 0],
        [-130, 0, 0],
        [-130, 0, -450],
        [-130, 0, -880],
        [130, 0, 0],
        [130, 0, -450],
        [130, 0, -880],
        [0, 0, 230],
        [0, 0, 480],
        [0, 0, 600],
        [0, 0, 700],
        [150, 0, 470],
        [220, 0, 200],
        [240, 0, -40],
        [-150, 0, 470],
        [-220, 0, 200],
        [-240, 0, -40],
    ],
    np.float32,
)


def call(command: ModuleType, arguments: Sequence[str], positional: Sequence[str] = ()) -> int:
    """Runs an entry point in this process, with flags of its own; returns its exit status."""
    before = set(flags.FLAGS)
    command.define_flags()
    try:
        flags.FLAGS([command.__name__, *map(str, arguments)])
        return command.main([command.__name__, *positional])
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()


def make_tiny_dataset(
    path: str | Path,
    subjects: Sequence[str] = ("S1", "S2"),
    instants: int = 8,
    cameras: int = 3,
    crop_size: int = 32,
    labelled: bool = True,
    *,
    sequences: int = 1,
    fps: float = 2.0,
    test_subjects: Sequence[str] = (),
    missing_views: bool = False,
    seed: int = 0,
) -> PreparedDataset:
    """Writes a prepared dataset of stick figures through the real writer.

    The figure's limbs move with time and the cameras look from different directions, so that a network can
    learn both pose and view invariance.

    Args:
        path: folder to write.
        subjects: names; each has its own colour and size.
        instants: per sequence.
        cameras: number of views, evenly around the person.
        crop_size: side of the images.
        labelled: whether 3D joints are stored.
        sequences: per subject.
        fps: instants per second.
        test_subjects: those of `subjects` that form the test split; the others are the train split.
        missing_views: leaves camera `i % cameras` out of every third instant i.
        seed: of the motion.
    """
    names = tuple(f"cam{c}" for c in range(cameras))
    results = []
    for s, subject in enumerate(subjects):
        split = "test" if subject in test_subjects else "train"
        for q in range(sequences):
            spec = SequenceSpec(subject, f"walk{q}", "walking", names, fps, instants / fps)
            rng = np.random.default_rng([seed, s, q])
            drawn = [
                _instant(spec, i, split, _pose(i / fps, s, rng), s, crop_size, labelled, missing_views)
                for i in range(instants)
            ]
            results.append(write_sequence(path, spec, drawn, HUMAN36M_17, crop_size))
    return finish_dataset(path, source="tiny", skeleton=HUMAN36M_17, crop_size=crop_size, results=results)


def _pose(time_s: float, subject: int, rng: np.random.Generator) -> np.ndarray:
    """Returns world joints [17, 3] in mm: arms and knees at random angles, turned about the vertical."""
    pose = STANDING_MM * (1 + 0.05 * subject)
    for chain in ((12, 13), (15, 16), (2, 3), (5, 6)):
        axis, angle = rng.normal(size=3), rng.uniform(-1.5, 1.5)
        pivot = pose[{12: 11, 15: 14, 2: 1, 5: 4}[chain[0]]]
        pose[list(chain)] = pivot + (pose[list(chain)] - pivot) @ _rotation(axis, angle).T
    turned = pose @ _rotation(np.array([0.0, 0, 1]), 0.3 * time_s).T
    return (turned + np.array([100 * time_s, 50 * time_s, 900])).astype(np.float32)


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _instant(spec, i, split, joints_mm, subject, crop_size, labelled, missing_views) -> Instant:
    views = [
        c
        for c in range(len(spec.cameras))
        if not (missing_views and i % 3 == 0 and c == i % len(spec.cameras))
    ]
    images, keypoints = [], []
    for c in views:
        image, points = _draw(joints_mm, 2 * np.pi * c / len(spec.cameras), subject, crop_size)
        images.append(image)
        keypoints.append(np.concatenate([points, np.ones((len(points), 1))], -1))
    return Instant(
        subject=spec.subject,
        sequence=spec.sequence,
        action=spec.action,
        frame=i,
        time_s=i / spec.fps,
        split=split,
        cameras=[spec.cameras[c] for c in views],
        images=images,
        boxes_px=np.tile(np.float32([0, 0, crop_size, crop_size]), (len(views), 1)),
        joints_mm=joints_mm if labelled else None,
        keypoints_px=np.float32(keypoints),
    )


def _draw(joints_mm, azimuth: float, subject: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns an orthographic picture of the bones and the joints' pixels [17, 2]."""
    centred = joints_mm - joints_mm[0]
    across = centred @ np.array([np.cos(azimuth), np.sin(azimuth), 0])
    points = np.stack([across, -centred[:, 2]], -1) / 2200 * size + size / 2
    image = np.full((size, size, 3), 40 + 10 * int(azimuth), np.uint8)
    colours = np.random.default_rng(subject).integers(100, 256, (len(points), 3))
    steps = np.linspace(0, 1, size)[:, None]
    for parent, child in HUMAN36M_17.edges:
        line = np.round(points[parent] * (1 - steps) + points[child] * steps).astype(int)
        line = line[((line >= 0) & (line < size)).all(1)]
        image[line[:, 1], line[:, 0]] = colours[child]
    return image, points
