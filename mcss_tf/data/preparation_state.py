"""What an interrupted preparation has finished, and how it is found again."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

from mcss_tf import files
from mcss_tf.data.manifest import SequenceResult
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.errors import InputError

FOLDER = ".prepare"


def fingerprint(spec: SequenceSpec) -> str:
    """Returns what tells a spec from one that would be prepared otherwise.

    Taken where `sequences` listed it: a spec that travelled to another process and back pickles otherwise.
    """
    return hashlib.sha256(pickle.dumps(spec)).hexdigest()


def open_state(output: Path, arguments: dict[str, Any]) -> Path:
    """Returns the folder of what is finished so far.

    Raises:
        InputError: if `output` holds something else, or was begun with other arguments.
    """
    if (output / "dataset.json").exists():
        raise InputError(
            f"A finished dataset is never overwritten. Received: --output={output}, which holds one. "
            "Remove it or choose another folder."
        )
    state = output / FOLDER
    path = state / "arguments.json"
    if not path.exists():
        # A state without arguments is that of a run which the disk was too full for.
        if output.exists() and (not output.is_dir() or {path.name for path in output.iterdir()} - {FOLDER}):
            raise InputError(
                f"--output must be absent or empty. Received: {output}, which holds something else. "
                "Choose another folder."
            )
        files.write_json(path, arguments)
    before = json.loads(path.read_text())
    now = json.loads(json.dumps(arguments))
    if before != now:
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        raise InputError(
            "An interrupted preparation goes on with the same arguments. "
            f"Received: other {', '.join(changed)} than before in {output}. "
            "Use the same command, or remove that folder."
        )
    return state


def kept(state: Path, output: Path, spec: SequenceSpec, spec_print: str) -> SequenceResult | None:
    """Returns the result of a sequence that an earlier run finished and whose shards are still whole."""
    path = _result_path(state, spec)
    if not path.exists():
        return None
    stored, result = pickle.loads(path.read_bytes())
    shards = [(output / shard["path"], shard["bytes"]) for shard in result.shards]
    is_whole = all(shard.is_file() and shard.stat().st_size == size for shard, size in shards)
    return result if is_whole and stored == spec_print else None


def keep(state: Path, spec_print: str, result: SequenceResult) -> None:
    """Remembers what a sequence of that fingerprint became."""
    with files.atomic_write(_result_path(state, result.spec)) as file:
        pickle.dump((spec_print, result), file)


def _result_path(state: Path, spec: SequenceSpec) -> Path:
    return state / spec.subject / f"{spec.sequence}.pickle"
