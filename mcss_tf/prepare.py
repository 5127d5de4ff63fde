"""Turns videos or the studio into a dataset: python -m mcss_tf.prepare --source=... --output=..."""

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags
from rich import progress

import mcss_tf
import mcss_tf.startup
from mcss_tf.data.beam import prepare_with_beam
from mcss_tf.data.boxes import BOX_MODES
from mcss_tf.data.checks import check_download, check_other, count_notes
from mcss_tf.data.dataset import SPLITS, PreparedDataset
from mcss_tf.data.preparation import prepare_dataset
from mcss_tf.data.sources.base import SequenceSpec, Source
from mcss_tf.data.sources.catalogue import DOWNLOADS, make_source
from mcss_tf.data.sources.mocap import MocapOptions, MocapSource
from mcss_tf.data.sources.mpi_inf_3dhp_labels import POSES
from mcss_tf.data.sources.recordings import RecordingOptions, RecordingsSource
from mcss_tf.data.sources.studio import StudioOptions, StudioSource
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.geometry.skeletons import find_skeleton

FLAGS = flags.FLAGS


@tells_disk_errors
def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    logging.set_verbosity(logging.WARNING)
    try:
        source, crop_size, arguments = _build_source()
        output = Path(FLAGS.output)
        _check_apart(output, FLAGS.input)
        if FLAGS.check:
            return _check(source, output)
        specs = source.sequences()
        print(_describe(specs))
        for note in getattr(source, "notes", list)():
            print(f"note: {note}")
        dataset = _run(source, specs, output, crop_size, arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(_summary(dataset))
    counts = {split: part["num_images"] for split, part in dataset.metadata["splits"].items()}
    for note in count_notes(source, counts):
        print(f"note: {note}")
    return 0


def _check(source: Source, output: Path) -> int:
    """Prints what --check found; returns 1 where something speaks against preparing."""
    sheet = output.with_name(f"{output.name}.check.png")
    is_good = True
    if hasattr(source, "candidates"):
        report = check_download(source, sheet)
        is_good = report.is_good
        print(report.text())
    else:
        specs, problems = check_other(source, sheet)
        is_good = not problems
        print("\n".join([_describe(specs), *(f"problem: {problem}" for problem in problems)]))
    print(f"look at {sheet}: skeletons must lie on people" if sheet.exists() else "no crop could be made")
    return 0 if is_good else 1


def _build_source() -> tuple[Source, int, dict[str, Any]]:
    """Returns the source, the side of its crops, and everything that the records depend on."""
    if FLAGS.source == "studio":
        options = _studio_options()
        source: Source = StudioSource(options)
    elif FLAGS.source == "mocap":
        options = _mocap_options()
        source = MocapSource(options)
    elif FLAGS.source in DOWNLOADS:
        source, options = make_source(FLAGS.source, FLAGS.input, _download_options())
    else:
        if FLAGS.input is None:
            raise InputError(
                "--source=recordings needs --input. Received: none. Give the folder of subjects."
            )
        options = RecordingOptions(
            root=Path(FLAGS.input).resolve(),
            crop_size=FLAGS.crop_size or 128,
            stride=1 if FLAGS.stride is None else FLAGS.stride,
            boxes=FLAGS.boxes,
            context=1.25 if FLAGS.context is None else FLAGS.context,
            tolerance_ms=FLAGS.tolerance_ms,
            skeleton=find_skeleton(FLAGS.skeleton or "human36m_17"),
        )
        source = RecordingsSource(options)
    arguments = {"version": mcss_tf.__version__, "source": FLAGS.source}
    arguments |= {name: _jsonable(value) for name, value in dataclasses.asdict(options).items()}
    return source, options.crop_size, arguments


def _download_options() -> dict[str, Any]:
    """Returns what the flags say, None where one is not given."""
    return {
        "crop_size": FLAGS.crop_size,
        "stride": FLAGS.stride,
        "context": FLAGS.context,
        "cameras": FLAGS.views and tuple(FLAGS.views),
        "skeleton": FLAGS.skeleton and find_skeleton(FLAGS.skeleton),
        "drifted": FLAGS.drifted,
        "poses": FLAGS.poses,
        "test_sequences": FLAGS.test_sequences and tuple(FLAGS.test_sequences),
    }


def _mocap_options() -> MocapOptions:
    missing = [name for name in ("input", "cameras") if FLAGS[name].value is None]
    if missing:
        raise InputError(
            f"--source=mocap needs --input and --cameras. Received: no --{' and no --'.join(missing)}. "
            "Give motion capture and a calibration."
        )
    values = _section(MocapOptions)
    return MocapOptions(
        motion=str(Path(FLAGS.input).resolve()), cameras=str(Path(FLAGS.cameras).resolve()), **values
    )


def _section(options: type) -> dict[str, Any]:
    """Returns the section of --config that is named like the source, checked."""
    config = FLAGS.config.get(FLAGS.source) if FLAGS.config is not None else None
    values = config.to_dict() if config is not None else {}
    known = {field.name for field in dataclasses.fields(options)}
    if set(values) - known:
        raise InputError(
            f"`{FLAGS.source}` in a config has the fields {', '.join(sorted(known))}. "
            f"Received: {', '.join(sorted(set(values) - known))}. Correct the spelling."
        )
    return values


def _studio_options() -> StudioOptions:
    values = _section(StudioOptions)
    if FLAGS.crop_size is not None:
        values["crop_size"] = FLAGS.crop_size
    if FLAGS.input is not None:
        values["motion"] = str(Path(FLAGS.input).resolve())
    return StudioOptions(**values)


def _jsonable(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _check_apart(output: Path, source: str | None) -> None:
    """A dataset inside the recordings would be taken for a subject the next time."""
    if source is None:
        return
    inside, outside = output.resolve(), Path(source).resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise InputError(
            f"--output must lie outside of --input, and the other way round. Received: --input={source}, "
            f"--output={output}. Choose another folder."
        )


def _run(
    source: Source, specs: list[SequenceSpec], output: Path, crop_size: int, arguments: dict[str, Any]
) -> PreparedDataset:
    """Prepares under a progress bar with rate and time left."""
    expected = sum(max(1, round(spec.duration_s * spec.fps)) for spec in specs)
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]:.0f} instants/s"),
        progress.TimeRemainingColumn(),
    )
    start_s = time.monotonic()
    with progress.Progress(*columns) as bar:
        task = bar.add_task("preparing", total=expected, rate=0.0)

        def report(num_instants: int) -> None:
            done = bar.tasks[0].completed + num_instants
            bar.update(task, advance=num_instants, rate=done / max(time.monotonic() - start_s, 1e-3))

        if FLAGS.beam_options is not None:
            return prepare_with_beam(source, specs, output, crop_size, arguments, FLAGS.beam_options, report)
        return prepare_dataset(source, specs, output, crop_size, arguments, FLAGS.workers, report)


