"""Which part of cross-view refinement earns what: ablations, lenses and a noise sweep, one JSON a run.

    python -m mcss_tf.prepare --source=mocap --input=cmu_bvh_30hz.npz --cameras=camera-parameters.json \
        --output=out/refinement/data
    python -m benchmarks.refinement_ablation --data=out/refinement/data --work=out/refinement/runs
    python -m benchmarks.refinement_ablation --table

Runs whose JSON is there are not repeated, and one that was interrupted resumes. `--widths=128,256,512` is
the paper's network; the default is a quarter of it, which two cores train in minutes.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from absl import app, flags
from ml_collections import ConfigDict

from configs import refinement_mocap
from mcss_tf import files, methods
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.evaluation.refinement import measure_refinement
from mcss_tf.training.loop import train
from mcss_tf.training.workdir import load_run, open_workdir

FLAGS = flags.FLAGS
RESULTS = Path("docs/results/refinement")
NOISE_SCALES = (0.0, 0.5, 1.0, 1.5, 2.0)
ROWS: dict[str, dict[str, Any]] = {
    "full": {},
    # Corrections to the tenth of a millimetre.
    "lens": {"input.noise_scale": 0.0, "input.undistort": False, "train.precision": "float32"},
    "weighted_input": {"input.weighted": True},
    "without_evidence": {"network.evidence": False},
    "without_reprojection": {"loss.single": 0.0, "loss.cross": 0.0},
    "without_consistency": {"loss.consistency": 0.0},
    "strong_consistency": {"loss.consistency": 10.0},
    "without_bone": {"loss.bone": 0.0},
    "with_symmetry": {"loss.symmetry": 0.01},
    "without_cross_view": {"network.cross_view": False},
    "without_pooling": {"network.pooling": False},
    "consistency_only": {"loss.single": 0.0, "loss.cross": 0.0, "loss.bone": 0.0},
    "detections_as_target": {"input.target": "detection"},
}


def configure(
    row: str, seed: int, widths: Sequence[int], steps: int, batch: int, rate: float, precision: str
) -> ConfigDict:
    """Returns the config of one run."""
    config = refinement_mocap.get_config()
    config.train.precision = precision
    config.update_from_flattened_dict(ROWS[row])
    config.seed = seed
    config.network.widths = tuple(widths)
    config.batch.num_instants = batch
    config.train.learning_rate = rate
    config.train.steps = steps
    # Plateaus of 10 epochs do not happen in so few steps; half a cosine ends at a small rate.
    config.train.schedule = "cosine"
    config.train.checkpoint_every = 200
    return config.lock()


def run(row: str, seed: int, dataset: PreparedDataset, work: Path, settings: dict[str, Any]) -> None:
    """Trains and measures one row with one seed, and writes its JSON."""
    size = "-".join(map(str, settings["widths"]))
    path = RESULTS / f"{row}-{size}-{settings['steps']}x{settings['batch']}-seed{seed}.json"
    if path.is_file():
        return
    config = configure(row, seed, **settings)
    workdir = open_workdir(work / path.stem, config, dataset, ["benchmarks/refinement_ablation.py"])
    start = time.monotonic()
    if not workdir.is_finished():
        train(methods.get(config, dataset), config, workdir)
    model = load_run(workdir.path).model
    result = {
        "row": row,
        "seed": seed,
        **settings,
        "num_parameters": model.count_params(),
        "overrides": ROWS[row],
        "dataset_checksum": dataset.checksum,
        "seconds": round(time.monotonic() - start, 1),
        "metrics": measure_refinement(model, config, dataset, "test", 256),
    }
    if row == "full":
        result["noise_sweep"] = {
            str(scale): _at_noise(model, config, dataset, scale)["all"] for scale in NOISE_SCALES
        }
    files.write_json(path, result)
    print(f"{path}: {_line(result)}", flush=True)


def _at_noise(model: Any, config: ConfigDict, dataset: PreparedDataset, scale: float) -> dict[str, Any]:
    noisier = config.copy_and_resolve_references()
    noisier.unlock()
    noisier.input.noise_scale = scale
    return measure_refinement(model, noisier, dataset, "test", 256)


def _line(result: dict[str, Any]) -> str:
    means = result["metrics"]["all"]
    return "  ".join(f"{name} {values['mpjpe_mm']:.2f}" for name, values in means.items())


def print_table() -> None:
    """Prints every result there is, in Markdown, in the order of the rows."""
    print("| row | widths | steps x batch | seed | DLT | weighted DLT | refined | DLT, rr | refined, rr |")
    print("|---|---|---|---|---|---|---|---|---|")
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    for result in sorted(results, key=lambda r: (list(ROWS).index(r["row"]), r["seed"])):
        means = result["metrics"]["all"]
        cells = [means[method]["mpjpe_mm"] for method in ("dlt", "weighted_dlt", "refined")]
        cells += [means[method]["root_relative_mpjpe_mm"] for method in ("dlt", "refined")]
        shown = " | ".join(f"{cell:.2f}" for cell in cells)
        size = f"{result['widths']} | {result['steps']} x {result['batch']}"
        print(f"| {result['row']} | {size} | {result['seed']} | {shown} |")


def draw_noise_sweep() -> None:
    """Draws the mean over seeds of the longest runs' sweeps, error over noise, into noise_sweep.png."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    runs = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("full-*.json"))]
    if not runs:
        return
    longest = max(run["steps"] * run["batch"] for run in runs)
    sweeps = [run["noise_sweep"] for run in runs if run["steps"] * run["batch"] == longest]
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for method, name in (("dlt", "DLT"), ("weighted_dlt", "weighted DLT"), ("refined", "refined")):
        errors = [
            sum(sweep[str(scale)][method]["mpjpe_mm"] for sweep in sweeps) / len(sweeps)
            for scale in NOISE_SCALES
        ]
        axes.plot(NOISE_SCALES, errors, marker="o", label=name)
    axes.set(xlabel="noise of the detector, 1: as CPN", ylabel="MPJPE, absolute (mm)", ylim=(0, None))
    axes.legend()
    figure.tight_layout()
    with files.atomic_write(RESULTS / "noise_sweep.png") as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)


