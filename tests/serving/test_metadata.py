"""What an export says about itself comes from the run alone."""

import keras
import pytest

from configs import tiny
from mcss_tf.data.sources.recordings import RecordingOptions
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.serving.metadata import check_target, describe_run


def info(context: float | None) -> dict:
    return {"dataset": {"skeleton": HUMAN36M_17.to_json(), "crop": {"size": 64, "context": context}}}


def test_joints_and_crops_are_those_of_the_training_data(model: keras.Model) -> None:
    metadata = describe_run(model, info(1.5))
    assert metadata["crop"] == {"size": 64, "context": 1.5}
    assert metadata["pose"]["joint_names"] == list(HUMAN36M_17.joint_names[1:])


def test_crops_of_unknown_context_are_cut_like_recordings(model: keras.Model) -> None:
    assert describe_run(model, info(None))["crop"]["context"] == RecordingOptions.context


def test_only_canonical_poses_are_exported():
    config = tiny.get_config()
    check_target(config)
    config.labels.target = "camera"
    with pytest.raises(InputError, match=r"gives canonical poses. Received: .* labels.target=camera"):
        check_target(config)
