"""recordings.toml: what the folder names of a recording cannot say."""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcss_tf.errors import InputError

_KEYPOINT_SETS = ("body_25", "body_25b", "coco_17")


@dataclasses.dataclass(frozen=True)
class RecordingSettings:
    """The content of recordings.toml; every key may be absent.

    Attributes:
        fps: frame rate of folders of images; checked against videos.
        reference: the camera that says when instants are; the first by name where absent.
        cameras: the cameras to use; all where absent.
        keypoints: which joints keypoint files hold: "body_25", "body_25b" or "coco_17".
        offsets_s: by camera, seconds to add to its times.
        splits: by "train" and "test", names of subjects.
        labels: "subjects": the training subjects whose 3D labels are used; all where absent.
        sequences: by "subject/sequence", its `action`, `cameras` and `offsets_s`.
    """

    fps: float | None = None
    reference: str | None = None
    cameras: tuple[str, ...] | None = None
    keypoints: str | None = None
    offsets_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    splits: Mapping[str, list[str]] | None = None
    labels: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    sequences: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def of(self, name: str, key: str) -> Any:
        """Returns `key` of the sequence `name`, or what holds for all sequences."""
        return self.sequences.get(name, {}).get(key, getattr(self, key, None))


_STRING, _NUMBER, _STRINGS = "a string", "a positive number", "a list of different strings"
_OFFSETS = "a table of numbers"
_TOP = {
    "fps": _NUMBER,
    "reference": _STRING,
    "cameras": _STRINGS,
    "keypoints": _STRING,
    "offsets_s": _OFFSETS,
    "splits": {"train": _STRINGS, "test": _STRINGS},
    "labels": {"subjects": _STRINGS},
}
_SEQUENCE = {"action": _STRING, "cameras": _STRINGS, "offsets_s": _OFFSETS}


def read_settings(path: Path) -> RecordingSettings:
    """Reads recordings.toml; an absent file means that nothing is set.

    Raises:
        InputError: if it is not TOML, has an unknown key, or a value of the wrong kind.
    """
    if not path.exists():
        return RecordingSettings()
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"recordings.toml must be valid TOML. Received: {path} ({error}). Correct it."
        ) from error
    sequences = values.pop("sequences", {})
    _check(path, "", values, _TOP)
    for name, table in sequences.items():
        _check(path, f'sequences."{name}".', table, _SEQUENCE)
    if values.get("keypoints", _KEYPOINT_SETS[0]) not in _KEYPOINT_SETS:
        raise InputError(
            f"keypoints in {path} is one of {', '.join(_KEYPOINT_SETS)}. Received: {values['keypoints']!r}. "
            "Leave it out if yours is another: boxes need no names."
        )
    if "cameras" in values:
        values["cameras"] = tuple(values["cameras"])
    return RecordingSettings(**values, sequences=sequences)


def _check(path: Path, prefix: str, values: Any, allowed: Mapping[str, Any]) -> None:
    if not isinstance(values, dict) or set(values) - set(allowed):
        received = sorted(set(values) - set(allowed)) if isinstance(values, dict) else values
        raise InputError(
            f"{prefix[:-1] or 'recordings.toml'} has the keys {', '.join(allowed)}. Received: {received} in "
            f"{path}. Correct the spelling; docs/recordings.md lists every key."
        )
    for key, value in values.items():
        kind = allowed[key]
        if isinstance(kind, dict):
            _check(path, f"{prefix}{key}.", value, kind)
        elif not _is_kind(value, kind):
            raise InputError(f"{prefix}{key} in {path} must be {kind}. Received: {value!r}. Correct it.")


def _is_kind(value: Any, kind: str) -> bool:
    if kind == _STRING:
        return isinstance(value, str)
    if kind == _NUMBER:
        return _is_number(value) and value > 0
    if kind == _OFFSETS:
        return isinstance(value, dict) and all(map(_is_number, value.values()))
    return isinstance(value, list) and all(isinstance(v, str) for v in value) and len({*value}) == len(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
