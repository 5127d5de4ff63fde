"""A run of seconds that touches everything, for tests.

python -m mcss_tf.train --config=configs/tiny.py --data=DATASET --workdir=RUN
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    config = common.get_config()
    config.image_size = 32
    config.embedding.hidden_dim = 16
    config.embedding.dim = 8
    config.batch.num_pairs = 4
    config.batch.num_labelled = 2
    config.loss.threshold_ramp_steps = 4
    config.train.steps = 6
    config.train.precision = "float32"
    config.train.log_every = 2
    config.train.checkpoint_every = 3
    config.train.pictures_every = 4
    return config
