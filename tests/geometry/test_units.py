"""Metres are told from millimetres, and usual rooms and people are not refused."""

import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera
from mcss_tf.geometry.units import check_millimetres, check_poses_millimetres
from tests.helpers import STANDING_MM
from tests.keypoint_data import make_cameras


def scaled(factor):
    return [
        Camera(n, c.size, c.matrix, c.distortion, c.rotation, factor * c.translation_mm)
        for n, c in make_cameras().items()
    ]


def test_rooms_pass():
    check_millimetres(scaled(1.0), "here")
    check_millimetres(scaled(0.1), "a table top")
    check_millimetres(scaled(20.0), "a stadium")
    check_millimetres(scaled(0.001)[:1], "one camera has no distance to another")


def test_metres_do_not():
    with pytest.raises(InputError, match=r"cameras at most .* apart in here, which looks like metres"):
        check_millimetres(scaled(0.001), "here")


def test_people_pass_with_joints_missing():
    mask = np.ones((2, 17))
    mask[0, 5:] = 0
    joints = np.stack([STANDING_MM, STANDING_MM])
    joints[0, 5:] = 1e9
    check_poses_millimetres(joints, mask, "here")
    check_poses_millimetres(joints, np.zeros((2, 17)), "nothing is known")


@pytest.mark.parametrize(("factor", "guess"), [(0.001, "metres"), (0.1, "centimetres"), (10, "another unit")])
def test_other_units_do_not(factor, guess):
    with pytest.raises(InputError, match=rf"poses .* across in here, which looks like {guess}. Convert"):
        check_poses_millimetres(factor * STANDING_MM[None], np.ones((1, 17)), "here")
