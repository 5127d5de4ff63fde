"""The ablation table of docs/lifting.md: one training per row and seed, one JSON each; what is there is kept.

    python -m benchmarks.lifting_ablation --data=out/lifting/data --occluded=out/lifting/occluded
    python -m benchmarks.lifting_ablation --table

The two datasets are prepared by the commands in docs/lifting.md. Options choose rows and seeds:
`--rows=views,reprojection --seeds=0`.
"""

import contextlib
import io
import json
import time
from pathlib import Path

import numpy as np
from absl import app, flags

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from configs import lifting_mocap
from mcss_tf import files, methods
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.evaluation import lifted
from mcss_tf.training.loop import train
from mcss_tf.training.workdir import load_run, open_workdir

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
SUPERVISED = {"loss.supervision": "joints"}
EXACT = {"data.keypoints": "exact"}
REPROJECTION = {"loss.transform_weight": 0.0}


def num_cameras(count: int) -> dict:
    """Trains on all pairs of the first cameras, with as many views in a step as ever."""
    return {"data.cameras": ",".join(CAMERAS[:count]), "data.num_views": count, "batch_size": 512 // count}


# By name: dataset, and what differs from configs/lifting_mocap.py.
ROWS = {
    "supervised": ("data", SUPERVISED),
    "reprojection": ("data", REPROJECTION),
    "views": ("data", {}),
    "placed": ("data", {"loss.place": "keypoints"}),
    "placed_no_stage_1": ("data", {"loss.place": "keypoints", "loss.pretraining": 0.0}),
    "no_stage_1": ("data", {"loss.pretraining": 0.0}),
    "one_branch": ("data", {"model.branches": 1}),
    "exact_supervised": ("data", SUPERVISED | EXACT),
    "exact_reprojection": ("data", REPROJECTION | EXACT),
    "exact_views": ("data", EXACT),
    "occluded_none": ("occluded", {"loss.confidence": "none"}),
    "occluded_source": ("occluded", {"loss.confidence": "source"}),
    "occluded_target": ("occluded", {"loss.confidence": "target"}),
    "occluded_product": ("occluded", {"loss.confidence": "product"}),
    "occluded_supervised": ("occluded", SUPERVISED),
    "cameras_2": ("data", num_cameras(2)),
    "cameras_3": ("data", num_cameras(3)),
    "cameras_4": ("data", num_cameras(4)),
    "clips_25": ("data", {"data.clip_fraction": 0.25}),
    "clips_50": ("data", {"data.clip_fraction": 0.5}),
    "extrinsics_from_keypoints": ("data", {"data.extrinsics": "keypoints"}),
}

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Prepared dataset of configs/lifting_mocap.py.")
flags.DEFINE_string("occluded", None, "The same with more occlusion.")
flags.DEFINE_list("rows", list(ROWS), "Which rows.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Which seeds.")
flags.DEFINE_string("output", "docs/results/lifting", "Folder of the JSON files.")
flags.DEFINE_string("work", "out/lifting/runs", "Folder of the workdirs; an interrupted run resumes.")
flags.DEFINE_integer("steps", 0, "Of each training; 0: the config's.")
flags.DEFINE_bool("table", False, "Print the table of what is there, train nothing.")


def run(dataset: PreparedDataset, changes: dict, seed: int, workdir: Path) -> dict:
    """Trains and evaluates once; returns what the JSON holds."""
    config = lifting_mocap.get_config()
    config.update_from_flattened_dict({"seed": seed, **changes})
    config.train.steps = FLAGS.steps or config.train.steps
    opened = open_workdir(workdir, config, dataset, ["benchmarks/lifting_ablation.py"])
    start = time.monotonic()
    if not opened.is_finished():
        with contextlib.redirect_stdout(io.StringIO()):
            train(methods.get(config, dataset), config, opened)
    seconds = time.monotonic() - start
    model = load_run(workdir).model
    views = lifted.lift(model, dataset, "test", config.data.keypoints)
    return {
        "changes": changes,
        "seed": seed,
        "steps": config.train.steps,
        "batch": config.batch_size,
        "seconds": round(seconds, 1),
        "dataset_checksum": dataset.checksum,
        **lifted.measure(views),
    }


def table(output: Path) -> str:
    """Returns the rows as Markdown: mean over the seeds, and their standard deviation from two on."""
    lines = ["| row | MPJPE (mm) | PA-MPJPE (mm) | N-MPJPE (mm) | PCK@150 (%) | AUC (%) | seeds |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in ROWS:
        poses = [json.loads(path.read_text())["pose"] for path in sorted(output.glob(f"{row}.?.json"))]
        if not poses:
            continue
        cells = []
        for key in ("mpjpe_mm", "pa_mpjpe_mm", "n_mpjpe_mm", "pck_150", "auc"):
            values = np.array([pose[key] for pose in poses])
            spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.1f}{spread}")
        lines.append(f"| {row} | {' | '.join(cells)} | {len(poses)} |")
    return "\n".join(lines)


def main(_: list[str]) -> None:
    output = Path(FLAGS.output)
    if FLAGS.table:
        print(table(output))
        return
    datasets = {}
    for seed in FLAGS.seeds:
        for row in FLAGS.rows:
            path = output / f"{row}.{seed}.json"
            if path.exists():
                continue
            name, changes = ROWS[row]
            if name not in datasets:
                datasets[name] = PreparedDataset.load(FLAGS[name].value, require=("train", "test"))
            result = run(datasets[name], changes, int(seed), Path(FLAGS.work) / f"{row}.{seed}")
            files.write_json(path, result)
            print(f"{path}: MPJPE {result['pose']['mpjpe_mm']:.1f} mm, {result['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    app.run(main)
