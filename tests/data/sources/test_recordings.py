import pickle
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mcss_tf.data.sources.base import Source
from mcss_tf.data.sources.recordings import RecordingOptions, RecordingsSource
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from tests.data import synthetic


def _source(root, **options) -> RecordingsSource:
    options = {"crop_size": 32, "boxes": "full"} | options
    return RecordingsSource(RecordingOptions(root=root, **options))


def _instants(root, **options):
    source = _source(root, **options)
    return [list(source.instants(spec)) for spec in source.sequences()]


def _toml(root: Path, text: str) -> None:
    (root / "recordings.toml").write_text(text)


def test_one_sequence(tmp_path):
    source = _source(synthetic.write_recordings(tmp_path))
    assert isinstance(source, Source)
    (spec,) = source.sequences()
    assert (spec.subject, spec.sequence, spec.cameras, spec.fps) == ("S1", "walk", ("a", "b"), 10.0)
    assert spec.duration_s == pytest.approx(2.0)
    assert source.calibration(spec) is None
    pickle.loads(pickle.dumps((source, spec)))
    instants = list(source.instants(spec))
    assert [instant.frame for instant in instants] == list(range(20))
    assert [instant.split for instant in instants] == ["train"] * 15 + ["test"] * 5
    for instant in instants:
        assert instant.cameras == ["a", "b"]
        assert [image.shape for image in instant.images] == [(32, 32, 3)] * 2
        assert instant.joints_mm is None
        assert instant.keypoints_px is None


def test_crops_show_the_body(tmp_path):
    """The crop around the body is full of its yellow, and the boxes say where it was cut out."""
    synthetic.write_recordings(tmp_path, has_clock=False)
    ((*instants,),) = _instants(tmp_path, boxes="motion", context=1.0)
    for instant in instants[::5]:
        x0, y0, x1, y1 = instant.boxes_px[1]
        centre = (synthetic.body_box(instant.time_s)[:2] + synthetic.body_box(instant.time_s)[2:]) / 2
        np.testing.assert_allclose([(x0 + x1) / 2, (y0 + y1) / 2], centre, atol=4)
        middle = instant.images[1][12:20, 12:20].mean((0, 1))
        assert middle[0] > 180
        assert middle[2] < 110


def test_stride_and_subjects(tmp_path):
    synthetic.write_recordings(tmp_path, ("S10/walk", "S2/run", "S2/walk", "S3/walk"))
    source = _source(tmp_path, stride=5)
    specs = source.sequences()
    assert [spec.name for spec in specs] == ["S2/run", "S2/walk", "S3/walk", "S10/walk"]
    assert [spec.split for spec in specs] == ["train", "train", "train", "test"]
    assert specs[0].fps == 2.0
    assert [instant.frame for instant in source.instants(specs[0])] == [0, 5, 10, 15]
    assert {instant.split for instant in source.instants(specs[3])} == {"test"}


def test_settings(tmp_path):
    synthetic.write_recordings(tmp_path, ("S1/walk", "S2/walk", "S3/walk"), cameras=("a", "b", "c"))
    _toml(
        tmp_path,
        'fps = 10\nreference = "b"\ncameras = ["a", "b"]\n[splits]\ntrain = ["S3"]\ntest = ["S1", "S2"]\n'
        '[offsets_s]\na = 0.2\n[sequences."S2/walk"]\naction = "walking"\noffsets_s = { a = -0.3 }\n',
    )
    specs = {spec.name: spec for spec in _source(tmp_path).sequences()}
    assert {name: spec.split for name, spec in specs.items()} == {
        "S1/walk": "test",
        "S2/walk": "test",
        "S3/walk": "train",
    }
    assert specs["S1/walk"].cameras == ("a", "b")
    assert specs["S2/walk"].action == "walking"
    assert (specs["S1/walk"].start_s, specs["S1/walk"].end_s) == pytest.approx((0.2, 2.0))
    assert (specs["S2/walk"].start_s, specs["S2/walk"].end_s) == pytest.approx((0.0, 1.7))


