"""The experiments' figures, each with its numbers as CSV; told apart by colour, marker and line alike."""

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.evaluation.figures import distance_matrix
from mcss_tf.reproduction.keypoint_rows import NOISE
from mcss_tf.reproduction.tables import Collected

# Okabe and Ito's colours, which colour-blind people tell apart, from dark to light.
_STYLES = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    {"color": "#009E73", "marker": "^", "linestyle": ":"},
    {"color": "#CC79A7", "marker": "D", "linestyle": "-."},
)
_MARKERS = "os^Dv<>p*X"
_ERROR = "pose.n_mpjpe_mm"
_LABELS = ("5 % of S1", "10 % of S1", "50 % of S1", "S1", "S1+S5", "All")
RANKS = range(1, 21)
# Of a bin of Fig. 7: the mean of fewer says little.
_MIN_PAIRS = 30

# Name -> (PNG, CSV).
Drawn = dict[str, tuple[bytes, str]]


def draw_numbers(collected: Collected) -> Drawn:
    """Draws the figures of the tables' numbers; one of which nothing was run is left out."""
    drawn: Drawn = {}
    lines = _label_lines(collected.get("fig3", {}))
    if lines:
        drawn["labels"] = _curves(lines, "labelled images of", "N-MPJPE (mm)", ticks=_LABELS)
    for database in ("same", "cross"):
        lines = _retrieval_lines(collected.get("retrieval", {}), database)
        if lines:
            title = "all subjects" if database == "same" else "other subjects"
            drawn[f"retrieval_{database}"] = _curves(
                lines, f"K nearest images of other views, {title}", "Mean-PA-MPJPE@K (mm)"
            )
    lines = _noise_lines(collected.get("refinement_noise", {}))
    if lines:
        drawn["refinement_noise"] = _curves(
            lines, "error of the detections, % of CPN's", "MPJPE, absolute (mm)"
        )
    for experiment, methods in collected.items():
        if experiment.startswith("ablation_") and any(_values(methods, m) for m in methods):
            drawn[experiment] = _ablation(methods)
    return drawn


def draw_distances(curves: Mapping[str, Mapping[str, Any]]) -> Drawn:
    """Draws Fig. 7: {method: `distances.distance_metrics`}."""
    lines = {
        f"{method}, {view.replace('_', ' ')}": [
            [x, y, 0.0] for x, y, count in found[view]["bins"] if count >= 30
        ]
        for method, found in curves.items()
        for view in ("same_view", "other_view")
        if found and found[view]
    }
    if not lines:
        return {}
    return {"distances": _curves(lines, "canonical MPJPE between two images (mm)", "mean embedding distance")}


def draw_pictures(pictures: Mapping[str, Any], dataset: PreparedDataset) -> Drawn:
    """Draws Fig. 1b, Fig. 5 and the maps of one network: `measure`'s "pictures" on this dataset."""
    drawn: Drawn = {}
    matrix = pictures["matrix"]
    if matrix["images"]:
        labels = [f"{row} {dataset.cameras[camera]}" for row, camera in matrix["images"]]
        rows = [
            ["", *labels],
            *([label, *line] for label, line in zip(labels, matrix["distances"], strict=True)),
        ]
        image = distance_matrix(np.array(matrix["distances"]), labels, matrix["num_views"])
        drawn["matrix"] = image, _csv(rows)
    if pictures["rows"]:
        drawn["retrieval_rows"] = _retrieval_rows(pictures["rows"], dataset)
    if pictures["map"]:
        drawn["map"] = _map(pictures["map"])
    return drawn


