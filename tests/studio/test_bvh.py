"""BVH: a file one can compute by hand, errors with their line, and real motion capture."""

import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.studio import bvh

ARM = """HIERARCHY
ROOT hip
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT arm
  {
    OFFSET 2 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 3 0 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.25
1 2 3 0 0 0 0 0 0
1 2 3 90 0 0 90 0 0
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "arm.bvh"
        path.write_text(text)
        return path

    return write


def test_an_arm_by_hand(write):
    """Straight along x; then the root turns x to y and the arm turns on to -x."""
    motion = bvh.read(write(ARM))
    assert motion.names == ("hip", "arm", "arm_end")
    assert (motion.fps, motion.duration_s) == (4.0, 0.5)
    expected = [[[1, 2, 3], [3, 2, 3], [6, 2, 3]], [[1, 2, 3], [1, 4, 3], [-2, 4, 3]]]
    np.testing.assert_allclose(motion.positions(), expected, atol=1e-12)


def test_channels_are_applied_in_the_file_s_order(write):
    """Z by 90 then X by 90 sends x to z when Z comes last, and keeps it at y when Z comes first."""
    text = ARM.replace("90 0 0 90 0 0", "90 0 90 0 0 0")
    np.testing.assert_allclose(bvh.read(write(text)).positions()[1, 1] - [1, 2, 3], [0, 2, 0], atol=1e-12)
    swapped = text.replace("Zrotation Yrotation Xrotation", "Xrotation Yrotation Zrotation")
    np.testing.assert_allclose(bvh.read(write(swapped)).positions()[1, 1] - [1, 2, 3], [0, 0, 2], atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY", "JSON", r"line 1: a BVH file has HIERARCHY here. Received: 'JSON'"),
        ("OFFSET 2 0 0", "OFFSET 2 zero 0", r"line 8: a BVH file has a number here. Received: 'zero'"),
        (
            "3 Zrotation Xrotation",
            "3 Zrotation Wrotation",
            r"line 9: .*one of Xposition.*Received: 'Wrotation'",
        ),
        ("    End Site", "    Site", r"line 10: .*CHANNELS, JOINT, End Site or }.*Received: 'Site'"),
        ("Frames: 2", "Frames: 0", r"line 18: .*at least one frame.*Received: 0 frames"),
        ("0 0 0 0 0 0\n1", "0 0 0 0 0 x\n1", r"line 19: a BVH file has a number here. Received: 'x'"),
        ("1 2 3 90 0 0 90 0 0\n", "1 2 3 90\n", r"2 frames of 9 numbers here. Received: 13 numbers"),
        (ARM[200:], "", r"Received: the end of the file"),
    ],
)
def test_errors_name_the_line_and_what_belongs_there(write, old, new, message):
    assert old in ARM
    with pytest.raises(InputError, match=message):
        bvh.read(write(ARM.replace(old, new)))


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"must be readable. Received: .*none.bvh .*Check the path"):
        bvh.read(tmp_path / "none.bvh")


def test_real_bvh_agrees_with_the_positions_of_the_collection(cmu_mocap):
    """The npz holds every fourth frame of the 120 Hz BVH, in metres."""
    motion = bvh.read(cmu_mocap / "bvh" / "martial_04.bvh")
    assert motion.fps == pytest.approx(120, abs=0.1)
    with np.load(cmu_mocap / "cmu_bvh_30hz.npz") as file:
        joints, stored = [str(name) for name in file["_joints"]], file["martial_04"]
    columns = [motion.names.index(name) for name in joints]
    positions = motion.positions()[::4, columns] / 100
    assert len(positions) == len(stored)
    np.testing.assert_allclose(positions, stored, atol=2e-4)
