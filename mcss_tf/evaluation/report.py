"""report.html: one file that shows what an evaluation found, with nothing to download."""

import csv
import html
from pathlib import Path
from typing import Any

import numpy as np

from mcss_tf import files
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.evaluation import figures, gallery, page
from mcss_tf.evaluation.embedded import EmbeddedSplit
from mcss_tf.evaluation.summary import POSE_NAMES, Table, number, tables

# Series of metrics.csv by panel; those that a run does not have are left out.
_PANELS = {
    "Losses": ("total", "metric", "pose"),
    "Terms of the metric loss": ("pull", "push_anchor", "push_positive"),
    "Admissible rows": ("admissible_fraction",),
    "Spread of the embeddings": ("spread",),
    "Threshold": ("threshold",),
    "Learning rate": ("learning_rate",),
}

_MEANING = {
    "MPJPE": "Mean distance between predicted and true joints in millimetres, both canonical: pelvis at the "
    "origin, turned so that the left hip lies on +x. Every mean is over the joints other than the pelvis "
    "(16 of Human3.6M's 17; averaging over 17 would lower each number by 6 %).",
    "N-MPJPE": "MPJPE after the best scale of each predicted pose: size does not count.",
    "PA-MPJPE": "MPJPE after the best rotation, translation and scale of each predicted pose; no reflection.",
    "Mean-PA-MPJPE@K": "Every image with a pose asks for its K nearest images by embedding, among images of "
    "other views: of all subjects, or of other subjects only. Shown is the mean PA-MPJPE between the query's "
    "true pose and those of the images found. The oracle ranks by PA-MPJPE itself; the difference to it is "
    "what the embedding misses.",
    "Same instant in another camera": "Needs no labels. For a frame of one camera, its nearest neighbour "
    "among all of another camera's frames of the same person must be the very same instant. Neighbouring "
    "frames count as misses, so at high frame rates look at the median error in time as well. Chance is one "
    "over the number of frames to choose from.",
}


def write_report(
    path: str | Path,
    *,
    metrics: dict[str, Any],
    split: EmbeddedSplit,
    dataset: PreparedDataset,
    metrics_csv: Path,
    title: str,
    baseline: dict[str, Any] | None = None,
) -> None:
    """Writes the report of one evaluation, atomically.

    Args:
        path: of the HTML file.
        metrics: of `summary.measure`.
        split: the images that were measured.
        dataset: that they come from; their crops are shown.
        metrics_csv: the run's training curves; left out where there is no such file.
        title: name of the run.
        baseline: metrics of another run, shown beside.
    """
    rows = "".join(_retrieval_row(row, split, dataset) for row in gallery.retrieval_rows(split))
    numbers = "".join(page.section(t.title, _table(t), t.note) for t in tables(metrics, baseline))
    sections = [
        f'<div class="pair">{numbers}</div>',
        _not_measured(metrics["reasons"]),
        page.section("Training", _curves(metrics_csv)),
        page.section("Nearest images of other views", rows,
                 "Query in black, the same instant in green; in mm the PA-MPJPE of the true poses."),
        page.section("Predicted and true poses", _poses(split, dataset),
                 "True poses blue, predicted orange; from the best image to the worst by MPJPE."),
        page.section("Distances between instants and views", _distances(split, dataset),
                 "A view-invariant embedding has dark blocks along the diagonal: one instant in all views."),
        page.section("Same instant, camera by camera (%)", _camera_matrix(metrics, dataset)),
        page.section("What the numbers mean", _meaning()),
    ]  # fmt: skip
    evaluated = (
        f"{len(split)} images of {len(np.unique(split.row))} instants; subjects "
        f"{', '.join(dataset.subjects[subject] for subject in np.unique(split.subject))}; "
        f"cameras {', '.join(dataset.cameras[camera] for camera in np.unique(split.camera))}; "
        f"dataset {dataset.path}"
    )
    body = f"<p>{html.escape(evaluated)}</p>{_cards(metrics)}{''.join(sections)}"
    files.write_text(path, page.document(title, body))


