"""What tells one trained network from another, and the JSON files of those that are finished."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from configs import common
from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.reproduction.grid import Row


@dataclasses.dataclass(frozen=True)
class Training:
    """One network: its whole config, the room it sees, and the network it starts from.

    Attributes:
        name: of the first row that asks for it; for files, not for telling networks apart.
        config_name: of the file in configs/.
        changes: what differs from that file, the seed among it.
        settings: the whole config, by dotted name.
        room: key of the grid's rooms.
        images_sha256: checksum of that room's crops.
        start: the network it goes on from, or None.
    """

    name: str
    config_name: str
    changes: Mapping[str, Any]
    settings: Mapping[str, Any]
    room: str
    images_sha256: str
    start: Training | None

    @property
    def key(self) -> str:
        """Sixteen digits that are the same for the same network."""
        start = self.start and self.start.key
        content = json.dumps([self.settings, self.images_sha256, start], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        """The name of its workdir, whichever row asks for it."""
        return f"{self.config_name}.{self.settings['seed']}.{self.key[:8]}"

    def config(self, workdirs: Path) -> ConfigDict:
        """Returns the config that trains it; workdirs of all networks lie in one folder."""
        config = _load(self.config_name)
        config.update_from_flattened_dict(dict(self.changes))
        if self.start:
            config.train.init_from = str(workdirs / self.start.folder)
        return config


def training_of(row: Row, seed: int, checksums: Mapping[str, str]) -> Training:
    """Returns the network that a row needs.

    Args:
        row: of the grid.
        seed: of the run.
        checksums: of the rooms' crops.

    Raises:
        InputError: the row changes a setting that its config does not have, or gives it another type.
    """
    changes = {**row.changes, "seed": seed}
    config = _load(row.config)
    try:
        config.update_from_flattened_dict(changes)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"A row of the grid changes settings of configs/{row.config}.py. Received: {error} in "
            f"{row.experiment}, {row.method}, {row.labels}. Correct the row."
        ) from error
    return Training(
        name=re.sub(r"[^a-z0-9]+", "-", f"{row.experiment} {row.method} {row.labels}".lower()).strip("-"),
        config_name=row.config,
        changes=changes,
        settings=flatten(config),
        room=row.room,
        images_sha256=checksums[row.room],
        start=training_of(row.start, seed, checksums) if row.start else None,
    )


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns a config's settings by dotted name, as JSON holds them."""
    flat: dict[str, Any] = {}

    def visit(prefix: str, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            if isinstance(value, Mapping):
                visit(f"{prefix}{key}.", value)
            else:
                flat[prefix + key] = value

    visit("", json.loads(json.dumps(config.to_dict())))
    return flat


class Results:
    """The JSON files of finished networks in one folder; none is ever overwritten by another network's."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._defaults = flatten(common.get_config())
        self._found: dict[Path, dict[str, Any]] = {}
        self._known: dict[str, dict[str, Any]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Reads what another process has written meanwhile."""
        for path in sorted(self.folder.glob("*.json")):
            if path not in self._found:
                self._found[path] = json.loads(path.read_text(encoding="utf-8"))

    def find(self, training: Training) -> dict[str, Any] | None:
        """Returns what is known of this very network, however its file is named; None if nothing is."""
        key = training.key
        if key not in self._known:
            found = (result for result in self._found.values() if self._is_of(result, training))
            result = next(found, None)
            if result is None:
                return None
            self._known[key] = result
        return self._known[key]

    def write(self, training: Training, result: dict[str, Any]) -> Path:
        """Writes what is known of a network, over the older knowledge of the same network alone."""
        own = (path for path, other in self._found.items() if self._is_of(other, training))
        first = f"{training.name}.{training.settings['seed']}"
        names = [first, f"{first}.{training.key[:8]}"]
        free = (self.folder / f"{name}.json" for name in names)
        path = next(own, None) or next(path for path in free if not path.exists())
        files.write_json(path, result)
        self._found[path] = self._known[training.key] = result
        return path

    def of_other_settings(self, trainings: Iterable[Training]) -> list[str]:
        """Returns the names of files that hold none of these networks, such as those of earlier settings."""
        used = {id(self.find(training)) for training in trainings}
        return [path.name for path, result in self._found.items() if id(result) not in used]

    def _is_of(self, result: dict[str, Any], training: Training) -> bool:
        start = training.start and training.start.key
        same_source = (result["images_sha256"], result["start"]) == (training.images_sha256, start)
        return same_source and not self._differences(result["settings"], training.settings)

    def _differences(self, there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
        """Names settings that differ. One that did not exist there counts as its default, as it was then."""
        before = {name: there.get(name, self._defaults.get(name)) for name in {*there, *here}}
        return [name for name, value in before.items() if name not in here or here[name] != value]


def _load(name: str) -> ConfigDict:
    config = importlib.import_module(f"configs.{name}").get_config()
    return config.lock()
