"""Runs a source's sequences through worker processes into a dataset; an interrupted run goes on."""

import concurrent.futures
import itertools
import logging
import multiprocessing
import os
import queue
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from mcss_tf.data import video
from mcss_tf.data.contact_sheet import write_contact_sheet
from mcss_tf.data.dataset import SPLITS, PreparedDataset
from mcss_tf.data.preparation_state import FOLDER, fingerprint, keep, kept, open_state
from mcss_tf.data.records import Instant, SequenceResult, finish_dataset, write_sequences
from mcss_tf.data.sources.base import SequenceSpec, Source
from mcss_tf.errors import InputError

_log = logging.getLogger(__name__)
_REPORT_EVERY = 10

# Called with a number of new instants.
Report = Callable[[int], None]
# Sequences whose videos are the same.
Group = list[SequenceSpec]


def prepare_dataset(
    source: Source,
    specs: list[SequenceSpec],
    output: Path,
    crop_size: int,
    arguments: dict[str, Any],
    num_workers: int,
    report: Report,
) -> PreparedDataset:
    """Writes the dataset of `specs`; sequences that an interrupted run of equal arguments finished are kept.

    Args:
        source: of the sequences.
        specs: all of its sequences.
        output: an absent, empty or interrupted folder.
        crop_size: side of the crops in pixels.
        arguments: JSON-able; everything that the records depend on.
        num_workers: processes.
        report: called with numbers of instants as they are written, kept ones included.

    Returns:
        The dataset.

    Raises:
        InputError: if `output` holds something else, a sequence cannot be prepared, a split stays empty, or
            the disk is full.
    """
    state = open_state(output, arguments)
    prints = {spec.name: fingerprint(spec) for spec in specs}
    finished = {spec.name: kept(state, output, spec, prints[spec.name]) for spec in specs}
    results = {name: result for name, result in finished.items() if result is not None}
    for result in results.values():
        report(len(result.rows))
    todo = grouped(source, [spec for spec in specs if spec.name not in results])
    run = _in_processes if min(num_workers, len(todo)) > 1 else _in_this_process
    for result in itertools.chain.from_iterable(run(source, todo, output, crop_size, num_workers, report)):
        keep(state, prints[result.spec.name], result)
        results[result.spec.name] = result
    # A benchmark's test set has nothing to train on.
    _check_splits(results, getattr(source, "splits", SPLITS))
    calibrations = {(s.subject, s.sequence): source.calibration(s) for s in specs}
    try:
        dataset = finish_dataset(
            output,
            source=source.name,
            skeleton=source.skeleton,
            crop_size=crop_size,
            results=results.values(),
            crop_context=source.crop_context,
            calibrations=calibrations,
            notes=getattr(source, "notes", list)(),
        )
        write_contact_sheet(dataset, output / "contact_sheet.png")
    except OSError as error:
        raise InputError(
            f"A dataset must fit on the disk of {output}. Received: {error}. Make room and run the same "
            "command again: finished sequences are kept."
        ) from error
    shutil.rmtree(state)
    return dataset


def grouped(source: Source, specs: list[SequenceSpec]) -> list[Group]:
    """Returns the sequences by what is decoded once for all of it; most sources decode each on its own."""
    groups = getattr(source, "groups", None)
    return [[spec] for spec in specs] if groups is None else groups(specs)


def _in_this_process(
    source: Source, groups: list[Group], output: Path, crop_size: int, _: int, report: Report
) -> Iterator[list[SequenceResult]]:
    for group in groups:
        yield _write(source, group, output, crop_size, report)


def _in_processes(
    source: Source, groups: list[Group], output: Path, crop_size: int, num_workers: int, report: Report
) -> Iterator[list[SequenceResult]]:
    """Yields results as they come; after an error what is running is finished and kept, then it is raised."""
    # Forking a process that has loaded TensorFlow may hang.
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    num_workers = min(num_workers, len(groups))
    failure: BaseException | None = None
    start = _start_worker, (reports, max(1, (os.cpu_count() or 1) // num_workers))
    with concurrent.futures.ProcessPoolExecutor(num_workers, context, *start) as pool:
        pending = {pool.submit(_write_in_worker, source, group, output, crop_size) for group in groups}
        while pending:
            done, pending = concurrent.futures.wait(pending, timeout=0.2)
            _drain(reports, report)
            for future in done:
                if future.exception() is None:
                    yield future.result()
                elif failure is None:
                    failure = future.exception()
                    _log.warning("stopping after an error; sequences in progress are finished first")
                    pending = {waiting for waiting in pending if not waiting.cancel()}
    if failure is not None:
        raise failure


_worker_reports: multiprocessing.Queue


def _start_worker(reports: multiprocessing.Queue, num_threads: int) -> None:
    """Shares the cores among the workers."""
    global _worker_reports
    _worker_reports = reports
    cv2.setNumThreads(1)
    video.set_decoder_threads(num_threads)


def _write_in_worker(source: Source, group: Group, output: Path, crop_size: int) -> list[SequenceResult]:
    return _write(source, group, output, crop_size, _worker_reports.put)


def _write(
    source: Source, group: Group, output: Path, crop_size: int, report: Report
) -> list[SequenceResult]:
    instants = source.instants(group[0]) if len(group) == 1 else source.instants_together(group)
    return write_sequences(output, group, _counted(instants, report), source.skeleton, crop_size)


def _counted(instants: Iterator[Instant], report: Report) -> Iterator[Instant]:
    unreported = 0
    for instant in instants:
        yield instant
        unreported += 1
        if unreported == _REPORT_EVERY:
            report(unreported)
            unreported = 0
    report(unreported)


def _drain(reports: multiprocessing.Queue, report: Report) -> None:
    while True:
        try:
            report(reports.get_nowait())
        except queue.Empty:
            return


def prepare_group(group: Group, prints: list[str], source: Source, output: Path, crop_size: int) -> None:
    """Writes a group and keeps its results for `prepare_dataset`; leaves out what is done.

    Any number of machines that share `output` may do this at the same time, each for other groups.

    Args:
        group: of `grouped`.
        prints: the `fingerprint` of each of its sequences.
        source: of the sequences.
        output: a folder that `open_state` made.
        crop_size: side of the crops in pixels.

    Raises:
        InputError: if a sequence cannot be prepared, or the disk is full.
    """
    state = output / FOLDER
    print_of = {spec.name: spec_print for spec, spec_print in zip(group, prints, strict=True)}
    todo = [spec for spec in group if kept(state, output, spec, print_of[spec.name]) is None]
    if todo:
        for result in _write(source, todo, output, crop_size, lambda _: None):
            keep(state, print_of[result.spec.name], result)


def _check_splits(results: dict[str, SequenceResult], splits: Sequence[str]) -> None:
    counts = {
        split: sum(row["split"] == split for result in results.values() for row in result.rows)
        for split in ("train", "test")
    }
    if not all(counts[split] for split in splits):
        raise InputError(
            f"{'Both splits' if len(splits) > 1 else 'The test split'} must have instants. "
            f"Received: {counts['train']} train and {counts['test']} test. "
            "Record longer, lower --stride, or assign subjects to splits in recordings.toml."
        )