def test_offsets_bring_late_cameras_together(tmp_path):
    """Camera b starts 0.5 s late; only with its offset do both crops show the same moment."""
    synthetic.write_video(tmp_path / "S1" / "walk" / "a.mp4")
    synthetic.write_video(tmp_path / "S1" / "walk" / "b.mp4", start_s=0.5)
    _toml(tmp_path, "[offsets_s]\nb = 0.5\n")
    ((*instants,),) = _instants(tmp_path)
    assert [instant.frame for instant in instants] == list(range(5, 20))
    for instant in instants:
        # The frame is 64 x 48 in a square of 64: rows 4 to 7 of 32 are the clock.
        shown = [(float(image[5:7].mean()) - 20) / 40 for image in instant.images]
        np.testing.assert_allclose(shown, instant.frame / 10, atol=0.09)


def test_labels_of_training_subjects_can_be_chosen(tmp_path):
    synthetic.write_recordings(tmp_path, ("S1/walk", "S2/walk", "S9/walk"))
    for subject in ("S1", "S2", "S9"):
        np.savez(
            tmp_path / subject / "walk" / "poses.npz",
            joints_mm=np.stack([synthetic.pose_mm(t / 10) for t in range(0, 20, 2)]),
            frames=np.arange(0, 20, 2),
            joint_names=HUMAN36M_17.joint_names,
        )
    _toml(tmp_path, '[splits]\ntrain = ["S1", "S2"]\ntest = ["S9"]\n[labels]\nsubjects = ["S2"]\n')
    instants = _instants(tmp_path)
    labelled = [sum(instant.joints_mm is not None for instant in sequence) for sequence in instants]
    assert labelled == [0, 10, 10]
    np.testing.assert_allclose(instants[1][4].joints_mm, synthetic.pose_mm(0.4), rtol=1e-6)
    assert instants[1][5].joints_mm is None


def test_views_without_the_person_are_left_out(tmp_path):
    synthetic.write_recordings(tmp_path)
    arrays = np.tile([0.0, 0, 20, 40], (2, 20, 1))
    arrays[1, 8:] = np.nan
    arrays[0, 15:] = np.nan
    np.savez(tmp_path / "S1" / "walk" / "boxes.npz", boxes=arrays)
    ((*instants,),) = _instants(tmp_path, boxes="auto")
    assert [len(instant.cameras) for instant in instants] == [2] * 8 + [1] * 7


def test_folders_of_images(tmp_path):
    from PIL import Image

    for camera in ("a", "b"):
        folder = tmp_path / "S1" / "walk" / camera
        folder.mkdir(parents=True)
        for index in range(8):
            Image.fromarray(synthetic.picture(index / 10)).save(folder / f"{index}.png")
    with pytest.raises(InputError, match="no frame rate of its own"):
        _source(tmp_path).sequences()
    _toml(tmp_path, "fps = 10.0\n")
    ((*instants,),) = _instants(tmp_path)
    assert len(instants) == 8


def test_different_rates_are_refused_or_paired_by_time(tmp_path):
    synthetic.write_video(tmp_path / "S1" / "walk" / "a.mp4", fps=10)
    synthetic.write_video(tmp_path / "S1" / "walk" / "b.mp4", fps=15)
    with pytest.raises(InputError, match=r"within 1%. Received: a 10, b 15 frames per second in S1/walk"):
        _source(tmp_path).sequences()
    ((*instants,),) = _instants(tmp_path, tolerance_ms=10.0)
    # Of 10 and 15 frames per second every second frame of the first has a partner within 10 ms.
    assert [len(instant.cameras) for instant in instants] == [2, 1] * 10


def test_rates_within_the_tolerance(tmp_path):
    synthetic.write_video(tmp_path / "S1" / "walk" / "a.mp4", fps=30)
    synthetic.write_video(tmp_path / "S1" / "walk" / "b.mp4", fps=Fraction(30000, 1001))
    ((*instants,),) = _instants(tmp_path)
    assert {len(instant.cameras) for instant in instants} == {2}


