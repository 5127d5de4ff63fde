"""A prepared dataset: what is written is read back, and a damaged one is refused."""

import dataclasses
import json
import os
import resource
import shutil
import threading

import cv2
import numpy as np
import pytest
import tensorflow as tf

from mcss_tf import files
from mcss_tf.data import dataset as dataset_module
from mcss_tf.data.records import (
    Instant,
    PreparedDataset,
    decode_instant,
    finish_dataset,
    write_sequence,
)
from mcss_tf.data.sources.base import SequenceSpec
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import load_human36m_cameras, look_at
from mcss_tf.geometry.canonical import canonical_pose
from mcss_tf.geometry.skeleton import HUMAN36M_17
from tests.helpers import STANDING_MM, make_tiny_dataset

SPEC = SequenceSpec("S1", "walk", "walking", ("left", "right", "top"), 10.0, 2.0)


def instant(frame=0, cameras=("left", "right"), split="train", size=16, **changes) -> Instant:
    rng = np.random.default_rng(frame)
    images = [cv2.GaussianBlur(rng.integers(0, 256, (size, size, 3), np.uint8), (7, 7), 3) for _ in cameras]
    boxes_px = rng.uniform(0, 1000, (len(cameras), 4)).astype(np.float32)
    fields = {"joints_mm": STANDING_MM + np.array([10 * frame, 0, 900])} | changes
    return Instant("S1", "walk", "walking", frame, frame / 10, split, cameras, images, boxes_px, **fields)


