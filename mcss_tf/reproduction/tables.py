"""Tables out of the runs' JSON: means and spreads over seeds, and the numbers that were to be reached."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mcss_tf.evaluation.summary import Table
from mcss_tf.reproduction.grid import EXPERIMENTS, Row
from mcss_tf.reproduction.trainings import Results, training_of

# experiment -> method -> labels -> {"seeds": [...], metric: [one number a seed]}; what stopped has "stopped".
Collected = dict[str, dict[str, dict[str, dict[str, Any]]]]
NOT_RUN = "not run"


def collect(
    rows: Sequence[Row], seeds: Sequence[int], results: Results, checksums: Mapping[str, str]
) -> Collected:
    """Gathers every number of the tables and figures; a row that was never run has no seeds.

    Args:
        rows: of the grid.
        seeds: to look for.
        results: the finished runs.
        checksums: of the rooms' crops.
    """
    collected: Collected = {}
    for row in rows:
        if row.experiment not in EXPERIMENTS:
            continue
        experiment = EXPERIMENTS[row.experiment]
        names = (*experiment.columns, *experiment.further)
        cell: dict[str, Any] = {"seeds": []}
        for seed in seeds:
            found = results.find(training_of(row, seed, checksums))
            if found and found["stopped"]:
                cell.setdefault("stopped", {})[str(seed)] = found["stopped"]
            elif found and row.measured in found["metrics"]:
                cell["seeds"].append(seed)
                for name in names:
                    cell.setdefault(name, []).append(look_up(found["metrics"][row.measured], name))
        collected.setdefault(row.experiment, {}).setdefault(row.method, {})[row.labels] = cell
    return collected


def look_up(tree: Mapping[str, Any] | None, name: str) -> float | None:
    """Returns the number at a dotted name; None where any part of the way is missing."""
    value: Any = tree
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def tables(collected: Collected) -> list[Table]:
    """Returns one table per experiment, in the grid's order."""
    return [_table(name, methods) for name, methods in collected.items()]


def _table(name: str, methods: Mapping[str, Mapping[str, Any]]) -> Table:
    experiment = EXPERIMENTS[name]
    cells = [(method, labels, cell) for method, of in methods.items() for labels, cell in of.items()]
    rows = [
        [method, labels, *(_shown(cell, column) for column in experiment.columns), _seeds(cell)]
        for method, labels, cell in cells
    ]
    return Table(
        experiment.title, ["method", "labels", *experiment.columns.values(), "seeds"], rows, experiment.note
    )


def _seeds(cell: Mapping[str, Any]) -> str:
    if cell.get("stopped"):
        return f"{len(cell['seeds'])}; {len(cell['stopped'])} collapsed or diverged"
    return str(len(cell["seeds"])) if cell["seeds"] else NOT_RUN


def _shown(cell: Mapping[str, Any], name: str) -> str:
    return show(name, cell.get(name, []))


def show(name: str, values: Sequence[float | None]) -> str:
    """Returns mean and, from two seeds on, standard deviation, for people; a dash where there is nothing."""
    known = np.array([value for value in values if value is not None], float)
    if not len(known):
        return "–"
    known *= 100 if name.endswith(("hit_at_1", "largest_gap")) else 1
    digits = 2 if name.endswith("rho") or name.startswith("all.") else 1
    spread = f" ± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{known.mean():.{digits}f}{spread}"


def mean(collected: Collected, experiment: str, method: str, labels: str, name: str) -> float | None:
    """Returns the mean of a number over seeds; None where it is not there."""
    values = collected.get(experiment, {}).get(method, {}).get(labels, {}).get(name, [])
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


_ERROR = "pose.n_mpjpe_mm"


def _number(row: tuple[str, str, str], name: str, factor: float = 1.0) -> Callable[[Collected], float | None]:
    def number(collected: Collected) -> float | None:
        value = mean(collected, *row, name)
        return None if value is None else factor * value

    return number


# A row and the name of a number in it.
Place = tuple[tuple[str, str, str], str]


def _ratio(of: Place, to: Place) -> Callable[[Collected], float | None]:
    def ratio(collected: Collected) -> float | None:
        above, below = (mean(collected, *row, name) for row, name in (of, to))
        return None if above is None or below is None else above / below

    return ratio


def _more(of: Place, than: Place, sign: int = 1) -> Callable[[Collected], float | None]:
    """Returns a function that says by how many percent one number is above another (sign -1: below)."""

    def more(collected: Collected) -> float | None:
        ratio = _ratio(of, than)(collected)
        return None if ratio is None else 100 * (sign * ratio - sign)

    return more


def _gain(better: tuple[str, str, str], worse: tuple[str, str, str]) -> Callable[[Collected], float | None]:
    """Returns a function that says by how many percent one row's N-MPJPE is below another's."""
    return _more((better, _ERROR), (worse, _ERROR), sign=-1)


