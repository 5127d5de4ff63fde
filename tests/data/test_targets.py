"""Poses in three frames: against projections, in batches, mirrored, and every error."""

import dataclasses

import numpy as np
import pytest

from mcss_tf.data import batches
from mcss_tf.data.augment import Augmentation
from mcss_tf.data.preparation import prepare_dataset
from mcss_tf.data.records import decode_instant
from mcss_tf.data.sources.studio import StudioOptions, StudioSource
from mcss_tf.data.targets import PoseTargets
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import project, world_to_camera
from tests.helpers import make_tiny_dataset


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    options = StudioOptions(
        train_subjects=("S1",), test_subjects=("S9",), num_cameras=3, num_train_instants=12,
        num_test_instants=4, crop_size=32, frame_size=(128, 128),
    )  # fmt: skip
    source = StudioSource(options)
    path = tmp_path_factory.mktemp("studio") / "data"
    return prepare_dataset(source, source.sequences(), path, 32, {}, 1, lambda _: None)


def images_of(dataset, split="train"):
    rows, cameras = np.nonzero(dataset.index.is_present()[dataset.split_rows(split)])
    return dataset.split_rows(split)[rows], cameras


def test_camera_targets_project_onto_the_keypoints(studio):
    rows, cameras = images_of(studio)
    poses_mm, mask = PoseTargets(studio, "camera", rows)(rows, cameras)
    assert mask.all()
    for row, camera, pose_mm in zip(rows, cameras, poses_mm, strict=True):
        record = decode_instant(studio.read([row])[0], with_images=False)
        calibration = studio.calibration(studio.index.sequence[row])[studio.cameras[camera]]
        root_mm = world_to_camera(calibration, record["joints_mm"][:1])
        expected = record["keypoints_px"][camera, :, :2]
        at_origin = dataclasses.replace(calibration, rotation=np.eye(3), translation_mm=np.zeros(3))
        np.testing.assert_allclose(project(at_origin, pose_mm + root_mm), expected, atol=0.05)


def test_global_targets_are_the_world_without_the_root(studio):
    rows, cameras = images_of(studio)
    poses_mm, _ = PoseTargets(studio, "global", rows)(rows, cameras)
    for row, pose_mm in zip(rows, poses_mm, strict=True):
        joints_mm = decode_instant(studio.read([row])[0])["joints_mm"]
        np.testing.assert_allclose(pose_mm, joints_mm - joints_mm[0], atol=1e-3)
    canonical_mm, _ = PoseTargets(studio, "canonical", rows)(rows, cameras)
    np.testing.assert_array_equal(canonical_mm, studio.index.canonical_mm[rows])
    # All frames differ by a rotation alone.
    np.testing.assert_allclose(
        np.linalg.norm(canonical_mm, axis=-1), np.linalg.norm(poses_mm, axis=-1), atol=1e-2
    )
    assert np.abs(canonical_mm - poses_mm).max() > 100


@pytest.mark.parametrize("frame", ["global", "camera"])
def test_batches_and_evaluation_hold_the_same_targets(studio, frame):
    sizes = {"image_size": 32, "num_pairs": 2, "num_labelled": 4}
    received = list(batches.train_batches(studio, **sizes, target=frame).take(9).as_numpy_iterator())
    (whole,) = batches.image_batches(studio, "train", image_size=32, batch_size=64, target=frame)
    whole = {key: value.numpy() for key, value in whole.items()}
    targets = PoseTargets(studio, frame, whole["row"])
    np.testing.assert_array_equal(whole["pose_mm"], targets(whole["row"], whole["camera"])[0][:, 1:])
    for batch in received:
        for image, pose_mm in zip(batch["labelled_image"], batch["pose_mm"], strict=True):
            same = (whole["image"] == image).all((1, 2, 3))
            assert same.any()
            np.testing.assert_array_equal(whole["pose_mm"][same][0], pose_mm)


def test_a_mirrored_image_has_the_mirrored_pose_of_its_camera(studio):
    sizes = {"image_size": 32, "num_pairs": 2, "num_labelled": 6, "target": "camera"}
    plain, mirrored = (
        next(batches.train_batches(studio, **sizes, augmentation=augmentation).as_numpy_iterator())
        for augmentation in (None, Augmentation(flip=1.0))
    )
    np.testing.assert_array_equal(mirrored["labelled_image"], plain["labelled_image"][:, :, ::-1])
    mirror = np.array(studio.skeleton.mirror)[1:] - 1
    np.testing.assert_array_equal(mirrored["pose_mm"], plain["pose_mm"][:, mirror] * [-1, 1, 1])


def test_errors(studio, tmp_path):
    rows = studio.split_rows("train")
    with pytest.raises(InputError, match=r"labels.target is one of canonical.* Received: 'world'"):
        PoseTargets(studio, "world", rows)
    with pytest.raises(InputError, match=r"no pose in the axes of the world. Received: augment.flip=0.5"):
        batches.train_batches(
            studio, image_size=32, num_pairs=2, num_labelled=2, target="global",
            augmentation=Augmentation(flip=0.5),
        )  # fmt: skip
    bare = make_tiny_dataset(tmp_path / "bare", instants=4)
    with pytest.raises(
        InputError, match=r"needs calibrated cameras. Received: S1/walk0 .* without a calibration"
    ):
        PoseTargets(bare, "camera", bare.split_rows("train"))
