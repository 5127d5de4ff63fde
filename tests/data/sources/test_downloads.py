"""What holds for every shipped dataset, on small downloads in the real file formats."""

import json
import pickle

import cv2
import numpy as np
import pytest
import scipy.io

from mcss_tf.data import video
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.preparation import prepare_dataset, prepare_group
from mcss_tf.data.preparation_state import fingerprint, open_state
from mcss_tf.data.records import decode_instant
from mcss_tf.data.sources.base import Source
from mcss_tf.data.sources.catalogue import make_source
from mcss_tf.data.sources.human36m_files import read_cameras
from mcss_tf.data.sources.mpi_inf_3dhp_files import read_calibration
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import (
    Camera,
    camera_to_world,
    load_human36m_cameras,
    project,
    with_z_up,
    world_to_camera,
)
from mcss_tf.geometry.canonical import canonical_pose
from mcss_tf.geometry.skeleton import map_joints
from mcss_tf.geometry.skeletons import find_skeleton
from tests.data.sources import downloads
from tests.data.sources.conftest import NAMES

# Which figure each fixture filmed, by subject.
_SEEDS = {
    "human36m": {"S1": 0, "S9": 1, "S11": 2},
    "mpi_inf_3dhp": {"S1": 0, "S7": 1},
    "mpi_inf_3dhp_test": {"TS1": 10, "TS5": 11},
    "panoptic": {"171204_pose1-4": 0, "171204_pose2-4": 1},
    "videopose3d": {"S1": 0, "S9": 1, "S11": 2},
}


def make(name, root, **options):
    options = {"crop_size": None if name == "videopose3d" else 32} | options
    return make_source(name, str(root), options)[0]


def prepare(source, output) -> PreparedDataset:
    return prepare_dataset(
        source, source.sequences(), output, source.options.crop_size, {"x": 1}, 1, lambda _: None
    )


@pytest.fixture(scope="module")
def prepared(roots, tmp_path_factory):
    """Every download, prepared at 32 pixels."""
    output = tmp_path_factory.mktemp("prepared")
    return {name: prepare(make(name, roots[name]), output / name) for name in NAMES}


def instants_of(dataset):
    return [decode_instant(dataset.read([row])[0]) for row in range(len(dataset.index))]


@pytest.mark.parametrize("name", NAMES)
def test_a_source_is_one_and_travels_to_workers(roots, name):
    source = make(name, roots[name])
    assert isinstance(source, Source)
    specs = source.sequences()
    pickle.loads(pickle.dumps((source, specs)))
    assert all(spec.cameras and spec.fps > 0 for spec in specs)


@pytest.mark.parametrize("name", NAMES)
def test_canonical_poses_are_the_figures_own(prepared, name):
    """The world's up axis, unit and handedness vary by dataset; the figure that was filmed does not."""
    dataset = prepared[name]
    assert dataset.index.has_pose.all()
    num_frames = 70 if name == "panoptic" else downloads.NUM_FRAMES
    for instant in instants_of(dataset):
        figure = downloads.poses_mm(num_frames, _SEEDS[name][instant["subject"]])[instant["frame"]]
        joints = downloads.joints_named(_names(name), figure[None])
        truth, mask = map_joints(joints[0], _names(name), dataset.skeleton)
        canonical_mm, _ = canonical_pose(truth, dataset.skeleton)
        seen = (mask > 0) & (instant["joint_mask"] > 0)
        assert seen.sum() >= 15
        assert np.abs(canonical_mm - instant["canonical_mm"])[seen].max() < 1e-3


def _names(name: str) -> tuple[str, ...]:
    return {
        "human36m": downloads.HUMAN36M_32,
        "videopose3d": downloads.HUMAN36M_32,
        "mpi_inf_3dhp": downloads.MPI_INF_3DHP_28,
        "mpi_inf_3dhp_test": downloads.MPI_INF_3DHP_17,
        "panoptic": downloads.COCO_19,
    }[name]


@pytest.mark.parametrize("name", NAMES)
def test_canonical_poses_are_equal_from_all_cameras(prepared, name):
    """What each camera that filmed the figure sees in its own axes, through the prepared calibration."""
    dataset = prepared[name]
    num_frames = 70 if name == "panoptic" else downloads.NUM_FRAMES
    for row, instant in enumerate(instants_of(dataset)):
        cameras = dataset.calibration(int(dataset.index.sequence[row]))
        filming = _filming(name, instant["subject"])
        figure = downloads.poses_mm(num_frames, _SEEDS[name][instant["subject"]])[instant["frame"]]
        joints = downloads.joints_named(_names(name), figure[None])[0]
        for camera in instant["cameras"]:
            own_mm = world_to_camera(filming[camera], joints)
            world_mm, _ = map_joints(camera_to_world(cameras[camera], own_mm), _names(name), dataset.skeleton)
            canonical_mm, _ = canonical_pose(world_mm, dataset.skeleton)
            seen = instant["joint_mask"] > 0
            assert np.abs(canonical_mm - instant["canonical_mm"])[seen].max() < 1e-3