_OURS = ("table1", "MCSS", "S1")
_LIFTED = ("lifting_long", "own and other view", "none")
_PLACED = ("lifting_long", "own and other view, placed", "none")
_SUPERVISED = ("lifting_long", "3D labels", "all")
_REFINED = ("refinement_pairs", "the paper's width, 5,000 steps", "none")
_SWEPT = ("refinement_noise", "the paper's width, 5,000 steps", "none")
# What is said, at least (+1) or at most (-1) which number, and how to find it.
GOALS: list[tuple[str, int, float, str, Callable[[Collected], float | None]]] = [
    ("MCSS below the baseline, N-MPJPE, labels S1", 1, 25, "%", _gain(_OURS, ("table1", "Baseline", "S1"))),
    ("the same with the paper's settings", 1, 25, "%",
     _gain(("table1", "MCSS, paper's settings", "S1"), ("table1", "Baseline, paper's settings", "S1"))),
    ("cross-subject retrieval minus the oracle, K = 1", -1, 30, "mm",
     _number(("retrieval", "MCSS", "S1"), "retrieval.cross.1.difference_mm")),
    ("same instant in another view at rank 1", 1, 60, "%",
     _number(("retrieval", "MCSS", "S1"), "sync.hit_at_1", 100)),
    ("canonical targets below global ones, N-MPJPE", 1, 25, "%",
     _gain(("table2", "MCSS, canonical", "S1"), ("table2", "MCSS, global", "S1"))),
    ("Spearman's rho over all pairs, same view", 1, 0.7, "",
     _number(("distances", "MCSS", "S1"), "distances.same_view.rho")),
    ("Spearman's rho over all pairs, other view", 1, 0.7, "",
     _number(("distances", "MCSS", "S1"), "distances.other_view.rho")),
    ("the same over the points of Fig. 7's curve, same view", 1, 0.7, "",
     _number(("distances", "MCSS", "S1"), "distances.same_view.curve_rho")),
    ("the same, other view", 1, 0.7, "",
     _number(("distances", "MCSS", "S1"), "distances.other_view.curve_rho")),
    ("largest gap between these two curves", -1, 10, "%",
     _number(("distances", "MCSS", "S1"), "distances.largest_gap", 100)),
    ("MCSS on 10 % of S1's labels below the baseline on all of S1's, N-MPJPE", 1, 0, "%",
     _gain(("fig3", "MCSS", "10 % of S1"), ("fig3", "Baseline", "S1"))),
    ("lifting without labels, the paper's two terms, above lifting with 3D labels, MPJPE", -1, 15, "%",
     _more((_LIFTED, "pose.mpjpe_mm"), (_SUPERVISED, "pose.mpjpe_mm"))),
    ("the same, PA-MPJPE", -1, 10, "%",
     _more((_LIFTED, "pose.pa_mpjpe_mm"), (_SUPERVISED, "pose.pa_mpjpe_mm"))),
    ("the same with poses placed by the keypoints, MPJPE", -1, 15, "%",
     _more((_PLACED, "pose.mpjpe_mm"), (_SUPERVISED, "pose.mpjpe_mm"))),
    ("the same, PA-MPJPE", -1, 10, "%",
     _more((_PLACED, "pose.pa_mpjpe_mm"), (_SUPERVISED, "pose.pa_mpjpe_mm"))),
    ("lifting by re-projection into the own view alone, MPJPE", 1, 250, "mm",
     _number(("lifting_losses", "own view alone", "none"), "pose.mpjpe_mm")),
    ("refined two-view poses against DLT, MPJPE", -1, -35, "%",
     _more((_REFINED, "all.refined.mpjpe_mm"), (_REFINED, "all.dlt.mpjpe_mm"))),
    ("the same against DLT weighted by confidence", -1, 0, "%",
     _more((_REFINED, "all.refined.mpjpe_mm"), (_REFINED, "all.weighted_dlt.mpjpe_mm"))),
    ("error over noise of the detections: slope of refined poses over DLT's", -1, 1, "",
     _ratio((_SWEPT, "slope.refined"), (_SWEPT, "slope.dlt"))),
    ("exact keypoints, lens not undone: refined, MPJPE", -1, 2, "mm",
     _number(("refinement_pairs", "exact keypoints, lens not undone", "none"), "all.refined.mpjpe_mm")),
]  # fmt: skip


def goals(collected: Collected) -> Table:
    """Returns the table of what was to be reached."""
    rows = []
    for text, sign, wanted, unit, find in GOALS:
        found = find(collected)
        relation = "at least" if sign > 0 else "at most"
        is_reached = found is not None and sign * found >= sign * wanted
        digits = 1 if unit else 2
        rows.append(
            [
                text,
                f"{relation} {wanted:g} {unit}".strip(),
                NOT_RUN if found is None else f"{found:.{digits}f} {unit}".strip(),
                "–" if found is None else ("yes" if is_reached else "no"),
            ]
        )
    return Table("Numbers to reach", ["", "wanted", "found", "reached"], rows, "Means over the seeds so far.")
