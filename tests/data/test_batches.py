"""Batches: what they hold, that they resume, divide among workers, and read only what they use."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.data import batches, planning
from mcss_tf.data.augment import Augmentation
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.records import decode_instant
from mcss_tf.errors import InputError
from tests.helpers import make_tiny_dataset

SIZES = {"image_size": 32, "num_pairs": 4, "num_labelled": 6, "seed": 5}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> PreparedDataset:
    path = tmp_path_factory.mktemp("tiny")
    subjects = ("S1", "S2", "S9")
    return make_tiny_dataset(path, subjects, 10, 3, test_subjects=("S9",), missing_views=True)


def take(dataset, count, **options) -> list[dict[str, np.ndarray]]:
    return list(batches.train_batches(dataset, **SIZES | options).take(count).as_numpy_iterator())


def assert_same(received, expected):
    assert len(received) == len(expected)
    for a, b in zip(received, expected, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def stored_image(dataset, row, camera) -> np.ndarray:
    """The reference: through the whole record and OpenCV's decoder."""
    record = decode_instant(dataset.read([row])[0])
    return record["images"][record["cameras"].index(dataset.cameras[camera])]


def test_a_batch_holds_what_the_plan_says(tiny):
    rows = tiny.split_rows("train")
    counts = {"num_pairs": 4, "num_labelled": 6, "labelled_rows": rows}
    num_steps = planning.steps_per_epoch(tiny.index, rows, **counts)
    assert num_steps == 6
    received = take(tiny, 2 * num_steps)
    for epoch in range(2):
        plan = planning.Planner(tiny.index, rows, **counts, min_gap_s=1.0, seed=5).part(epoch, 0)
        for k, batch in enumerate(received[epoch * num_steps : (epoch + 1) * num_steps]):
            assert batch["step"] == epoch * num_steps + k
            np.testing.assert_array_equal(batch["group"], plan.rows[k])
            for i, row in enumerate(plan.rows[k]):
                for j, key in enumerate(["anchor_image", "positive_image"]):
                    expected = stored_image(tiny, row, plan.cameras[k, i, j])
                    np.testing.assert_allclose(batch[key][i].astype(int), expected, atol=3)
            for i, row in enumerate(plan.labelled_rows[k]):
                expected = stored_image(tiny, row, plan.labelled_cameras[k, i])
                np.testing.assert_allclose(batch["labelled_image"][i].astype(int), expected, atol=3)
                pose_mm = decode_instant(tiny.read([row])[0])["canonical_mm"]
                np.testing.assert_array_equal(batch["pose_mm"][i], pose_mm[1:])
    assert received[0]["pose_mask"].all()


@pytest.mark.parametrize("count", [1, 2])
def test_an_instant_may_be_there_in_several_views(tiny, count):
    options = {"num_pairs": 4, "num_labelled": 6, "labelled_rows": tiny.split_rows("train")}
    parts = [take(tiny, 1, num_views=4, shard=(index, count))[0] for index in range(count)]
    plan = planning.Planner(
        tiny.index,
        tiny.split_rows("train"),
        **options | {"num_pairs": 2},
        min_gap_s=1.0,
        seed=5,
        num_views=4,
    ).part(0, 0)
    for index, batch in enumerate(parts):
        rows, cameras = plan.rows[0, index::count], plan.cameras[0, index::count]
        np.testing.assert_array_equal(batch["group"], np.tile(rows, 2))
        images = np.concatenate([batch["anchor_image"], batch["positive_image"]]).astype(int)
        expected = [stored_image(tiny, row, cameras[i, v]) for v in range(4) for i, row in enumerate(rows)]
        np.testing.assert_allclose(images, expected, atol=3)


def test_shapes_are_static(tiny):
    spec = batches.train_batches(tiny, **SIZES).element_spec
    assert {key: (value.shape.as_list(), value.dtype) for key, value in spec.items()} == {
        "anchor_image": ([4, 32, 32, 3], tf.uint8),
        "positive_image": ([4, 32, 32, 3], tf.uint8),
        "group": ([4], tf.int32),
        "labelled_image": ([6, 32, 32, 3], tf.uint8),
        "pose_mm": ([6, 16, 3], tf.float32),
        "pose_mask": ([6, 16], tf.float32),
        "step": ([], tf.int64),
    }


def test_pairs_or_labels_may_be_left_out(tiny):
    assert take(tiny, 1, num_labelled=0)[0].keys() == {"step", "group", "anchor_image", "positive_image"}
    assert take(tiny, 1, num_pairs=0)[0].keys() == {"step", "labelled_image", "pose_mm", "pose_mask"}
    assert take(tiny, 1, num_pairs=0)[0]["labelled_image"].shape == (6, 32, 32, 3)


