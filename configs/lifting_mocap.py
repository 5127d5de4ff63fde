"""Lifting on motion capture seen through the Human3.6M cameras: a smaller network, a few thousand steps.

    python -m mcss_tf.prepare --source=mocap --config=configs/lifting_mocap.py \
        --input=../shared/data/cmu_mocap/cmu_bvh_30hz.npz \
        --cameras=../shared/data/human36m_cameras/camera-parameters.json --output=out/lifting/data
    python -m mcss_tf.train --config=configs/lifting_mocap.py --data=out/lifting/data --workdir=out/lifting/a
    python -m mcss_tf.evaluate --workdir=out/lifting/a --data=out/lifting/data

docs/lifting.md has the numbers to expect, and how long it takes.
"""

from ml_collections import ConfigDict

from configs import lifting


def get_config() -> ConfigDict:
    config = lifting.get_config()
    config.mocap = ConfigDict()  # read by prepare
    config.mocap.num_train_instants = 2400  # per subject
    config.mocap.num_test_instants = 1200
    config.mocap.fps = 25.0
    config.mocap.noise = ConfigDict()
    config.mocap.noise.mean_error_px = 5.4
    config.mocap.noise.occlusion_rate = 0.05
    config.mocap.noise.occlusion_px = 20.0
    config.batch_size = 64
    config.data.num_views = 4  # all twelve ordered pairs of cameras, for the price of four poses
    config.model.width = 256
    config.model.num_blocks = 2
    config.model.dropout = 0.0  # so short a training does not overfit
    config.loss.place = "keypoints"
    config.train.steps = 4000
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.train.log_every = 100
    config.train.checkpoint_every = 1000
    return config
