"""Evaluates a finished run: python -m mcss_tf.evaluate --workdir=DIR --data=DIR

Writes metrics.json and report.html into the workdir and prints the numbers. They belong to the test split of
the run's own dataset; another dataset or split gets files of its own beside them, e.g.
metrics-<dataset>-<checksum>.json or metrics-train.json, so that no number stands where another was.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rich
import rich.box
import rich.table
from absl import app, flags

import mcss_tf
import mcss_tf.startup
from mcss_tf import files
from mcss_tf.data.damage import named_faults, print_skipped
from mcss_tf.data.dataset import SPLITS, PreparedDataset
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.evaluation import lifted
from mcss_tf.evaluation.embedded import EmbeddedSplit, embed
from mcss_tf.evaluation.lifted import LiftedSplit
from mcss_tf.evaluation.refinement import measure_refinement, refinement_tables
from mcss_tf.evaluation.refinement_figure import draw_refined
from mcss_tf.evaluation.report import write_report
from mcss_tf.evaluation.summary import Table, measure, tables
from mcss_tf.geometry.skeleton import Skeleton
from mcss_tf.training.workdir import Run, Workdir, load_run


def evaluate(
    workdir: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    max_queries: int = 2000,
    seed: int = 0,
    batch_size: int = 64,
    baseline: str | Path | None = None,
    on_bad_record: str = "fail",
) -> dict[str, Any]:
    """Measures a finished run on a split, writes metrics and report beside it, prints the tables.

    Args:
        workdir: of the finished run.
        data: prepared dataset.
        split: "train" or "test".
        max_queries: of retrieval, drawn by `seed`; 0: all.
        seed: of the drawn queries.
        batch_size: images per step; changes speed and memory only.
        baseline: workdir of another run, evaluated on the same split, whose numbers are shown beside.
        on_bad_record: "fail", or "skip": damaged records are counted in the metrics file and left out.

    Returns:
        The content of the metrics file.

    Raises:
        InputError: no such run or dataset, an unfinished run, an empty split, another skeleton, or a
            baseline that was not evaluated on this split.
    """
    dataset = PreparedDataset.load(data, require=(split,), on_bad_record=on_bad_record)
    print_skipped(dataset)
    run = load_run(workdir)
    suffix = _suffix(run, dataset, split)
    if run.config.method == "refinement":
        return _evaluate_refinement(run, Path(workdir), dataset, split, suffix, batch_size)
    _check_skeleton(run, dataset)
    beside = None if baseline is None else _load_baseline(Path(baseline), dataset, split)
    if run.config.method == "lifting":
        return _evaluate_lifting(run, Path(workdir), dataset, split, suffix, beside)
    target = run.config.labels.get("target", "canonical")
    with named_faults(dataset):
        images = embed(run.model, dataset, split, batch_size, target)
    metrics = {
        "evaluated": {**_describe(workdir, run, dataset, split, images), "target": target},
        **measure(images, len(dataset.cameras), max_queries, seed),
    }
    files.write_json(Path(workdir) / f"metrics{suffix}.json", metrics)
    _print(metrics, beside)
    write_report(
        Path(workdir) / f"report{suffix}.html",
        metrics=metrics,
        split=images,
        dataset=dataset,
        metrics_csv=Workdir(Path(workdir)).metrics_csv,
        title=f"{run.config.method}: {Path(workdir).resolve().name} on the {split} split",
        baseline=beside,
    )
    print(f"wrote {Path(workdir) / f'metrics{suffix}.json'} and report{suffix}.html")
    return metrics


def _evaluate_refinement(
    run: Run, workdir: Path, dataset: PreparedDataset, split: str, suffix: str, batch_size: int
) -> dict[str, Any]:
    """Measures refined poses against triangulated ones; writes metrics and a figure, prints the tables."""
    _check_joints(run, dataset)
    metrics = {
        "evaluated": {
            "workdir": str(workdir),
            "method": run.config.method,
            "data": str(dataset.path),
            "dataset_checksum": dataset.checksum,
            "is_training_dataset": _is_training_dataset(run, dataset),
            "split": split,
            "num_skipped_records": len(dataset.skipped),
            "mcss_tf": mcss_tf.__version__,
        },
        **measure_refinement(run.model, run.config, dataset, split, batch_size),
    }
    files.write_json(workdir / f"metrics{suffix}.json", metrics)
    _print_tables(refinement_tables(metrics))
    draw_refined(run.model, run.config, dataset, split, workdir / f"skeletons{suffix}.png")
    print(f"wrote {workdir / f'metrics{suffix}.json'} and skeletons{suffix}.png")
    return metrics


def _evaluate_lifting(
    run: Run, workdir: Path, dataset: PreparedDataset, split: str, suffix: str, beside: dict[str, Any] | None
) -> dict[str, Any]:
    """Measures views lifted one by one; writes metrics and a figure of skeletons, prints the tables."""
    views = lifted.lift(run.model, dataset, split, run.config.data.keypoints)
    metrics = {"evaluated": _describe(workdir, run, dataset, split, views), **lifted.measure(views)}
    files.write_json(workdir / f"metrics{suffix}.json", metrics)
    _print_tables(lifted.tables(metrics, beside))
    lifted.draw_skeletons(views, dataset.skeleton, workdir / f"skeletons{suffix}.png")
    print(f"wrote {workdir / f'metrics{suffix}.json'} and skeletons{suffix}.png")
    return metrics


def _check_skeleton(run: Run, dataset: PreparedDataset) -> None:
    """Refuses poses of other joints than the run's; where either has no poses, joints do not matter."""
    if "pose_mm" not in run.model.output or not dataset.index.has_pose.any():
        return
    _check_joints(run, dataset)