def _label_lines(methods: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    """Returns for every method rows [position of the labels, mean, standard deviation]."""
    lines = {}
    for method, cells in methods.items():
        found = [
            (place, _values(methods, method, labels))
            for place, labels in enumerate(_LABELS)
            if labels in cells
        ]
        lines[method] = [[place, *_mean_and_spread(values)] for place, values in found if values]
    return {method: rows for method, rows in lines.items() if rows}


def _retrieval_lines(methods: Mapping[str, Any], database: str) -> dict[str, list[list[float]]]:
    lines: dict[str, list[list[float]]] = {}
    for method, cells in methods.items():
        for labels, cell in cells.items():
            for number, name in (("model_mm", f"{method}, labels {labels}"), ("oracle_mm", "oracle")):
                values = {k: cell.get(f"retrieval.{database}.{k}.{number}", []) for k in RANKS}
                known = {k: [v for v in of if v is not None] for k, of in values.items()}
                rows = [[k, *_mean_and_spread(of)] for k, of in known.items() if of]
                if rows:
                    lines[name] = rows
    oracle = lines.pop("oracle", None)
    return lines | {"oracle": oracle} if oracle else lines


def _noise_lines(networks: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    # Triangulation is the same beside every network.
    names = {"dlt": "DLT", "weighted_dlt": "weighted DLT", "refined": "refined, {}"}
    lines: dict[str, list[list[float]]] = {}
    for (measured, name), (network, cells) in itertools.product(names.items(), networks.items()):
        found = [
            (scale, cell.get(f"noise.{scale}.{measured}.mpjpe_mm"))
            for scale in NOISE
            for cell in cells.values()
        ]
        rows = [[scale, *_mean_and_spread(values)] for scale, values in found if values]
        if rows:
            lines[name.format(network)] = rows
    return lines


def _values(methods: Mapping[str, Any], method: str, labels: str = "S1") -> list[float]:
    return [v for v in methods[method].get(labels, {}).get(_ERROR, []) if v is not None]


def _mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _curves(
    lines: Mapping[str, Sequence[Sequence[float]]], across: str, up: str, ticks: Sequence[str] = ()
) -> tuple[bytes, str]:
    """Draws named rows [x, mean, spread]; `ticks` name the x 0, 1, 2, ..."""
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, rows) in enumerate(lines.items()):
        x, y, spread = np.array(rows).T
        # Neighbouring markers of twenty ranks would run into one another.
        every = max(1, len(x) // 10)
        axes.errorbar(
            x, y, yerr=spread if spread.any() else None, label=name, capsize=3, linewidth=1.6, markersize=5,
            markevery=every, errorevery=every, **_STYLES[place % len(_STYLES)],
        )  # fmt: skip
    if ticks:
        axes.set_xticks(range(len(ticks)), ticks)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    _calm(axes)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    rows = [["line", across, up, "standard deviation over seeds"]]
    for name, line in lines.items():
        rows += [[name, ticks[int(x)] if ticks else x, *rest] for x, *rest in line]
    return _png(figure), _csv(rows)


def _ablation(methods: Mapping[str, Any]) -> tuple[bytes, str]:
    names = [method for method in methods if _values(methods, method)]
    figure = Figure(figsize=(6.0, 1.0 + 0.32 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    rows = [["row", "N-MPJPE (mm)", "standard deviation over seeds"]]
    for place, name in enumerate(reversed(names)):
        middle, spread = _mean_and_spread(_values(methods, name))
        axes.errorbar(middle, place, xerr=spread or None, marker="o", color="#0072B2", capsize=3)
        axes.annotate(f"{middle:.1f}", (middle, place), (6, 5), textcoords="offset points", fontsize=8)
    rows += [[name, *_mean_and_spread(_values(methods, name))] for name in names]
    axes.set_yticks(range(len(names)), reversed(names))
    axes.set_ylim(-0.6, len(names) - 0.2)
    axes.margins(x=0.15)
    axes.set_xlabel("N-MPJPE on the subjects held out (mm)")
    _calm(axes)
    return _png(figure), _csv(rows)


def _map(content: Mapping[str, Any]) -> tuple[bytes, str]:
    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    x, y = np.array(content["x"]), np.array(content["y"])
    for place, name in enumerate(("pose", "subject", "view")):
        axes = figure.add_subplot(1, 3, place + 1)
        groups = np.array(content[name])
        shades = np.linspace(0.05, 0.9, len(np.unique(groups)))
        for number, (group, shade) in enumerate(zip(np.unique(groups), shades, strict=True)):
            inside = groups == group
            colour = colormaps["cividis"](shade)
            axes.scatter(x[inside], y[inside], 9, color=colour, marker=_MARKERS[number % len(_MARKERS)])
        silhouette = content["silhouette"][name]
        shown = "–" if silhouette is None else f"{silhouette:.2f}"
        axes.set_title(f"by {'pose cluster' if name == 'pose' else name}: silhouette {shown}", fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("t-SNE, first axis", fontsize=8)
        axes.set_ylabel("t-SNE, second axis", fontsize=8)
    names = ("x", "y", "pose", "subject", "view")
    return _png(figure), _csv([names, *zip(*(content[name] for name in names), strict=True)])


def _retrieval_rows(rows: Sequence[Mapping[str, Any]], dataset: PreparedDataset) -> tuple[bytes, str]:
    """Draws queries with what was found among all subjects and, right of the gap, among other subjects."""
    width = 1 + max(len(row["same"]) + len(row["cross"]) for row in rows)
    figure = Figure(figsize=(1.15 * width, 1.45 * len(rows)), layout="constrained")
    lines = [["query", "database", "rank", "row", "camera", "is the same instant", "PA-MPJPE (mm)"]]
    for line, row in enumerate(rows):
        _show(figure, (len(rows), width, line * width + 1), row["query"], dataset, "query", "black")
        column = 2
        for database in ("same", "cross"):
            for rank, found in enumerate(row[database]):
                error, is_hit = found["pa_mpjpe_mm"], found["is_same_instant"]
                title = "" if error is None else f"{error:.0f} mm"
                title = f"{title}, same instant" if is_hit else f"{title}, {database}"
                place = (len(rows), width, line * width + column)
                _show(figure, place, found["image"], dataset, title, "#009E73" if is_hit else None)
                lines.append([str(row["query"]), database, rank + 1, *found["image"], is_hit, error])
                column += 1
    return _png(figure), _csv(lines)


def _show(
    figure: Figure, place: tuple[int, int, int], image: Sequence[int], dataset: PreparedDataset,
    title: str, edge: str | None,
) -> None:  # fmt: skip
    axes = figure.add_subplot(*place)
    (jpeg,) = dataset.read_images(np.array(image[:1]), np.array(image[1:]))
    axes.imshow(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=6, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(edge is not None)
        spine.set_color(edge or "white")
        spine.set_linewidth(2)


def _calm(axes: Any) -> None:
    axes.grid(color="#E3E3E3", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
