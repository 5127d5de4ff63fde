"""The source `recordings`: one's own synchronised videos, <root>/<subject>/<sequence>/<camera>.mp4."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcss_tf.data import boxes, synchrony, video
from mcss_tf.data.records import Instant
from mcss_tf.data.sources import recording_layout as layout
from mcss_tf.data.sources import recording_timing as timing
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.recording_material import Material, read_material, read_sequence_poses
from mcss_tf.data.sources.recording_settings import RecordingSettings, read_settings
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera
from mcss_tf.geometry.skeleton import HUMAN36M_17, Skeleton

_TEST_FRACTION = 0.25


@dataclasses.dataclass(frozen=True)
class RecordingOptions:
    """How recordings are prepared.

    Attributes:
        root: the folder of subjects.
        crop_size: side of the crops in pixels.
        stride: every how many frames of the reference camera an instant is taken.
        boxes: "auto", "file", "keypoints", "motion" or "full".
        context: side of the square crop over the longer side of the person.
        tolerance_ms: how far apart in time paired frames may be; None for half a frame interval of the
            slowest camera, which must then run at nearly one rate.
        skeleton: onto which labels and keypoints are mapped by name.
    """

    root: Path
    crop_size: int = 128
    stride: int = 1
    boxes: str = "auto"
    context: float = 1.25
    tolerance_ms: float | None = None
    skeleton: Skeleton = HUMAN36M_17

    def __post_init__(self) -> None:
        rules = {"crop_size": 16, "stride": 1, "context": 1.0}
        for name, least in rules.items():
            if getattr(self, name) < least:
                raise InputError(
                    f"--{name} must be at least {least}. Received: {getattr(self, name)}. Raise it."
                )
        if self.tolerance_ms is not None and not self.tolerance_ms > 0:
            raise InputError(f"--tolerance_ms must be positive. Received: {self.tolerance_ms}. Raise it.")


@dataclasses.dataclass(frozen=True)
class RecordingSequence(SequenceSpec):
    """A sequence and where its parts are; times are on the common clock.

    Attributes:
        folder: of the sequence.
        videos: by camera.
        infos: by camera.
        reference: the camera that says when instants are.
        offsets_s: by camera.
        start_s, end_s: while all cameras run.
        tolerance_s: of pairing.
        box_mode: how boxes are found.
        pose_file: 3D labels, or None.
        split: "train", "test", or "time" for a last quarter that is the test split.
    """

    folder: Path
    videos: dict[str, Path]
    infos: dict[str, video.VideoInfo]
    reference: str
    offsets_s: dict[str, float]
    start_s: float
    end_s: float
    tolerance_s: float
    box_mode: str
    pose_file: Path | None
    split: str

    def split_at(self, time_s: float) -> str:
        """Returns the split of an instant."""
        if self.split != "time":
            return self.split
        return "train" if time_s < self.end_s - _TEST_FRACTION * (self.end_s - self.start_s) else "test"


class RecordingsSource:
    """Reads a recordings folder; docs/recordings.md describes it."""

    name = "recordings"

    def __init__(self, options: RecordingOptions):
        self.options = options
        self.skeleton = options.skeleton
        self.crop_context = options.context

    def sequences(self) -> list[SequenceSpec]:
        """Lists the sequences in natural order of subject and sequence.

        Raises:
            InputError: if the folder, a file in it, or recordings.toml cannot be used.
        """
        root = self.options.root
        found = layout.find_sequences(root)
        settings = read_settings(root / "recordings.toml")
        layout.check_names(root, found, settings)
        splits = layout.subject_splits(root, [subject for subject, _ in found], settings)
        specs = [self._spec(folder, subject, splits[subject], settings) for subject, folder in found]
        layout.check_same_cameras({spec.name: spec.cameras for spec in specs}, settings)
        for spec in specs:
            read_sequence_poses(spec, self.skeleton)
            self.calibration(spec)
        return list(specs)

    def instants(self, spec: RecordingSequence) -> Iterator[Instant]:
        """Decodes the videos of one sequence once, side by side, and crops.

        Raises:
            InputError: if a video ends early, a camera never sees the person, or hardly pairs.
        """
        material = read_material(spec, self.options)
        paired = dict.fromkeys(spec.cameras, 0)
        num_instants = 0
        streams = {c: video.read_frames(spec.videos[c], spec.infos[c].fps) for c in spec.cameras}
        for time_s, frames in synchrony.paired(
            streams, spec.offsets_s, spec.reference, self.options.stride, spec.tolerance_s
        ):
            if not spec.start_s - spec.tolerance_s <= time_s <= spec.end_s:
                continue
            num_instants += 1
            for camera in frames:
                paired[camera] += 1
            if any(material.is_found(camera, frame.index) for camera, frame in frames.items()):
                yield self._instant(spec, material, time_s, frames)
        timing.check_paired(spec.name, paired, num_instants, spec.tolerance_s)

    def calibration(self, spec: RecordingSequence) -> dict[str, Camera] | None:
        """Reads the nearest cameras.toml: of the sequence, the subject or the root."""
        for folder in (spec.folder, spec.folder.parent, self.options.root):
            if (folder / "cameras.toml").is_file():
                return layout.read_cameras(folder / "cameras.toml", spec.cameras)
        return None

    def _instant(
        self, spec: RecordingSequence, material: Material, time_s: float, frames: dict[str, video.Frame]
    ) -> Instant:
        """Crops the views in which the person was found."""
        views = {c: f for c, f in frames.items() if material.is_found(c, f.index)}
        squares = [material.squares[c][f.index] for c, f in views.items()]
        keypoints, poses = material.keypoints, material.poses
        frame = frames[spec.reference].index
        row = material.pose_rows.get(frame)
        return Instant(
            subject=spec.subject,
            sequence=spec.sequence,
            action=spec.action,
            frame=frame,
            time_s=time_s,
            split=spec.split_at(time_s),
            cameras=list(views),
            images=[
                f.crop(square, self.options.crop_size)
                for f, square in zip(views.values(), squares, strict=True)
            ],
            boxes_px=np.stack(squares).astype(np.float32),
            joints_mm=None if row is None else poses.joints_mm[row],
            joint_mask=None if row is None else poses.joint_mask[row],
            keypoints_px=keypoints and np.stack([keypoints[c][f.index] for c, f in views.items()]),
        )

    def _spec(self, folder: Path, subject: str, split: str, settings: RecordingSettings) -> RecordingSequence:
        name = f"{subject}/{folder.name}"
        videos = layout.find_videos(folder, settings.of(name, "cameras"))
        infos = {camera: video.probe(path, settings.fps) for camera, path in videos.items()}
        offsets_s = {**settings.offsets_s, **settings.sequences.get(name, {}).get("offsets_s", {})}
        offsets_s = {camera: float(offsets_s.get(camera, 0.0)) for camera in videos}
        reference = layout.choose_reference(name, tuple(videos), settings)
        timing.check_rates(name, infos, settings.fps, self.options.tolerance_ms is not None)
        start_s, end_s = timing.common_time(name, infos, offsets_s)
        tolerance_s = synchrony.default_tolerance_s([info.fps for info in infos.values()])
        if self.options.tolerance_ms is not None:
            tolerance_s = self.options.tolerance_ms / 1000
        is_labelled = split != "train" or subject in settings.labels.get("subjects", [subject])
        return RecordingSequence(
            subject=subject,
            sequence=folder.name,
            action=settings.sequences.get(name, {}).get("action", ""),
            cameras=tuple(videos),
            fps=infos[reference].fps / self.options.stride,
            duration_s=end_s - start_s,
            folder=folder,
            videos=videos,
            infos=infos,
            reference=reference,
            offsets_s=offsets_s,
            start_s=start_s,
            end_s=end_s,
            tolerance_s=tolerance_s,
            box_mode=boxes.choose_mode(self.options.boxes, folder, tuple(videos)),
            pose_file=layout.find_pose_file(folder) if is_labelled else None,
            split=split,
        )
