"""Prepares sequences in a cluster: an Apache Beam pipeline over the function that the processes run, too."""

import shlex
from pathlib import Path
from typing import Any

from mcss_tf import files
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.preparation import Group, Report, grouped, prepare_dataset, prepare_group
from mcss_tf.data.preparation_state import fingerprint, open_state
from mcss_tf.data.sources.base import SequenceSpec, Source
from mcss_tf.errors import InputError

_ERRORS = ".errors"


def prepare_with_beam(
    source: Source,
    specs: list[SequenceSpec],
    output: Path,
    crop_size: int,
    arguments: dict[str, Any],
    beam_options: str,
    report: Report,
) -> PreparedDataset:
    """Writes the dataset of `specs` through Beam; what an interrupted run finished is kept.

    Every worker must see the input and `output` under the same paths, such as on a network drive.

    Args:
        source, specs, output, crop_size, arguments, report: as of `prepare_dataset`.
        beam_options: Beam's own command line, such as "--runner=FlinkRunner --parallelism=64".

    Returns:
        The dataset.

    Raises:
        InputError: if Beam is not installed, or as of `prepare_dataset`; sequences that could be prepared are
            kept.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError(
            "--beam_options needs Apache Beam. Received: an environment without it. "
            "Install it with: pip install 'mcss_tf[beam]', or leave --beam_options out."
        ) from error
    errors = open_state(output, arguments) / _ERRORS
    for old in errors.glob("*.txt"):
        old.unlink()
    with beam.Pipeline(options=PipelineOptions(shlex.split(beam_options))) as pipeline:
        created = pipeline | "sequences" >> beam.Create(
            [
                (number, group, [fingerprint(spec) for spec in group])
                for number, group in enumerate(grouped(source, specs))
            ]
        )
        # Without it a runner may fuse everything into one worker.
        spread = created | "spread" >> beam.Reshuffle()
        _ = spread | "prepare" >> beam.Map(_prepare, source, output, crop_size, errors)
    found = sorted(errors.glob("*.txt"))
    if found:
        raise InputError(found[0].read_text())
    return prepare_dataset(source, specs, output, crop_size, arguments, 1, report)


def _prepare(
    numbered: tuple[int, Group, list[str]], source: Any, output: Path, crop_size: int, errors: Path
) -> None:
    """Writes one group; what is wrong with it goes to a file, because Beam would try it again in vain.

    `source` is a `Source`; Beam reads annotations and cannot handle protocols.
    """
    number, group, prints = numbered
    try:
        prepare_group(group, prints, source, output, crop_size)
    except InputError as error:
        files.write_text(errors / f"{number:06d}.txt", str(error))
