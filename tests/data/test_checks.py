"""--check finds what is wrong with labels and files, and says nothing about good ones."""

import dataclasses

import numpy as np
import pytest

from mcss_tf.data.anatomy_check import check_labels
from mcss_tf.data.checks import check_download, check_other
from mcss_tf.data.sources.catalogue import make_source
from mcss_tf.data.sources.frame_labels import Labels
from mcss_tf.data.sources.mpi_inf_3dhp import NUM_FRAMES
from mcss_tf.data.sources.recordings import RecordingOptions, RecordingsSource
from mcss_tf.geometry.cameras import project
from mcss_tf.geometry.skeleton import HUMAN36M_17
from tests.data import synthetic
from tests.data.sources import downloads

CAMERAS = downloads.panoptic_cameras()


def labels(poses_mm, cameras=CAMERAS) -> Labels:
    keypoints = {}
    for name, camera in cameras.items():
        points = project(camera, poses_mm)
        keypoints[name] = np.concatenate([points, np.ones_like(points[..., :1])], -1)
    return Labels(poses_mm, np.ones(poses_mm.shape[:2]), {}, keypoints)


def problems(found: Labels, cameras=CAMERAS) -> str:
    return "; ".join(check_labels(found, cameras, HUMAN36M_17).problems)


def test_good_labels_have_no_problem():
    for seed in range(5):
        measured = check_labels(labels(downloads.poses_mm(seed=seed)), CAMERAS, HUMAN36M_17)
        assert measured.problems == []
        assert max(measured.reprojection_px.values()) < 1e-6


def test_sides_swapped_in_3d():
    good = labels(downloads.poses_mm())
    mirror = np.array(HUMAN36M_17.mirror)
    swapped = dataclasses.replace(good, joints_mm=good.joints_mm[:, mirror])
    assert "left and right are swapped between 3D and 2D in camera 00_01" in problems(swapped)
    without_2d = dataclasses.replace(swapped, keypoints_px=None)
    assert "knees bend backward: left and right are swapped" in problems(without_2d)


def test_a_mirrored_world():
    mirrored = labels(downloads.poses_mm() * [-1, 1, 1])
    assert "knees bend backward" in problems(dataclasses.replace(mirrored, keypoints_px=None))


def test_another_up_axis():
    poses = downloads.poses_mm()
    for lying in (poses[..., [2, 0, 1]], poses * [1, -1, -1]):
        assert "not up along z" in problems(Labels(lying, np.ones(lying.shape[:2]), {}))


def test_metres():
    assert "the unit is another" in problems(labels(downloads.poses_mm() / 1000))


def test_a_calibration_of_something_else():
    turned = {"00_00": CAMERAS["00_01"], "00_01": CAMERAS["00_02"], "00_02": CAMERAS["00_00"]}
    assert "3D joints do not project onto the 2D joints of camera 00_00" in problems(
        labels(downloads.poses_mm()), turned
    )


def test_joints_that_are_masked_do_not_count():
    good = labels(downloads.poses_mm())
    mask = np.ones(good.joint_mask.shape)
    mask[:, [3, 13]] = 0
    broken = good.joints_mm.copy()
    broken[:, [3, 13]] = 1e6
    assert problems(dataclasses.replace(good, joints_mm=broken, joint_mask=mask)) == ""
    nothing = dataclasses.replace(good, joint_mask=np.zeros(mask.shape))
    assert problems(nothing) == ""


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory):
    return downloads.write_panoptic(tmp_path_factory.mktemp("checks") / "panoptic")


def test_a_good_download(panoptic, tmp_path):
    source, _ = make_source("panoptic", str(panoptic), {"crop_size": 32})
    report = check_download(source, tmp_path / "sheet.png")
    assert report.is_good
    assert (report.num_sequences["train"], report.num_images["train"]) == (1, 36)
    assert "train: 1 sequences, 36 images" in report.text()
    assert "nothing speaks against preparing" in report.text()
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_one_damaged_sequence_is_reported_and_the_others_are_still_checked(panoptic, tmp_path):
    root = downloads.copy_of(panoptic, tmp_path / "in")
    downloads.cut(root / "171204_pose1" / "hdVideos" / "hd_00_01.mp4")
    (root / "171204_pose2" / "hdVideos" / "hd_00_02.mp4").unlink()
    source, _ = make_source("panoptic", str(root), {"crop_size": 32, "cameras": ("00_00", "00_01", "00_02")})
    report = check_download(source, tmp_path / "sheet.png")
    assert not report.is_good
    assert report.missing == {"171204_pose2": ["hdVideos/hd_00_02.mp4"]}
    assert len(report.problems) == 2
    assert "hd_00_01.mp4" in report.text()
    assert "missing of 171204_pose2: hdVideos/hd_00_02.mp4" in report.text()
    assert "look into this before you prepare" in report.text()


def test_fewer_images_than_the_release_has_is_a_note(tmp_path):
    """All sequences are there, but each with few frames."""
    root = downloads.write_3dhp(tmp_path / "in", [f"{s}/{q}" for s, q in NUM_FRAMES], num_frames=6)
    source, _ = make_source("mpi_inf_3dhp", str(root), {"crop_size": 32})
    report = check_download(source, tmp_path / "sheet.png")
    assert report.is_good
    assert "the release has 106,535 train images at this stride, here are 120" in report.notes


def test_recordings(tmp_path):
    root = synthetic.write_recordings(tmp_path / "in", ("S1/walk", "S2/walk"), has_clock=False)
    source = RecordingsSource(RecordingOptions(root=root, crop_size=32, boxes="full"))
    specs, problems = check_other(source, tmp_path / "sheet.png")
    assert [spec.name for spec in specs] == ["S1/walk", "S2/walk"]
    assert problems == []
    assert (tmp_path / "sheet.png").is_file()


def test_keypoints_without_images(tmp_path):
    """VideoPose3D's files: a good folder, and one whose calibration is that of other subjects."""
    root = downloads.write_videopose3d(tmp_path / "in")
    source, _ = make_source("videopose3d", str(root), {})
    _, problems = check_other(source, tmp_path / "sheet.png")
    assert problems == []
    cameras = downloads.human36m_cameras()
    names = list(downloads.H36M_CAMERAS)
    for subject in cameras.values():
        subject[names[1]], subject[names[2]] = subject[names[2]], subject[names[1]]
    downloads.write_metadata(root / "metadata.xml", cameras)
    _, problems = check_other(source, tmp_path / "sheet.png")
    assert any("do not project onto the 2D joints of camera 55011271" in problem for problem in problems)
