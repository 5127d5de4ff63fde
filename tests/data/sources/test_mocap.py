"""The source `mocap`: contract, exactness, splits, cameras, errors."""

import dataclasses
import json

import numpy as np
import pytest

from mcss_tf.data.sources.base import Source
from mcss_tf.data.sources.mocap import MocapOptions, MocapSource, stage_centre
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, project, save_calibration
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.studio import figure
from mcss_tf.studio.motion import procedural_takes
from tests.keypoint_data import make_cameras


@pytest.fixture(scope="module")
def motion(tmp_path_factory):
    """Four clips of 40 frames at 20 frames per second."""
    clips = {
        f"{take.action}_0{number}": figure.pose_points(take.clip_of(), figure.LENGTHS_MM)[:, :17]
        for number, take in enumerate(procedural_takes(0, "anyone", 40, 20.0))
    }
    path = tmp_path_factory.mktemp("motion") / "motion.npz"
    names = np.array(HUMAN36M_17.joint_names)
    np.savez(path, _joints=names, _fps=20, _up="z", _units="mm", **clips)
    assert len(clips) == 4
    return path


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    path = tmp_path_factory.mktemp("cameras") / "cameras.toml"
    save_calibration(path, make_cameras())
    return path


@pytest.fixture
def options(motion, calibration):
    return MocapOptions(
        motion=str(motion),
        cameras=str(calibration),
        train_subjects=("P1", "P2"),
        test_subjects=("P3",),
        fps=10.0,
    )


def instants_of(options):
    source = MocapSource(options)
    return source, [instant for spec in source.sequences() for instant in source.instants(spec)]


def test_contract_and_content(options):
    source, instants = instants_of(options)
    assert isinstance(source, Source)
    assert {(i.subject, i.split) for i in instants} == {("P1", "train"), ("P2", "train"), ("P3", "test")}
    errors = []
    for instant in instants:
        spec = next(
            s for s in source.sequences() if (s.subject, s.sequence) == (instant.subject, instant.sequence)
        )
        cameras = source.calibration(spec)
        assert instant.cameras == list(cameras)
        assert not instant.images
        expected = [project(camera, instant.joints_mm) for camera in cameras.values()]
        np.testing.assert_allclose(instant.keypoints_true_px, expected, atol=0.01)
        errors.append(np.linalg.norm(instant.keypoints_px[..., :2] - instant.keypoints_true_px, axis=-1))
    assert np.mean(errors) == pytest.approx(5.4, rel=0.15)


def test_people_differ_in_bone_lengths_and_clips(options):
    _, instants = instants_of(options)
    thighs, clips = {}, {}
    for instant in instants:
        length = np.linalg.norm(instant.joints_mm[2] - instant.joints_mm[1])
        assert thighs.setdefault(instant.subject, length) == pytest.approx(length, abs=0.1)
        clips.setdefault(instant.subject, set()).add(instant.sequence)
    assert len({round(length) for length in thighs.values()}) == 3
    assert not clips["P3"] & (clips["P1"] | clips["P2"])


def test_equal_options_give_equal_keypoints(options):
    first, second = instants_of(options)[1], instants_of(options)[1]
    other = instants_of(dataclasses.replace(options, seed=1))[1]
    np.testing.assert_array_equal(first[5].keypoints_px, second[5].keypoints_px)
    assert (first[5].keypoints_px != other[5].keypoints_px).any()


def test_the_stage_is_where_the_cameras_look():
    np.testing.assert_allclose(stage_centre(list(make_cameras().values())), [0, 0], atol=1e-6)
    moved = [
        Camera(
            c.name, c.size, c.matrix, c.distortion, c.rotation, c.translation_mm - c.rotation @ [3000, 500, 0]
        )
        for c in make_cameras().values()
    ]
    np.testing.assert_allclose(stage_centre(moved), [3000, 500], atol=1e-6)


def test_human36m_cameras_go_by_subject(options, human36m_cameras):
    here = dataclasses.replace(
        options, cameras=str(human36m_cameras), train_subjects=("S1", "S5"), test_subjects=("S9",)
    )
    source, instants = instants_of(here)
    assert instants[0].cameras == ["54138969", "55011271", "58860488", "60457274"]
    confidence = np.concatenate([i.keypoints_px[..., 2].ravel() for i in instants])
    assert (confidence > 0).mean() > 0.98, "people are in the picture"
    specs = source.sequences()
    first, last = source.calibration(specs[0]), source.calibration(specs[-1])
    assert (first["54138969"].translation_mm != last["54138969"].translation_mm).any()


def test_real_motion_keeps_partners_in_one_split(options, cmu_mocap, human36m_cameras):
    source = MocapSource(
        MocapOptions(motion=str(cmu_mocap / "cmu_bvh_30hz.npz"), cameras=str(human36m_cameras))
    )
    subject_of = {spec.sequence: spec.subject for spec in source.sequences()}
    for number in range(1, 16):
        pair = f"salsa_{number:02d}", f"salsa_{number + 15:02d}"
        if set(pair) <= set(subject_of):
            assert subject_of[pair[0]] == subject_of[pair[1]]
    assert sum(round(s.duration_s * s.fps) for s in source.sequences() if s.split == "train") == 12000


def test_a_subject_without_cameras(options, tmp_path):
    intrinsics = {"c": {"calibration_matrix": np.eye(3).tolist(), "distortion": [0.0] * 5}}
    extrinsics = {"S1": {"c": {"R": np.eye(3).tolist(), "t": [0.0, 0.0, 5000.0]}}}
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps({"intrinsics": intrinsics, "extrinsics": extrinsics}))
    source = MocapSource(dataclasses.replace(options, cameras=str(path)))
    with pytest.raises(InputError, match=r"is one of S1. Received: 'P1'. Name subjects after them"):
        source.sequences()


def test_a_calibration_in_metres(options, tmp_path):
    metres = {
        name: Camera(name, c.size, c.matrix, c.distortion, c.rotation, c.translation_mm / 1000)
        for name, c in make_cameras().items()
    }
    path = tmp_path / "cameras.toml"
    save_calibration(path, metres)
    with pytest.raises(InputError, match=r"are millimetres. Received: cameras at most .* looks like metres"):
        MocapSource(dataclasses.replace(options, cameras=str(path))).sequences()


def test_cameras_that_look_away(options, tmp_path):
    turn = np.diag([-1.0, 1.0, -1.0])
    away = {
        name: Camera(name, c.size, c.matrix, c.distortion, turn @ c.rotation, turn @ c.translation_mm)
        for name, c in make_cameras().items()
    }
    path = tmp_path / "cameras.toml"
    save_calibration(path, away)
    with pytest.raises(InputError, match=r"must see people who stand on z = 0.*Received: 0% of the joints"):
        instants_of(dataclasses.replace(options, cameras=str(path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 0.0}, r"fps must be positive. Received: 0.0"),
        ({"test_subjects": ()}, r"train and test subjects.*Received: .*test_subjects=\(\)"),
        ({"test_subjects": ("P1",)}, r"in one split only. Received: train_subjects=\('P1', 'P2'\)"),
    ],
)
def test_bad_options(options, changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(options, **changes)