def test_unlabelled_videos_are_enough_for_pairs(tmp_path):
    dataset = make_tiny_dataset(tmp_path, ("S1",), labelled=False)
    assert take(dataset, 1, num_labelled=0)[0]["anchor_image"].shape == (4, 32, 32, 3)
    with pytest.raises(InputError, match="num_labelled=6 needs labelled instants"):
        take(dataset, 1)


@pytest.mark.parametrize("options", [{}, {"augmentation": Augmentation(brightness=0.2, erase=1.0, flip=0.5)}])
def test_a_resumed_run_goes_on_with_the_same_batches(tiny, options):
    whole = take(tiny, 15, **options)
    for start in (1, 6, 13):
        assert_same(take(tiny, 15 - start, start_step=start, **options), whole[start:])


def test_another_seed_gives_other_batches(tiny):
    assert not np.array_equal(take(tiny, 1)[0]["group"], take(tiny, 1, seed=6)[0]["group"])


def test_workers_divide_every_batch(tiny):
    whole = take(tiny, 8)
    parts = [take(tiny, 8, shard=(i, 2)) for i in range(2)]
    for k, batch in enumerate(whole):
        for key, value in batch.items():
            if key == "step":
                assert value == parts[0][k][key] == parts[1][k][key]
                continue
            assert len(parts[0][k][key]) == len(value) // 2
            for i in range(2):
                np.testing.assert_array_equal(parts[i][k][key], value[i::2], err_msg=key)


def test_replicas_share_random_changes_as_well(tiny):
    options = {"augmentation": Augmentation(brightness=0.2, flip=0.5)}
    whole = take(tiny, 3, **options)
    for i in range(2):
        for batch, part in zip(whole, take(tiny, 3, shard=(i, 2), **options), strict=True):
            for key in ("anchor_image", "positive_image", "labelled_image", "pose_mm"):
                np.testing.assert_array_equal(part[key], batch[key][i::2], err_msg=key)


