"""Sequences of sources whose subjects perform takes: clips of motion dealt to people."""

import dataclasses
from collections.abc import Mapping, Sequence

from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.studio.motion import Take


@dataclasses.dataclass(frozen=True)
class TakeSequence(SequenceSpec):
    """A sequence, the split it belongs to, and the take that is performed in it."""

    split: str
    take: Take


def list_sequences(
    takes: Mapping[str, Sequence[Take]],
    cameras: Mapping[str, Sequence[str]],
    test_subjects: Sequence[str],
) -> list[TakeSequence]:
    """Lists the takes of all subjects as sequences.

    Args:
        takes: of every subject.
        cameras: names of the cameras that see each subject, in the order of the sequences.
        test_subjects: the subjects of the test split; all others train.
    """
    return [
        TakeSequence(
            subject=subject,
            sequence=take.sequence,
            action=take.action,
            cameras=tuple(cameras[subject]),
            fps=take.fps,
            duration_s=take.num_instants / take.fps,
            split="test" if subject in test_subjects else "train",
            take=take,
        )
        for subject in cameras
        for take in takes[subject]
    ]
