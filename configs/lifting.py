"""Geometry-driven lifting with its authors' settings: every value with its default.

What the authors state is marked [S] (Li et al., AAAI 2020); the rest is our choice.

python -m mcss_tf.train --config=configs/lifting.py --data=DATASET --workdir=RUN
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the defaults."""
    config = ConfigDict()
    config.method = "lifting"
    config.seed = 0
    config.batch_size = 256  # instants

    config.data = ConfigDict()
    config.data.cameras = ""  # names like "54138969,55011271"; "": all
    config.data.num_views = 2  # [S]; of every instant, all ordered pairs of them are compared
    config.data.view_sets = ""  # "a+b,a+c": the cameras of an instant; "": all sets of num_views
    config.data.clip_fraction = 1.0  # of every training subject's sequences
    config.data.clip_seed = 0
    config.data.keypoints = "detected"  # or "exact", where the dataset knows them
    config.data.extrinsics = "calibrated"  # or "keypoints": relative poses estimated from the joints
    config.data.distances_mm = ConfigDict()  # "first:second" camera to measured mm; else the calibration's

    config.model = ConfigDict()
    config.model.width = 1024  # [S]
    config.model.num_blocks = 4  # [S]
    config.model.dropout = 0.5
    config.model.branches = 2  # [S]; 1: one network gives pose and root

    config.loss = ConfigDict()
    config.loss.supervision = "views"  # [S]; "joints": learns from 3D labels, as a reference
    config.loss.pretraining = 20 / 320  # part of the steps that is stage 1 [S]: 20 epochs of 20 + 300
    config.loss.reprojection_weight = 1.0
    config.loss.transform_weight = 1.0
    # "keypoints": before poses are compared with keypoints each moves as a whole to where it fits them best.
    config.loss.place = "branch"  # [S]
    # Pixels per mm of the root's distance from there. Little else reaches the root branch, so a small weight
    # will do; a larger one disturbs the pose, since the lifting network has a part in the root.
    config.loss.place_weight = 0.001
    config.loss.confidence = "source"  # [S]; whose weighs L_t_reproj: none, source, target, product

    config.validation = common.get_config().validation
    config.train = common.get_config().train
    config.train.epochs = 320  # [S]
    config.train.drop_every_epochs = 100  # [S]
    config.train.precision = "float32"  # millimetres at 5 m need more than bfloat16's three digits
    return config
