"""What the paper does not show: one setting after the other, by which our defaults are chosen.

Two training subjects are held out, and rows are measured on them alone: the test split is not looked at.
"""

from typing import Any

ABLATION_STEPS = 600
ABLATION_NOTE = (
    f"On S7 and S8, who are held out of training: {ABLATION_STEPS} steps of configs/mcss.py, labels of S1. "
    "The baseline's rows: three times as many, and the best of their weights."
)
# What the grid adds to configs/mcss.py. It helps where there are minutes of video; runs of 200 steps on two
# seconds of it, such as README's, learn less with it, so it is not the default.
OURS = {
    "augment.brightness": 0.15,
    "augment.contrast": 0.2,
    "augment.colour": 0.2,
    "augment.rotation_deg": 8.0,
    "augment.scale": 0.08,
    "augment.translation": 0.04,
    "batch.views": 4,
}
ABLATION = {
    **OURS,
    "train.steps": ABLATION_STEPS,
    "validation.subjects": "S7,S8",
    "validation.fraction": 0.0,
    "validation.metric": "",
    "validation.patience": 0,
    "labels.subjects": "S1",
}


# Ablation: its title, and its rows {name: changes of configs/mcss.py}.
ABLATIONS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "baseline": ("The baseline's batch and rate", {
        f"{num} images, rate {rate:g}": {
            "loss.metric_weight": 0.0, "batch.num_labelled": num, "train.learning_rate": rate,
            "train.steps": 3 * ABLATION_STEPS,
            "validation.metric": "n_mpjpe_mm", "validation.every_steps": 250,
        }
        for num in (22, 66, 128) for rate in (1e-3, 3e-4)
    }),
    "rate": ("Learning rate", {
        f"{rate:g}": {"train.learning_rate": rate} for rate in (3e-4, 1e-3, 2e-3, 4e-3)
    }),
    "softmax": ("Weight and temperature of the smooth loss over all negatives", {
        "0": {"loss.softmax_weight": 0.0},
        "0.25": {"loss.softmax_weight": 0.25},
        "0.5": {"loss.softmax_weight": 0.5},
        "1": {"loss.softmax_weight": 1.0},
        "0.5, temperature 0.05": {"loss.softmax_weight": 0.5, "loss.temperature": 0.05},
        "0.5, temperature 0.2": {"loss.softmax_weight": 0.5, "loss.temperature": 0.2},
    }),
    "squared": ("Distances squared or not", {
        "squared": {"loss.squared": True}, "not squared": {"loss.squared": False},
    }),
    "threshold": ("Threshold, ramped as the embedding spreads", {
        f"{value:g}": {"loss.threshold": value} for value in (0.0, 0.1, 0.2, 0.3, 0.5)
    } | {
        "0.3 from the first step": {
            "loss.threshold": 0.3, "loss.threshold_ramp_steps": 0, "loss.threshold_spread": 0.0
        }
    }),
    "margin": ("Margin", {f"{value:g}": {"loss.margin": value} for value in (0.6, 0.8, 1.0, 1.2)}),
    "subjects": ("Subjects of a batch", {
        "one": {"batch.subjects": "one"}, "mixed": {"batch.subjects": "mixed"},
    }),
    "gap": ("Least gap between the instants of a batch (s)", {
        "0": {"batch.min_gap_s": "0"},
        "0.3": {"batch.min_gap_s": "0.3"},
        "as configured": {},
        "2": {"batch.min_gap_s": "2.0"},
    }),
    "pairs": ("Pairs of a batch", {str(num): {"batch.num_pairs": num} for num in (22, 44, 66, 128)}),
    "views": ("Views of an instant in a batch of as many images", {
        "2: one positive per anchor": {"batch.views": 2}, "4: three": {"batch.views": 4},
    }),
    "lambda": ("Weight of the pose loss", {
        f"{value:g}": {"loss.pose_weight": value} for value in (0.1, 0.3, 1.0, 3.0, 10.0)
    }),
    "augmentation": ("Augmentation", {
        "none": {
            f"augment.{name}": 0.0 for name in (
                "brightness", "contrast", "colour", "blur_px",
                "rotation_deg", "scale", "translation", "erase", "flip",
            )
        },
        "as configured": {},
        "colours": {"augment.brightness": 0.1, "augment.contrast": 0.2, "augment.colour": 0.2},
        "colours twice": {"augment.brightness": 0.2, "augment.contrast": 0.4, "augment.colour": 0.4},
        "geometry": {"augment.rotation_deg": 10.0, "augment.scale": 0.1, "augment.translation": 0.05},
        "mirror": {"augment.flip": 0.5},
        "erase": {"augment.erase": 0.3},
    }),
    "size": ("Input size (pixels)", {
        "32": {"image_size": 32}, "48": {"image_size": 48}, "as the crops": {},
    }),
}  # fmt: skip