def _filming(name: str, subject: str) -> dict[str, Camera]:
    """Returns the cameras of the fixture, in its own world."""
    if name == "panoptic":
        return downloads.panoptic_cameras()
    if name == "mpi_inf_3dhp_test":
        return {"test": downloads.dhp_cameras()[2]}
    if name == "mpi_inf_3dhp":
        return {str(number): camera for number, camera in downloads.dhp_cameras().items()}
    return downloads.human36m_cameras()[subject]


@pytest.mark.parametrize("name", NAMES)
def test_joints_project_onto_their_keypoints(prepared, name):
    dataset = prepared[name]
    for row, instant in enumerate(instants_of(dataset)):
        cameras = dataset.calibration(int(dataset.index.sequence[row]))
        for camera, keypoints in zip(instant["cameras"], instant["keypoints_px"], strict=True):
            points_px = project(cameras[camera], instant["joints_mm"])
            seen = (keypoints[:, 2] > 0) & (instant["joint_mask"] > 0)
            assert seen.sum() >= 15
            assert np.abs(points_px - keypoints[:, :2])[seen].max() < 0.01


@pytest.mark.parametrize("name", [name for name in NAMES if name != "videopose3d"])
def test_crops_show_the_figure(prepared, name):
    """Where the pelvis is in the crop, the picture is bright: boxes, frames and labels belong together."""
    dataset = prepared[name]
    for instant in instants_of(dataset)[::3]:
        for image, box, keypoints in zip(
            instant["images"], instant["boxes_px"], instant["keypoints_px"], strict=True
        ):
            x, y = (keypoints[dataset.skeleton.root, :2] - box[:2]) * 32 / (box[2] - box[0])
            assert image[max(round(y) - 1, 0) : round(y) + 2, max(round(x) - 1, 0) : round(x) + 2].max() > 120


def test_every_3dhp_camera_gives_the_stored_pose_from_its_own_annotation(prepared, roots):
    """annot3 is stored per camera; each one's own leads to the canonical pose that camera 0 gave."""
    dataset = prepared["mpi_inf_3dhp"]
    for row, instant in enumerate(instants_of(dataset)):
        folder = roots["mpi_inf_3dhp"] / instant["subject"] / instant["sequence"]
        cells = scipy.io.loadmat(folder / "annot.mat")["annot3"]
        for number, camera in read_calibration(folder / "camera.calibration").items():
            own_mm = cells[number, 0].reshape(-1, 28, 3)[instant["frame"]]
            world_mm = camera_to_world(with_z_up(camera, "y"), own_mm)
            joints, _ = map_joints(world_mm, downloads.MPI_INF_3DHP_28, dataset.skeleton)
            canonical_mm, _ = canonical_pose(joints, dataset.skeleton)
            assert np.abs(canonical_mm - instant["canonical_mm"]).max() < 1e-3, (row, number)


def test_human36m_reprojection_with_the_real_cameras(human36m_cameras, tmp_path):
    """Against OpenCV on the file's own numbers, and against the formula of the lens written out."""
    root = downloads.write_human36m(
        tmp_path / "in", load_human36m_cameras(human36m_cameras), ("S1/Walking", "S9/Walking"), metadata=False
    )
    (root / "camera-parameters.json").symlink_to(human36m_cameras)
    dataset = prepare(make("human36m", root), tmp_path / "out")
    content = json.loads(human36m_cameras.read_text())
    worst = 0.0
    for row, instant in enumerate(instants_of(dataset)):
        cameras = dataset.calibration(int(dataset.index.sequence[row]))
        for camera in instant["cameras"]:
            lens, pose = content["intrinsics"][camera], content["extrinsics"][instant["subject"]][camera]
            matrix, k = np.array(lens["calibration_matrix"]), np.array(lens["distortion"])
            rotation, shift = np.array(pose["R"]), np.array(pose["t"])
            joints = instant["joints_mm"].astype(float)
            opencv, _ = cv2.projectPoints(joints[:, None], cv2.Rodrigues(rotation)[0], shift, matrix, k)
            ours = project(cameras[camera], joints)
            by_hand = _distorted(joints @ rotation.T + shift.T, matrix, k)
            keypoints = instant["keypoints_px"][instant["cameras"].index(camera), :, :2]
            worst = max(worst, *(np.abs(ours - p).max() for p in (opencv[:, 0], by_hand, keypoints)))
    assert worst < 0.01


