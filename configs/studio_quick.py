"""MCSS on the built-in studio, small enough for `make train`: 64 pixels, a few hundred steps.

    python -m mcss_tf.train --config=configs/studio_quick.py --data=out/studio --workdir=out/mcss
    python -m mcss_tf.train --config=configs/studio_quick.py --data=out/studio --workdir=out/baseline \
        --config.loss.metric_weight=0
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    config = common.get_config()
    config.image_size = 64
    # Threshold 0 keeps every negative: the run is too short to afford a ramp.
    config.loss.threshold = 0.0
    config.train.steps = 500
    config.train.schedule = "cosine"
    config.train.warmup_steps = 50
    config.train.log_every = 25
    config.train.pictures_every = 100
    return config
