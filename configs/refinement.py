"""Cross-view refinement (Hua et al. 2021) of two calibrated views' keypoints, on one's own recordings.

    python -m mcss_tf.prepare --source=recordings --input=RECORDINGS --output=DATASET
    python -m mcss_tf.train --config=configs/refinement.py --data=DATASET --workdir=RUN

The dataset needs keypoints (`keypoints` in recordings.toml) and cameras.toml. Detections are input and
target: nobody has annotated one's own videos. What the authors state is marked [S]; the rest is our choice.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the defaults."""
    config = ConfigDict()
    config.method = "refinement"
    config.seed = 0

    config.views = ConfigDict()
    config.views.num = 2  # [S]
    config.views.sets = ""  # "a+b,a+c": the cameras of an input; "": all sets of that many
    config.input = ConfigDict()
    config.input.target = "detection"  # or "annotation" [S], where the dataset has exact keypoints
    config.input.noise_scale = 1.0  # detections' errors times this; 0: exact
    config.input.undistort = True  # False: triangulates as if lenses did not bend
    config.input.weighted = False  # confidences weigh the triangulation
    config.batch = ConfigDict()
    config.batch.num_instants = 256  # [S]

    config.network = ConfigDict()
    config.network.widths = (128, 256, 512)  # [S]
    config.network.cross_view = True
    config.network.pooling = True
    config.network.evidence = True  # also sees misses and confidences of keypoints; False: poses [S]
    config.network.batch_norm_momentum = 0.9

    # Weights of the terms of losses/refinement.py. On z = 1 an error is a fifth of that in metres at 5 m,
    # and its square a twenty-fifth: 100 makes re-projections count as much as bones, not a hundredth.
    config.loss = ConfigDict()
    config.loss.single = 100.0
    config.loss.cross = 100.0
    config.loss.consistency = 1.0
    config.loss.bone = 0.1  # [S]
    config.loss.symmetry = 0.0

    config.validation = common.get_config().validation
    config.train = common.get_config().train
    config.train.amsgrad = True  # [S]
    config.train.schedule = "plateau"  # [S]
    config.train.plateau_decay = 0.9  # [S]
    config.train.plateau_epochs = 10  # [S]
    config.train.epochs = 100
    config.train.learning_rate = 1e-3  # [S]
    config.train.precision = "float32"  # corrections of millimetres at metres need more than bfloat16
    return config
