"""Cameras agree with OpenCV, and calibration files are read or refused with their name."""

import json

import cv2
import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import (
    Camera,
    camera_to_world,
    load_calibration,
    load_human36m_cameras,
    look_at,
    project,
    save_calibration,
    undistort,
    world_to_camera,
)
from mcss_tf.geometry.skeleton import BODY_25B

CAMERA = look_at("front", (640, 480), 500.0, (0, -4000, 1000), (0, 0, 1000))


def distorted() -> Camera:
    return Camera(
        "d",
        CAMERA.size,
        CAMERA.matrix,
        np.array([-0.2, 0.1, 1e-3, -2e-3, 0.01]),
        CAMERA.rotation,
        CAMERA.translation_mm,
    )


def test_look_at_shows_the_target_in_the_middle_and_up_is_up():
    np.testing.assert_allclose(project(CAMERA, np.array([0, 0, 1000.0])), [319.5, 239.5], atol=1e-9)
    right, above = project(CAMERA, np.array([[1000.0, 0, 1000], [0, 0, 2000]]))
    np.testing.assert_allclose(right, [319.5 + 125, 239.5], atol=1e-9)
    np.testing.assert_allclose(above, [319.5, 239.5 - 125], atol=1e-9)
    np.testing.assert_allclose(CAMERA.centre_mm, [0, -4000, 1000], atol=1e-9)


def test_projection_is_the_formula_of_opencv():
    points = np.random.default_rng(0).uniform(-800, 800, (3, 4, 3))
    camera = distorted()
    x, y = np.moveaxis(world_to_camera(camera, points), -1, 0)[:2] / world_to_camera(camera, points)[..., 2]
    k1, k2, p1, p2, k3 = camera.distortion
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    bent = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            np.ones_like(x),
        ],
        -1,
    )
    expected = (bent @ camera.matrix.T)[..., :2]
    np.testing.assert_allclose(project(camera, points), expected, atol=1e-8)


def test_undistort_inverts_the_lens():
    camera = distorted()
    points = np.random.default_rng(0).uniform(-800, 800, (5, 3))
    np.testing.assert_allclose(undistort(camera, project(camera, points)), project(CAMERA, points), atol=1e-2)
    assert project(camera, np.zeros((0, 3))).shape == (0, 2)
    assert undistort(camera, np.zeros((0, 2))).shape == (0, 2)


def test_world_and_camera_are_inverse():
    points = np.random.default_rng(1).normal(size=(2, 3, 3))
    np.testing.assert_allclose(camera_to_world(CAMERA, world_to_camera(CAMERA, points)), points, atol=1e-9)


def test_a_vertical_look_is_refused():
    with pytest.raises(InputError, match="straight up or down"):
        look_at("top", (64, 64), 50.0, (0, 0, 3000), (0, 0, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rotation": np.diag([1.0, 1.0, -1.0])}, "must not mirror.*determinant -1"),
        ({"rotation": 2 * np.eye(3)}, "must be orthonormal"),
        ({"matrix": np.eye(2)}, "matrix of camera 'front' has shape"),
        ({"distortion": np.zeros(3)}, "0, 4, 5, 8, 12 or 14 coefficients"),
    ],
)
def test_a_wrong_camera_is_refused(change, message):
    fields = dict(vars(CAMERA)) | change
    with pytest.raises(InputError, match=message):
        Camera(**fields)


