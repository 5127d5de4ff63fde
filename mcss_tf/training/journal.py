"""Files of a run that grow line by line: a resumed run goes on in them without a gap or a repetition."""

import csv
import datetime
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcss_tf import files

# What happened, rather than what a step was: kept when a run goes back to an earlier step.
_EVENTS_TO_KEEP = {"start", "resume", "warning", "end"}


class Table:
    """A CSV with a row per interval of steps.

    Args:
        path: of the CSV.
        first_step: steps done before (a resumed run); what later steps left is dropped.
    """

    def __init__(self, path: Path, first_step: int):
        self._path = path
        lines = _whole_lines(path)
        self._columns = next(csv.reader(lines[:1]), None)
        rows = [line for line in lines[1:] if _is_number_up_to(line.partition(",")[0], first_step)]
        _keep(path, lines, lines[:1] + rows if rows else [])
        if not rows:
            self._columns = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row, whose keys are those of the first."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=self._columns or list(row), lineterminator="\n")
        if self._columns is None:
            writer.writeheader()
            self._columns = list(row)
        writer.writerow(row)
        _append(self._path, text.getvalue())


class RunLog:
    """What happened in a run, one JSON object a line: `event`, `time` and what belongs to the event.

    Args:
        path: of the log.
        first_step: steps done before; intervals and checkpoints of later steps are dropped.
    """

    def __init__(self, path: Path, first_step: int):
        self._path = path
        lines = _whole_lines(path)
        _keep(path, lines, [line for line in lines if _is_kept(line, first_step)])

    def write(self, event: str, **fields: Any) -> None:
        """Adds an event."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        _append(self._path, json.dumps({"event": event, "time": now, **fields}, ensure_ascii=False) + "\n")


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Returns the events of a log, without a last line that was cut off."""
    return [json.loads(line) for line in _whole_lines(Path(path))]


def _is_kept(line: str, first_step: int) -> bool:
    event = json.loads(line)
    return event["event"] in _EVENTS_TO_KEEP or event["step"] <= first_step


def _is_number_up_to(text: str, limit: int) -> bool:
    return text.isdigit() and int(text) <= limit


def _whole_lines(path: Path) -> list[str]:
    """Returns the lines of a file; the last one only if it was written to its end."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return lines if not lines or lines[-1].endswith("\n") else lines[:-1]


def _keep(path: Path, lines: list[str], kept: list[str]) -> None:
    if path.is_file() and (len(kept) < len(lines) or path.stat().st_size != len("".join(lines).encode())):
        files.write_text(path, "".join(kept))


def _append(path: Path, text: str) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:  # that of a write does not say of which file
        raise OSError(error.errno, error.strerror, str(path)) from error
