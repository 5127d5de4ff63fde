"""Validates a download before hours of work: files, counts, labels, and a picture of crops with skeletons."""

import dataclasses
import itertools
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mcss_tf.data.anatomy_check import Measured, check_labels
from mcss_tf.data.contact_sheet import write_contact_sheet
from mcss_tf.data.dataset import SPLITS
from mcss_tf.data.example import Instant
from mcss_tf.data.records import finish_dataset, write_sequence
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.data.sources.calibrated import CalibratedSequence
from mcss_tf.data.sources.frame_labels import Labels
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera

_SAMPLED_FRAMES = 20
_SHEET_INSTANTS = 4
_LISTED_FILES = 6


@dataclasses.dataclass
class Report:
    """What was found.

    Attributes:
        missing: by subject, what is not there.
        problems: sentences about sequences that cannot or should not be prepared.
        notes: sentences worth knowing.
        num_sequences: by split.
        num_images: by split, if every camera sees the person in every instant.
        reprojection_px: by camera, the median over sequences of the median distance of 3D from 2D joints.
    """

    missing: dict[str, list[str]]
    problems: list[str]
    notes: list[str]
    num_sequences: Counter[str]
    num_images: Counter[str]
    reprojection_px: dict[str, float]

    @property
    def is_good(self) -> bool:
        """Whether nothing speaks against preparing."""
        return not self.missing and not self.problems

    def text(self) -> str:
        """Returns the report for people."""
        lines = [f"missing of {subject}: {_shorten(files)}" for subject, files in self.missing.items()]
        lines += [f"problem: {problem}" for problem in self.problems]
        lines += [f"note: {note}" for note in self.notes]
        for split in SPLITS:
            count, images = self.num_sequences[split], self.num_images[split]
            lines.append(f"{split}: {count} sequences, {images:,} images")
        if self.reprojection_px:
            medians = ", ".join(f"{camera} {px:.2f}" for camera, px in self.reprojection_px.items())
            lines.append(f"3D on 2D joints, median px by camera: {medians}")
        lines.append(
            "nothing speaks against preparing" if self.is_good else "look into this before you prepare"
        )
        return "\n".join(lines)


def check_download(source: Any, sheet: Path) -> Report:
    """Looks at every file of a download without decoding more than some frames.

    Args:
        source: one of `catalogue.DOWNLOADS`.
        sheet: of the picture; written where any crop could be made.

    Returns:
        The report; damaged files are in it, they raise nothing.

    Raises:
        InputError: if there is nothing at all to check.
    """
    report = Report(source.missing_files(), [], list(source.notes()), Counter(), Counter(), {})
    sheets, measured = [], []
    for candidate in source.candidates():
        try:
            specs = source.specs(*candidate)
        except InputError as error:
            report.problems.append(str(error))
            continue
        for spec in specs:
            report.num_sequences[spec.split] += 1
            report.num_images[spec.split] += len(spec.frames) * len(spec.cameras)
            is_first = not any(spec.subject == other.subject for other, _ in sheets)
            try:
                measured.append(_measure(source, spec, report))
                if is_first:
                    sheets.append((spec, _sample(source, spec)))
            except InputError as error:
                report.problems.append(str(error))
    for camera in sorted({camera for m in measured for camera in m.reprojection_px}):
        values = [m.reprojection_px[camera] for m in measured if camera in m.reprojection_px]
        report.reprojection_px[camera] = float(np.median(values))
    if not report.missing:
        report.notes += count_notes(source, report.num_images)
    _write_sheet(source, [(spec, instants) for spec, instants in sheets if instants], sheet)
    return report


