"""Lifting on one short recording of one's own: its keypoints and calibration, no 3D labels.

    python examples/pose2sim_to_recordings.py ../shared/data/pose2sim_balancing out/balancing --labels
    python -m mcss_tf.prepare --source=recordings --input=out/balancing --crop_size=64 --output=out/b_data
    python -m mcss_tf.train --config=configs/lifting_recording.py --data=out/b_data --workdir=out/b
    python -m mcss_tf.evaluate --workdir=out/b --data=out/b_data

The labels serve the evaluation only. Seventy-five instants teach a network these movements of this person in
this place, not how people move: docs/lifting.md has the numbers and what they are worth.
"""

from ml_collections import ConfigDict

from configs import lifting


def get_config() -> ConfigDict:
    config = lifting.get_config()
    config.batch_size = 32
    config.data.num_views = 4
    config.model.width = 128
    config.model.num_blocks = 1
    config.model.dropout = 0.1
    config.loss.confidence = "product"  # some joints are guesses, as source and as target
    config.train.steps = 1500
    config.train.schedule = "cosine"
    config.train.log_every = 100
    config.train.checkpoint_every = 500
    return config
