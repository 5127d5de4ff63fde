"""BVH motion capture files: a parser and forward kinematics."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.studio.kinematics import axis_rotation

_CHANNELS = ("Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation")


@dataclasses.dataclass(frozen=True)
class Bvh:
    """One BVH file.

    Attributes:
        names: Joint names; an end site is called after its parent, with `_end`.
        parents: Index of each joint's parent, -1 for the root.
        offsets: [J, 3] in the file's unit (usually cm).
        channels: Channel names of each joint, in the file's order.
        frames: [F, C] channel values, rotations in degrees.
        fps: Frames per second.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    channels: tuple[tuple[str, ...], ...]
    frames: np.ndarray
    fps: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps

    def positions(self) -> np.ndarray:
        """Returns joint positions [F, J, 3] in the file's unit and axes, by forward kinematics."""
        num_frames = len(self.frames)
        rotations, positions = [], []
        column = 0
        for joint, names in enumerate(self.channels):
            values = self.frames[:, column : column + len(names)]
            column += len(names)
            shift = np.tile(self.offsets[joint], (num_frames, 1))
            turn = np.tile(np.eye(3), (num_frames, 1, 1))
            for name, value in zip(names, values.T, strict=True):
                if name.endswith("position"):
                    # A position channel replaces the offset along its axis.
                    shift[:, "XYZ".index(name[0])] = value
                else:
                    turn = turn @ axis_rotation(np.radians(value), name[0].lower())
            parent = self.parents[joint]
            if parent < 0:
                positions.append(shift)
                rotations.append(turn)
            else:
                positions.append(positions[parent] + np.einsum("fij,fj->fi", rotations[parent], shift))
                rotations.append(rotations[parent] @ turn)
        return np.stack(positions, axis=1)


def read(path: str | Path) -> Bvh:
    """Reads a BVH file.

    Raises:
        InputError: The file is not BVH; the message names the line and what was expected there.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(
            f"A BVH file must be readable. Received: {path} ({error.strerror}). Check the path."
        ) from error
    return _Reader(path, text).read()


class _Reader:
    """Walks over the words of a BVH file and knows the line of each for messages."""

    def __init__(self, path: str | Path, text: str):
        self._path = path
        self._words = self._split(text)
        self._line, self._word = 1, ""
        self._names: list[str] = []
        self._parents: list[int] = []
        self._offsets: list[list[float]] = []
        self._channels: list[tuple[str, ...]] = []

    @staticmethod
    def _split(text: str) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(text.splitlines(), 1):
            for word in line.split():
                yield number, word

    def read(self) -> Bvh:
        self._expect("HIERARCHY")
        self._expect("ROOT")
        try:
            self._joint(parent=-1)
        except RecursionError:
            self._fail("a few dozen nested joints", "hundreds")
        self._expect("MOTION")
        self._expect("Frames:")
        num_frames = self._count()
        self._expect("Frame")
        self._expect("Time:")
        frame_s = self._number()
        if not (num_frames > 0 and 1e-5 < frame_s < 1e5):
            self._fail("at least one frame and a positive frame time", f"{num_frames} frames of {frame_s} s")
        num_channels = sum(map(len, self._channels))
        values = self._values()
        if values.size != num_frames * num_channels:
            self._fail(
                f"{num_frames} frames of {num_channels} numbers", f"{values.size} numbers up to the end"
            )
        return Bvh(
            names=tuple(self._names),
            parents=tuple(self._parents),
            offsets=np.array(self._offsets),
            channels=tuple(self._channels),
            frames=values.reshape(num_frames, num_channels),
            fps=1 / frame_s,
        )

    def _joint(self, parent: int) -> None:
        index = len(self._names)
        name = self._next()
        if name == "Site":
            name = f"{self._names[parent]}_end"
        self._names.append(name)
        self._parents.append(parent)
        self._expect("{")
        self._expect("OFFSET")
        self._offsets.append([self._number() for _ in range(3)])
        self._channels.append(())
        while (word := self._next()) != "}":
            if word == "CHANNELS":
                self._channels[index] = tuple(self._channel() for _ in range(self._count()))
            elif word in ("JOINT", "End"):
                self._joint(index)
            else:
                self._fail("CHANNELS, JOINT, End Site or }")

    def _channel(self) -> str:
        word = self._next()
        if word not in _CHANNELS:
            self._fail(f"one of {', '.join(_CHANNELS)}")
        return word

    def _values(self) -> np.ndarray:
        words = list(self._words)
        try:
            values = np.array([word for _, word in words], np.float64)
            if np.isfinite(values).all():
                return values
            raise ValueError
        except ValueError:
            self._line, self._word = next(item for item in words if _number_or_none(item[1]) is None)
            self._fail("a number")

    def _next(self) -> str:
        self._line, self._word = next(self._words, (self._line, ""))
        return self._word

    def _number(self) -> float:
        value = _number_or_none(self._next())
        if value is None:
            self._fail("a number")
        return value

    def _count(self) -> int:
        value = self._number()
        if not (value.is_integer() and 0 <= value < 1e9):
            self._fail("a number of things")
        return int(value)

    def _expect(self, wanted: str) -> None:
        if self._next() != wanted:
            self._fail(wanted)

    def _fail(self, wanted: str, received: str = "") -> NoReturn:
        received = received or (repr(self._word) if self._word else "the end of the file")
        raise InputError(
            f"{self._path}, line {self._line}: a BVH file has {wanted} here. Received: {received}. "
            "Export the motion again as BVH."
        )


def _number_or_none(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
