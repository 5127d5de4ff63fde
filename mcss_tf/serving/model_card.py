"""MODEL_CARD.md of an export: what the model is, what it learned from, how well it does, where it fails."""

import json
from pathlib import Path
from typing import Any

CARD = Path("assets.extra") / "MODEL_CARD.md"

TEMPLATE = """# {name}

A view-invariant embedding of the human pose{poses}, from a single image of one person.
Multiview-consistent semi-supervised learning (MCSS): images of one instant from several synchronised,
uncalibrated cameras are pulled together, images of other instants pushed apart.

## Use

Crops of {size} pixels around one person; the square is {context} times the longer side of the person.
Convolutions compute in {precision}. Signatures, units and the order of the joints are in
`../assets/mcss.json`.

## Data and supervision

{training}

## Measured

{metrics}

## Limits

- One person per crop. Who is in a whole picture must be found first.
- A pose is canonical: relative to the root and turned so that the hips face one way. Where the person
  stands and faces in the world is not predicted. It is undefined where the hip bone is vertical.
- It knows the people, clothes, cameras and actions of its training data; on others errors are larger, and
  nothing in the outputs says so. It knows occluded and cut-off people only as far as those data show them.
- It must not be used to identify people, or for decisions on health or safety.

## Cite

Rahul Mitra, Nitesh B. Gundavarapu, Abhishek Sharma, Arjun Jain. *Multiview-Consistent Semi-Supervised
Learning for 3D Human Pose Estimation.* CVPR 2020. Written by {created_by}.
"""


def write_model_card(
    version: Path, name: str, metadata: dict[str, Any], config: Any, metrics_file: Path
) -> None:
    """Writes the card.

    Args:
        version: folder of the SavedModel.
        name: of the model.
        metadata: of the export.
        config: of the run.
        metrics_file: that `evaluate` writes; it need not exist.
    """
    dataset = metadata["training"]["dataset"]
    labels = config.labels
    pose = metadata["pose"]
    training = [
        f"- Dataset: `{Path(dataset['path']).name}`, SHA-256 of its dataset.json `{dataset['checksum']}`.",
        f"- 3D labels: subjects {labels.subjects}, share {labels.fraction}."
        if pose
        else "- 3D labels: none.",
        f"- Seed {metadata['training']['seed']}, trained {metadata['training']['started']}, by "
        f"`{' '.join(metadata['training']['command'])}`.",
    ]
    if pose:
        training.append(f"- {len(pose['joint_names'])} joints and the root, {pose['root_joint']}.")
    path = version / CARD
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        TEMPLATE.format(
            name=name,
            poses=" and the canonical 3D pose" if pose else "",
            size=metadata["crop"]["size"],
            context=metadata["crop"]["context"],
            precision=metadata["precision"],
            training="\n".join(training),
            metrics=_metrics(metrics_file),
            created_by=metadata["created_by"],
        )
    )


def _metrics(path: Path) -> str:
    if not path.is_file():
        return "Not evaluated: the run has no metrics.json (`python -m mcss_tf.evaluate`)."
    rows = ["| metric | value |", "|---|---|"]
    rows += [f"| `{name}` | {value} |" for name, value in _flat(json.loads(path.read_text()))]
    return "Written by `mcss_tf.evaluate` for the float32 network.\n\n" + "\n".join(rows)


def _flat(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Returns the numbers and short texts of nested dictionaries with their paths; lists are left out."""
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, float):
            found.append((prefix + key, f"{value:.4g}"))
        elif isinstance(value, int | str):
            found.append((prefix + key, str(value)))
    return found