def test_cameras_that_hardly_pair(tmp_path):
    synthetic.write_recordings(tmp_path)
    _toml(tmp_path, "[offsets_s]\nb = 0.05\n")
    with pytest.raises(InputError, match=r"within 10.0 ms of at least 10% of the 19 instants. .*b 0 pairs"):
        _instants(tmp_path, tolerance_ms=10.0)


def _lengths(root):
    synthetic.write_video(root / "S1" / "walk" / "b.mp4", duration_s=3.0)


def _never_together(root):
    _toml(root, "[offsets_s]\nb = 7.0\n")


def _missing_camera(root):
    synthetic.write_recordings(root, ("S1/run", "S1/sit"), cameras=("a", "b", "c"))


def _extra_camera(root):
    synthetic.write_recordings(root, ("S1/run",))
    synthetic.write_recordings(root, ("S1/sit",), cameras=("c",))
    synthetic.write_recordings(root, ("S1/sit",))


def _one_camera(root):
    (root / "S1" / "walk" / "b.mp4").unlink()


def _camera_twice(root):
    shutil.copy(root / "S1" / "walk" / "b.mp4", root / "S1" / "walk" / "b.mkv")


def _truncated(root):
    path = root / "S1" / "walk" / "b.mp4"
    path.write_bytes(path.read_bytes()[:-2000])


def _no_sequences(root):
    shutil.rmtree(root / "S1" / "walk")


def _no_folder(root):
    shutil.rmtree(root)


def _bad_labels(root):
    np.savez(
        root / "S1" / "walk" / "poses.npz", joints_mm=np.ones((1, 17, 3)), frames=[0], joint_names=["x"] * 17
    )


def _calibration_of_others(root):
    table = "size = [64, 48]\nmatrix = [[50, 0, 32], [0, 50, 24], [0, 0, 1]]\ndistortions = [0, 0, 0, 0]\n"
    table += "rotation = [0, 0, 0]\ntranslation = [0, 0, 2]\n"
    (root / "cameras.toml").write_text(f"[a]\n{table}[front]\n{table}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_lengths, r"last equally long, within 0.5 s or 2%. Received: a 2.00 s, b 3.00 s in S1/walk"),
        (_never_together, r"run at the same time. Received: .*b 2.00 s with offsets_s"),
        (_missing_camera, r"same cameras, here a, b, c. Received: S1/walk with missing c"),
        (_extra_camera, r"same cameras, here a, b. Received: S1/sit with extra c"),
        (_one_camera, r"at least two cameras.*Received: .*walk with a\."),
        (_camera_twice, r"one video per sequence. Received: b.mkv and b.mp4"),
        (_truncated, r"Received: .*walk/b\.mp4"),
        (_no_sequences, r"must hold <subject>/<sequence>/<camera>.mp4. Received:"),
        (_no_folder, r"which is no folder"),
        (_bad_labels, r"No joint of skeleton.*poses\.npz"),
        (_calibration_of_others, r"every camera once. Received: .*cameras.toml with a, front for camera b"),
    ],
)
def test_bad_input_is_refused_before_anything_is_decoded(tmp_path, damage, message):
    root = synthetic.write_recordings(tmp_path / "in")
    damage(root)
    with pytest.raises(InputError, match=message):
        _source(root).sequences()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fps = \n", "valid TOML"),
        ("frame_rate = 30\n", r"recordings.toml has the keys fps, .* Received: \['frame_rate'\]"),
        ("[splits]\nvalidation = ['S1']\n", r"splits has the keys train, test. Received: \['validation'\]"),
        ('[sequences."S1/walk"]\nfps = 3\n', r'sequences."S1/walk" has the keys action, cameras, offsets_s'),
        ("labels = 3\n", r"labels has the keys subjects. Received: 3"),
        ("fps = 'fast'\n", "fps in .* must be a positive number. Received: 'fast'"),
        ("fps = 25\n", r"fps of recordings.toml within 1%. Received: fps = 25 and a 10, b 10"),
        ("cameras = ['a', 'a']\n", "a list of different strings"),
        ("offsets_s = {a = 'late'}\n", "a table of numbers"),
        ("reference = 3\n", "a string"),
        ("keypoints = 'mine'\n", "one of body_25, body_25b, coco_17. Received: 'mine'"),
        ("reference = 'front'\n", "name a camera that is there: a, b. Received: front"),
        ("[offsets_s]\nleft = 0.1\n", "Received: left"),
        ("cameras = ['a', 'c']\n", "Received: c"),
        (
            "[sequences.'S1/run']\naction = 'x'\n",
            "name a sequence that is there: S1/walk, S2/walk. Received: S1/run",
        ),
        ("[labels]\nsubjects = ['S3']\n", "name a subject that is there: S1, S2. Received: S3"),
        ("[splits]\ntrain = ['S1', 'S2']\ntest = []\n", "Both splits must have subjects"),
        ("[splits]\ntrain = ['S1']\n", r"Both splits must have subjects.*test = \[\]"),
        ("[splits]\ntrain = ['S1', 'S2']\ntest = ['S2']\n", "belongs to one of them"),
    ],
)
def test_wrong_settings(tmp_path, text, message):
    synthetic.write_recordings(tmp_path, ("S1/walk", "S2/walk"), duration_s=0.5)
    _toml(tmp_path, text)
    with pytest.raises(InputError, match=message):
        _source(tmp_path).sequences()


