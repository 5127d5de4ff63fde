"""The source `panoptic`: CMU Panoptic, a set with many views that anyone may download; docs/datasets.md."""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcss_tf.data.example import Instant
from mcss_tf.data.sources import calibrated, frame_labels
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.calibrated import CalibratedOptions, CalibratedSequence
from mcss_tf.data.sources.frame_labels import Labels
from mcss_tf.data.sources.panoptic_files import MM_PER_CM, POSES, read_calibration, read_people
from mcss_tf.data.video import natural_key
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, find_up_axis, project, with_z_up, world_to_camera
from mcss_tf.geometry.canonical import to_z_up
from mcss_tf.geometry.joint_names import COCO_19 as NAMES_19
from mcss_tf.geometry.skeletons import COCO_19

_MIN_CONFIDENCE = 0.1
# People who are tracked for less than this, in frames at 29.97 per second, are left out: they are on their
# way through the dome, or errors of tracking.
_MIN_FRAMES = 60
_STRIDE = 6
_CONTEXT = 1.4  # joints end at wrists, ankles and ears


@dataclasses.dataclass(frozen=True)
class PanopticOptions(CalibratedOptions):
    """How CMU Panoptic is prepared.

    Attributes:
        test_sequences: names of the sequences that are the test split; empty: the last quarter of them by
            name, at least one.
    """

    test_sequences: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PanopticSequence(CalibratedSequence):
    """One person in one recording.

    Attributes:
        person: the id that tracking gave.
    """

    person: int