def write(path, instants, spec=SPEC, **options) -> PreparedDataset:
    result = write_sequence(path, spec, instants, HUMAN36M_17, 16)
    return finish_dataset(
        path, source="test", skeleton=HUMAN36M_17, crop_size=16, results=[result], **options
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> PreparedDataset:
    return make_tiny_dataset(
        tmp_path_factory.mktemp("tiny"), ("S1", "S10", "S2"), test_subjects=("S10",), missing_views=True
    )


@pytest.fixture
def copy(tiny, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(tiny.path, tmp_path / "copy")


def test_every_feature_is_read_back(tmp_path):
    keypoints = np.random.default_rng(0).uniform(0, 99, (2, 17, 3)).astype(np.float32)
    mask = np.ones(17, np.float32)
    mask[13] = 0
    original = instant(7, ("left", "top"), keypoints_px=keypoints, joint_mask=mask)
    dataset = write(tmp_path, [instant(3), original])
    read = decode_instant(dataset.read([1])[0])
    assert (read["subject"], read["sequence"], read["action"]) == ("S1", "walk", "walking")
    assert read["frame"] == 7
    assert read["time_s"] == pytest.approx(0.7)
    assert read["cameras"] == ["left", "top"]
    np.testing.assert_array_equal(read["boxes_px"], original.boxes_px)
    np.testing.assert_allclose(read["joints_mm"], original.joints_mm, rtol=1e-6)
    np.testing.assert_array_equal(read["joint_mask"], mask)
    np.testing.assert_array_equal(read["keypoints_px"], keypoints)
    expected, _ = canonical_pose(original.joints_mm, HUMAN36M_17)
    np.testing.assert_allclose(read["canonical_mm"], expected * mask[:, None], atol=1e-3)
    for image, stored in zip(original.images, read["images"], strict=True):
        difference = np.abs(image.astype(int) - stored)
        assert difference.mean() < 6, "JPEG changes an image a little; swapped channels would change it a lot"
    index = dataset.index
    np.testing.assert_array_equal(index.canonical_mm[1], read["canonical_mm"])
    np.testing.assert_array_equal(index.joint_mask[1], mask)
    np.testing.assert_array_equal(index.view_mask, [0b011, 0b101])
    np.testing.assert_array_equal(index.frame, [3, 7])
    np.testing.assert_allclose(index.time_s, [0.3, 0.7])


def test_channels_keep_their_order(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    dataset = write(tmp_path, [dataclasses.replace(instant(), images=[red, red])])
    assert decode_instant(dataset.read([0])[0])["images"][1].mean((0, 1)) == pytest.approx([200, 0, 0], abs=3)


def test_shards_are_plain_tfrecords_and_offsets_point_into_them(tiny):
    for number, shard in enumerate(tiny.metadata["shards"]):
        stored = list(tf.data.TFRecordDataset(str(tiny.path / shard["path"])).as_numpy_iterator())
        rows = np.flatnonzero(tiny.index.shard == number)
        assert len(rows) == len(stored) == shard["num_records"] > 0
        assert tiny.read(rows) == stored


def test_single_images_are_the_ones_of_the_record(tiny):
    rows, cameras = np.nonzero(tiny.index.is_present())
    assert len(rows) < len(tiny.index) * len(tiny.cameras), "some views are missing"
    jpegs = tiny.read_images(rows, cameras)
    for row, camera, jpeg in zip(rows, cameras, jpegs, strict=True):
        example = tf.train.Example.FromString(tiny.read([row])[0]).features.feature
        names = [name.decode() for name in example["cameras"].bytes_list.value]
        assert example["images"].bytes_list.value[names.index(tiny.cameras[camera])] == jpeg


def test_long_jpegs_are_found_too(tmp_path):
    """Lengths from 128 and from 16,384 bytes on take two and three bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    images = [noise, np.zeros_like(noise), noise]
    original = dataclasses.replace(instant(cameras=SPEC.cameras), images=images)
    result = write_sequence(tmp_path, SPEC, [original], HUMAN36M_17, 256)
    options = {"source": "test", "skeleton": HUMAN36M_17, "crop_size": 256}
    dataset = finish_dataset(tmp_path, results=[result], **options)
    assert max(dataset.index.image_length[0]) > 16384
    jpegs = dataset.read_images(np.zeros(3, int), np.arange(3))
    assert jpegs[0] == jpegs[2]
    assert all(jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9" for jpeg in jpegs)


def test_metadata_counts_what_is_there(tiny):
    metadata = json.loads((tiny.path / "dataset.json").read_text())
    assert tiny.subjects == ["S1", "S2", "S10"], "in natural order"
    assert metadata["splits"]["test"] == {"subjects": ["S10"], "num_instants": 8, "num_images": 21}
    assert metadata["splits"]["train"] == {"subjects": ["S1", "S2"], "num_instants": 16, "num_images": 42}
    assert metadata["counts"] == {
        "images": 63,
        "instants": 24,
        "posed_instants": 24,
        "dropped_undefined_canonical": 0,
    }
    assert metadata["sequences"][0]["num_instants"] == {"train": 8, "test": 0}
    assert tiny.checksum == files.sha256(tiny.path / "dataset.json")
    np.testing.assert_array_equal(tiny.split_rows("test"), np.arange(16, 24))
    assert tiny.skeleton == HUMAN36M_17


def test_a_sequence_may_hold_both_splits(tmp_path):
    splits = ["train", "train", "test", "train"]
    dataset = write(tmp_path, [instant(i, split=split) for i, split in enumerate(splits)])
    assert [decode_instant(d)["frame"] for d in dataset.read(dataset.split_rows("train"))] == [0, 1, 3]
    assert [decode_instant(d)["frame"] for d in dataset.read(dataset.split_rows("test"))] == [2]
    assert dataset.metadata["sequences"][0]["num_instants"] == {"train": 3, "test": 1}


def test_the_outcome_does_not_depend_on_which_worker_ends_first(tmp_path):
    specs = [
        SequenceSpec("S1", f"walk{i}", "", cameras, 10.0, 1.0)
        for i, cameras in enumerate([("left", "right"), ("right", "top"), ("left", "top")])
    ]
    for name, order in {"a": [0, 1, 2], "b": [2, 0, 1]}.items():
        results = []
        for i in order:
            drawn = dataclasses.replace(instant(i, specs[i].cameras), sequence=f"walk{i}")
            results.append(write_sequence(tmp_path / name, specs[i], [drawn], HUMAN36M_17, 16))
        options = {"source": "test", "skeleton": HUMAN36M_17, "crop_size": 16}
        dataset = finish_dataset(tmp_path / name, results=results, **options)
        assert dataset.cameras == ["left", "right", "top"]
        np.testing.assert_array_equal(dataset.index.view_mask, [0b011, 0b110, 0b101])
    for file in ("dataset.json", "index.npz"):
        assert files.sha256(tmp_path / "a" / file) == files.sha256(tmp_path / "b" / file)


def test_undefined_canonical_poses_are_dropped_and_counted(tmp_path):
    vertical = STANDING_MM.copy()
    vertical[4] = [0, 0, 130]
    no_pelvis = np.ones(17)
    no_pelvis[0] = 0
    lost_wrist = STANDING_MM.copy()
    lost_wrist[13] = np.nan
    dataset = write(tmp_path, [
        instant(0),
        instant(1, joints_mm=vertical),
        instant(2, joint_mask=no_pelvis),
        instant(3, joints_mm=None),
        instant(4, joints_mm=lost_wrist),
    ])  # fmt: skip
    np.testing.assert_array_equal(dataset.index.has_pose, [True, False, False, False, True])
    assert dataset.metadata["counts"]["dropped_undefined_canonical"] == 2
    assert dataset.metadata["counts"]["posed_instants"] == 2
    assert not dataset.index.joint_mask[1:4].any()
    assert dataset.index.joint_mask[4].sum() == 16
    assert np.isfinite(dataset.index.canonical_mm).all()
    read = [decode_instant(data) for data in dataset.read(range(4))]
    assert [r["canonical_mm"] is None for r in read] == [False, True, True, True]
    assert [r["joints_mm"] is None for r in read] == [False, False, False, True]


def test_calibration_is_kept(tmp_path, human36m_cameras):
    cameras = next(iter(load_human36m_cameras(human36m_cameras).values()))
    spec = dataclasses.replace(SPEC, cameras=tuple(cameras))
    drawn = instant(cameras=tuple(cameras))
    dataset = write(tmp_path, [drawn], spec, calibrations={("S1", "walk"): cameras})
    read = dataset.calibration(0)
    assert list(read) == list(cameras)
    for name, camera in cameras.items():
        assert (read[name].name, read[name].size) == (name, camera.size)
        for field in ("matrix", "distortion", "rotation", "translation_mm"):
            np.testing.assert_array_equal(getattr(read[name], field), getattr(camera, field))


def test_without_calibration_there_is_none(tiny, tmp_path):
    assert tiny.calibration(0) is None
    camera = look_at("left", position_mm=(3000, 0, 1000), target_mm=(0, 0, 1000), size=(64, 48), focal_px=60)
    assert list(
        write(tmp_path, [instant()], calibrations={("S1", "walk"): {"left": camera}}).calibration(0)
    ) == ["left"]


def test_reading_from_many_threads_with_few_open_files(tiny, monkeypatch):
    monkeypatch.setattr(dataset_module, "_MAX_OPEN_SHARDS", 1)
    dataset = PreparedDataset.load(tiny.path)
    rows = np.random.default_rng(0).permutation(np.tile(np.arange(len(dataset.index)), 20))
    expected = tiny.read(rows)
    received = [None] * 4
    threads = [
        threading.Thread(target=lambda i=i: received.__setitem__(i, dataset.read(rows))) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(r == expected for r in received)
    assert _open_files(dataset.path) <= len(dataset.metadata["shards"]) + 1


def _open_files(path) -> int:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(str(path)) for link in links)


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    """A limit on the size of files acts like a full disk: a write comes back short."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(InputError, match=r"must fit on the disk.*Received: .*make room"):
            write_sequence(tmp_path, SPEC, [instant(i) for i in range(20)], HUMAN36M_17, 16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_source_that_fails_leaves_nothing_behind(tmp_path):
    def instants():
        yield instant(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sequence(tmp_path, SPEC, instants(), HUMAN36M_17, 16)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_writing_again_takes_the_old_dataset_away_first(copy):
    stale = copy / "records" / "S1" / ".walk9.train.tfrecord.1.tmp"
    stale.write_bytes(b"half")
    spec = SequenceSpec("S1", "walk", "", SPEC.cameras, 10.0, 1.0)
    result = write_sequence(copy, spec, [instant()], HUMAN36M_17, 16)
    with pytest.raises(InputError, match=r"dataset\.json, which is written last"):
        PreparedDataset.load(copy)
    finish_dataset(copy, source="test", skeleton=HUMAN36M_17, crop_size=16, results=[result])
    assert len(PreparedDataset.load(copy).index) == 1
    assert not stale.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cameras": ("left", "back")}, r"distinct cameras out of .*Received: cameras=\['left', 'back'\]"),
        ({"cameras": ("left", "left")}, "distinct cameras"),
        ({"cameras": ()}, "distinct cameras"),
        ({"subject": "S2"}, r"belong to it .*Received: subject='S2'"),
        ({"split": "val"}, r"one of the splits .*split='val'"),
        ({"images": [np.zeros((16, 8, 3), np.uint8)] * 2}, r"16 x 16 pixels. Received: uint8 \(16, 8, 3\)"),
        ({"images": [np.zeros((16, 16, 3))] * 2}, "Received: float64"),
        ({"images": [np.zeros((16, 16, 3), np.uint8)]}, r"images must have the shape 2. Received: 1"),
        ({"boxes_px": np.zeros((3, 4))}, r"boxes_px must have the shape \(2, 4\). Received: \(3, 4\)"),
        ({"joints_mm": np.zeros((16, 3))}, r"joints_mm must have the shape \(17, 3\). Received: \(16, 3\)"),
        ({"joint_mask": np.zeros(3)}, r"joint_mask must have the shape \(17,\). Received: \(3,\)"),
        ({"keypoints_px": np.zeros((2, 17, 2))}, r"keypoints_px must have the shape \(2, 17, 3\)"),
    ],
)
def test_instants_that_contradict_the_sequence_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        write_sequence(tmp_path, SPEC, [dataclasses.replace(instant(), **changes)], HUMAN36M_17, 16)


def test_names_must_be_file_names(tmp_path):
    spec = dataclasses.replace(SPEC, sequence="../walk")
    wrong = dataclasses.replace(instant(), sequence="../walk")
    with pytest.raises(InputError, match=r"no slash.*Received: .*'\.\./walk'"):
        write_sequence(tmp_path, spec, [wrong], HUMAN36M_17, 16)


def test_a_dataset_needs_an_instant(tmp_path):
    with pytest.raises(InputError, match=r"at least one instant. Received: 1 sequences without any"):
        write(tmp_path, [])


def test_a_dataset_has_at_most_64_cameras(tmp_path):
    cameras = tuple(f"cam{i}" for i in range(65))
    with pytest.raises(InputError, match="at most 64 cameras. Received: 65"):
        write(tmp_path, [instant(cameras=cameras[:2])], dataclasses.replace(SPEC, cameras=cameras))


def test_the_last_of_64_cameras_has_a_bit(tmp_path):
    cameras = tuple(f"cam{i}" for i in range(64))
    spec = dataclasses.replace(SPEC, cameras=cameras)
    assert write(tmp_path, [instant(cameras=(cameras[0], cameras[63]))], spec).index.view_mask == [2**63 + 1]


def test_an_unfinished_dataset_is_none(tmp_path):
    write_sequence(tmp_path, SPEC, [instant()], HUMAN36M_17, 16)
    with pytest.raises(InputError, match=r"Received: .*without it. Run `python -m mcss_tf.prepare`"):
        PreparedDataset.load(tmp_path)


def test_another_schema_version_is_refused(copy):
    metadata = json.loads((copy / "dataset.json").read_text())
    files.write_json(copy / "dataset.json", metadata | {"schema_version": 2})
    with pytest.raises(
        InputError, match=r"schema_version 1. Received: schema_version=2.*Run `prepare` again"
    ):
        PreparedDataset.load(copy)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_a_broken_dataset_json_is_refused(copy, text):
    (copy / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json must be JSON with a schema_version. Received: "):
        PreparedDataset.load(copy)


def test_a_missing_or_cut_shard_is_refused(copy, tiny):
    shard = copy / tiny.metadata["shards"][1]["path"]
    num_bytes = shard.stat().st_size
    os.truncate(shard, num_bytes - 1)
    with pytest.raises(InputError, match=rf"{num_bytes} bytes.*Received: {num_bytes - 1} bytes"):
        PreparedDataset.load(copy)
    shard.unlink()
    with pytest.raises(InputError, match="Received: no such file"):
        PreparedDataset.load(copy)


def test_a_changed_index_is_refused(copy):
    data = bytearray((copy / "index.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "index.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"index\.npz must have the sha256"):
        PreparedDataset.load(copy)
    (copy / "index.npz").unlink()
    with pytest.raises(InputError, match="Received: no such file"):
        PreparedDataset.load(copy)


def test_verify_finds_one_flipped_bit(copy, tiny):
    tiny.verify()
    shard = copy / tiny.metadata["shards"][0]["path"]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    dataset = PreparedDataset.load(copy)
    with pytest.raises(InputError, match=r"as `prepare` wrote it \(sha256 .*Received: sha256"):
        dataset.verify()


def test_a_shard_cut_while_it_is_open_is_noticed(copy, tiny):
    dataset = PreparedDataset.load(copy)
    os.truncate(copy / tiny.metadata["shards"][0]["path"], 100)
    with pytest.raises(InputError, match=r"record 7 .* must be as it was .*Received: 0 of \d+ bytes"):
        dataset.read([7])


def test_required_splits_must_not_be_empty(tmp_path):
    dataset = make_tiny_dataset(tmp_path, ("S1",), instants=2)
    with pytest.raises(
        InputError, match=r"The test split .*Received: instants per split \{'train': 2, 'test': 0\}"
    ):
        PreparedDataset.load(dataset.path, require=("train", "test"))


def test_unknown_split_and_missing_view(tiny):
    with pytest.raises(InputError, match=r"one of train, test, validation. Received: split='val'"):
        tiny.split_rows("val")
    with pytest.raises(InputError, match=r"a camera that saw the instant. Received: row=0, camera='cam0'"):
        tiny.read_images(np.array([0]), np.array([0]))