def test_reference_must_be_among_the_cameras_of_a_sequence(tmp_path):
    synthetic.write_recordings(tmp_path, cameras=("a", "b", "c"))
    _toml(tmp_path, 'reference = "c"\ncameras = ["a", "b"]\n')
    with pytest.raises(InputError, match=r"`reference` c, .*S1/walk with a, b"):
        _source(tmp_path).sequences()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_size": 8}, "--crop_size must be at least 16. Received: 8"),
        ({"stride": 0}, "--stride must be at least 1. Received: 0"),
        ({"context": 0.5}, "--context must be at least 1"),
        ({"tolerance_ms": 0.0}, "--tolerance_ms must be positive"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        _source(tmp_path, **options)


def test_calibration_is_found_by_similar_names(tmp_path, balancing):
    synthetic.write_recordings(tmp_path, cameras=("cam01", "Cam 02"))
    shutil.copy(balancing / "calibration.toml", tmp_path / "cameras.toml")
    source = _source(tmp_path)
    calibration = source.calibration(source.sequences()[0])
    assert {camera: found.name for camera, found in calibration.items()} == {
        "Cam 02": "cam_02",
        "cam01": "cam_01",
    }


def test_real_recording(tmp_path, balancing):
    """The script of the examples lays it out; labels, keypoints and cameras are all found."""
    script = Path(__file__).parents[3] / "examples" / "pose2sim_to_recordings.py"
    subprocess.run([sys.executable, script, balancing, tmp_path / "r", "--labels"], check=True)
    source = _source(tmp_path / "r", boxes="auto", stride=10)
    (spec,) = source.sequences()
    assert (spec.box_mode, spec.cameras) == ("keypoints", ("cam01", "cam02", "cam03", "cam04"))
    assert source.calibration(spec)["cam01"].name == "cam_01"
    instants = list(source.instants(spec))
    assert [instant.frame for instant in instants] == list(range(0, 100, 10))
    assert [instant.split for instant in instants] == ["train"] * 8 + ["test"] * 2
    for instant in instants:
        assert instant.keypoints_px.shape == (4, 17, 3)
        seen = instant.keypoints_px[..., 2] > 0.3
        corners = instant.boxes_px[:, None]
        points = instant.keypoints_px[..., :2]
        inside = (points >= corners[..., :2]).all(-1) & (points <= corners[..., 2:]).all(-1)
        assert inside[seen].mean() > 0.95
        assert instant.joint_mask.all()
        assert 600 < np.ptp(instant.joints_mm[:, 2]) < 2000