def main(argv: Sequence[str]) -> None:
    """Runs what is missing, then prints the table and draws the figure."""
    del argv
    if not FLAGS.table:
        dataset = PreparedDataset.load(FLAGS.data, require=("train", "test"))
        settings = {
            "widths": [int(width) for width in FLAGS.widths],
            "steps": FLAGS.steps,
            "batch": FLAGS.batch,
            "rate": FLAGS.rate,
            "precision": FLAGS.precision,
        }
        for seed in map(int, FLAGS.seeds):
            for row in FLAGS.rows:
                run(row, seed, dataset, Path(FLAGS.work), settings)
    print_table()
    draw_noise_sweep()


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "Prepared dataset of mocap through the Human3.6M cameras.")
    flags.DEFINE_string("work", "out/refinement/runs", "Folder of the workdirs.")
    flags.DEFINE_multi_enum("rows", list(ROWS), list(ROWS), "Rows to run.")
    flags.DEFINE_list("seeds", ["0"], "Seeds to run.")
    flags.DEFINE_list("widths", ["32", "64", "128"], "Channels; the paper's are 128,256,512.")
    flags.DEFINE_integer("steps", 600, "Of each training.")
    flags.DEFINE_integer("batch", 64, "Instants a step; the paper's are 256.")
    flags.DEFINE_float("rate", 3e-3, "Highest learning rate; the paper's is 1e-3.")
    flags.DEFINE_string(
        "precision", "mixed_bfloat16", "Of the hidden layers, except where a row says its own."
    )
    flags.DEFINE_bool("table", False, "Only print the table and draw the figure.")
    app.run(main)