def _cards(metrics: dict[str, Any]) -> str:
    cards = []
    if metrics["pose"]:
        cards += [(number(metrics["pose"][key], 0), f"{name}, mm") for key, name in POSE_NAMES.items()]
    if metrics["sync"]:
        hit, chance = metrics["sync"]["hit_at_1"], metrics["sync"]["chance"]
        cards.append((f"{100 * hit:.0f} %", f"same instant in another camera, {hit / chance:.0f} x chance"))
        cards.append((number(metrics["sync"]["median_error_ms"], 0), "ms, median error in time"))
    inner = "".join(f'<div class="card"><b>{value}</b><span>{name}</span></div>' for value, name in cards)
    return f'<div class="cards">{inner}</div>'


def _table(table: Table) -> str:
    def cells(values: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values) + "</tr>"

    return f"<table>{cells(table.header, 'th')}{''.join(cells(row, 'td') for row in table.rows)}</table>"


def _not_measured(reasons: dict[str, str]) -> str:
    items = "".join(
        f"<dt>{html.escape(what)}</dt><dd>{html.escape(why)}</dd>" for what, why in reasons.items()
    )
    return page.section("Not measured", f"<dl>{items}</dl>" if items else "")


def _curves(metrics_csv: Path) -> str:
    if not metrics_csv.is_file():
        return ""
    with open(metrics_csv, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    panels = {
        title: {
            name: np.array([float(row[name] or "nan") for row in rows]) for name in names if name in rows[0]
        }
        for title, names in (_PANELS.items() if rows else ())
    }
    panels = {title: series for title, series in panels.items() if series}
    if not panels:
        return ""
    return page.image(figures.curves(np.array([float(row["step"]) for row in rows]), panels), "image/png")


def _retrieval_row(row: gallery.RetrievalRow, split: EmbeddedSplit, dataset: PreparedDataset) -> str:
    query = _crop(row.query, split, dataset, "query", "query")
    lines = ""
    for title, neighbours in (("other views, anyone", row.same), ("other views, other people", row.cross)):
        found = ""
        for rank, neighbour in enumerate(neighbours, start=1):
            error = neighbour.pa_mpjpe_mm
            caption = f"{rank}" if error is None else f"{rank}: {error:.0f} mm"
            found += _crop(
                neighbour.image, split, dataset, "hit" if neighbour.is_same_instant else "", caption
            )
        lines += f'<div class="found"><h3>{title}</h3>{found}</div>' if found else ""
    return f'<div class="row">{query}<div>{lines}</div></div>'


def _crop(image: int, split: EmbeddedSplit, dataset: PreparedDataset, kind: str, caption: str) -> str:
    jpeg = dataset.read_images(split.row[image : image + 1], split.camera[image : image + 1])[0]
    return page.view(dataset, jpeg, int(split.row[image]), int(split.camera[image]), kind, caption)


def _poses(split: EmbeddedSplit, dataset: PreparedDataset) -> str:
    picked = gallery.best_to_worst(split)
    pictures = gallery.skeleton_pictures(split, picked, dataset.skeleton)
    shown = "".join(
        f'<div class="pose">{_crop(image, split, dataset, "", label)}{page.image(picture, "image/png")}</div>'
        for (image, label, _), picture in zip(picked, pictures, strict=True)
    )
    return f'<div class="poses">{shown}</div>' if shown else ""


def _distances(split: EmbeddedSplit, dataset: PreparedDataset) -> str:
    images, num_views = gallery.instants_by_views(split)
    if not num_views:
        return ""
    embedding = split.embedding[images].astype(np.float64)
    distances = np.linalg.norm(embedding[:, None] - embedding[None], axis=-1)
    labels = [f"{split.time_s[i]:.2f} s {dataset.cameras[split.camera[i]]}" for i in images]
    return page.image(figures.distance_matrix(distances, labels, num_views), "image/png")


def _camera_matrix(metrics: dict[str, Any], dataset: PreparedDataset) -> str:
    if not metrics["sync"]:
        return ""
    return page.image(figures.camera_matrix(metrics["sync"]["per_pair"], dataset.cameras), "image/png")


def _meaning() -> str:
    items = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in _MEANING.items())
    return f"<dl>{''.join(items)}</dl>"
