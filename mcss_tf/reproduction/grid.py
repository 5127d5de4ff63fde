"""Every network that the experiments train, as one table: experiment, method, labels, config, what differs.

Rows with equal settings are one network: a table, a figure and an ablation share it without saying so.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mcss_tf.reproduction import keypoint_rows
from mcss_tf.reproduction.ablations import ABLATION, ABLATION_NOTE, ABLATIONS, ALONE, OURS

# Lengths of training; that of ablations is beside them.
MCSS_STEPS = 5000
# The more labels, the longer until it is at its best.
BASELINE_STEPS = {"All": 4000, "S1+S5": 2000}
FEW_LABELS_STEPS = 1000
FINE_TUNING_STEPS = 300
LONG_STEPS = 20_000
# Paper's settings: the rate falls to a tenth in the middle, as after 20 of 40 epochs.
PAPER_STEPS = {"Baseline": 4000, "MCSS": 1500}
MAX_QUERIES = 2000

# Of Fig. 3, in the order in which they are run.
LABELS = ("S1", "All", "10 % of S1", "S1+S5", "50 % of S1", "5 % of S1")
SUBJECTS = {"All": "all", "S1": "S1", "S1+S5": "S1,S5", "none": "none"}


@dataclasses.dataclass(frozen=True)
class Room:
    """A dataset: folder within --output, command line of `prepare`, and the checksum of its crops."""

    folder: str
    prepare: tuple[str, ...]
    images_sha256: str


_PREPARE = ("--source=studio", "--config=configs/studio_benchmark.py")
ROOMS = {
    "first": Room("data", _PREPARE, "86c94407beb7889a6fb68b85bacdf9c6a77fda0c121724f12ae5e3c079479eea"),
    "other": Room(
        "other",
        (_PREPARE[0], f"{_PREPARE[1]}:other"),
        "bcc1b832bb08f037666a97b726479c4ae02789cc4fb05f99fe93a3bab286cfae",
    ),
    **{name: Room(*room) for name, room in keypoint_rows.ROOMS.items()},
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of an experiment.

    Attributes:
        experiment: key of `EXPERIMENTS`.
        method, labels: as the tables name them.
        config: name of the file in configs/.
        changes: settings that differ from it, by dotted name.
        measured: on what; see `measure.MEASURES`.
        room: whose training images it sees.
        start: another row, from whose finished network it goes on; None: from scratch.
        max_seeds: at most this many of the command's seeds; 0: all.
    """

    experiment: str
    method: str
    labels: str
    config: str
    changes: Mapping[str, Any]
    measured: str = "test"
    room: str = "first"
    start: "Row | None" = None
    max_seeds: int = 0


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One table: its title, its columns {dotted name of a metric: heading}, and what to know about it."""

    title: str
    columns: Mapping[str, str]
    note: str = ""
    # Names of further numbers, for figures.
    further: tuple[str, ...] = ()


POSE = {"pose.n_mpjpe_mm": "N-MPJPE (mm)", "pose.mpjpe_mm": "MPJPE (mm)", "pose.pa_mpjpe_mm": "PA-MPJPE (mm)"}
HITS = {"sync.hit_at_1": "same instant at rank 1 (%)"}
RETRIEVAL = {
    f"retrieval.{database}.{k}.difference_mm": f"{database} K={k} (mm)"
    for database in ("same", "cross")
    for k in (1, 5, 10, 20)
}
RHO = {
    "distances.same_view.rho": "rho, same view",
    "distances.other_view.rho": "rho, other view",
    "distances.same_view.curve_rho": "rho of the curve, same view",
    "distances.other_view.curve_rho": "rho of the curve, other view",
    "distances.largest_gap": "largest gap of the curves (%)",
}
CROSS = {"retrieval.cross.1.difference_mm": "cross K=1 (mm)"}
VALIDATED = POSE | HITS | CROSS

EXPERIMENTS = {
    "table1": Experiment(
        "Pose errors of people never seen (Table 1)",
        POSE,
        "Test subjects S9 and S11. Baseline and MCSS: configs/mcss.py, for the baseline without the metric "
        "loss and with the backgrounds as they are, which suits it better; both keep the weights that are "
        "best on a tenth of the training sequences. Paper's settings: configs/mcss_paper.py, the last "
        "weights.",
    ),
    "fig3": Experiment("Fewer labels (Fig. 3)", POSE),
    "table2": Experiment(
        "Frames of the targets, and a deeper network (Table 2)",
        POSE,
        "Errors are measured in the frame that was learnt. Labels S1.",
    ),
    "retrieval": Experiment(
        "Retrieval from other views: Mean-PA-MPJPE@K minus the oracle's (Fig. 6, Table 3)",
        RETRIEVAL | HITS,
        further=tuple(
            f"retrieval.{database}.{k}.{number}"
            for database in ("same", "cross") for k in range(1, 21) for number in ("model_mm", "oracle_mm")
        ),
    ),
    "distances": Experiment(
        "Embedding distance against pose distance (Fig. 7)",
        RHO,
        "Spearman's rho over all pairs of images, and over the points that the figure draws: means of 25 mm.",
    ),
    "novel_view": Experiment(
        "A camera that training has not seen",
        {
            f"by_camera.cam04.{name}": heading
            for name, heading in (POSE | {k: v for k, v in RETRIEVAL.items() if ".1." in k}).items()
        },
        "Images and queries of cam04 alone, found among the other cameras'.",
    ),
    "cross_dataset": Experiment(
        "Another room, other people and clothes (test subjects of the second studio)",
        POSE | RETRIEVAL | HITS,
        "Before: the network of the first room. After: it went on with the metric loss alone, on unlabelled "
        "video of the second room's training subjects; its pose head stayed as it was.",
    ),
    "longer": Experiment(
        "Four times as long",
        POSE | HITS | CROSS,
        "More than the quarter of an hour on two cores that other rows keep to. The baseline of S1 alone "
        "gains next to nothing by more steps, as its ablation shows.",
    ),
}  # fmt: skip

# Ours. Both methods keep the best weights by validation on a tenth of everybody's training sequences.
VALIDATE = {
    "validation.subjects": "",
    "validation.fraction": 0.1,
    "validation.metric": "n_mpjpe_mm",
}
MCSS = {"train.steps": MCSS_STEPS, **OURS, **VALIDATE, "validation.every_steps": 500}
BASELINE = {
    **OURS,
    **ALONE,
    **VALIDATE,
    # It is soon at its best, and that must not be missed.
    "validation.every_steps": 125,
}


def labelled(labels: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns changes with labels: a key of `SUBJECTS`, or "10 % of S1"."""
    share, _, subject = labels.rpartition(" % of ")
    fraction = {"labels.fraction": float(share) / 100} if share else {}
    return {**changes, "labels.subjects": SUBJECTS[subject], **fraction}


