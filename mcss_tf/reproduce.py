"""Runs the paper's experiments: python -m mcss_tf.reproduce --output=DIR [--only=table1,...] [--seeds=0,1,2]

Renders the benchmark, trains what is not trained yet, measures it, and rewrites the tables and figures after
every network: results.md, results.json and results/benchmark/ in --output (in docs/ with --docs), and
results.html in --output. Stop it whenever you like: the same command goes on. All that is kept of a network
besides its workdir is one JSON, by which it is found again even where the workdir is gone.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import app, flags, logging

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.reproduction import grid
from mcss_tf.reproduction.report import Report
from mcss_tf.reproduction.runner import ROOT, Runner, checksum, prepare_room
from mcss_tf.reproduction.trainings import Results, Training, training_of

FLAGS = flags.FLAGS
# Experiments that can be chosen together, by the first word of their names.
GROUPS = ("ablation_", "lifting_", "refinement_")
FLAG_NAMES = ("output", "only", "seeds", "docs", "report", "first", "other")

# One network to run: itself, what is measured of it, and the rows that ask for it.
Wanted = tuple[Training, set[str], list[grid.Row]]


def reproduce(
    output: Path,
    only: Sequence[str],
    seeds: Sequence[int],
    docs: bool = False,
    report: bool = False,
    first: str | None = None,
    other: str | None = None,
) -> None:
    """Runs what is missing of the grid and writes the report.

    Args:
        output: folder of datasets and workdirs.
        only: experiments to run; none: all. The report always covers the whole grid.
        seeds: of every row.
        docs: whether results and report go to docs/ instead of `output`.
        report: only writes the report of what is there.
        first, other: prepared datasets in the place of the studio's two rooms.

    Raises:
        InputError: an unknown experiment, or rooms or rows that cannot be used.
    """
    blocks = grid.blocks()
    rows = [row for block in blocks for row in block]
    chosen = _chosen(blocks, only)
    needed = set() if report else _needed([row for block in chosen for row in block])
    rooms = _rooms(needed, output, {"first": first, "other": other})
    # A room that nobody needs now may not be rendered yet; its rows are then "not run".
    checksums = {
        name: checksum(rooms[name]) if name in rooms else room.images_sha256
        for name, room in grid.ROOMS.items()
    }
    base = ROOT / "docs" if docs else output
    results = Results(base / "results" / "benchmark")
    written = Report(rows, seeds, checksums, rooms, results, base, output / "results.html")
    wanted = _wanted(chosen, seeds, checksums)
    runner = Runner(output / "runs", rooms, results)
    todo = [w for w in wanted if runner.missing(w[0], w[1])]
    print(f"{len(wanted)} networks, {len(wanted) - len(todo)} of them finished", flush=True)
    for number, (training, measures, of) in enumerate([] if report else todo, start=1):
        results.refresh()
        if not runner.missing(training, measures):
            continue  # another process has done it meanwhile
        where = f"{training.name}, seed {training.settings['seed']}, in runs/{training.folder}"
        print(f"[{number}/{len(todo)}] {where}: {', '.join(sorted(measures))}", flush=True)
        result = runner.run(training, measures, of)
        print(result["stopped"] or f"{result['seconds']['all']:.0f} s", flush=True)
        written.write()
    written.write()
    others = results.of_other_settings(training_of(row, seed, checksums) for row in rows for seed in seeds)
    if others:
        print(f"not shown, because settings, crops or seeds are others: {', '.join(others)}")
    print(f"wrote {base / 'results.md'}, {base / 'results.json'} and {output / 'results.html'}")


def _chosen(blocks: list[list[grid.Row]], only: Sequence[str]) -> list[list[grid.Row]]:
    names = {row.experiment: None for block in blocks for row in block}
    groups = {name.partition("_")[0] for name in names if name.startswith(GROUPS)}
    unknown = [name for name in only if name not in names and name not in groups]
    if unknown:
        raise InputError(
            f"--only names experiments: {', '.join(names)}, or {', '.join(groups)} for all of those. "
            f"Received: {', '.join(unknown)}. Correct it."
        )

    def is_chosen(row: grid.Row) -> bool:
        return not only or row.experiment in only or row.experiment.partition("_")[0] in groups & set(only)

    return [[row for row in block if is_chosen(row)] for block in blocks]


def _needed(rows: Sequence[grid.Row]) -> set[str]:
    return {row.room for row in rows} | {"other" for row in rows if row.measured == "test@other"}


def _rooms(needed: set[str], output: Path, given: Mapping[str, str | None]) -> dict[str, PreparedDataset]:
    """Opens the rooms that are there or given, and makes those that are needed."""
    names = needed | {
        name
        for name, room in grid.ROOMS.items()
        if given.get(name) or (output / room.folder / "dataset.json").exists()
    }
    return {name: prepare_room(name, output, given.get(name)) for name in grid.ROOMS if name in names}


def _wanted(
    blocks: Sequence[Sequence[grid.Row]], seeds: Sequence[int], checksums: dict[str, str]
) -> list[Wanted]:
    """Returns the networks in the order in which they are run, each once: block by block, seed by seed."""
    wanted: dict[str, Wanted] = {}
    for block in blocks:
        for number, seed in enumerate(seeds):
            for row in block:
                if row.max_seeds and number >= row.max_seeds:
                    continue
                training = training_of(row, seed, checksums)
                _, measures, rows = wanted.setdefault(training.key, (training, set(), []))
                measures.add(row.measured)
                rows.append(row)
    return list(wanted.values())


@tells_disk_errors
def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    logging.set_verbosity(logging.WARNING)
    try:
        values = {name: FLAGS[name].value for name in FLAG_NAMES}
        values["seeds"] = _seeds(values["seeds"])
        reproduce(**values | {"output": Path(values["output"]).resolve()})
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _seeds(given: Sequence[str]) -> list[int]:
    if not given or not all(seed.isdigit() for seed in given) or len(set(given)) < len(given):
        raise InputError(f"--seeds are different whole numbers. Received: {','.join(given)}. Write 0,1,2.")
    return [int(seed) for seed in given]


def define_flags() -> None:
    """Defines the flags of the command line."""
    flags.DEFINE_string("output", None, "Folder of datasets, workdirs and results.", required=True)
    flags.DEFINE_list("only", [], "Experiments to run, such as table1,fig3,ablation; default: all.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of every row.")
    flags.DEFINE_bool("docs", False, "Keep the JSON of every run and write the report in docs/.")
    flags.DEFINE_string("first", None, "Prepared dataset, such as Human3.6M, in the place of the studio's.")
    flags.DEFINE_string("other", None, "Prepared dataset in the place of the studio's second room.")
    flags.DEFINE_bool("report", False, "Run nothing; only write the report of what is there.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