def _distorted(camera_mm, matrix, k):
    """x (1 + k1 r^2 + k2 r^4 + k3 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2), and likewise y."""
    x, y = camera_mm[:, 0] / camera_mm[:, 2], camera_mm[:, 1] / camera_mm[:, 2]
    r2 = x * x + y * y
    radial = 1 + k[0] * r2 + k[1] * r2**2 + k[4] * r2**3
    u = x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x)
    v = y * radial + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y
    return np.stack([matrix[0, 0] * u + matrix[0, 2], matrix[1, 1] * v + matrix[1, 2]], 1)


def test_metadata_xml_and_json_hold_the_same_cameras(human36m_cameras, tmp_path):
    from_json = read_cameras(human36m_cameras)
    downloads.write_metadata(tmp_path / "metadata.xml", from_json)
    from_xml = read_cameras(tmp_path / "metadata.xml")
    for subject, cameras in from_json.items():
        for name, camera in cameras.items():
            other = from_xml[subject][name]
            for field in ("matrix", "distortion", "rotation", "translation_mm"):
                np.testing.assert_allclose(getattr(other, field), getattr(camera, field), atol=1e-6)


def test_an_options_of_another_source_and_a_missing_folder(roots, tmp_path):
    with pytest.raises(InputError, match="--source=panoptic has no --drifted"):
        make("panoptic", roots["panoptic"], drifted="drop")
    with pytest.raises(InputError, match="needs the folder of the download"):
        make("human36m", tmp_path / "nowhere")


def test_people_of_a_recording_are_decoded_once(roots, tmp_path, monkeypatch):
    """And become what they become one by one; after an interruption only who is missing is prepared."""
    root = downloads.copy_of(roots["panoptic"], tmp_path / "in")
    for path in (root / "171204_pose1" / "hdPose3d_stage1_coco19").glob("*.json"):
        content = json.loads(path.read_text())
        joints = np.array(content["bodies"][0]["joints19"]).reshape(19, 4)
        joints[:, 0] += 60  # cm
        content["bodies"].append({"id": 9, "joints19": joints.ravel().tolist()})
        path.write_text(json.dumps(content))
    source = make("panoptic", root)
    specs = source.sequences()
    assert [spec.subject for spec in specs] == ["171204_pose1-4", "171204_pose1-9", "171204_pose2-4"]
    one_by_one = make("panoptic", root)
    one_by_one.groups = lambda specs: [[spec] for spec in specs]
    expected = prepare(one_by_one, tmp_path / "one_by_one")
    decoded = []
    read = video.read_frames
    monkeypatch.setattr(video, "read_frames", lambda path, fps: decoded.append(path.name) or read(path, fps))
    dataset = prepare(source, tmp_path / "together")
    assert len(decoded) == 2 * 3
    assert dataset.metadata == expected.metadata
    both = [i for i in instants_of(dataset) if i["subject"].startswith("171204_pose1")]
    assert {i["subject"] for i in both if i["frame"] == 6} == {"171204_pose1-4", "171204_pose1-9"}
    open_state(tmp_path / "again", {"x": 1})
    prepare_group(specs[:1], [fingerprint(specs[0])], source, tmp_path / "again", 32)
    prepare_group(specs[:2], [fingerprint(s) for s in specs[:2]], source, tmp_path / "again", 32)
    monkeypatch.setattr(source, "instants_together", None)  # the two are there: one is left
    monkeypatch.setattr(source, "instants", one_by_one.instants)
    assert prepare(source, tmp_path / "again").metadata == expected.metadata


def test_other_skeletons(roots, tmp_path):
    """A dataset can be prepared on any skeleton; what it cannot give is masked and said."""
    source = make("mpi_inf_3dhp", roots["mpi_inf_3dhp"], skeleton=find_skeleton("body_25"))
    assert any("LHeel" in note for note in source.notes())
    dataset = prepare(source, tmp_path / "out")
    instant = decode_instant(dataset.read([0])[0])
    assert instant["joint_mask"][dataset.skeleton.index("LHeel")] == 0
    assert instant["joint_mask"][dataset.skeleton.index("LKnee")] == 1
    hipless = tmp_path / "hipless.toml"
    hipless.write_text('name = "x"\n[joints]\ncentre = ""\nleft_hip = "centre"\nright_hip = "centre"\n')
    with pytest.raises(InputError, match="whose centre is not among"):
        make("mpi_inf_3dhp", roots["mpi_inf_3dhp"], skeleton=find_skeleton(str(hipless)))
