"""Files that grow by lines: cut at the step of a resume, whole after a kill in the middle of a line."""

import csv
import json

import pytest

from mcss_tf.training.journal import RunLog, Table, read_log


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_goes_on_after_the_step_of_a_resume(tmp_path):
    path = tmp_path / "t.csv"
    table = Table(path, 0)
    for step in (2, 4, 10, 12):
        table.append({"step": step, "total": f"{step / 8}"})
    table = Table(path, 10)
    table.append({"step": 11, "total": "x"})
    assert [(row["step"], row["total"]) for row in rows(path)] == [
        ("2", "0.25"),
        ("4", "0.5"),
        ("10", "1.25"),
        ("11", "x"),
    ]


@pytest.mark.parametrize("num_bytes", range(1, 10))
def test_a_row_that_was_cut_is_dropped(tmp_path, num_bytes):
    """`1,0.125` and `12,0.250`: a cut row of step 12 can look like a row of step 1."""
    path = tmp_path / "t.csv"
    table = Table(path, 0)
    table.append({"step": 1, "total": "0.125"})
    whole = path.read_bytes()
    table.append({"step": 12, "total": "0.250"})
    path.write_bytes(path.read_bytes()[:-num_bytes])
    Table(path, 12)
    assert path.read_bytes() == whole


def test_a_table_without_rows_left_starts_anew(tmp_path):
    path = tmp_path / "t.csv"
    Table(path, 0).append({"step": 5, "total": 1})
    table = Table(path, 4)
    table.append({"step": 5, "other": 2})
    assert rows(path) == [{"step": "5", "other": "2"}]


def test_a_log_keeps_what_happened_and_drops_what_is_repeated(tmp_path):
    path = tmp_path / "log.jsonl"
    log = RunLog(path, 0)
    log.write("start", step=0)
    log.write("interval", step=2)
    log.write("checkpoint", step=2)
    log.write("interval", step=4)
    log.write("warning", step=4, text="für später")
    path.write_bytes(path.read_bytes() + b'{"event": "interval", "st')
    RunLog(path, 2).write("resume", step=2)
    assert [(line["event"], line["step"]) for line in read_log(path)] == [
        ("start", 0),
        ("interval", 2),
        ("checkpoint", 2),
        ("warning", 4),
        ("resume", 2),
    ]
    assert all(json.loads(line)["time"].endswith("+00:00") for line in path.read_text().splitlines())
