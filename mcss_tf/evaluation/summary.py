"""Everything measured on one split: the numbers of metrics.json, and the tables that show them."""

import dataclasses
from typing import Any

import numpy as np

from mcss_tf.evaluation.embedded import EmbeddedSplit
from mcss_tf.evaluation.pose import pose_metrics
from mcss_tf.evaluation.retrieval import DATABASES, RANKS, mean_pa_mpjpe
from mcss_tf.evaluation.sync import sync_metrics

PERCENT_NAMES = {"pck_150": "PCK at 150 mm", "auc": "AUC up to 150 mm"}
POSE_NAMES = {"n_mpjpe_mm": "N-MPJPE", "mpjpe_mm": "MPJPE", "pa_mpjpe_mm": "PA-MPJPE"}


def measure(split: EmbeddedSplit, num_cameras: int, max_queries: int, seed: int = 0) -> dict[str, Any]:
    """Computes pose errors, retrieval and the label-free check, each where the data allows it.

    Args:
        split: embedded images.
        num_cameras: of the dataset.
        max_queries: of retrieval; 0: all images.
        seed: of the draw of queries.

    Returns:
        `pose`, `retrieval` and `sync` as metrics.json holds them, None where they cannot be had, and
        `reasons` {"retrieval.cross": why, ...}.
    """
    reasons: dict[str, str] = {}
    pose = None
    if not split.has_pose.any():
        reasons["pose"] = reasons["retrieval"] = "The split has no 3D poses."
    elif split.predicted_mm is None:
        reasons["pose"] = "The model has no pose head: it was trained without 3D poses."
    else:
        posed = split.has_pose
        pose = pose_metrics(
            split.predicted_mm[posed], split.pose_mm[posed], split.pose_mask[posed], split.action[posed]
        )
    retrieval = mean_pa_mpjpe(split, max_queries, seed)
    if retrieval is not None:
        reasons |= {f"retrieval.{name}": why for name, why in retrieval.pop("reasons").items()}
    sync = sync_metrics(split, num_cameras)
    if sync is None:
        reasons["sync"] = "No subject has two cameras with a common instant and two frames to choose from."
    return {"pose": pose, "retrieval": retrieval, "sync": sync, "reasons": reasons}


@dataclasses.dataclass(frozen=True)
class Table:
    """A titled table of text cells with a note below."""

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""


def tables(metrics: dict[str, Any], baseline: dict[str, Any] | None = None) -> list[Table]:
    """Returns the tables of an evaluation, with the baseline's columns where one is given."""
    runs = [metrics] if baseline is None else [metrics, baseline]
    names = ["this run"] if baseline is None else ["this run", "baseline"]
    found = [_pose_table(runs, names), _sync_table(runs, names)]
    found += [_retrieval_table(database, runs, names) for database in DATABASES]
    found += [_action_table(metrics)]
    return [table for table in found if table.rows]


def number(value: float | None, digits: int = 1) -> str:
    """Returns a number for people; a dash where there is none."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _get(metrics: dict[str, Any], path: str) -> Any:
    """Returns the entry at a dotted path, None where any part of it is missing or None."""
    value: Any = metrics
    for key in path.split("."):
        value = None if value is None else value.get(key)
    return value


def _pose_table(runs: list[dict[str, Any]], names: list[str]) -> Table:
    rows = []
    for key, name in POSE_NAMES.items():
        values = [_get(run, f"pose.{key}") for run in runs]
        if any(value is not None for value in values):
            rows.append([f"{name} (mm)", *map(number, values)])
    for key, name in PERCENT_NAMES.items():
        values = [_get(run, f"pose.{key}") for run in runs]
        if any(value is not None for value in values):
            rows.append([f"{name} (%), higher is better", *map(number, values)])
    target = _get(runs[0], "evaluated.target") or "canonical"
    return Table(
        "Canonical 3D pose" if target == "canonical" else f"3D pose in the axes of the {target} frame",
        ["lower is better", *names],
        rows,
        "Means over the joints other than the root (16 of Human3.6M's 17), over all images with a pose.",
    )


def _sync_table(runs: list[dict[str, Any]], names: list[str]) -> Table:
    if all(run["sync"] is None for run in runs):
        return Table("", [], [])
    hits, chances = ([_get(run, f"sync.{key}") for run in runs] for key in ("hit_at_1", "chance"))
    ratios = [hit / chance if hit is not None else None for hit, chance in zip(hits, chances, strict=True)]
    rows = [
        ["same instant found (%)", *(number(None if hit is None else 100 * hit) for hit in hits)],
        ["by chance (%)", *(number(None if chance is None else 100 * chance, 2) for chance in chances)],
        ["times chance", *map(number, ratios)],
        ["median error (ms)", *(number(_get(run, "sync.median_error_ms"), 0) for run in runs)],
    ]
    return Table(
        "Same instant in another camera, without labels",
        ["", *names],
        rows,
        "For a frame of one camera: is its nearest neighbour among all of another camera's frames of "
        "the same person the same instant, exactly?",
    )


def _retrieval_table(database: str, runs: list[dict[str, Any]], names: list[str]) -> Table:
    rows = []
    for k in RANKS:
        cells = [_get(run, f"retrieval.{database}.{k}") for run in runs]
        if any(cells):
            model = [number(_get(run, f"retrieval.{database}.{k}.model_mm")) for run in runs]
            oracle = next(cell["oracle_mm"] for cell in cells if cell)
            difference = [number(_get(run, f"retrieval.{database}.{k}.difference_mm")) for run in runs]
            rows.append([str(k), *model, number(oracle), *difference])
    whose = "all subjects" if database == "same" else "other subjects"
    retrieval = next((run["retrieval"] for run in runs if run["retrieval"]), {})
    return Table(
        f"Retrieval from other views, {whose}: Mean-PA-MPJPE@K (mm)",
        ["K", *names, "oracle", *(f"{name} − oracle" for name in names)],
        rows,
        f"{retrieval.get('num_queries')} queries out of {retrieval.get('num_images')} images with a pose.",
    )


def _action_table(metrics: dict[str, Any]) -> Table:
    actions = _get(metrics, "pose.per_action") or {}
    rows = [
        [action, *(number(values[key]) for key in POSE_NAMES), str(values["num_poses"])]
        for action, values in actions.items()
    ]
    return Table("Canonical 3D pose per action (mm)", ["action", *POSE_NAMES.values(), "images"], rows)