def paper(method: str, labels: str) -> dict[str, Any]:
    """Returns the changes of the paper's settings to this benchmark's size."""
    steps = PAPER_STEPS[method]
    sized = {"image_size": 0, "train.steps": steps, "train.drop_every_steps": steps // 2}
    return labelled(labels, sized if method == "MCSS" else sized | {"loss.metric_weight": 0.0})


def ours(experiment: str, labels: str, **options: Any) -> list[Row]:
    """Returns the two rows of our settings: baseline and MCSS."""
    alone = BASELINE | {"train.steps": BASELINE_STEPS.get(labels, FEW_LABELS_STEPS)}
    rows = (("Baseline", alone), ("MCSS", MCSS))
    return [
        Row(experiment, name, labels, "mcss", labelled(labels, changes), **options) for name, changes in rows
    ]


def rows() -> list[Row]:
    """Returns the whole grid, what matters most first; every block runs its first seed before its second."""
    return [row for block in blocks() for row in block]


def blocks() -> list[list[Row]]:
    """Returns the grid in blocks that are run one after the other."""
    return [
        ours("table1", "S1") + _papers("S1"),
        ours("table1", "All") + _papers("All"),
        [row for labels in LABELS for row in ours("fig3", labels)],
        _table2(),
        _retrieval(),
        [*ours("distances", "S1"), _mcss("maps", "S1", measured="pictures", max_seeds=1)],
        _novel_view(),
        _cross_dataset(),
        _longer(),
        *_ablations(),
        *([Row(**row) for row in block] for block in keypoint_rows.blocks()),
    ]


def _mcss(experiment: str, labels: str, method: str = "MCSS", **options: Any) -> Row:
    return Row(experiment, method, labels, "mcss", labelled(labels, MCSS), **options)


def _papers(labels: str) -> list[Row]:
    return [
        Row("table1", f"{method}, paper's settings", labels, "mcss_paper", paper(method, labels))
        for method in ("Baseline", "MCSS")
    ]


def _table2() -> list[Row]:
    # A turned image has another pose in the axes of the camera, and a turned or mirrored one none in those of
    # the world: no row turns or mirrors.
    changes = labelled("S1", MCSS | {"augment.rotation_deg": 0.0, "augment.flip": 0.0})
    frames = [
        Row("table2", f"MCSS, {frame}", "S1", "mcss", changes | {"labels.target": frame})
        for frame in ("canonical", "global", "camera")
    ]
    return [*frames, Row("table2", "MCSS, ResNet-34", "S1", "mcss", changes | {"backbone.depth": 34})]


def _retrieval() -> list[Row]:
    without = labelled("none", MCSS | {"validation.metric": "sync_hit_at_1"})
    return [*ours("retrieval", "S1"), Row("retrieval", "MCSS", "none", "mcss", without)]


def _novel_view() -> list[Row]:
    without = labelled("S1", MCSS | {"data.without_cameras": "cam04"})
    return [
        _mcss("novel_view", "S1", "MCSS, all cameras"),
        Row("novel_view", "MCSS, without cam04", "S1", "mcss", without),
    ]


def _cross_dataset() -> list[Row]:
    first = _mcss("cross_dataset", "S1", "MCSS, before", measured="test@other")
    tuned = {
        "train.steps": FINE_TUNING_STEPS,
        "train.learning_rate": 1e-4,
        "labels.subjects": "none",
    }
    there = _mcss("cross_dataset", "S1", "MCSS, trained there", measured="test", room="other")
    after = Row(
        "cross_dataset", "MCSS, after", "S1", "mcss", tuned, measured="test", room="other", start=first
    )
    return [first, after, there]


def _longer() -> list[Row]:
    rows = {f"MCSS, {steps:,} steps": MCSS | {"train.steps": steps} for steps in (MCSS_STEPS, LONG_STEPS)}
    return [
        Row("longer", name, "S1", "mcss", labelled("S1", changes), max_seeds=1)
        for name, changes in rows.items()
    ]


for _name, (_title, _) in ABLATIONS.items():
    EXPERIMENTS[f"ablation_{_name}"] = Experiment(f"Ablation: {_title}", VALIDATED, ABLATION_NOTE)


EXPERIMENTS |= {name: Experiment(*table) for name, table in keypoint_rows.EXPERIMENTS.items()}


def _ablations() -> list[list[Row]]:
    return [
        [
            Row(f"ablation_{name}", method, "S1", "mcss", ABLATION | changes, "validation", max_seeds=1)
            for method, changes in table.items()
        ]
        for name, (_, table) in ABLATIONS.items()
    ]