def _check_joints(run: Run, dataset: PreparedDataset) -> None:
    trained = Skeleton.from_json(run.info["dataset"]["skeleton"])
    if trained != dataset.skeleton:
        raise InputError(
            f"A run is evaluated on poses of its own skeleton. Received: {dataset.skeleton.name!r} "
            f"{list(dataset.skeleton.joint_names)} in {dataset.path}, but the run was trained on "
            f"{trained.name!r} {list(trained.joint_names)}. Prepare the data with the run's skeleton."
        )


def _is_training_dataset(run: Run, dataset: PreparedDataset) -> bool:
    return run.info["dataset"]["checksum"] == dataset.checksum


def _suffix(run: Run, dataset: PreparedDataset, split: str) -> str:
    """Returns "" for the test split of the run's own dataset, else what tells the others apart."""
    parts = [] if split == "test" else [split]
    if not _is_training_dataset(run, dataset):
        parts += [dataset.path.resolve().name, dataset.checksum[:8]]
    return "".join(f"-{part}" for part in parts)


def _load_baseline(workdir: Path, dataset: PreparedDataset, split: str) -> dict[str, Any]:
    """Returns the baseline's metrics on this very split, whichever of its files holds them."""
    for path in sorted(workdir.glob("metrics*.json")):
        metrics = json.loads(path.read_text(encoding="utf-8"))
        evaluated = metrics["evaluated"]
        if (evaluated["dataset_checksum"], evaluated["split"]) == (dataset.checksum, split):
            return metrics
    raise InputError(
        f"--baseline is a run evaluated on the same split. Received: {workdir} without metrics of the "
        f"{split} split of {dataset.path}. Evaluate it first with the same --data and --split."
    )


def _describe(
    workdir: str | Path, run: Run, dataset: PreparedDataset, split: str, images: EmbeddedSplit | LiftedSplit
) -> dict[str, Any]:
    return {
        "workdir": str(workdir),
        "method": run.info["method"],
        "data": str(dataset.path),
        "dataset_checksum": dataset.checksum,
        "is_training_dataset": _is_training_dataset(run, dataset),
        "split": split,
        "subjects": [dataset.subjects[subject] for subject in np.unique(dataset.index.subject[images.row])],
        "cameras": [dataset.cameras[camera] for camera in np.unique(images.camera)],
        "num_images": len(images),
        "num_instants": len(np.unique(images.row)),
        "num_posed_images": int(images.has_pose.sum()),
        "joints": [dataset.skeleton.joint_names[joint] for joint in dataset.skeleton.non_root],
        "num_skipped_records": len(dataset.skipped),
        "mcss_tf": mcss_tf.__version__,
    }


def _print(metrics: dict[str, Any], baseline: dict[str, Any] | None) -> None:
    _print_tables(tables(metrics, baseline))
    for what, why in metrics["reasons"].items():
        print(f"{what} is null: {why}")


def _print_tables(found: Sequence[Table]) -> None:
    for table in found:
        shown = rich.table.Table(title=table.title, title_justify="left", box=rich.box.SIMPLE_HEAD)
        for position, name in enumerate(table.header):
            shown.add_column(name, justify="right" if position else "left")
        for row in table.rows:
            shown.add_row(*row)
        rich.print(shown)


@tells_disk_errors
def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    try:
        evaluate(**{name: flags.FLAGS[name].value for name in _FLAG_NAMES})
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


_FLAG_NAMES = ("workdir", "data", "split", "max_queries", "seed", "batch_size", "baseline", "on_bad_record")


def define_flags() -> None:
    """Defines the flags of the command line."""
    flags.DEFINE_string("workdir", None, "Folder of the finished run.", required=True)
    flags.DEFINE_string("data", None, "Folder of the prepared dataset.", required=True)
    flags.DEFINE_enum("split", "test", SPLITS, "Which part of the dataset.")
    flags.DEFINE_integer("max_queries", 2000, "Queries of retrieval, drawn by seed; 0: all.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Of the drawn queries.")
    flags.DEFINE_integer("batch_size", 64, "Images per step; speed and memory only.", lower_bound=1)
    flags.DEFINE_string("baseline", None, "Workdir of an evaluated run to show beside.")
    flags.DEFINE_enum(
        "on_bad_record", "fail", ("fail", "skip"), "Damaged records stop it, or are counted and left out."
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
