"""The folder of one run: what it is, where its parts lie, and how to open it again."""

import dataclasses
import datetime
import json
import platform
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

import mcss_tf
from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.models import graph, heads, lifter  # noqa: F401  (registers the layers that a saved model names)


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Paths of a run; see "A workdir" in docs/architecture.md."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def metrics_csv(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def validation_csv(self) -> Path:
        return self.path / "validation.csv"

    @property
    def model(self) -> Path:
        return self.path / "model.keras"

    def is_finished(self) -> bool:
        """Returns whether the final model has been written."""
        return self.model.is_file()

    def has_checkpoint(self) -> bool:
        """Returns whether there is a state to resume from."""
        return any(path.suffix in (".npz", ".index") for path in self.checkpoints.glob("ckpt-*"))

    def save_model(self, model: keras.Model) -> None:
        """Writes the final model, whole or not at all."""
        # Keras chooses the format by the suffix, so it writes a sibling with the right one, renamed after.
        partial = self.model.with_name(".partial.keras")
        try:
            model.save(partial)
            partial.replace(self.model)
        finally:
            partial.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its whole config, the trained model, and the content of run.json."""

    config: ConfigDict
    model: keras.Model
    info: dict[str, Any]


def open_workdir(path: str | Path, config: ConfigDict, dataset: Any, command: list[str]) -> Workdir:
    """Creates a workdir, or opens the one that this very run was started in.

    Args:
        path: of the folder.
        config: the whole config.
        dataset: the prepared dataset; its checksum, skeleton and crops are what is kept.
        command: the command line, for the record.

    Raises:
        InputError: the folder holds a run with another config or on another dataset.
    """
    path = Path(path)
    workdir = Workdir(path)
    # A run that ended before its first checkpoint (a wrong path in the config, say) left nothing to protect.
    if (path / "run.json").is_file() and (workdir.has_checkpoint() or workdir.is_finished()):
        _check_same_run(path, config, dataset)
        return workdir
    info = {
        "method": config.method,
        "seed": config.seed,
        "dataset": {
            "path": str(dataset.path.resolve()),
            "checksum": dataset.checksum,
            "skeleton": dataset.skeleton.to_json(),
            "crop": {"size": dataset.crop_size, "context": dataset.crop_context},
        },
        "versions": {
            "mcss_tf": mcss_tf.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "command": command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    files.write_json(path / "config.json", config.to_dict())
    # Last: a folder is a run only when all that describes it is there.
    files.write_json(path / "run.json", info)
    return workdir


def load_run(workdir: str | Path) -> Run:
    """Loads a finished run for evaluation or export.

    Raises:
        InputError: the folder holds no run, or one that has not finished.
    """
    path = Path(workdir)
    if not (path / "run.json").is_file():
        raise InputError(
            f"--workdir must be a folder that mcss_tf.train has written. Received: {path} without run.json. "
            "Train first, or check the path."
        )
    if not Workdir(path).is_finished():
        raise InputError(
            f"The run must be finished. Received: {path} without model.keras. "
            "Give the command that started it again: it resumes from the last checkpoint."
        )
    config = ConfigDict(_read_json(path / "config.json")).lock()
    return Run(
        config, keras.saving.load_model(Workdir(path).model, compile=False), _read_json(path / "run.json")
    )


def _check_same_run(path: Path, config: ConfigDict, dataset: Any) -> None:
    there = _flatten(_read_json(path / "config.json"))
    here = _flatten(json.loads(json.dumps(config.to_dict())))  # JSON has lists for tuples
    differences = [
        f"{key}: {there.get(key, 'absent')} there, {here.get(key, 'absent')} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    checksum = _read_json(path / "run.json")["dataset"]["checksum"]
    if checksum != dataset.checksum:
        differences.append(f"dataset: checksum {checksum[:12]} there, {dataset.checksum[:12]} here")
    if differences:
        raise InputError(
            f"A workdir holds one run. Received: {path}, which holds another ({'; '.join(differences)}). "
            "Give a new --workdir, or the config and data of that run to resume it."
        )


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
