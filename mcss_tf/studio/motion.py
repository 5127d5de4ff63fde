"""Who moves how: deals motion to subjects, so that no clip is ever shared between them."""

import dataclasses
from pathlib import Path

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.studio import mocap
from mcss_tf.studio.actions import ACTIONS
from mcss_tf.studio.figure import Clip, place, resample
from mcss_tf.studio.performer import perform

# The performer's stage, leg lengths (about 0.9 m each): within it a person is inside every camera's frame.
STAGE_RADIUS = 0.9
# Fewer instants than this are not worth a sequence of their own.
_MIN_INSTANTS = 10


@dataclasses.dataclass(frozen=True)
class Take:
    """One sequence to be performed; everything needed to make its motion anywhere, in any process.

    Attributes:
        sequence: Name, unique within the subject.
        action: What is done.
        motion: Where the clip comes from; None: the procedural performer.
        clip: Name of the clip in that file.
        num_instants: Number of frames at `fps`.
        fps: Instants per second.
        seed: Seed of this take.
    """

    sequence: str
    action: str
    motion: str | None
    clip: str
    num_instants: int
    fps: float
    seed: tuple[int, ...]

    def clip_of(self) -> Clip:
        """Makes the motion: exactly `num_instants` frames at `fps`, on the stage, heading anywhere."""
        rng = np.random.default_rng(self.seed)
        if self.motion is None:
            # Tracks are smooth, so they may be drawn at the wished rate directly.
            clip = perform(self.action, self.num_instants / self.fps, self.fps, rng, self.sequence)
        else:
            clip = resample(mocap.load_clip(self.motion, self.clip), self.fps)
            start = rng.integers(clip.num_frames - self.num_instants + 1)
            kept = slice(start, start + self.num_instants)
            clip = dataclasses.replace(
                clip,
                directions=clip.directions[kept],
                root_xy=clip.root_xy[kept],
                clearance=clip.clearance[kept],
            )
        return place(clip, rng.uniform(0, 2 * np.pi), STAGE_RADIUS)


def procedural_takes(seed: int, subject: str, num_instants: int, fps: float) -> list[Take]:
    """Deals one subject's instants evenly to actions, in an order of its own."""
    rng = np.random.default_rng([seed, 7, *subject.encode()])
    num_sequences = int(np.clip(num_instants // _MIN_INSTANTS, 1, len(ACTIONS)))
    actions = [list(ACTIONS)[index] for index in rng.permutation(len(ACTIONS))[:num_sequences]]
    counts = np.diff(np.linspace(0, num_instants, num_sequences + 1).round().astype(int))
    return [
        Take(action, action, None, action, int(count), fps, (seed, 8, *subject.encode(), *action.encode()))
        for action, count in zip(actions, counts, strict=True)
    ]


def mocap_takes(
    seed: int,
    subjects: dict[str, int],
    motion: str | Path,
    fps: float,
    *,
    by_action: bool = False,
    deal_seed: int | None = None,
) -> dict[str, list[Take]]:
    """Deals the clips of motion capture to subjects; partners of one recording go to the same subject.

    Args:
        seed: Of the takes and, unless `deal_seed` is given, of the deal.
        subjects: Number of wished instants by subject.
        motion: A BVH file, a folder of them, or an npz of joint positions.
        fps: Instants per second.
        by_action: Deal each kind of action on its own, so that everybody gets clips of every kind that has as
            many recordings as there are subjects; else only the total length is balanced.
        deal_seed: Of who gets which clips.

    Returns:
        Takes by subject: as many instants as wished, or all that its clips hold.

    Raises:
        InputError: The motion cannot be read, or there are fewer recordings than subjects.
    """
    lengths = mocap.clip_lengths_s(motion)
    groups = mocap.partners(lengths)
    if len(groups) < len(subjects):
        raise InputError(
            f"Subjects never share a motion clip, so there must be at least one recording per subject "
            f"(partners of one dance count once). Received: {len(groups)} recordings for {len(subjects)} "
            f"subjects in {motion}. Give more clips or name fewer subjects."
        )
    rng = np.random.default_rng([seed if deal_seed is None else deal_seed, 9])
    hands = (_deal_by_action if by_action else _deal_by_length)(groups, lengths, subjects, rng)
    return {
        subject: _takes_of(seed, subject, hands[subject], lengths, subjects[subject], str(motion), fps)
        for subject in subjects
    }


def _deal_by_length(
    groups: list[list[str]], lengths: dict[str, float], subjects: dict[str, int], rng: np.random.Generator
) -> dict[str, list[str]]:
    """Gives the next recording, in random order, to whoever lacks most of what was wished."""
    hands: dict[str, list[str]] = {subject: [] for subject in subjects}
    held_s = dict.fromkeys(subjects, 0.0)
    for index in rng.permutation(len(groups)):
        needy = min(subjects, key=lambda subject: held_s[subject] / subjects[subject])
        hands[needy] += groups[index]
        held_s[needy] += sum(lengths[clip] for clip in groups[index])
    return hands


def _deal_by_action(
    groups: list[list[str]], lengths: dict[str, float], subjects: dict[str, int], rng: np.random.Generator
) -> dict[str, list[str]]:
    """Deals kind by kind, longest recording first, to whoever lacks most of that kind, then of everything."""
    order = [list(subjects)[index] for index in rng.permutation(len(subjects))]
    hands: dict[str, list[str]] = {subject: [] for subject in subjects}
    held_s = dict.fromkeys(subjects, 0.0)
    for action in sorted({_action(group[0]) for group in groups}):
        of_action_s = dict.fromkeys(subjects, 0.0)
        recordings = [group for group in groups if _action(group[0]) == action]
        for group in sorted(recordings, key=lambda group: -sum(lengths[clip] for clip in group)):
            needy = min(order, key=lambda s: (of_action_s[s] / subjects[s], held_s[s] / subjects[s]))
            hands[needy] += group
            for held in (of_action_s, held_s):
                held[needy] += sum(lengths[clip] for clip in group)
    return hands


def _action(clip: str) -> str:
    """Returns the kind of action that a clip is named after: salsa_01 is salsa."""
    return clip.rstrip("0123456789").rstrip("_- ")


def _takes_of(
    seed: int,
    subject: str,
    clips: list[str],
    lengths: dict[str, float],
    num_instants: int,
    motion: str,
    fps: float,
) -> list[Take]:
    """Shares the wished instants among a subject's clips in proportion to their lengths."""
    available = np.array([max(int(lengths[clip] * fps + 1e-6), 1) for clip in clips])
    share = min(1.0, num_instants / available.sum())
    ends = np.round(np.cumsum(available) * share).astype(int)
    counts = np.minimum(np.diff(ends, prepend=0), available)
    return [
        Take(clip, _action(clip), motion, clip, int(count), fps,
             (seed, 10, *subject.encode(), *clip.encode()))
        for clip, count in zip(clips, counts, strict=True)
        if count > 0
    ]  # fmt: skip