def test_replicas_may_have_a_subject_each(tiny):
    halves = {"num_pairs": SIZES["num_pairs"] // 2, "num_labelled": SIZES["num_labelled"] // 2}
    alone = take(tiny, 8, **halves, min_gap_s=1.0)
    parts = [take(tiny, 4, shard=(i, 2), is_per_replica=True, min_gap_s=1.0) for i in range(2)]
    subjects = [[tiny.index.subject[batch["group"]] for batch in part] for part in parts]
    assert all(len(np.unique(s)) == 1 for part in subjects for s in part)
    assert any(a[0] != b[0] for a, b in zip(*subjects, strict=True))
    for k in range(4):
        for i in range(2):
            for key in set(alone[0]) - {"step"}:
                np.testing.assert_array_equal(parts[i][k][key], alone[2 * k + i][key], err_msg=key)


def test_only_the_used_images_are_read(tiny, monkeypatch):
    """Counted where the bytes are read: 2 M + L images a batch, each of its own length."""
    dataset = PreparedDataset.load(tiny.path)
    read = []
    pread = dataset._pread
    monkeypatch.setattr(dataset, "_pread", lambda *args: read.append(args) or pread(*args))
    assert len(take(dataset, 1)) == 1
    assert len(read) % 14 == 0
    assert all(length in dataset.index.image_length[row] for row, _, length in read)
    assert len(read) <= 14 * 40, "reading ahead is bounded"


def test_images_are_resized_without_aliasing(tiny):
    """Halving is averaging: thin bones stay visible."""
    small, full = take(tiny, 1, image_size=16)[0], take(tiny, 1)[0]
    assert small["anchor_image"].shape == (4, 16, 16, 3)
    for a, b in zip(small["anchor_image"], full["anchor_image"], strict=True):
        expected = cv2.resize(b, (16, 16), interpolation=cv2.INTER_AREA).astype(int)
        assert np.abs(a - expected).mean() < 6
        np.testing.assert_allclose(a.mean(), b.mean(), atol=1)


def test_a_mask_and_its_pose_leave_out_the_root(tiny):
    batch = take(tiny, 1)[0]
    hips = batch["pose_mm"][:, 3]
    np.testing.assert_allclose(hips[:, 1:], 0, atol=1e-3)
    assert (hips[:, 0] > 100).all(), "joint 4, the left hip, lies on +x"


def test_both_images_of_a_pair_and_the_pose_are_mirrored(tiny):
    plain, flipped = take(tiny, 1)[0], take(tiny, 1, augmentation=Augmentation(flip=1.0))[0]
    for key in ("anchor_image", "positive_image", "labelled_image"):
        np.testing.assert_array_equal(flipped[key], plain[key][:, :, ::-1])
    left, right = [10, 11, 12], [13, 14, 15]  # arms, without the root
    sizes = np.linalg.norm(plain["pose_mm"], axis=-1), np.linalg.norm(flipped["pose_mm"], axis=-1)
    np.testing.assert_allclose(sizes[1][:, left], sizes[0][:, right], rtol=1e-5)
    np.testing.assert_allclose(
        flipped["pose_mm"][..., 2][:, left], plain["pose_mm"][..., 2][:, right], rtol=1e-5
    )


def test_some_are_mirrored_pair_by_pair(tiny):
    plain, mixed = take(tiny, 4), take(tiny, 4, augmentation=Augmentation(flip=0.5))
    is_flipped = []
    for a, b in zip(plain, mixed, strict=True):
        for i in range(4):
            kept = [np.array_equal(a[key][i], b[key][i]) for key in ("anchor_image", "positive_image")]
            mirrored = [np.array_equal(a[k][i][:, ::-1], b[k][i]) for k in ("anchor_image", "positive_image")]
            assert kept == [not m for m in mirrored] == [kept[0]] * 2
            is_flipped.append(mirrored[0])
    assert 2 <= sum(is_flipped) <= 14


def test_every_image_of_a_split_comes_once(tiny):
    received = list(batches.image_batches(tiny, "test", image_size=32, batch_size=4).as_numpy_iterator())
    assert [len(b["row"]) for b in received] == [4] * 6 + [2], "10 instants, 3 views, 4 missing"
    rows = np.concatenate([b["row"] for b in received])
    cameras = np.concatenate([b["camera"] for b in received])
    expected = np.argwhere(tiny.index.is_present()[20:]) + np.array([20, 0])
    np.testing.assert_array_equal(np.stack([rows, cameras], -1), expected)
    for batch in received:
        assert batch["has_pose"].all()
        np.testing.assert_array_equal(batch["pose_mm"], tiny.index.canonical_mm[batch["row"]][:, 1:])
        for image, row, camera in zip(batch["image"], batch["row"], batch["camera"], strict=True):
            np.testing.assert_allclose(image.astype(int), stored_image(tiny, row, camera), atol=3)


def test_image_batches_of_some_cameras_and_rows(tiny):
    options = {"image_size": 8, "batch_size": 16, "cameras": ["cam2", "cam0"], "rows": [24, 21]}
    (batch,) = batches.image_batches(tiny, "test", **options).as_numpy_iterator()
    assert batch["row"].tolist() == [24, 24, 21, 21]
    assert batch["camera"].tolist() == [0, 2, 0, 2]
    assert batch["image"].shape == (4, 8, 8, 3)


def test_images_without_poses(tmp_path):
    dataset = make_tiny_dataset(tmp_path, ("S1",), instants=2, labelled=False)
    (batch,) = batches.image_batches(dataset, "train", image_size=32, batch_size=16).as_numpy_iterator()
    assert not batch["has_pose"].any()
    assert not batch["pose_mask"].any()
    assert batch["pose_mm"].shape == (6, 16, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ["front"]}, r"Cameras of .* are \['cam0', 'cam1', 'cam2'\]. Received: \['front'\]"),
        ({"rows": [3, 25]}, r"rows must belong to the test split. Received: \[3\]"),
        ({"cameras": []}, "There must be an image to read in the test split .*Received: none"),
    ],
)
def test_images_that_are_not_there_are_refused(tiny, options, message):
    with pytest.raises(InputError, match=message):
        batches.image_batches(tiny, "test", image_size=32, batch_size=4, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "A batch needs image_size >= 1.*Received: image_size=0"),
        ({"start_step": -1}, "Received: .*start_step=-1"),
        ({"num_pairs": 0, "num_labelled": 0}, "some images. Received: .*num_pairs=0, num_labelled=0"),
        ({"shard": (2, 2)}, r"a replica's index is below it. Received: shard=\(2, 2\)"),
        ({"shard": (0, 3)}, r"multiples of their number.*Received: shard=\(0, 3\), num_pairs=4"),
        ({"num_views": 3}, r"batch.views is even.*Received: views=3, num_pairs=4, replicas=1"),
        ({"num_pairs": 3, "num_views": 4}, "whole instants.*Received: views=4, num_pairs=3"),
        ({"num_pairs": 11}, r"needs 11 instants .*Received: at most \{'S1': 10, 'S2': 10\}"),
    ],
)
def test_batches_that_cannot_be_are_refused(tiny, options, message):
    with pytest.raises(InputError, match=message):
        batches.train_batches(tiny, **SIZES | options)


def test_an_empty_train_split_is_refused(tmp_path):
    dataset = make_tiny_dataset(tmp_path, ("S1",), instants=2, test_subjects=("S1",))
    with pytest.raises(InputError, match="The train split of .* must not be empty"):
        batches.train_batches(dataset, **SIZES)