def _describe(specs: list[SequenceSpec]) -> str:
    lines = [f"{len(specs)} sequences of {len({spec.subject for spec in specs})} subjects"]
    for spec in specs:
        boxes = f", boxes from {spec.box_mode}" if hasattr(spec, "box_mode") else ""
        what = f"{len(spec.cameras)} cameras, {spec.duration_s:.1f} s, {spec.fps:g} instants/s{boxes}"
        lines.append(f"  {spec.name}: {what}")
    return "\n".join(lines)


def _summary(dataset: PreparedDataset) -> str:
    lines = [f"wrote {dataset.path}"]
    for split in SPLITS:
        part = dataset.metadata["splits"][split]
        subjects = ", ".join(part["subjects"])
        lines.append(
            f"  {split}: {part['num_instants']:,} instants, {part['num_images']:,} images of {subjects}"
        )
    lines.append("  " + ", ".join(f"{name} {count}" for name, count in dataset.metadata["counts"].items()))
    if dataset.crop_size:
        lines.append(f"  checksum of the crops {dataset.metadata['images_sha256']}")
    lines.append(f"look at {dataset.path / 'contact_sheet.png'} before you train")
    return "\n".join(lines)


def define_flags() -> None:
    """Defines the flags of the command line."""
    flags.DEFINE_enum(
        "source", None, ["recordings", "studio", "mocap", *DOWNLOADS], "Where images or keypoints come from."
    )
    flags.DEFINE_string(
        "input",
        None,
        "recordings: the folder of subjects. mocap: BVH files or npz of motion capture; studio: the same, "
        "optional. Others: the folder of the download.",
    )
    flags.DEFINE_string("cameras", None, "mocap: Human3.6M's camera-parameters.json or a Pose2Sim TOML.")
    flags.DEFINE_string("output", None, "Folder of the dataset; an interrupted one goes on.")
    flags.DEFINE_integer("crop_size", None, "Side of the crops in pixels; 128, studio: its config's.")
    flags.DEFINE_integer("stride", None, "Take every n-th frame; recordings: 1, others: their protocol's.")
    flags.DEFINE_enum("boxes", "auto", BOX_MODES, "recordings: where the person's boxes come from.")
    flags.DEFINE_float("context", None, "Side of the square crop over that of the person; recordings: 1.25.")
    flags.DEFINE_list("views", None, "Names of the cameras to take from a download; default: its protocol's.")
    flags.DEFINE_string("skeleton", None, "Name of a skeleton, or a TOML file; default: the source's own.")
    flags.DEFINE_enum(
        "drifted", None, ["keep", "drop"], "human36m: the displaced sequences of S9; keep by default."
    )
    flags.DEFINE_enum(
        "poses", None, POSES, "mpi_inf_3dhp: true millimetres (default), or one height for all."
    )
    flags.DEFINE_list("test_sequences", None, "panoptic: the test split; default: the last quarter by name.")
    flags.DEFINE_float(
        "tolerance_ms",
        None,
        "recordings: how far apart paired frames may be; default: half a frame interval.",
    )
    flags.DEFINE_bool(
        "check", False, "Only look whether --input is whole and makes sense; takes minutes, not hours."
    )
    flags.DEFINE_integer("workers", os.cpu_count(), "Processes.", lower_bound=1)
    flags.DEFINE_string(
        "beam_options", None, "Prepare with Apache Beam and these options of it instead of processes."
    )
    config_flags.DEFINE_config_file(
        "config",
        None,
        "studio, mocap: a config whose section of that name holds the options.",
        lock_config=True,
    )
    flags.mark_flags_as_required(["source", "output"])


if __name__ == "__main__":
    define_flags()
    app.run(main)
