"""What lies where in a recordings folder, and whether it belongs together."""

import collections
from pathlib import Path

from mcss_tf.data.poses_io import find_pose_file
from mcss_tf.data.sources.recording_settings import RecordingSettings
from mcss_tf.data.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural_key
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, load_calibration
from mcss_tf.geometry.joint_names import normalise

__all__ = [
    "check_names",
    "check_same_cameras",
    "choose_reference",
    "find_pose_file",
    "find_sequences",
    "find_videos",
    "read_cameras",
    "subject_splits",
]


def find_sequences(root: Path) -> list[tuple[str, Path]]:
    """Returns (subject, folder) of every sequence in natural order.

    Raises:
        InputError: if there is none.
    """
    if not root.is_dir():
        raise InputError(
            "--input must be a folder that holds <subject>/<sequence>/<camera>.mp4. "
            f"Received: {root}, which is no folder. Check the path."
        )
    found = [(subject.name, sequence) for subject in _folders(root) for sequence in _folders(subject)]
    if not found:
        raise InputError(
            f"--input must hold <subject>/<sequence>/<camera>.mp4. Received: {root} without such folders. "
            "Put the videos of each take into a folder of its own, in a folder per person."
        )
    return found


def find_videos(sequence: Path, cameras: tuple[str, ...] | list[str] | None) -> dict[str, Path]:
    """Returns the videos, or folders of images, of a sequence by camera, in natural order of names.

    Args:
        sequence: its folder.
        cameras: which to use; None for all.

    Raises:
        InputError: if there are fewer than two cameras, one twice, or a wanted one is absent.
    """
    videos: dict[str, Path] = {}
    for path in sorted(sequence.iterdir(), key=lambda path: natural_key(path.name)):
        is_video = path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES
        if path.name.startswith(".") or not (is_video or _holds_images(path)):
            continue
        name = path.stem if is_video else path.name
        if name in videos:
            raise InputError(
                f"A camera has one video per sequence. Received: {videos[name].name} and {path.name} in "
                f"{sequence}. Keep one."
            )
        videos[name] = path
    missing = [camera for camera in cameras or [] if camera not in videos]
    if missing or len(videos) < 2:
        raise InputError(
            "A sequence needs videos of at least two cameras, and of all that recordings.toml lists for it. "
            f"Received: {sequence} with {', '.join(videos) or 'none'}"
            f"{f', without {missing}' if missing else ''}. Videos end in {', '.join(VIDEO_SUFFIXES)}."
        )
    return {camera: path for camera, path in videos.items() if cameras is None or camera in cameras}


def choose_reference(name: str, cameras: tuple[str, ...], settings: RecordingSettings) -> str:
    """Returns the camera that says when instants are: the stated one, else the first by name.

    Raises:
        InputError: if the stated one does not film this sequence.
    """
    reference = settings.reference or cameras[0]
    if reference not in cameras:
        raise InputError(
            f"The `reference` camera must film every sequence. Received: `reference` {reference}, and {name} "
            f"with {', '.join(cameras)}. Choose another in recordings.toml."
        )
    return reference


def check_same_cameras(cameras: dict[str, tuple[str, ...]], settings: RecordingSettings) -> None:
    """Makes sure that all sequences have the same cameras, unless recordings.toml lists them for one.

    Raises:
        InputError: naming the sequence and what is missing or extra.
    """
    cameras = {n: c for n, c in cameras.items() if "cameras" not in settings.sequences.get(n, {})}
    if not cameras:
        return
    usual, _ = collections.Counter(cameras.values()).most_common(1)[0]
    for name, found in cameras.items():
        missing, extra = sorted(set(usual) - set(found)), sorted(set(found) - set(usual))
        if missing or extra:
            what = " and ".join(
                f"{adjective} {', '.join(names)}"
                for adjective, names in (("missing", missing), ("extra", extra))
                if names
            )
            raise InputError(
                f"Every sequence must have the same cameras, here {', '.join(usual)}. Received: {name} with "
                f"{what}. Add or remove the video, or list what is there under "
                f'[sequences."{name}"] cameras in recordings.toml.'
            )


def check_names(root: Path, found: list[tuple[str, Path]], settings: RecordingSettings) -> None:
    """Makes sure that recordings.toml names nothing that is not there.

    Raises:
        InputError: if it names an unknown subject, sequence or camera.
    """
    subjects = {subject for subject, _ in found}
    sequences = {f"{subject}/{folder.name}" for subject, folder in found}
    cameras = {camera for _, folder in found for camera in find_videos(folder, None)}
    named_cameras = {*settings.offsets_s, *(settings.cameras or ())}
    named_cameras |= {settings.reference} - {None}
    for table in settings.sequences.values():
        named_cameras |= {*table.get("offsets_s", {}), *table.get("cameras", [])}
    named_subjects = {*settings.labels.get("subjects", [])}
    for names in (settings.splits or {}).values():
        named_subjects |= {*names}
    rules = (
        ("subject", named_subjects, subjects),
        ("sequence", {*settings.sequences}, sequences),
        ("camera", named_cameras, cameras),
    )
    for what, named, there in rules:
        if named - there:
            raise InputError(
                f"recordings.toml may only name a {what} that is there: "
                f"{', '.join(sorted(there, key=natural_key))}. Received: {', '.join(sorted(named - there))} "
                f"in {root / 'recordings.toml'}. Correct the name."
            )


def subject_splits(root: Path, subjects: list[str], settings: RecordingSettings) -> dict[str, str]:
    """Returns "train", "test" or "time" by subject.

    Without `splits` in recordings.toml the last quarter of the subjects, at least one, is the test split; the
    sequences of a single subject are split in time.

    Raises:
        InputError: if a split of recordings.toml is empty, or a subject is in none or both.
    """
    subjects = list(dict.fromkeys(subjects))
    if settings.splits is None:
        if len(subjects) == 1:
            return {subjects[0]: "time"}
        num_test = max(1, round(len(subjects) / 4))
        return {s: "test" if i >= len(subjects) - num_test else "train" for i, s in enumerate(subjects)}
    train, test = settings.splits.get("train", []), settings.splits.get("test", [])
    unclear = [s for s in subjects if (s in train) == (s in test)]
    if not train or not test or unclear:
        raise InputError(
            "Both splits must have subjects, and every subject belongs to one of them. "
            f"Received: train = {train}, test = {test} for subjects {', '.join(subjects)} in "
            f"{root / 'recordings.toml'}. List every subject once."
        )
    return {s: "train" if s in train else "test" for s in subjects}


def read_cameras(path: Path, cameras: tuple[str, ...]) -> dict[str, Camera]:
    """Reads a calibration and finds each camera in it; `cam01` is also found as `cam_01` or `Cam-01`.

    Raises:
        InputError: if a camera is not in it, or more than one could be meant.
    """
    calibrated = load_calibration(path)
    found = {}
    for camera in cameras:
        alike = [name for name in calibrated if normalise(name) == normalise(camera)]
        matches = [camera] if camera in calibrated else alike
        if len(matches) != 1:
            raise InputError(
                f"The calibration must hold every camera once. Received: {path} with {', '.join(calibrated)} "
                f"for camera {camera}. Rename it there or rename the video."
            )
        found[camera] = calibrated[matches[0]]
    return found


def _folders(parent: Path) -> list[Path]:
    folders = [path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(folders, key=lambda path: natural_key(path.name))


def _holds_images(path: Path) -> bool:
    return path.is_dir() and any(child.suffix.lower() in IMAGE_SUFFIXES for child in path.iterdir())