def check_other(source: Any, sheet: Path) -> tuple[list[SequenceSpec], list[str]]:
    """Lists the sequences of any source, which validates them, and looks at the start of each subject.

    Returns:
        The sequences, and sentences about what is wrong with their labels.

    Raises:
        InputError: if the input cannot be prepared.
    """
    specs = source.sequences()
    first = {spec.subject: spec for spec in reversed(specs)}
    sheets = [(s, list(itertools.islice(source.instants(s), _SHEET_INSTANTS))) for s in first.values()]
    problems = []
    for spec, instants in sheets:
        cameras = source.calibration(spec)
        posed = [instant for instant in instants if instant.joints_mm is not None]
        if posed:
            found = check_labels(_labels_of(posed, cameras), cameras or {}, source.skeleton, is_exact=False)
            problems += [f"{spec.name}: {problem}" for problem in found.problems]
    _write_sheet(source, [(spec, instants) for spec, instants in sheets if instants], sheet)
    return specs, problems


def _labels_of(instants: list[Instant], cameras: dict[str, Camera] | None) -> Labels:
    """Puts instants together; 2D joints of the calibrated cameras that see all of them."""
    joints_mm = np.stack([instant.joints_mm for instant in instants])
    masks = [i.joint_mask if i.joint_mask is not None else np.ones(len(i.joints_mm)) for i in instants]
    has_2d = all(instant.keypoints_px is not None for instant in instants)
    common = [c for c in cameras or () if has_2d and all(c in instant.cameras for instant in instants)]
    keypoints = {c: np.stack([i.keypoints_px[list(i.cameras).index(c)] for i in instants]) for c in common}
    return Labels(joints_mm, np.stack(masks), {}, keypoints)


def _measure(source: Any, spec: CalibratedSequence, report: Report) -> Measured:
    frames = spec.frames[np.unique(np.linspace(0, len(spec.frames) - 1, _SAMPLED_FRAMES).astype(int))]
    labels = source.labels(spec, frames)
    measured = check_labels(labels, source.calibration(spec), source.skeleton)
    report.problems += [f"{spec.name}: {problem}" for problem in measured.problems]
    unseen = [camera for camera, boxes_px in labels.boxes_px.items() if not np.isfinite(boxes_px).any()]
    if unseen:
        report.notes.append(f"{spec.name}: the person is in no picture of camera {', '.join(unseen)}")
    return measured


def _sample(source: Any, spec: CalibratedSequence) -> list[Instant]:
    """Crops some instants of the first seconds: seeking further would cost as much as decoding."""
    stride = max(1, min(round(spec.frame_rate / 2), len(spec.frames) // _SHEET_INSTANTS))
    thinned = dataclasses.replace(spec, stride=stride)
    return list(itertools.islice(source.instants(thinned), _SHEET_INSTANTS))


def count_notes(source: Any, num_images: Mapping[str, int]) -> list[str]:
    """Returns a sentence for each split that has another number of images than the whole release.

    Args:
        source: any; of most it is not known how many images there are.
        num_images: by split.
    """
    expected_images = getattr(source, "expected_images", dict)()
    return [
        f"the release has {expected:,} {split} images at this stride, here are {num_images[split]:,}"
        for split, expected in expected_images.items()
        if num_images[split] != expected
    ]


def _write_sheet(source: Any, sheets: list[tuple[SequenceSpec, list[Instant]]], path: Path) -> None:
    """Draws what would be prepared, through the same code that does."""
    if not sheets:
        return
    with tempfile.TemporaryDirectory() as folder:
        dataset = finish_dataset(
            folder,
            source=source.name,
            skeleton=source.skeleton,
            crop_size=source.options.crop_size,
            results=[
                write_sequence(folder, spec, instants, source.skeleton, source.options.crop_size)
                for spec, instants in sheets
            ],
            calibrations={(s.subject, s.sequence): source.calibration(s) for s, _ in sheets},
        )
        write_contact_sheet(dataset, path)


def _shorten(files: list[str]) -> str:
    more = len(files) - _LISTED_FILES
    return "; ".join(files[:_LISTED_FILES]) + (f"; and {more} more" if more > 0 else "")
