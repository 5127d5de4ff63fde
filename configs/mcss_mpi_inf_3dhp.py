"""MCSS on MPI-INF-3DHP, the paper's protocol (Mitra et al., CVPR 2020); docs/datasets.md has the download.

    python -m mcss_tf.prepare --source=mpi_inf_3dhp --input=3DHP --output=data/3dhp --crop_size=224
    python -m mcss_tf.train --config=configs/mcss_mpi_inf_3dhp.py --data=data/3dhp --workdir=runs/3dhp \
        --config.backbone.weights=resnet18.safetensors
    python -m mcss_tf.evaluate --data=data/3dhp --workdir=runs/3dhp

    python -m mcss_tf.prepare --source=mpi_inf_3dhp_test --input=3DHP/mpi_inf_3dhp_test_set \
        --output=data/3dhp_test --crop_size=224
    python -m mcss_tf.evaluate --data=data/3dhp_test --workdir=runs/3dhp

The chest-height cameras 0, 2, 4, 7, 8; train S1 to S6, retrieval on S7 and S8. Every 5th frame is our choice.

Published (retrieval after fine-tuning, Mean-PA-MPJPE@K minus the oracle's, mm, for K = 1 / 5 / 10 / 20):

    same subjects    48.40 / 62.46 / 56.29 / 55.63
    other subjects   82.29 / 83.53 / 80.65 / 76.00

The paper fine-tunes a network trained on Human3.6M; here training starts from ImageNet. PCK at 150 mm and
AUC of MCSS are not stated here; evaluate prints ours, on canonical poses (errors of heading do not count) and
over 16 joints, so they do not compare with numbers in camera coordinates over 14 joints. Prepare with
--poses=universal for poses of one height. Nothing has been run by us on MPI-INF-3DHP itself.
"""

from ml_collections import ConfigDict

from configs import mcss_paper


def get_config() -> ConfigDict:
    return mcss_paper.get_config()
