"""Which method a config names, and which data it needs."""

import pytest

from configs import lifting, tiny
from mcss_tf import methods
from mcss_tf.errors import InputError
from mcss_tf.methods.lifting import Lifting
from tests.keypoint_data import make_keypoint_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_keypoint_dataset(tmp_path_factory.mktemp("data"))


def test_the_named_method(dataset):
    assert isinstance(methods.get(lifting.get_config(), dataset), Lifting)


def test_images_are_needed_for_mcss(dataset):
    with pytest.raises(
        InputError, match=r"learns from images. Received: .* keypoints alone. Use configs/lift"
    ):
        methods.get(tiny.get_config(), dataset)


def test_unknown_method(dataset):
    config = tiny.get_config()
    config.method = "magic"
    with pytest.raises(
        InputError, match=r"method must be one of mcss, lifting, refinement. Received: 'magic'"
    ):
        methods.get(config, dataset)
