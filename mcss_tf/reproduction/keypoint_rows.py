"""Lifting and refinement in the grid: their datasets, their tables and the rows of those, as data.

Networks are smaller and trainings shorter than their authors': one core trains a row in minutes.
"""

from typing import Any

_PREPARE = (
    "--source=mocap", "--config=configs/lifting_mocap.py",
    "--input=../shared/data/cmu_mocap/cmu_bvh_30hz.npz",
    "--cameras=../shared/data/human36m_cameras/camera-parameters.json",
)  # fmt: skip
_OCCLUSION = {"mean_error_px": 12.0, "occlusion_rate": 0.2, "occlusion_px": 30.0}
# Folder, command line of `prepare`, checksum.
ROOMS = {
    "mocap": ("mocap", _PREPARE, "026af62f6c9c05122cf8eded1fd7fe41218ed3a4e138274b2e3ba42650c75d3d"),
    "occluded": (
        "occluded",
        (*_PREPARE, *(f"--config.mocap.noise.{name}={value:g}" for name, value in _OCCLUSION.items())),
        "e9d77f307479d7b1b9c823a456f3297990ce79873593aafbe73b082b9fc71857",
    ),
}

LIFTED = {
    "pose.mpjpe_mm": "MPJPE (mm)", "pose.pa_mpjpe_mm": "PA-MPJPE (mm)", "pose.n_mpjpe_mm": "N-MPJPE (mm)",
    "pose.pck_150": "PCK at 150 mm (%)", "pose.auc": "AUC (%)", "pose.root_mm": "root (mm)",
}  # fmt: skip
REFINED = {
    f"all.{method}.{measure}": f"{name}, {unit}"
    for measure, unit in (("mpjpe_mm", "absolute (mm)"), ("root_relative_mpjpe_mm", "from the root (mm)"))
    for method, name in (("dlt", "DLT"), ("weighted_dlt", "weighted DLT"), ("refined", "refined"))
}
# Of the detections' errors, percent.
NOISE = (0, 50, 100, 150, 200)
SWEPT = {
    f"noise.{scale}.{method}.mpjpe_mm": f"{name} at {scale} % (mm)"
    for scale in NOISE
    for method, name in (("dlt", "DLT"), ("refined", "refined"))
}
_MOCAP = "Motion capture through the Human3.6M cameras; S9 and S11 have bones and clips of their own."
_LIFTED = f"{_MOCAP} configs/lifting_mocap.py: width 256, two blocks."

# Title, columns, note, further numbers.
EXPERIMENTS: dict[str, tuple[str, dict[str, str], str, tuple[str, ...]]] = {
    "lifting_losses": ("Lifting one view: what each part of the loss is for", LIFTED, _LIFTED, ()),
    "lifting_long": (
        "Lifting, twice as long", LIFTED, f"{_LIFTED} 8,000 steps: closer to convergence.", (),
    ),
    "lifting_exact": ("Lifting exact keypoints", LIFTED, _LIFTED, ()),
    "lifting_confidence": (
        "Lifting under occlusion: whose confidence counts", LIFTED,
        f"{_LIFTED} Every fifth keypoint hidden, 12 px off on average.", (),
    ),
    "lifting_cameras": (
        "Lifting: cameras in training", LIFTED,
        f"{_LIFTED} All cameras of an instant are compared; as many views in a step in every row.", (),
    ),
    "lifting_clips": ("Lifting: part of the clips", LIFTED, _LIFTED, ()),
    "refinement_pairs": ("Refining two views", REFINED, f"{_MOCAP} Two views of four pairs of cameras.", ()),
    "refinement_parts": ("Refinement: what each part is for", REFINED, "600 steps of 128 instants.", ()),
    "refinement_noise": (
        "Refinement: errors of the detections scaled, absolute MPJPE", SWEPT,
        "Each network is trained at 100 %.",
        (*(f"noise.{scale}.weighted_dlt.mpjpe_mm" for scale in NOISE), "slope.dlt", "slope.refined"),
    ),
}  # fmt: skip

_VIEWS = {"loss.place": "branch"}
_TWICE = {"train.steps": 8000}
_SUPERVISED = {"loss.supervision": "joints"}
_CAMERAS = ("54138969", "55011271", "58860488", "60457274")