class PanopticSource:
    """Reads recordings of the Panoptic studio: HD videos, calibration and tracked people.

    A person is known within one recording only, so a subject is a recording and a person of it. The videos of
    a recording are decoded once for all of its people.
    """

    name = "panoptic"

    def __init__(self, options: PanopticOptions):
        self.options = options
        self.skeleton = options.skeleton or COCO_19
        self.crop_context = options.context or _CONTEXT
        frame_labels.map_labels(np.zeros((1, 19, 3)), NAMES_19, self.skeleton)

    def sequences(self) -> list[SequenceSpec]:
        """Lists people by recording.

        Raises:
            InputError: if there is no recording, or anything of one is missing or damaged.
        """
        specs = [spec for candidate in self.candidates() for spec in self.specs(*candidate)]
        if not specs:
            raise InputError(
                f"A recording shows somebody for at least {_MIN_FRAMES} frames. Received: "
                f"{self.options.root} with nobody in any {POSES}. Extract the archives of poses again."
            )
        return specs

    def candidates(self) -> list[tuple[str, str]]:
        """Returns (recording, split) of what is there, before anything of it is read."""
        names = [folder.name for folder in self.recordings()]
        return list(self._splits(names).items())

    def missing_files(self) -> dict[str, list[str]]:
        """Returns by recording what --views wants and this folder has not."""
        missing: dict[str, list[str]] = {}
        for folder in self.recordings():
            files = [f"calibration_{folder.name}.json"]
            files += [f"hdVideos/hd_{name}.mp4" for name in self.options.cameras]
            lines = [file for file in files if not (folder / file).is_file()]
            if lines:
                missing[folder.name] = lines
        return missing

    def notes(self) -> list[str]:
        """Returns what is worth knowing."""
        return frame_labels.unmapped_notes(NAMES_19, self.skeleton)

    def expected_images(self) -> dict[str, int]:
        """Returns nothing: people download as many recordings as they like."""
        return {}

    def instants(self, spec: PanopticSequence) -> Iterator[Instant]:
        """Decodes and crops one person."""
        yield from self.instants_together([spec])

    def groups(self, specs: list[PanopticSequence]) -> list[list[PanopticSequence]]:
        """Returns the people by recording."""
        return [list(people) for _, people in itertools.groupby(specs, lambda spec: spec.sequence)]

    def instants_together(self, specs: list[PanopticSequence]) -> Iterator[Instant]:
        """Decodes a recording once and crops each of its people, in one order of time."""
        labels = [self.labels(spec, spec.frames) for spec in specs]
        for instant in calibrated.cropped_together(specs, labels, self.options.crop_size, self.crop_context):
            if instant.joint_mask.any():
                yield instant

    def labels(self, spec: PanopticSequence, frames: np.ndarray) -> Labels:
        """Reads the person's joints in some frames; boxes and 2D joints are their projections.

        Raises:
            InputError: if a file is damaged.
        """
        folder = self.options.root / spec.sequence
        people = read_people(folder / POSES)
        joints = np.full((len(frames), 19, 3), np.nan)
        for row, frame in enumerate(frames):
            body = people.get(int(frame), {}).get(spec.person)
            if body is not None:
                joints[row] = np.where(body[:, 3:] >= _MIN_CONFIDENCE, body[:, :3] * MM_PER_CM, np.nan)
        world_mm = to_z_up(joints, self._up_axis(folder))
        cameras = self.calibration(spec)
        points = {name: _seen_px(camera, world_mm) for name, camera in cameras.items()}
        joints_mm, mask = frame_labels.map_labels(world_mm, NAMES_19, self.skeleton)
        return Labels(
            joints_mm,
            mask,
            {name: frame_labels.boxes_of_points(p, cameras[name].size) for name, p in points.items()},
            {name: frame_labels.map_keypoints(p, NAMES_19, self.skeleton) for name, p in points.items()},
        )

    def calibration(self, spec: PanopticSequence) -> dict[str, Camera]:
        """Returns the recording's HD cameras in its world, turned so that Z is up."""
        folder = self.options.root / spec.sequence
        cameras = read_calibration(folder / f"calibration_{folder.name}.json")
        up_axis = self._up_axis(folder)
        return {name: with_z_up(cameras[name], up_axis) for name in spec.cameras}

    def recordings(self) -> list[Path]:
        """Returns the folders of recordings, in natural order.

        Raises:
            InputError: if there is none.
        """
        root = self.options.root
        folders = sorted(root.iterdir(), key=lambda path: natural_key(path.name)) if root.is_dir() else []
        folders = [folder for folder in folders if (folder / POSES).is_dir()]
        if not folders:
            raise InputError(
                f"--input must hold <recording>/{POSES}. Received: {root} without any. Download recordings "
                "with the toolbox's getData.sh and extract hdPose3d_stage1_coco19.tar."
            )
        return folders

    def _splits(self, names: list[str]) -> dict[str, str]:
        test = self.options.test_sequences or tuple(names[-max(1, round(len(names) / 4)) :])
        unknown = sorted(set(test) - set(names))
        if unknown:
            raise InputError(
                f"--test_sequences are among {', '.join(names)}. Received: {', '.join(unknown)}. "
                "Correct the spelling."
            )
        return {name: "test" if name in test else "train" for name in names}

    def specs(self, recording: str, split: str) -> list[PanopticSequence]:
        """Returns the people of one recording who are tracked for long enough.

        Raises:
            InputError: if anything of it is missing or damaged.
        """
        folder = self.options.root / recording
        videos = self._videos(folder)
        people = read_people(folder / POSES)
        num_frames = max(people, default=-1) + 1
        counts: dict[int, int] = {}
        for bodies in people.values():
            for person in bodies:
                counts[person] = counts.get(person, 0) + 1
        persons = [person for person, count in sorted(counts.items()) if count >= _MIN_FRAMES]
        if not persons:
            return []
        action = re.sub(r"^\d+_|\d+$", "", folder.name)
        stride = self.options.stride or _STRIDE
        spec = calibrated.sequence_spec("", folder.name, action, videos, num_frames, stride, split)
        fields = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
        specs = [
            PanopticSequence(**fields | {"subject": f"{folder.name}-{person}"}, person=person)
            for person in persons
        ]
        self.calibration(specs[0])
        return specs

    def _videos(self, folder: Path) -> dict[str, Path]:
        """Returns the HD videos by camera; those that are there, of those that were asked for."""
        cameras = read_calibration(folder / f"calibration_{folder.name}.json")
        found = {path.stem[3:]: path for path in sorted((folder / "hdVideos").glob("hd_*.mp4"))}
        wanted = self.options.cameras or tuple(found)
        missing = [name for name in wanted if name not in found or name not in cameras]
        if missing or len(wanted) < 2:
            raise InputError(
                "A recording needs HD videos of at least two calibrated cameras, and of all of --views. "
                f"Received: {folder} with {', '.join(found) or 'none'}, without "
                f"{', '.join(missing) or 'more'}. Download hdVideos/hd_00_*.mp4 of these cameras."
            )
        return {name: found[name] for name in wanted}

    def _up_axis(self, folder: Path) -> str:
        return find_up_axis(read_calibration(folder / f"calibration_{folder.name}.json").values())


def _seen_px(camera: Camera, world_mm: np.ndarray) -> np.ndarray:
    """Returns the projections [F, K, 2]; NaN where a joint is unknown or behind the camera."""
    is_in_front = world_to_camera(camera, world_mm)[..., 2] > 100.0  # False for NaN
    anywhere_in_front = camera.centre_mm + camera.rotation[2]
    points_px = project(camera, np.where(is_in_front[..., None], world_mm, anywhere_in_front))
    return np.where(is_in_front[..., None], points_px, np.nan)
