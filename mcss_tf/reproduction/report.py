"""Writes what is known so far: results.md, results.json, results.html, figures and their CSV files."""

import dataclasses
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcss_tf import files
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.evaluation import page
from mcss_tf.evaluation.summary import Table
from mcss_tf.reproduction import figures, tables
from mcss_tf.reproduction.grid import Row
from mcss_tf.reproduction.trainings import Results, training_of

# What stands above this line in results.md was written by hand and is kept.
MARK = "<!-- Below this line everything is written by mcss_tf.reproduce. -->"
_HEAD = "# Results\n\nWritten by `python -m mcss_tf.reproduce`.\n"
_CAPTIONS = {
    "labels": "Error against labels (Fig. 3)",
    "retrieval_same": "Retrieval among all subjects (Fig. 6)",
    "retrieval_cross": "Retrieval among other subjects (Fig. 6)",
    "distances": "Embedding distance against pose distance (Fig. 7); bins of 25 mm",
    "matrix": "Distances between instants, all views of an instant side by side (Fig. 1b)",
    "retrieval_rows": "Queries and what was found in other views, best first (Fig. 5)",
    "map": "t-SNE of test images by pose cluster, subject and view",
}


@dataclasses.dataclass(frozen=True)
class Report:
    """Writes the report of a grid.

    Attributes:
        rows, seeds: the grid.
        checksums: of the rooms' crops.
        rooms: prepared datasets, for pictures.
        results: the finished runs.
        base: folder of results.md, results.json and results/benchmark/figures.
        html: path of results.html.
    """

    rows: Sequence[Row]
    seeds: Sequence[int]
    checksums: Mapping[str, str]
    rooms: Mapping[str, PreparedDataset]
    results: Results
    base: Path
    html: Path

    def write(self) -> None:
        """Writes all files; what was not run yet says so."""
        self.results.refresh()
        collected = tables.collect(self.rows, self.seeds, self.results, self.checksums)
        found = [tables.goals(collected), *tables.tables(collected)]
        drawn = self._draw(collected)
        folder = self.base / "results" / "benchmark" / "figures"
        for name, (png, csv) in drawn.items():
            with files.atomic_write(folder / f"{name}.png") as file:
                file.write(png)
            files.write_text(folder / f"{name}.csv", csv)
        files.write_json(self.base / "results.json", collected)
        runs = self._runs()
        files.write_text(self.base / "results.md", self._markdown(found, drawn, runs))
        files.write_text(self.html, _page(found, drawn, runs))

    def _draw(self, collected: tables.Collected) -> figures.Drawn:
        drawn = figures.draw_numbers(collected)
        curves = {}
        for row in self.rows:
            # Curves and pictures are of one network each: those of the first seed.
            result = self.results.find(training_of(row, self.seeds[0], self.checksums))
            measured = result["metrics"].get(row.measured) if result else None
            if measured and row.measured == "pictures" and row.room in self.rooms:
                drawn |= figures.draw_pictures(measured, self.rooms[row.room])
            elif measured and row.experiment == "distances":
                curves[row.method] = measured["distances"]
        return drawn | figures.draw_distances(curves)

    def _runs(self) -> list[dict[str, Any]]:
        """Returns the finished runs of the grid, each once, in the grid's order."""
        runs: dict[int, dict[str, Any]] = {}
        for row in self.rows:
            for seed in self.seeds:
                found = self.results.find(training_of(row, seed, self.checksums))
                if found:
                    runs[id(found)] = found
        return list(runs.values())

    def _markdown(
        self, found: Sequence[Table], drawn: figures.Drawn, runs: Sequence[Mapping[str, Any]]
    ) -> str:
        path = self.base / "results.md"
        head = path.read_text(encoding="utf-8").partition(MARK)[0] if path.is_file() else _HEAD + "\n"
        parts = [f"{head}{MARK}", _summary(runs, self.rooms)]
        parts += [f"## {table.title}\n\n{_markdown_table(table)}\n\n{table.note}".strip() for table in found]
        figures_path = "results/benchmark/figures"
        parts += [
            f"![{_caption(name)}]({figures_path}/{name}.png)\n\n{_caption(name)}: "
            f"[numbers]({figures_path}/{name}.csv)"
            for name in drawn
        ]
        parts.append(f"## Runs\n\n{_markdown_table(_run_table(runs))}")
        parts.append("## Commands\n\n" + "\n".join(f"    {run['command']}" for run in runs))
        return "\n\n".join(parts) + "\n"


def _summary(runs: Sequence[Mapping[str, Any]], rooms: Mapping[str, PreparedDataset]) -> str:
    hours = sum(run["seconds"]["training"] for run in runs) / 3600
    machines = sorted({run["machine"] for run in runs}) or ["no machine yet"]
    versions = sorted({run["code"] for run in runs}) or ["none"]
    lines = [
        f"{len(runs)} networks trained in {hours:.1f} hours on {'; '.join(machines)}; "
        f"code {', '.join(versions)}.",
        "Mean ± standard deviation over seeds; means over the 16 joints other than the pelvis. A row that "
        "was not run says so.",
    ]
    lines += [f"NOTE: {note}" for room in rooms.values() for note in room.metadata.get("notes", [])]
    return "\n\n".join(lines)


def _run_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    header = ["run", "seed", "config", "changes", "minutes", "dataset", "code"]
    rows = [
        [
            run["name"], str(run["seed"]), run["config"],
            ", ".join(f"{name}={value}" for name, value in run["changes"].items() if name != "seed"),
            f"{run['seconds']['training'] / 60:.1f}", run["images_sha256"][:8], run["code"],
        ]
        for run in runs
    ]  # fmt: skip
    return Table("Runs", header, rows)


def _markdown_table(table: Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(found: Sequence[Table], drawn: figures.Drawn, runs: Sequence[Mapping[str, Any]]) -> str:
    sections = [page.section(table.title, _html_table(table), table.note) for table in found]
    sections += [
        page.section(_caption(name), page.image(png, "image/png")) for name, (png, _) in drawn.items()
    ]
    sections.append(page.section("Runs", _html_table(_run_table(runs))))
    commands = "\n".join(html.escape(run["command"]) for run in runs)
    sections.append(page.section("Commands", f'<pre style="white-space:pre-wrap">{commands}</pre>'))
    return page.document("Results", "".join(sections))


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
    rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table.rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _caption(name: str) -> str:
    if name in _CAPTIONS:
        return _CAPTIONS[name]
    return tables.EXPERIMENTS[name].title
