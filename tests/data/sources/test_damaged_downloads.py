"""Each known fault, and each kind of damaged download, with its message."""

import json
import os
import re

import numpy as np
import pytest
import scipy.io

from mcss_tf.data.sources.catalogue import make_source
from mcss_tf.errors import InputError
from tests.data.sources import downloads
from tests.data.sources.downloads import cut

H, M, T, P, V = "human36m", "mpi_inf_3dhp", "mpi_inf_3dhp_test", "panoptic", "videopose3d"
POSE_FOLDER = "S1/MyPoseFeatures"
PANOPTIC_POSES = "171204_pose1/hdPose3d_stage1_coco19"


def _remove(*paths):
    def damage(root):
        for path in paths:
            for found in sorted(root.glob(path), reverse=True):
                found.unlink() if found.is_file() else downloads.shutil.rmtree(found)

    return damage


def _cut(path, share=0.5):
    return lambda root: cut(root / path, share)


def _text(path, pattern, replacement):
    def damage(root):
        text = (root / path).read_text()
        assert re.search(pattern, text)
        (root / path).write_text(re.sub(pattern, replacement, text, count=1))

    return damage


def _mat(path, **changes):
    def damage(root):
        content = {k: v for k, v in scipy.io.loadmat(root / path).items() if not k.startswith("__")}
        content |= changes
        scipy.io.savemat(root / path, {k: v for k, v in content.items() if v is not None})

    return damage


def _short_video(path):
    def damage(root):
        camera = downloads.human36m_cameras()["S1"]["55011271"]
        downloads.write_video(root / path, camera, downloads.poses_mm(3), 50)

    return damage


def _long_labels(root):
    """40 labelled frames, as many boxes and 2D joints, and videos of 16."""
    downloads.write_human36m(root / "new", downloads.human36m_cameras(), ("S1/Directions 1",), num_frames=40)
    downloads.shutil.rmtree(root / "new" / "S1" / "Videos")
    for part in ("MyPoseFeatures", "MySegmentsMat"):
        downloads.shutil.rmtree(root / "S1" / part)
        (root / "new" / "S1" / part).rename(root / "S1" / part)


def _other_length_2d(root):
    downloads.write_cdf(
        root / f"{POSE_FOLDER}/D2_Positions/Directions 1.55011271.cdf", np.zeros((1, 9, 64), np.float32)
    )


def _positions_2d_for_3d(root):
    downloads.write_cdf(
        root / f"{POSE_FOLDER}/D3_Positions/Directions 1.cdf", np.zeros((1, 9, 64), np.float32)
    )


def _evil(root):
    """A pickle that would run a command when NumPy loads it."""

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {root}/was_run",)

    content = np.empty((), object)
    content[()] = Evil()
    np.savez(root / "data_3d_h36m.npz", positions_3d=content)


def _other_sequences(root):
    np.savez(
        root / "data_3d_h36m.npz", positions_3d=np.array({"S1": {"Other": np.zeros((9, 32, 3))}}, object)
    )


def _other_joints(root):
    content = {"S1": {"Walking 1": np.zeros((16, 25, 3))}}
    np.savez(root / "data_3d_h36m.npz", positions_3d=np.array(content, object))


