"""What every source of synchronised images offers to `prepare`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

# Annotations only: a source's workers must not import TensorFlow merely to name these types.
if TYPE_CHECKING:
    from mcss_tf.data.example import Instant
    from mcss_tf.geometry.cameras import Camera
    from mcss_tf.geometry.skeleton import Skeleton


@dataclasses.dataclass(frozen=True)
class SequenceSpec:
    """One sequence of one subject, known before anything is decoded or rendered.

    Subclasses add what their source needs; they stay picklable, because sequences are prepared in worker
    processes.

    Attributes:
        subject: name of the person.
        sequence: name of the sequence, unique within the subject.
        action: what the person does, for tables per action; may be empty.
        cameras: names of the cameras, in the order of the dataset's camera ids.
        fps: instants per second after sub-sampling.
        duration_s: seconds between the first and the end of the last frame.
    """

    subject: str
    sequence: str
    action: str
    cameras: tuple[str, ...]
    fps: float
    duration_s: float

    @property
    def name(self) -> str:
        """`subject/sequence`, for messages."""
        return f"{self.subject}/{self.sequence}"


@runtime_checkable
class Source(Protocol):
    """A place that synchronised images come from; picklable.

    One whose sequences may show the same videos also has `groups(specs)`, lists of those that do, and
    `instants_together(specs)`, which yields the instants of such a list out of one pass over its videos.
    """

    name: str
    skeleton: Skeleton
    # Side of the square crops over the longer side of the person; None where there are no crops.
    crop_context: float | None

    def sequences(self) -> list[SequenceSpec]:
        """Lists the sequences, cheaply, and validates everything that can be before long work starts.

        Raises:
            InputError: if the input cannot be prepared.
        """
        ...

    def instants(self, spec: SequenceSpec) -> Iterator[Instant]:
        """Yields the instants of one sequence in time order; runs in a worker process."""
        ...

    def calibration(self, spec: SequenceSpec) -> dict[str, Camera] | None:
        """Returns the cameras of a sequence by name, or None where they are not calibrated."""
        ...