def test_calibration_round_trip(tmp_path):
    cameras = {"front": CAMERA, 'odd "name"': Camera(**(dict(vars(distorted())) | {"name": 'odd "name"'}))}
    save_calibration(tmp_path / "cameras.toml", cameras)
    loaded = load_calibration(tmp_path / "cameras.toml")
    assert list(loaded) == list(cameras)
    for name, camera in cameras.items():
        assert loaded[name].size == camera.size
        for field in ("matrix", "distortion", "rotation", "translation_mm"):
            np.testing.assert_allclose(getattr(loaded[name], field), getattr(camera, field), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("rotation = ", "rotated = "), r"without \['rotation'\]"),
        (("fisheye = false", "fisheye = true"), "must be perspective"),
        (('["front"]', '["front"'), "valid TOML"),
        (("size = ", "resolution = "), r"without \['size'\]"),
    ],
)
def test_a_wrong_calibration_names_the_file(tmp_path, change, message):
    path = tmp_path / "cameras.toml"
    save_calibration(path, {"front": CAMERA})
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(InputError, match=message) as caught:
        load_calibration(path)
    assert "cameras.toml" in str(caught.value)


def test_a_mirrored_rotation_matrix_in_a_file_is_refused(tmp_path):
    path = tmp_path / "cameras.toml"
    save_calibration(path, {"front": CAMERA})
    lines = path.read_text().splitlines()
    lines = ["rotation = [[1.0,0,0],[0,1.0,0],[0,0,-1.0]]" if "rotation" in line else line for line in lines]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"must not mirror.*cameras\.toml"):
        load_calibration(path)


def test_missing_and_empty_calibrations_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_calibration(tmp_path / "none.toml")
    (tmp_path / "empty.toml").write_text("[metadata]\nerror = 0.0\n")
    with pytest.raises(InputError, match="one table per camera"):
        load_calibration(tmp_path / "empty.toml")


def test_real_calibration_reprojects_the_triangulated_joints(balancing):
    """Known of this recording: 8 to 18 px median between its TRC and its keypoints."""
    cameras = load_calibration(balancing / "calibration.toml")
    assert list(cameras) == ["cam_01", "cam_02", "cam_03", "cam_04"]
    lines = (balancing / "pose-3d.trc").read_text().splitlines()
    names = [name for name in lines[3].split("\t")[2:] if name]
    values = np.array([float(value) for value in lines[5].split("\t")[2:] if value]).reshape(-1, 3)
    world = 1000 * values[:, [2, 0, 1]]
    for name, camera in cameras.items():
        short = name.replace("_", "")
        content = json.loads((balancing / f"pose-associated/{short}_json/{short}.0000.json").read_text())
        keypoints = np.array(content["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)
        pairs = [(names.index(joint), BODY_25B.index(joint)) for joint in ("RHip", "LHip", "LElbow", "Nose")]
        rows, columns = np.array(pairs).T
        error = np.linalg.norm(project(camera, world[rows]) - keypoints[columns, :2], axis=-1)
        assert np.median(error) < 40, name


def test_human36m_cameras(human36m_cameras):
    subjects = load_human36m_cameras(human36m_cameras)
    assert {"S1", "S9", "S11"} <= set(subjects)
    camera = subjects["S1"]["54138969"]
    assert camera.size == (1000, 1002)
    points = np.random.default_rng(0).uniform((-500, -500, 400), (500, 500, 1400), (6, 3))
    rotation = cv2.Rodrigues(camera.rotation)[0]
    expected = cv2.projectPoints(points, rotation, camera.translation_mm, camera.matrix, camera.distortion)[0]
    np.testing.assert_allclose(project(camera, points), expected[:, 0])
    centres = np.stack([camera.centre_mm for camera in subjects["S1"].values()])
    assert (centres[:, 2] > 1000).all()
    assert (centres[:, 2] < 2500).all()


def test_wrong_human36m_files_are_refused(tmp_path):
    path = tmp_path / "cameras.json"
    path.write_text("{")
    with pytest.raises(InputError, match="valid JSON"):
        load_human36m_cameras(path)
    path.write_text(json.dumps({"intrinsics": {}}))
    with pytest.raises(InputError, match=r"without \['extrinsics'\]"):
        load_human36m_cameras(path)
    path.write_text(json.dumps({"intrinsics": {}, "extrinsics": {"S1": {"c": {"R": [], "t": []}}}}))
    with pytest.raises(InputError, match="intrinsics of c without"):
        load_human36m_cameras(path)
