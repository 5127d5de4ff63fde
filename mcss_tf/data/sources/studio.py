"""The source `studio`: people rendered in a room, with exact 3D joints, boxes and calibration."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mcss_tf.data.records import Instant
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.takes import TakeSequence, list_sequences
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, project
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.studio.body import make_body
from mcss_tf.studio.figure import NUM_JOINTS, pose_points
from mcss_tf.studio.motion import Take, mocap_takes, procedural_takes
from mcss_tf.studio.render import CROP_CONTEXT, Renderer
from mcss_tf.studio.room import make_cameras, make_room


@dataclasses.dataclass(frozen=True)
class StudioOptions:
    """What to render.

    Attributes:
        seed: Of everything: people, motion, room, cameras, noise.
        train_subjects, test_subjects: Names; a name is a person, whoever else takes part.
        num_cameras: Cameras around the stage.
        num_train_instants, num_test_instants: Instants per subject; motion capture may hold fewer.
        fps: Instants per second of motion.
        test_fps: The same in the test split; 0: as `fps`.
        num_train_performed, num_test_performed: Instants per subject of the procedural performer, besides
            those of motion capture.
        performed_fps: Their rate.
        crop_size: Width and height of crops in pixels.
        frame_size: Width and height of the full frames in pixels.
        tint: How much cameras differ in exposure and white balance; 1: as mildly as real ones do.
        motion: A BVH file, a folder of them or an npz of joint positions; None for procedural motion.
        motion_is_optional: Where `motion` is not there, perform everything procedurally and say so.
        deal_seed: Of who gets which clips of motion capture, every kind of action dealt on its own: studios
            of other seeds but one `deal_seed` keep the same clips for testing. None: clips are dealt by
            `seed`, by their length alone.
    """

    seed: int = 0
    train_subjects: tuple[str, ...] = ("S1", "S5", "S6", "S7", "S8")
    test_subjects: tuple[str, ...] = ("S9", "S11")
    num_cameras: int = 4
    num_train_instants: int = 400
    num_test_instants: int = 160
    fps: float = 5.0
    test_fps: float = 0.0
    num_train_performed: int = 0
    num_test_performed: int = 0
    performed_fps: float = 5.0
    crop_size: int = 64
    frame_size: tuple[int, int] = (640, 640)
    tint: float = 1.0
    motion: str | None = None
    motion_is_optional: bool = False
    deal_seed: int | None = None

    def __post_init__(self) -> None:
        for field in ("train_subjects", "test_subjects", "frame_size"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        for field in (
            "num_cameras",
            "num_train_instants",
            "num_test_instants",
            "fps",
            "crop_size",
            "frame_size",
        ):
            if not np.all(np.asarray(getattr(self, field)) > 0):
                raise InputError(
                    f"The studio needs a positive {field}. Received: {getattr(self, field)}. Raise it."
                )
        subjects = self.train_subjects + self.test_subjects
        if not self.train_subjects or len(set(subjects)) < len(subjects):
            raise InputError(
                "The studio needs at least one training subject, and every subject once, in one split only. "
                f"Received: train_subjects={self.train_subjects}, test_subjects={self.test_subjects}. "
                "Rename them."
            )


class StudioSource:
    """Renders the studio's sequences; the same options give the same pixels in any process."""

    name = "studio"
    skeleton = HUMAN36M_17
    crop_context = CROP_CONTEXT

    def __init__(self, options: StudioOptions):
        self.options = options

    def sequences(self) -> list[SequenceSpec]:
        """Lists the sequences of all subjects.

        Raises:
            InputError: The motion cannot be read or has too few clips for the subjects.
        """
        o = self.options
        takes = self._takes(o.train_subjects, o.num_train_instants, o.num_train_performed, o.fps)
        takes |= self._takes(o.test_subjects, o.num_test_instants, o.num_test_performed, o.test_fps or o.fps)
        return list_sequences(takes, dict.fromkeys(takes, tuple(_cameras(o))), o.test_subjects)

    def notes(self) -> list[str]:
        """Returns what is other than was asked for."""
        if self.options.motion is None or self._motion() is not None:
            return []
        return [
            f"NO MOTION CAPTURE at {self.options.motion}: all motion comes from the procedural performer, so "
            "numbers on this dataset do not compare with those on motion capture"
        ]

    def _takes(
        self, subjects: Sequence[str], num_instants: int, num_performed: int, fps: float
    ) -> dict[str, list[Take]]:
        """Lists the takes of the subjects of one split: those of motion capture, then the performed ones."""
        o = self.options
        if self._motion() is None:
            rate = o.performed_fps if num_performed else fps
            num_instants += num_performed
            return {subject: procedural_takes(o.seed, subject, num_instants, rate) for subject in subjects}
        wished = dict.fromkeys(o.train_subjects, o.num_train_instants)
        wished |= dict.fromkeys(o.test_subjects, o.num_test_instants)
        deal = {"by_action": o.deal_seed is not None, "deal_seed": o.deal_seed}
        takes = mocap_takes(o.seed, wished, Path(self._motion()), fps, **deal)
        takes = {subject: takes[subject] for subject in subjects}
        if num_performed:
            for subject in subjects:
                takes[subject] += procedural_takes(o.seed, subject, num_performed, o.performed_fps)
        return takes

    def _motion(self) -> str | None:
        o = self.options
        is_absent = o.motion is not None and o.motion_is_optional and not Path(o.motion).exists()
        return None if is_absent else o.motion

    def instants(self, spec: TakeSequence) -> Iterator[Instant]:
        """Renders one sequence."""
        options = self.options
        renderer, cameras = _renderer(options), _cameras(options)
        body = make_body(spec.subject, options.seed)
        points_mm = pose_points(spec.take.clip_of(), body.lengths_mm)
        key = (*spec.subject.encode(), 0, *spec.sequence.encode())
        for frame, points in enumerate(points_mm):
            images, boxes = renderer.crops(body, points, (*key, 0, frame))
            joints = points[:NUM_JOINTS]
            pixels = np.stack([project(camera, joints) for camera in cameras.values()])
            yield Instant(
                subject=spec.subject,
                sequence=spec.sequence,
                action=spec.action,
                frame=frame,
                time_s=frame / spec.fps,
                split=spec.split,
                cameras=list(spec.cameras),
                images=images,
                boxes_px=boxes,
                joints_mm=joints.astype(np.float32),
                joint_mask=np.ones(NUM_JOINTS, np.float32),
                keypoints_px=np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1).astype(np.float32),
            )

    def calibration(self, spec: SequenceSpec) -> dict[str, Camera]:
        """Returns the room's cameras, the same for every sequence."""
        return _cameras(self.options)


def _cameras(options: StudioOptions) -> dict[str, Camera]:
    return make_cameras(options.seed, options.num_cameras, options.frame_size)


@functools.lru_cache(maxsize=2)
def _renderer(options: StudioOptions) -> Renderer:
    """Draws the room once per process, not once per sequence."""
    return Renderer(make_room(options.seed), _cameras(options), options.crop_size, options.seed, options.tint)
