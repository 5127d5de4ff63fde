"""MCSS on one's own videos: the default.

    python -m mcss_tf.train --config=configs/mcss.py --data=DATASET --workdir=RUN

Images at the size of the dataset's crops (128 by default). Works without any 3D labels (then there is no
pose head) and on short recordings (`min_gap_s="auto"`). Cosine schedule: nobody knows the right epochs of
a new dataset, and `--config.train.steps=N` then still ends at a small learning rate.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    config = common.get_config()
    # Near a collapse the squared pull's gradient vanishes and the push's does not: it recovers by itself.
    config.loss.squared = True
    # The hardest negative alone stays on a plateau for hundreds of steps; the smooth loss leads off it.
    config.loss.softmax_weight = 0.5
    config.train.schedule = "cosine"
    config.train.warmup_steps = 100
    return config