LIFTING: dict[str, dict[str, dict[str, Any]]] = {
    "lifting_losses": {
        "3D labels": _SUPERVISED,
        "own and other view, placed": {},
        "own view alone": _VIEWS | {"loss.transform_weight": 0.0},
        "own and other view": _VIEWS,
        "the same without stage 1": _VIEWS | {"loss.pretraining": 0.0},
        "placed, without stage 1": {"loss.pretraining": 0.0},
        "one branch": _VIEWS | {"model.branches": 1},
        "relative poses from keypoints": {"data.extrinsics": "keypoints"},
    },
    "lifting_long": {
        "3D labels": _TWICE | _SUPERVISED, "own and other view": _TWICE | _VIEWS,
        "own and other view, placed": _TWICE,
    },
    "lifting_exact": {
        name: changes | {"data.keypoints": "exact"}
        for name, changes in (
            ("3D labels", _SUPERVISED), ("own view alone", _VIEWS | {"loss.transform_weight": 0.0}),
            ("own and other view, placed", {}),
        )
    },
    "lifting_confidence": {
        "3D labels": _SUPERVISED,
        **{whose: {"loss.confidence": whose} for whose in ("none", "source", "target", "product")},
    },
    "lifting_cameras": {
        str(count): {
            "data.cameras": ",".join(_CAMERAS[:count]), "data.num_views": count, "batch_size": 256 // count
        }
        for count in (2, 3)
    } | {"4": {}},
    "lifting_clips": {
        "25 %": {"data.clip_fraction": 0.25}, "50 %": {"data.clip_fraction": 0.5}, "100 %": {}
    },
}  # fmt: skip

_SMALL = {
    "network.widths": (32, 64, 128), "batch.num_instants": 128, "train.precision": "mixed_bfloat16",
    # Plateaus of 10 epochs do not happen in so few steps; half a cosine ends at a small rate.
    "train.learning_rate": 3e-3, "train.schedule": "cosine", "train.checkpoint_every": 200,
}  # fmt: skip
_LONG = _SMALL | {"train.steps": 10000}
_WIDE = _SMALL | {"network.widths": (128, 256, 512), "train.steps": 5000}
_SHORT = _SMALL | {"train.steps": 600}
# Corrections to the tenth of a millimetre take float32.
_LENS = {
    "input.noise_scale": 0.0, "input.undistort": False, "train.precision": "float32",
    "train.steps": 2000, "batch.num_instants": 64,
}  # fmt: skip
REFINEMENT: dict[str, dict[str, dict[str, Any]]] = {
    "refinement_pairs": {
        "3,000 steps": _LONG | {"train.steps": 3000},
        "10,000 steps": _LONG,
        "the paper's width, 5,000 steps": _WIDE,
        "exact keypoints, lens not undone": _SMALL | _LENS,
    },
    "refinement_noise": {"10,000 steps": _LONG, "the paper's width, 5,000 steps": _WIDE},
    "refinement_parts": {
        name: _SHORT | changes
        for name, changes in {
            "all": {},
            "poses alone, no misses or confidences": {"network.evidence": False},
            "without re-projection": {"loss.single": 0.0, "loss.cross": 0.0},
            "without agreement of the views": {"loss.consistency": 0.0},
            "agreement x10": {"loss.consistency": 10.0},
            "agreement alone": {"loss.single": 0.0, "loss.cross": 0.0, "loss.bone": 0.0},
            "without bone direction": {"loss.bone": 0.0},
            "with symmetry": {"loss.symmetry": 0.01},
            "without cross-view kernel": {"network.cross_view": False},
            "without pooling": {"network.pooling": False},
            "weighted triangulation refined": {"input.weighted": True},
            "detections as target": {"input.target": "detection"},
        }.items()
    },
}


def blocks() -> list[list[dict[str, Any]]]:
    """Returns the fields of every row, in blocks that are run one after the other."""
    lifting = [
        [
            {
                "experiment": experiment, "method": method, "config": "lifting_mocap", "changes": changes,
                "labels": "all" if "loss.supervision" in changes else "none",
                "room": "occluded" if experiment == "lifting_confidence" else "mocap",
            }
            for method, changes in rows.items()
        ]
        for experiment, rows in LIFTING.items()
    ]  # fmt: skip
    refinement = [
        [
            {
                "experiment": experiment, "method": method, "config": "refinement_mocap", "changes": changes,
                "labels": "none", "room": "mocap",
                "measured": "noise" if experiment == "refinement_noise" else "test",
            }
            for method, changes in rows.items()
        ]
        for experiment, rows in REFINEMENT.items()
    ]  # fmt: skip
    return lifting + refinement
