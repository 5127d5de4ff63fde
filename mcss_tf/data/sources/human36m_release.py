"""What Human3.6M's release consists of, its protocol, and its known faults."""

from pathlib import Path

from mcss_tf.data.video import natural_key

SPLITS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
STRIDES = {"train": 5, "test": 64}
# Images of all training subjects at that stride.
NUM_TRAIN_IMAGES = 312_188
ACTIONS = (
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Photo", "Posing", "Purchases"),
    *("Sitting", "SittingDown", "Smoking", "Waiting", "WalkDog", "WalkTogether", "Walking"),
)
# Some subjects' files have longer names for the same actions.
_OTHER_NAMES = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}
# The only video of the release that is damaged, where it is there at all: its sequence has three cameras.
BROKEN_VIDEO = ("S11", "Directions", "54138969")
# The motion capture of these sequences (Greeting 2, SittingDown 2, Waiting 1 by their sub-action) is
# displaced by about 200 mm along x against the videos, and the boxes with it.
DRIFTED = (("S9", "Greeting"), ("S9", "SittingDown 1"), ("S9", "Waiting 1"))
POSITIONS_3D = "MyPoseFeatures/D3_Positions"
POSITIONS_2D = "MyPoseFeatures/D2_Positions"
BOXES = "MySegmentsMat/ground_truth_bb"


def action_of(sequence: str) -> str:
    """Returns the action of `Directions 1` or `TakingPhoto`: one name for all subjects, no number."""
    name = sequence.split(" ")[0]
    return _OTHER_NAMES.get(name, name)


def sequence_names(subject: Path) -> list[str]:
    """Returns the sequences of a subject's folder; `_ALL` is a calibration take."""
    found = (path.stem for path in (subject / POSITIONS_3D).glob("*.cdf") if path.name[0] not in "._")
    return sorted(found, key=natural_key)


def missing_files(root: Path, cameras: tuple[str, ...]) -> dict[str, list[str]]:
    """Returns by subject what the release has and the folder has not."""
    subjects = [subject for names in SPLITS.values() for subject in names]
    missing = {subject: _missing_of(root / subject, cameras) for subject in subjects}
    return {subject: lines for subject, lines in missing.items() if lines}


def _missing_of(subject: Path, cameras: tuple[str, ...]) -> list[str]:
    if not subject.is_dir():
        return ["the whole subject"]
    names = sequence_names(subject)
    actions = [action_of(name) for name in names]
    wanted = [f"{POSITIONS_3D}: {2 - actions.count(a)} of 2 of {a}" for a in ACTIONS if actions.count(a) < 2]
    for name in names:
        for camera in cameras:
            files = [f"{BOXES}/{name}.{camera}.mat", f"{POSITIONS_2D}/{name}.{camera}.cdf"]
            if (subject.name, name, camera) != BROKEN_VIDEO:
                files.append(f"Videos/{name}.{camera}.mp4")
            wanted += [file for file in files if not (subject / file).is_file()]
    return wanted
