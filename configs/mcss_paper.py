"""MCSS as the paper describes it (Mitra et al., CVPR 2020), for Human3.6M prepared at 224 pixels.

    python -m mcss_tf.train --config=configs/mcss_paper.py --data=DATASET --workdir=RUN \
        --config.backbone.weights=resnet18.safetensors

Stated: ResNet-18 from ImageNet, 128-d embedding, 22 labelled images, one subject per batch, 40 epochs,
x0.1 every 20, L1 on standardised poses. Ours, because the text does not give them: 66 pairs, margin,
threshold and its ramp, learning rate, gap of 1 s. Without a weights file it starts from scratch.
The baseline is the same command with --config.loss.metric_weight=0.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    config = common.get_config()
    config.image_size = 224
    config.batch.min_gap_s = "1.0"
    config.train.epochs = 40
    config.train.schedule = "step"
    config.train.drop_every_epochs = 20
    return config
