"""The source `studio`: contract, splits, exactness, errors."""

import dataclasses
import multiprocessing
import pickle

import numpy as np
import pytest

from mcss_tf.data.sources.base import Source
from mcss_tf.data.sources.studio import StudioOptions, StudioSource
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import project

TINY = StudioOptions(
    train_subjects=("S1", "S5"),
    test_subjects=("S9",),
    num_cameras=2,
    num_train_instants=20,
    num_test_instants=10,
    crop_size=32,
    frame_size=(128, 128),
)


def _first_images(arguments):
    source, spec = arguments
    return next(source.instants(spec)).images


@pytest.fixture(scope="module")
def source():
    return StudioSource(TINY)


@pytest.fixture(scope="module")
def instants(source):
    return [instant for spec in source.sequences() for instant in source.instants(spec)]


def test_it_is_a_source(source):
    assert isinstance(source, Source)


def test_every_wished_instant_is_there_once(source, instants):
    counts = dict.fromkeys(("S1", "S5", "S9"), 0)
    for instant in instants:
        counts[instant.subject] += 1
    assert counts == {"S1": 20, "S5": 20, "S9": 10}
    assert {(i.subject, i.split) for i in instants} == {("S1", "train"), ("S5", "train"), ("S9", "test")}
    assert len({(i.subject, i.sequence, i.frame) for i in instants}) == 50
    for spec in source.sequences():
        assert spec.duration_s * spec.fps == pytest.approx(10)


def test_an_instant_holds_pictures_boxes_joints_and_keypoints(source, instants):
    for instant in instants[::7]:
        assert [image.shape for image in instant.images] == [(32, 32, 3)] * 2
        assert all(image.dtype == np.uint8 for image in instant.images)
        assert instant.time_s == pytest.approx(instant.frame / TINY.fps)
        assert instant.joints_mm.shape == (17, 3)
        assert instant.joint_mask.tolist() == [1.0] * 17
        cameras = source.calibration(source.sequences()[0])
        assert instant.cameras == list(cameras)
        for camera, keypoints, box in zip(
            cameras.values(), instant.keypoints_px, instant.boxes_px, strict=True
        ):
            np.testing.assert_allclose(keypoints[:, :2], project(camera, instant.joints_mm), atol=1e-2)
            assert (keypoints[:, 2] == 1).all()
            assert (keypoints[:, :2] > box[:2]).all()
            assert (keypoints[:, :2] < box[2:]).all()


def test_people_stand_on_the_floor(instants):
    ankles = np.array([instant.joints_mm[[3, 6], 2].min() for instant in instants])
    assert np.median(ankles) == pytest.approx(80, abs=40)


def test_subjects_have_bones_of_their_own(instants):
    thighs = {i.subject: np.linalg.norm(i.joints_mm[2] - i.joints_mm[1]) for i in instants}
    assert len({round(float(length)) for length in thighs.values()}) == 3


def test_pixels_do_not_depend_on_the_process_or_the_order(source):
    specs = source.sequences()
    last = next(pickle.loads(pickle.dumps(source)).instants(specs[-1])).images
    with multiprocessing.get_context("fork").Pool(1) as pool:
        (elsewhere,) = pool.map(_first_images, [(source, specs[-1])])
    np.testing.assert_array_equal(last, elsewhere)
    # Nor does a subject depend on who else takes part.
    alone = StudioSource(dataclasses.replace(TINY, train_subjects=("S5",)))
    spec = next(spec for spec in alone.sequences() if spec.subject == "S9")
    np.testing.assert_array_equal(next(alone.instants(spec)).images, next(source.instants(specs[-1])).images)


def test_real_motion_capture(cmu_mocap):
    options = dataclasses.replace(TINY, motion=str(cmu_mocap / "cmu_bvh_30hz.npz"), fps=2.0)
    source = StudioSource(options)
    specs = source.sequences()
    clips = {subject: {s.take.clip for s in specs if s.subject == subject} for subject in ("S1", "S5", "S9")}
    assert not clips["S9"] & (clips["S1"] | clips["S5"])
    instant = next(source.instants(specs[-1]))
    assert instant.action in ("indian", "martial", "salsa")
    assert np.isfinite(instant.joints_mm).all()


def test_captured_and_performed_motion_have_rates_of_their_own(cmu_mocap):
    source = StudioSource(
        dataclasses.replace(
            TINY, motion=str(cmu_mocap / "cmu_bvh_30hz.npz"), deal_seed=0, fps=4.0, test_fps=2.0,
            num_train_performed=20, num_test_performed=10, performed_fps=5.0,
        )
    )  # fmt: skip
    specs = source.sequences()
    assert {(s.split, s.take.motion is None, s.fps) for s in specs} == {
        ("train", False, 4.0),
        ("train", True, 5.0),
        ("test", False, 2.0),
        ("test", True, 5.0),
    }
    counts = dict.fromkeys(("S1", "S5", "S9"), 0)
    for spec in specs:
        counts[spec.subject] += spec.take.num_instants
    assert counts == {"S1": 40, "S5": 40, "S9": 20}
    assert source.notes() == []


def test_absent_motion_capture_is_replaced_aloud_or_refused(tmp_path):
    absent = dataclasses.replace(TINY, motion=str(tmp_path / "absent.npz"), num_train_performed=20)
    with pytest.raises(InputError, match=r"absent.npz"):
        StudioSource(absent).sequences()
    source = StudioSource(dataclasses.replace(absent, motion_is_optional=True))
    assert {spec.take.motion for spec in source.sequences()} == {None}
    assert sum(s.take.num_instants for s in source.sequences() if s.subject == "S1") == 40
    (note,) = source.notes()
    assert "NO MOTION CAPTURE" in note
    assert "absent.npz" in note


def test_tint_makes_cameras_differ_more(source):
    tinted = StudioSource(dataclasses.replace(TINY, tint=4.0))
    spec = source.sequences()[0]

    def colour_spread(source):
        images = np.stack(next(source.instants(spec)).images).astype(float)
        return images.mean((1, 2)).std(0).mean()

    assert colour_spread(tinted) > 1.5 * colour_spread(source)


@pytest.mark.parametrize(
    "field",
    ["num_cameras", "num_train_instants", "num_test_instants", "fps", "crop_size", "frame_size"],
)
def test_sizes_are_positive(field):
    value = (0, 100) if field == "frame_size" else 0
    with pytest.raises(InputError, match=rf"positive {field}. Received: "):
        dataclasses.replace(TINY, **{field: value})


@pytest.mark.parametrize(("train", "test"), [((), ("S9",)), (("S1", "S1"), ("S9",)), (("S1", "S9"), ("S9",))])
def test_a_subject_is_in_one_split(train, test):
    with pytest.raises(
        InputError, match=r"at least one training subject, and every subject once.*Received: train"
    ):
        dataclasses.replace(TINY, train_subjects=train, test_subjects=test)


def test_bad_motion_stops_before_anything_is_rendered(tmp_path):
    path = tmp_path / "motion.bvh"
    path.write_text("no motion")
    source = StudioSource(dataclasses.replace(TINY, motion=str(path)))
    with pytest.raises(
        InputError, match=r"motion.bvh, line 1: a BVH file has HIERARCHY here. Received: 'no'"
    ):
        source.sequences()
