"""The source `mocap`: motion capture seen through given cameras, as keypoints without images."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcss_tf.data.detector_noise import DetectorNoise
from mcss_tf.data.example import Instant
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.takes import TakeSequence, list_sequences
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import (
    Camera,
    load_calibration,
    load_human36m_cameras,
    project,
    world_to_camera,
)
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.geometry.units import check_millimetres
from mcss_tf.studio.body import make_body
from mcss_tf.studio.figure import NUM_JOINTS, pose_points
from mcss_tf.studio.motion import mocap_takes

# Nearer than this a projection means nothing.
_MIN_DEPTH_MM = 100.0
_MIN_INSIDE = 0.5


@dataclasses.dataclass(frozen=True)
class MocapOptions:
    """Which motion, seen by which cameras, found by what detector.

    Attributes:
        motion: a BVH file, a folder of them or an npz of joint positions.
        cameras: Human3.6M's camera-parameters.json, which has cameras for every subject, or a Pose2Sim TOML.
        seed: of people, dealing of clips, places and noise.
        train_subjects, test_subjects: names; a name is a person with bone lengths of their own.
        num_train_instants, num_test_instants: instants per subject; the motion may hold fewer.
        fps: instants per second.
        spread_mm: how far from the middle of the stage a sequence may be shifted.
        noise: of the detector; a dict holds fields of `DetectorNoise`.
    """

    motion: str
    cameras: str
    seed: int = 0
    train_subjects: tuple[str, ...] = ("S1", "S5", "S6", "S7", "S8")
    test_subjects: tuple[str, ...] = ("S9", "S11")
    num_train_instants: int = 2400
    num_test_instants: int = 1200
    fps: float = 25.0
    spread_mm: float = 700.0
    noise: DetectorNoise = dataclasses.field(default_factory=DetectorNoise)

    @property
    def crop_size(self) -> int:
        """Side of the images: there are none."""
        return 0

    def __post_init__(self) -> None:
        for field in ("train_subjects", "test_subjects"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if not isinstance(self.noise, DetectorNoise):
            object.__setattr__(self, "noise", DetectorNoise(**self.noise))
        for field in ("num_train_instants", "num_test_instants", "fps"):
            if not getattr(self, field) > 0:
                raise InputError(f"{field} must be positive. Received: {getattr(self, field)}. Raise it.")
        subjects = self.train_subjects + self.test_subjects
        if not self.train_subjects or not self.test_subjects or len(set(subjects)) < len(subjects):
            raise InputError(
                "There must be train and test subjects, every one once, in one split only. Received: "
                f"train_subjects={self.train_subjects}, test_subjects={self.test_subjects}. Rename them."
            )


class MocapSource:
    """Gives clips to subjects and projects their joints; equal options give equal bytes in any process."""

    name = "mocap"
    skeleton = HUMAN36M_17
    crop_context = None

    def __init__(self, options: MocapOptions):
        self.options = options

    def sequences(self) -> list[SequenceSpec]:
        """Lists the sequences of all subjects; partners of one recording go to the same subject.

        Raises:
            InputError: the motion or the cameras cannot be used, or there are too few clips.
        """
        o = self.options
        wished = dict.fromkeys(o.train_subjects, o.num_train_instants)
        wished |= dict.fromkeys(o.test_subjects, o.num_test_instants)
        cameras = {subject: self._cameras(subject) for subject in wished}
        takes = mocap_takes(o.seed, wished, Path(o.motion), o.fps)
        return list_sequences(takes, cameras, o.test_subjects)

    def instants(self, spec: TakeSequence) -> Iterator[Instant]:
        """Projects one sequence.

        Raises:
            InputError: the cameras do not see the stage.
        """
        cameras = list(self._cameras(spec.subject).values())
        joints_mm = self._joints(spec, cameras)
        true_px = np.stack([project(camera, joints_mm) for camera in cameras], 1)
        depth_mm = np.stack([world_to_camera(camera, joints_mm)[..., 2] for camera in cameras], 1)
        is_before = (depth_mm > _MIN_DEPTH_MM).all(-1)
        sizes = np.array([camera.size for camera in cameras])[:, None]
        is_inside = ((true_px >= 0) & (true_px < sizes)).all(-1) & is_before[..., None]
        if is_inside.mean() < _MIN_INSIDE:
            raise InputError(
                "The cameras must see people who stand on z = 0 where their optical axes meet. Received: "
                f"{is_inside.mean():.0%} of the joints of {spec.name} within the frames of "
                f"{self.options.cameras}. Check the up axis (z) and the unit of the calibration."
            )
        seed = (self.options.seed, 21, *spec.subject.encode(), 0, *spec.sequence.encode())
        keypoints = self.options.noise.detect(true_px, is_inside, spec.fps, self.skeleton, seed)
        for frame in range(len(joints_mm)):
            views = np.flatnonzero(is_before[frame])
            if len(views) < 2:
                continue
            yield Instant(
                subject=spec.subject,
                sequence=spec.sequence,
                action=spec.action,
                frame=frame,
                time_s=frame / spec.fps,
                split=spec.split,
                cameras=[spec.cameras[view] for view in views],
                joints_mm=joints_mm[frame].astype(np.float32),
                keypoints_px=keypoints[frame, views],
                keypoints_true_px=true_px[frame, views].astype(np.float32),
            )

    def calibration(self, spec: SequenceSpec) -> dict[str, Camera]:
        """Returns the cameras of the sequence's subject."""
        return self._cameras(spec.subject)

    def _joints(self, spec: TakeSequence, cameras: list[Camera]) -> np.ndarray:
        """Returns joints [F, 17, 3] mm of the subject's body, somewhere on the stage."""
        o = self.options
        points = pose_points(spec.take.clip_of(), make_body(spec.subject, o.seed).lengths_mm)
        rng = np.random.default_rng([o.seed, 20, *spec.subject.encode(), 0, *spec.sequence.encode()])
        radius, angle = o.spread_mm * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        place = stage_centre(cameras) + radius * np.array([np.cos(angle), np.sin(angle)])
        points[..., :2] += place
        return points[:, :NUM_JOINTS]

    def _cameras(self, subject: str) -> dict[str, Camera]:
        path = Path(self.options.cameras)
        if path.suffix == ".json":
            by_subject = load_human36m_cameras(path)
            if subject not in by_subject:
                raise InputError(
                    f"A subject of {path} is one of {', '.join(by_subject)}. Received: {subject!r}. "
                    "Name subjects after them, or give a calibration TOML, which serves everybody."
                )
            cameras = by_subject[subject]
        else:
            cameras = load_calibration(path)
        check_millimetres(list(cameras.values()), str(path))
        return cameras


def stage_centre(cameras: list[Camera]) -> np.ndarray:
    """Returns the [2] floor position below the point nearest to all optical axes.

    argmin_x sum_v |(I - d_v d_v^T) (x - c_v)|^2, d_v the direction and c_v the centre of camera v.
    """
    axes = np.stack([camera.rotation[2] for camera in cameras])
    centres = np.stack([camera.centre_mm for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    # Parallel axes meet nowhere; least squares then takes the point nearest to the origin.
    return np.linalg.lstsq(across.sum(0), np.einsum("vij,vj->i", across, centres), rcond=None)[0][:2]
