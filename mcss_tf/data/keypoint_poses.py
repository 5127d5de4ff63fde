"""3D poses of a recording from its cameras' keypoints and calibration, without any motion capture."""

import dataclasses
from pathlib import Path

import numpy as np

from mcss_tf.data import keypoints_io, synchrony, video
from mcss_tf.data.sources.recording_material import KEYPOINT_NAMES
from mcss_tf.data.sources.recording_settings import RecordingSettings
from mcss_tf.data.sources.recordings import RecordingSequence, RecordingsSource
from mcss_tf.errors import InputError
from mcss_tf.geometry.triangulation import triangulate

# How much shorter than its video a camera's keypoints may be: as much as videos of one take may differ.
_MAX_MISSING_S, _MAX_MISSING = 0.5, 0.02


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a triangulated point must satisfy; see `geometry.triangulation.triangulate`.

    Attributes:
        min_confidence: keypoints of lower confidence are not used.
        max_error_px: a view that misses its keypoint by more is dropped while three or more are left.
        min_angle_deg: the rays of a point span at least this angle.
    """

    min_confidence: float = 0.1
    max_error_px: float = 20.0
    min_angle_deg: float = 1.0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("min_confidence", 0.0, 1.0),
            ("max_error_px", 0.0, np.inf),
            ("min_angle_deg", 0.0, 90.0),
        ):
            if not least <= getattr(self, name) <= most:
                raise InputError(
                    f"--{name} must lie in {least:g} to {most:g}. Received: {getattr(self, name)}. "
                    "Correct it."
                )


@dataclasses.dataclass(frozen=True)
class KeypointPoses:
    """Triangulated frames of one sequence: F frames with at least one point, K keypoints, V cameras.

    Attributes:
        cameras: names [V].
        frames: int [F], frame numbers of the reference camera.
        fps: of the reference camera.
        joint_names: [K], as the detector calls them.
        joints_mm: float64 [F, K, 3] in the calibration's world; NaN where not valid.
        is_used: bool [V, F, K], the views that decided a point.
        errors_px: float64 [V, F, K], distance of the reprojected point from the keypoint; NaN without either.
    """

    cameras: tuple[str, ...]
    frames: np.ndarray
    fps: float
    joint_names: tuple[str, ...]
    joints_mm: np.ndarray
    is_used: np.ndarray
    errors_px: np.ndarray


def triangulate_sequence(
    source: RecordingsSource, spec: RecordingSequence, settings: RecordingSettings, thresholds: Thresholds
) -> KeypointPoses:
    """Pairs the frames of a sequence by time and triangulates its person in each.

    Args:
        source: of the recordings folder.
        spec: one of its sequences.
        settings: of the folder; `keypoints` names the joints.
        thresholds: of valid points.

    Raises:
        InputError: no calibration, no names of keypoints, fewer than two cameras with keypoints, keypoints
            that end long before their video, or not a single point.
    """
    keypoints = _read_keypoints(spec, settings)
    calibration = _calibration(source, spec, tuple(keypoints))
    instants = _paired_frames(spec, tuple(keypoints))
    paired = np.stack([k[instants[camera]] for camera, k in keypoints.items()])
    paired[np.stack([instants[camera] < 0 for camera in keypoints])] = np.nan
    result = triangulate(list(calibration.values()), paired, **dataclasses.asdict(thresholds))
    rows = result.is_valid.any(-1)
    if not rows.any():
        raise InputError(
            f"Keypoints of two or more cameras must meet in points. Received: {spec.name}, where none of "
            f"{result.is_valid.size} points is valid. Check that calibration and videos are of one set-up."
        )
    return KeypointPoses(
        cameras=tuple(keypoints),
        frames=np.flatnonzero(rows),
        fps=spec.infos[spec.reference].fps,
        joint_names=KEYPOINT_NAMES[settings.keypoints],
        joints_mm=result.points_mm[rows],
        is_used=result.is_used[:, rows] & result.is_valid[rows],
        errors_px=result.reprojection_px[:, rows],
    )


def _read_keypoints(spec: RecordingSequence, settings: RecordingSettings) -> dict[str, np.ndarray]:
    """Returns keypoints [F, K, 3] of the cameras that have them."""
    if settings.keypoints is None:
        raise InputError(
            "Triangulation must know which joints the keypoints are. Received: recordings.toml without "
            f"`keypoints`. Write it: one of {', '.join(KEYPOINT_NAMES)}."
        )
    folders = {camera: spec.folder / "keypoints" / camera for camera in spec.cameras}
    folders = {camera: folder for camera, folder in folders.items() if folder.is_dir()}
    if len(folders) < 2:
        raise InputError(
            "Triangulation needs keypoints/<camera>/*.json of two or more cameras. Received: "
            f"{', '.join(folders) or 'none'} of {', '.join(spec.cameras)} in {spec.folder}. Detect keypoints "
            "in another view."
        )
    _check_complete(spec, folders)
    num_keypoints = len(KEYPOINT_NAMES[settings.keypoints])
    found = {}
    for camera, folder in folders.items():
        found[camera] = keypoints_io.read_keypoints(folder, spec.infos[camera].num_frames)
        if found[camera].shape[1] == 0:  # nobody was seen in any frame
            found[camera] = np.full((len(found[camera]), num_keypoints, 3), np.nan)
        if found[camera].shape[1] != num_keypoints:
            raise InputError(
                f"`keypoints` in recordings.toml says that a person has {num_keypoints} keypoints. "
                f"Received: {found[camera].shape[1]} in {folder}. Correct it."
            )
    return found


def _check_complete(spec: RecordingSequence, folders: dict[str, Path]) -> None:
    """Keypoints of another cut of the video would be paired with the wrong moments."""
    counts = {camera: len(list(folder.glob("*.json"))) for camera, folder in folders.items()}
    for camera, count in counts.items():
        num_frames, fps = spec.infos[camera].num_frames, spec.infos[camera].fps
        if num_frames - count > max(_MAX_MISSING_S * fps, _MAX_MISSING * num_frames):
            listed = ", ".join(f"{c} {n} for {spec.infos[c].num_frames} frames" for c, n in counts.items())
            raise InputError(
                "Every camera must have one keypoint file per frame of its video. "
                f"Received: {listed} in {spec.folder}. Detect keypoints in the same cut of all videos."
            )


def _calibration(source: RecordingsSource, spec: RecordingSequence, cameras: tuple[str, ...]) -> dict:
    calibration = source.calibration(spec)
    if calibration is None:
        raise InputError(
            "Triangulation needs cameras.toml in the sequence, its subject or the root. "
            f"Received: none for {spec.folder}. Calibrate the cameras (Pose2Sim or anipose write it)."
        )
    return {camera: calibration[camera] for camera in cameras}


def _paired_frames(spec: RecordingSequence, cameras: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns by camera the frame number [I] of every frame of the reference; -1 where none is near."""
    times = {
        camera: video.frame_times_s(spec.videos[camera], spec.infos[camera].fps) + spec.offsets_s[camera]
        for camera in {*cameras, spec.reference}
    }
    times = {camera: t[: spec.infos[camera].num_frames] for camera, t in times.items()}
    return {
        camera: synchrony.nearest_frames(times[camera], times[spec.reference], spec.tolerance_s)
        for camera in cameras
    }
