"""The studio benchmark: seven people, four cameras, real motion capture; anyone can make it.

    python -m mcss_tf.prepare --source=studio --config=configs/studio_benchmark.py --output=out/benchmark/data
    python -m mcss_tf.prepare --source=studio --config=configs/studio_benchmark.py:other \
        --output=out/benchmark/other

Five people train (S1, S5, S6, S7, S8), two are tested (S9, S11), as in Human3.6M's protocol. Everybody has a
body, clothes and colours of their own and dances, fights and performs all sixteen actions of the studio in
clips of their own; the two partners of one dance are one person's. `other` is a second room with other
people, clothes and cameras, in which test clips of the first room are test clips again.

Motion capture lies in ../shared/data/cmu_mocap (43 clips of CMU's collection, 30 Hz). Where it does not,
all motion is procedural, and `prepare` and dataset.json say so.
"""

from pathlib import Path

from ml_collections import ConfigDict

from configs import common

MOTION = Path(__file__).resolve().parents[2] / "shared" / "data" / "cmu_mocap" / "cmu_bvh_30hz.npz"
ROOMS = ("first", "other")


def get_config(room: str = "first") -> ConfigDict:
    config = common.get_config()
    config.studio = ConfigDict()  # read by prepare
    config.studio.seed = ROOMS.index(room)
    config.studio.train_subjects = ("S1", "S5", "S6", "S7", "S8")
    config.studio.test_subjects = ("S9", "S11")
    config.studio.num_cameras = 4
    config.studio.crop_size = 64
    # A clip belongs to one person, in both rooms alike.
    config.studio.motion = str(MOTION)
    config.studio.motion_is_optional = True
    config.studio.deal_seed = 0
    # All that the clips hold, at 10 Hz for training and 5 Hz for testing; then the procedural performer's.
    config.studio.num_train_instants = 1300
    config.studio.num_test_instants = 400
    config.studio.fps = 10.0
    config.studio.test_fps = 5.0
    config.studio.num_train_performed = 800
    config.studio.num_test_performed = 240
    config.studio.performed_fps = 5.0
    # Cameras of different makers: a network cannot tell a person by the colours alone.
    config.studio.tint = 3.0
    if room == "other":
        config.studio.fps = 5.0
        config.studio.num_train_performed = 320
    return config
