"""Lifted views against the truth in the axes of their cameras."""

import keras
import numpy as np
import pytest

from mcss_tf.data.keypoint_views import load_keypoint_views
from mcss_tf.errors import InputError
from mcss_tf.evaluation import lifted
from mcss_tf.geometry.cameras import world_to_camera
from tests.keypoint_data import CAMERAS, make_keypoint_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_keypoint_dataset(tmp_path_factory.mktemp("data"), error_px=3.0, missing_views=True)


class Oracle:
    """A model that has learned the dataset by heart, off by `error_mm` in x."""

    def __init__(self, dataset, error_mm=0.0):
        self.inputs = [keras.KerasTensor((None, 17, 3))]
        views = load_keypoint_views(dataset, "test")
        self.rays, self.outputs = [], []
        for n, c in np.argwhere(views.is_seen):
            camera = dataset.calibration(int(views.sequence[n]))[CAMERAS[c]]
            joints = world_to_camera(camera, views.joints_mm[n])
            pose = joints - joints[0]
            pose[1:, 0] += error_mm
            self.outputs.append((pose, joints[0] + [0, 0, error_mm]))
            self.rays.append(views.rays[n, c])

    def predict(self, keypoints, **_):
        rays = keypoints[..., :2]
        assert (keypoints[..., 2] == 1).all()
        found = [next(i for i, known in enumerate(self.rays) if (known == r).all()) for r in rays]
        pose_mm, root_mm = zip(*(self.outputs[i] for i in found), strict=True)
        return {"pose_mm": np.float32(pose_mm), "root_mm": np.float32(root_mm)}


@pytest.mark.parametrize(("error_mm", "percent"), [(0.0, 100.0), (100.0, 100.0), (151.0, 0.0)])
def test_known_errors(dataset, error_mm, percent):
    split = lifted.lift(Oracle(dataset, error_mm), dataset, "test")
    assert len(split) == 24 * 3 - 8
    pose = lifted.measure(split)["pose"]
    assert pose["mpjpe_mm"] == pytest.approx(error_mm, abs=0.01)
    assert pose["root_mm"] == pytest.approx(error_mm, abs=0.01)
    assert pose["pck_150"] == percent
    assert pose["num_poses"] == 64
    # A shift of all joints but the root is a shift of all measured joints.
    assert pose["pa_mpjpe_mm"] == pytest.approx(0, abs=0.05)
    assert [values["num_poses"] for values in pose["per_action"].values()] == [32, 32]


def test_auc_is_the_mean_over_31_thresholds(dataset):
    pose = lifted.measure(lifted.lift(Oracle(dataset, 52.0), dataset, "test"))["pose"]
    assert pose["auc"] == pytest.approx(100 * 20 / 31)  # 55, 60, ..., 150


def test_tables_name_every_number(dataset):
    metrics = lifted.measure(lifted.lift(Oracle(dataset, 52.0), dataset, "test"))
    poses, actions = lifted.tables(metrics, metrics)
    assert poses.header == ["", "this run", "baseline"]
    assert ["MPJPE (mm)", "52.0", "52.0"] in poses.rows
    assert ["PCK at 150 mm (%)", "100.0", "100.0"] in poses.rows
    assert [row[0] for row in actions.rows] == ["sitting", "walking"]


def test_without_joints_there_is_a_reason(tmp_path):
    bare = make_keypoint_dataset(tmp_path, num_instants=3, labelled=False)
    metrics = lifted.measure(lifted.lift(Oracle(bare), bare, "test"))
    assert metrics == {"pose": None, "reasons": {"pose": "The split has no 3D joints."}}
    assert lifted.tables(metrics) == []


def test_the_figure_is_a_picture(dataset, tmp_path):
    split = lifted.lift(Oracle(dataset), dataset, "test")
    lifted.draw_skeletons(split, dataset.skeleton, tmp_path / "skeletons.png", num_poses=2)
    assert (tmp_path / "skeletons.png").read_bytes()[:4] == b"\x89PNG"


def test_what_the_dataset_lacks(tmp_path):
    bare = make_keypoint_dataset(tmp_path, num_instants=2, true_keypoints=False)
    with pytest.raises(
        InputError, match=r"holds exact keypoints of the model's 17 joints. Received: none in"
    ):
        lifted.lift(Oracle(bare), bare, "test", "exact")
    model = Oracle(bare)
    model.inputs = [keras.KerasTensor((None, 25, 3))]
    with pytest.raises(
        InputError, match=r"detected keypoints of the model's 25 joints. Received: 17 joints in"
    ):
        lifted.lift(model, bare, "test")
