"""Runs a source's sequences through worker processes into a dataset; an interrupted run goes on."""

import concurrent.futures
import hashlib
import json
import logging
import multiprocessing
import os
import pickle
import queue
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from mcss_tf import files
from mcss_tf.data import video
from mcss_tf.data.contact_sheet import write_contact_sheet
from mcss_tf.data.dataset import SPLITS, PreparedDataset
from mcss_tf.data.records import Instant, SequenceResult, finish_dataset, write_sequence
from mcss_tf.data.sources.base import SequenceSpec, Source
from mcss_tf.errors import InputError

_log = logging.getLogger(__name__)
_STATE = ".prepare"
_REPORT_EVERY = 10

# Called with a number of new instants.
Report = Callable[[int], None]


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
    kept = {spec.name: _kept(state, output, spec, prints[spec.name]) for spec in specs}
    results = {name: result for name, result in kept.items() if result is not None}
    for result in results.values():
        report(len(result.rows))
    todo = [spec for spec in specs if spec.name not in results]
    run = _in_processes if min(num_workers, len(todo)) > 1 else _in_this_process
    for result in run(source, todo, output, crop_size, num_workers, report):
        _keep(state, prints[result.spec.name], result)
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


def _in_this_process(
    source: Source, specs: list[SequenceSpec], output: Path, crop_size: int, _: int, report: Report
) -> Iterator[SequenceResult]:
    for spec in specs:
        yield _write(source, spec, output, crop_size, report)


def _in_processes(
    source: Source, specs: list[SequenceSpec], output: Path, crop_size: int, num_workers: int, report: Report
) -> Iterator[SequenceResult]:
    """Yields results as they come; after an error what is running is finished and kept, then it is raised."""
    # Forking a process that has loaded TensorFlow may hang.
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    num_workers = min(num_workers, len(specs))
    failure: BaseException | None = None
    start = _start_worker, (reports, max(1, (os.cpu_count() or 1) // num_workers))
    with concurrent.futures.ProcessPoolExecutor(num_workers, context, *start) as pool:
        pending = {pool.submit(_write_in_worker, source, spec, output, crop_size) for spec in specs}
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


def _write_in_worker(source: Source, spec: SequenceSpec, output: Path, crop_size: int) -> SequenceResult:
    return _write(source, spec, output, crop_size, _worker_reports.put)


def _write(
    source: Source, spec: SequenceSpec, output: Path, crop_size: int, report: Report
) -> SequenceResult:
    return write_sequence(output, spec, _counted(source.instants(spec), report), source.skeleton, crop_size)


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


def fingerprint(spec: SequenceSpec) -> str:
    """Returns what tells a spec from one that would be prepared otherwise.

    Taken where `sequences` listed it: a spec that travelled to another process and back pickles otherwise.
    """
    return hashlib.sha256(pickle.dumps(spec)).hexdigest()


def prepare_sequence(
    spec: SequenceSpec, spec_print: str, source: Source, output: Path, crop_size: int
) -> None:
    """Writes one sequence and keeps its result for `prepare_dataset`; does nothing where that is done.

    Any number of machines that share `output` may do this at the same time, each for other sequences.

    Args:
        spec: the sequence.
        spec_print: its `fingerprint`.
        source: of the sequence.
        output: a folder that `open_state` made.
        crop_size: side of the crops in pixels.

    Raises:
        InputError: if the sequence cannot be prepared, or the disk is full.
    """
    state = output / _STATE
    if _kept(state, output, spec, spec_print) is None:
        _keep(state, spec_print, _write(source, spec, output, crop_size, lambda _: None))


def open_state(output: Path, arguments: dict[str, Any]) -> Path:
    """Returns the folder of what is finished so far.

    Raises:
        InputError: if `output` holds something else, or was begun with other arguments.
    """
    if (output / "dataset.json").exists():
        raise InputError(
            f"A finished dataset is never overwritten. Received: --output={output}, which holds one. "
            "Remove it or choose another folder."
        )
    state = output / _STATE
    path = state / "arguments.json"
    if not path.exists():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise InputError(
                f"--output must be absent or empty. Received: {output}, which holds something else. "
                "Choose another folder."
            )
        files.write_json(path, arguments)
    before = json.loads(path.read_text())
    now = json.loads(json.dumps(arguments))
    if before != now:
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        raise InputError(
            "An interrupted preparation goes on with the same arguments. "
            f"Received: other {', '.join(changed)} than before in {output}. "
            "Use the same command, or remove that folder."
        )
    return state


def _kept(state: Path, output: Path, spec: SequenceSpec, spec_print: str) -> SequenceResult | None:
    """Returns the result of a sequence that an earlier run finished and whose shards are still whole."""
    path = _result_path(state, spec)
    if not path.exists():
        return None
    stored, result = pickle.loads(path.read_bytes())
    shards = [(output / shard["path"], shard["bytes"]) for shard in result.shards]
    is_whole = all(shard.is_file() and shard.stat().st_size == size for shard, size in shards)
    return result if is_whole and stored == spec_print else None


def _keep(state: Path, spec_print: str, result: SequenceResult) -> None:
    with files.atomic_write(_result_path(state, result.spec)) as file:
        pickle.dump((spec_print, result), file)


def _result_path(state: Path, spec: SequenceSpec) -> Path:
    return state / spec.subject / f"{spec.sequence}.pickle"


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
