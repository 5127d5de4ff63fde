"""MCSS on Human3.6M with the paper's protocol (Mitra et al., CVPR 2020); docs/datasets.md has the download.

    python -m mcss_tf.prepare --source=human36m --input=H36M --output=data/human36m --crop_size=224
    python -m mcss_tf.train --config=configs/mcss_human36m.py --data=data/human36m --workdir=runs/mcss_s1 \
        --config.backbone.weights=resnet18.safetensors
    python -m mcss_tf.evaluate --data=data/human36m --workdir=runs/mcss_s1

Train S1, 5, 6, 7, 8 at every 5th frame (312,188 images), test S9, 11 at every 64th, crops by the provided
boxes. Everybody's video trains the embedding; 3D poses come from --config.labels.subjects, S1 by default.

Published (N-MPJPE / MPJPE / PA-MPJPE, mm; means over the 16 joints other than the pelvis are ours):

    labels of S1:   baseline 149.28/154.78/113.69   MCSS 111.94/120.95/90.76
                    with ResNet-34: N-MPJPE 115.85; with global instead of canonical poses: N-MPJPE 157.30
    all labels:     baseline  95.07/ 97.90/ 77.18   MCSS  92.60/ 94.25/72.48

    labels of S1 + S5, and 50 %, 10 %, 5 % of S1 are in the paper, too; their numbers are not stated here.

    all labels:   --config.labels.subjects=all        S1 + S5:  --config.labels.subjects=S1,S5
    10 % of S1:   --config.labels.fraction=0.1        baseline: --config.loss.metric_weight=0

What the paper leaves open is marked in configs/mcss_paper.py and configs/common.py. Nothing has been run by
us on Human3.6M: it cannot be had without its licence.
"""

from ml_collections import ConfigDict

from configs import mcss_paper


def get_config() -> ConfigDict:
    config = mcss_paper.get_config()
    config.labels.subjects = "S1"
    return config
