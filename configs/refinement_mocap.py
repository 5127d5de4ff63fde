"""Cross-view refinement on motion capture through the Human3.6M cameras, as in the paper (Hua et al. 2021).

    python -m mcss_tf.prepare --source=mocap --input=MOTION --cameras=camera-parameters.json --output=DATASET
    python -m mcss_tf.train --config=configs/refinement_mocap.py --data=DATASET --workdir=RUN
    python -m mcss_tf.evaluate --workdir=RUN --data=DATASET

Noisy detections in, exact annotations as 2D targets, the paper's four pairs of cameras. docs/refinement.md
has the numbers.
"""

from ml_collections import ConfigDict

from configs import refinement

# (1,2), (1,3), (2,4), (3,4) [S]
PAIRS = "54138969+55011271,54138969+58860488,55011271+60457274,58860488+60457274"


def get_config() -> ConfigDict:
    config = refinement.get_config()
    config.views.sets = PAIRS
    config.input.target = "annotation"
    return config