TS1_CAMERAS = "test_util/camera_calibration/ts1-4cameras.calib"
DAMAGES = [
    (H, _remove("S*"), "must hold folders of Human3.6M's subjects"),
    (H, _remove("metadata.xml"), "needs metadata.xml or camera-parameters.json"),
    (H, _cut("metadata.xml"), "must be XML as Human3.6M ships it"),
    (H, _text("metadata.xml", r"<w0>\[\S+ ", "<w0>["), "300 finite numbers.*Received: 299"),
    (H, _text("metadata.xml", r"<w0>\[\S+ ", "<w0>[nan "), "Received: 300, 299 of them finite, in .*xml"),
    (H, _remove(f"{POSE_FOLDER}/D3_Positions"), "Extract Poses_D3_Positions_S1.tgz"),
    (H, _cut(f"{POSE_FOLDER}/D3_Positions/Directions 1.cdf"), "whole CDF file.*Directions 1.cdf.*damaged"),
    (H, _positions_2d_for_3d, r"\[1, frames, 96\].*Received: \(1, 9, 64\)"),
    (H, _remove("S1/MySegmentsMat/ground_truth_bb/*.55011271.mat"), "needs its boxes.*Segments_mat_gt_bb"),
    (H, _cut("S1/MySegmentsMat/ground_truth_bb/Directions 1.55011271.mat"), "whole MATLAB v7.3 file"),
    (H, _remove("S1/Videos/*.58860488.mp4"), "needs a video of each camera.*58860488.*Videos_S1.tgz"),
    (H, _cut("S1/Videos/Directions 1.55011271.mp4"), "must be readable to its end|truncated or damaged"),
    (H, _long_labels, "must show all 40 labelled frames.*cut off"),
    (H, _other_length_2d, "2D and 3D positions of a sequence have the same frames. Received: 9"),
    (M, _remove("S*"), "must hold MPI-INF-3DHP's S1/Seq1"),
    (M, _remove("S1/Seq1/annot.mat"), "needs its annot.mat"),
    (M, _cut("S1/Seq1/annot.mat"), "must be MATLAB v5.*damaged"),
    (M, _mat("S1/Seq1/annot.mat", univ_annot3=None), "annot.mat must be MATLAB v5.*univ_annot3"),
    (M, _remove("S1/Seq1/camera.calibration"), "readable text file.*camera.calibration"),
    (M, _cut("S1/Seq1/camera.calibration", 0.45), "without|must hold every camera"),
    (M, _text("S1/Seq1/camera.calibration", r"name +2\n", "name 99\n"), "without 2"),
    (
        M,
        _text("S1/Seq1/camera.calibration", r"name +2\n", "name two\n"),
        "numbered. Received: 'two' in .*calib",
    ),
    (M, _text("S1/Seq1/camera.calibration", r"intrinsic .*\n", "\n"), "camera 0 without intrinsic"),
    (M, _remove("S7/Seq1/imageSequence/video_4.avi"), "needs a video of each camera.*video_4.avi"),
    (M, _cut("S1/Seq1/imageSequence/video_2.avi"), "readable to its end|truncated|as long as"),
    (T, _remove("TS*"), "must hold the test set's TS1 to TS6"),
    (T, _remove("TS5/annot_data.mat"), "needs its annot_data.mat"),
    (T, _cut("TS5/annot_data.mat"), "must be MATLAB v7.3"),
    (T, _remove("TS1/imageSequence"), "an image per frame, 16. Received: 0"),
    (T, _remove("TS1/imageSequence/img_00000[4-9].jpg"), "an image per frame, 16. Received: 10"),
    (T, _text(TS1_CAMERAS, r"sensorSize +10", "sensorSize 0"), "sensorSize in mm.*camera 0 with .*ts1-4"),
    (T, _text(TS1_CAMERAS, r"up +\S+", "up 9"), "axes up and right of length 1.*camera 0 with .*ts1-4"),
    (T, _remove(TS1_CAMERAS), "readable text file.*ts1-4cameras"),
    (P, _remove("17*"), "must hold <recording>/hdPose3d_stage1_coco19"),
    (P, _remove("171204_pose1/calibration_*.json"), "needs its calibration"),
    (P, _cut("171204_pose1/calibration_171204_pose1.json"), "needs its calibration: JSON"),
    (P, _remove(f"{PANOPTIC_POSES}/*.json"), "must hold body3DScene"),
    (P, _cut(f"{PANOPTIC_POSES}/body3DScene_00000003.json"), "bodies of id and joints19.*00000003"),
    (P, _remove("171204_pose1/hdVideos/hd_00_0[12].mp4"), "at least two calibrated cameras"),
    (P, _cut("171204_pose2/hdVideos/hd_00_01.mp4"), "readable to its end|truncated"),
    (V, _remove("data_2d*"), "one data_2d_h36m"),
    (V, _cut("data_3d_h36m.npz"), "whole .npz with positions_3d"),
    (V, _evil, "holds .*system, which is no data"),
    (V, _other_sequences, "none in common"),
    (V, _other_joints, "32 joints, 3.*25"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_damage_has_a_message(damaged, name, damage, message):
    """It is found before or while the download is prepared, whichever is possible; never passed over."""
    root = damaged(name)
    damage(root)
    with pytest.raises(InputError, match=f"(?s){message}") as error:
        _read_all(name, root)
    assert "Received: " in str(error.value)
    assert not (root / "was_run").exists()


def _read_all(name, root):
    source, _ = make_source(name, str(root), {} if name == V else {"crop_size": 32})
    for spec in source.sequences():
        list(source.instants(spec))


OPTIONS = [
    (H, {"cameras": ("1",)}, "cameras are 54138969"),
    (H, {"drifted": "mend"}, "--drifted is keep or drop"),
    (H, {"stride": 0}, "--stride must be at least 1"),
    (M, {"cameras": ("14",)}, "cameras are 0 to 13"),
    (M, {"poses": "both"}, "--poses is one of metric, universal"),
    (P, {"cameras": ("00_00",)}, "at least two calibrated cameras"),
    (P, {"test_sequences": ("pose3",)}, "--test_sequences are among"),
    (V, {"crop_size": 64}, "no images to crop"),
    (V, {"stride": 0}, "--stride must be at least 1"),
]


@pytest.mark.parametrize(("name", "options", "message"), OPTIONS)
def test_wrong_options(roots, name, options, message):
    with pytest.raises(InputError, match=message):
        make_source(name, str(roots[name]), options)[0].sequences()


def test_human36m_faults_of_the_release(roots):
    source, _ = make_source(H, str(roots[H]), {"crop_size": 32})
    specs = {spec.name: spec for spec in source.sequences()}
    assert specs["S11/Directions"].cameras == ("55011271", "58860488", "60457274")
    assert len(specs["S1/Directions 1"].cameras) == 4
    assert any("S11/Directions: the video of camera 54138969 is damaged" in n for n in source.notes())
    assert any("S9/Greeting: " in n and "200 mm; kept" in n for n in source.notes())
    dropping, _ = make_source(H, str(roots[H]), {"drifted": "drop"})
    assert [spec.name for spec in dropping.sequences()] == ["S1/Directions 1", "S11/Directions"]
    assert any("left out" in note for note in dropping.notes())


def test_human36m_damaged_video_is_left_out_even_where_it_is_there(damaged):
    root = damaged(H)
    (root / "S11/Videos/Directions.54138969.mp4").write_bytes(b"broken")
    source, _ = make_source(H, str(root), {"crop_size": 32})
    spec = next(spec for spec in source.sequences() if spec.subject == "S11")
    assert {len(instant.cameras) for instant in source.instants(spec)} == {3}


def test_human36m_views_without_a_box_are_left_out(damaged):
    root = damaged(H)
    path = root / "S1/MySegmentsMat/ground_truth_bb/Directions 1.55011271.mat"
    downloads.write_masks(path, [None] * 6 + [(100, 100, 400, 500)] * 10, (1000, 1000))
    source, _ = make_source(H, str(root), {"crop_size": 32})
    spec = source.sequences()[0]
    instants = list(source.instants(spec))
    assert ["55011271" in instant.cameras for instant in instants] == [False, False, True, True]
    box = instants[2].boxes_px[instants[2].cameras.index("55011271")]
    np.testing.assert_array_equal(box, [50, 100, 450, 500])


def test_3dhp_short_video_of_the_release(tmp_path):
    """S6/Seq2's camera 2 ends early: views disappear there; the same elsewhere is a damaged download."""
    short = downloads.write_3dhp(tmp_path / "in", ("S6/Seq2", "S7/Seq1"), num_frames=40)
    camera = downloads.dhp_cameras()[2]
    joints = downloads.joints_named(downloads.MPI_INF_3DHP_28, downloads.poses_mm(12, 0))
    downloads.write_video(short / "S6/Seq2/imageSequence/video_2.avi", camera, joints, 25)
    source, _ = make_source(M, str(short), {"crop_size": 32})
    spec = source.sequences()[0]
    instants = list(source.instants(spec))
    assert ["2" in instant.cameras for instant in instants] == [i < 3 for i in range(8)]
    assert any("ends before its labels" in note for note in source.notes())
    downloads.write_video(short / "S7/Seq1/imageSequence/video_2.avi", camera, joints, 25)
    with pytest.raises(InputError, match=r"must show all 40 labelled frames.*video_2.avi with less than 16"):
        list(source.instants(source.sequences()[1]))


def test_panoptic_people(roots):
    """Whoever is there for a moment is no subject; joints without confidence are masked."""
    source, _ = make_source(P, str(roots[P]), {"crop_size": 32})
    specs = source.sequences()
    assert [(spec.subject, spec.split, spec.action) for spec in specs] == [
        ("171204_pose1-4", "train", "pose"),
        ("171204_pose2-4", "test", "pose"),
    ]
    instants = list(source.instants(specs[0]))
    assert [instant.joint_mask[16] for instant in instants] == [0.0] * 12  # every third frame, stride 6
    assert all(instant.joint_mask[:16].all() for instant in instants)


def test_panoptic_nobody_for_long_enough(tmp_path):
    root = downloads.write_panoptic(tmp_path / "in", num_frames=20)
    with pytest.raises(InputError, match="shows somebody for at least 60 frames"):
        make_source(P, str(root), {})[0].sequences()


def test_universal_poses_stand_where_the_true_ones_do(roots):
    """The fixture's universal skeleton is 1.1 times the true one."""
    metric, _ = make_source(M, str(roots[M]), {})
    universal, _ = make_source(M, str(roots[M]), {"poses": "universal"})
    spec = metric.sequences()[0]
    true_mm = metric.labels(spec, spec.frames).joints_mm
    scaled_mm = universal.labels(spec, spec.frames).joints_mm
    root = metric.skeleton.root
    np.testing.assert_allclose(scaled_mm[:, root], true_mm[:, root], atol=1e-6)
    np.testing.assert_allclose(
        scaled_mm - scaled_mm[:, [root]], 1.1 * (true_mm - true_mm[:, [root]]), atol=1e-6
    )


def test_videopose3d_coco_keypoints_keep_their_confidence(tmp_path):
    root = downloads.write_videopose3d(tmp_path / "in")
    views = [np.concatenate([np.full((16, 17, 2), 50.0), np.full((16, 17, 1), 0.3)], -1)] * 4
    np.savez(
        root / "data_2d_h36m_gt.npz",
        positions_2d=np.array({"S1": {"Walking 1": views}}, object),
        metadata=np.array({"layout_name": "coco", "num_joints": 17}, object),
    )
    source, _ = make_source(V, str(root), {})
    (spec,) = source.sequences()
    instant = next(source.instants(spec))
    np.testing.assert_allclose(instant.keypoints_px[..., 2], 0.3, rtol=1e-6)
    assert json.dumps(source.notes()) == "[]"
