"""Which axis of a world points up, judged by the cameras in it."""

import dataclasses

import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import find_up_axis, look_at, project, with_z_up
from mcss_tf.geometry.canonical import to_z_up

UPRIGHT = [
    look_at(str(c), (64, 64), 50.0, (3000 * np.cos(c), 3000 * np.sin(c), 1500), (0, 0, 900)) for c in range(5)
]


@pytest.mark.parametrize("axis", ["x", "y", "z", "-x", "-y", "-z"])
def test_up_is_found_and_turned_to_z(axis):
    """Cameras in a world with `axis` up show a point where the turned cameras show the turned point."""
    to_other = to_z_up(np.eye(3), axis).T  # columns: images of the axes; its inverse brings z back to `axis`
    others = [dataclasses.replace(camera, rotation=camera.rotation @ to_other) for camera in UPRIGHT]
    assert find_up_axis(others) == axis
    points = np.random.default_rng(0).normal(scale=300, size=(7, 3))
    for other, upright in zip(others, UPRIGHT, strict=True):
        np.testing.assert_allclose(
            project(with_z_up(other, axis), to_z_up(points, axis)), project(other, points)
        )
        np.testing.assert_allclose(with_z_up(other, axis).rotation, upright.rotation, atol=1e-12)


def test_cameras_that_disagree_are_refused():
    lying = [dataclasses.replace(c, rotation=np.roll(c.rotation, 1, axis=0)) for c in UPRIGHT]
    with pytest.raises(InputError, match="One axis of the world must point up"):
        find_up_axis([*UPRIGHT[:2], *lying])
