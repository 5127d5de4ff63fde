"""Every shipped dataset, on small downloads in the real file formats: from files to the canonical pose."""

import pickle

import numpy as np
import pytest

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.preparation import prepare_dataset
from mcss_tf.data.records import decode_instant
from mcss_tf.data.sources.base import Source
from mcss_tf.data.sources.catalogue import make_source
from mcss_tf.geometry.cameras import Camera, load_human36m_cameras, project, world_to_camera
from mcss_tf.geometry.canonical import canonical_pose
from tests.data.sources import downloads


@pytest.fixture(scope="module")
def h36m_cameras():
    """Four cameras for eleven subjects, in the true picture size, with lens distortion."""
    return downloads.human36m_cameras()


@pytest.fixture(scope="module")
def roots(tmp_path_factory, h36m_cameras):
    """One small download of each dataset; nothing in a test may change them."""
    root = tmp_path_factory.mktemp("downloads")
    return {
        "human36m": downloads.write_human36m(root / "h36m", h36m_cameras),
        "mpi_inf_3dhp": downloads.write_3dhp(root / "3dhp"),
        "mpi_inf_3dhp_test": downloads.write_3dhp_test(root / "3dhp_test"),
        "panoptic": downloads.write_panoptic(root / "panoptic"),
    }


NAMES = ("human36m", "mpi_inf_3dhp", "mpi_inf_3dhp_test", "panoptic")


def prepare(source, output) -> PreparedDataset:
    return prepare_dataset(
        source, source.sequences(), output, source.options.crop_size, {"x": 1}, 1, lambda _: None
    )


@pytest.fixture(scope="module")
def prepared(roots, tmp_path_factory):
    """Every download, prepared at 32 pixels."""
    output = tmp_path_factory.mktemp("prepared")
    return {
        name: prepare(make_source(name, str(roots[name]), {"crop_size": 32})[0], output / name)
        for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_source_is_one(roots, name):
    source, options = make_source(name, str(roots[name]), {"crop_size": 32})
    assert isinstance(source, Source)
    specs = source.sequences()
    pickle.loads(pickle.dumps((source, specs, options)))
    assert all(spec.cameras and spec.fps > 0 for spec in specs)


@pytest.mark.parametrize("name", NAMES)
def test_canonical_poses_are_equal_from_all_cameras(prepared, name):
    """A camera knows the pose in its own axes; through its calibration all give the stored canonical pose."""
    dataset = prepared[name]
    assert dataset.index.has_pose.all()
    for row in range(len(dataset.index)):
        instant = decode_instant(dataset.read([row])[0])
        cameras = dataset.calibration(int(dataset.index.sequence[row]))
        for camera in instant["cameras"]:
            own_mm = world_to_camera(cameras[camera], instant["joints_mm"].astype(float))
            world_mm = (own_mm - cameras[camera].translation_mm) @ cameras[camera].rotation
            canonical_mm, _ = canonical_pose(world_mm, dataset.skeleton)
            seen = instant["joint_mask"] > 0
            assert np.abs(canonical_mm - instant["canonical_mm"])[seen].max() < 1e-3
            points = project(cameras[camera], instant["joints_mm"])
            assert (
                np.abs(points - instant["keypoints_px"][instant["cameras"].index(camera), :, :2])[seen].max()
                < 0.1
            )
