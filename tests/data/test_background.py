"""A painted room is found again from crops of it, and people keep their pixels in another one."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from configs.mcss import get_config
from mcss_tf.data import background
from mcss_tf.data.augment import Augmentation
from mcss_tf.data.batches import train_batches
from mcss_tf.data.crops import crop
from mcss_tf.data.example import Instant
from mcss_tf.data.images import decode_image
from mcss_tf.data.records import SequenceSpec, finish_dataset, write_sequence
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.methods.mcss import MCSS

SIZE = 32
FRAME = (120, 160)
CAMERAS = ("left", "right")
PERSON = (250, 20, 20)
# Of each subject; a place is then in some 20 crops.
VISITS = 250


def room(camera: int, subject: int = 0) -> np.ndarray:
    """A wall over a floor, with a picture on the wall; other colours for each camera and subject."""
    height, width = FRAME
    frame = np.full((height, width, 3), 90 + 60 * camera + 20 * subject, np.uint8)
    frame[height // 2 :] = [40 + 40 * camera, 80, 60]
    frame[20:50, 30 + 60 * camera : 60 + 60 * camera] = [30, 60, 200]
    return frame


def visit(path, *, num: int = VISITS, subjects: int = 1, is_moving: bool = False):
    """Writes a dataset of a red rectangle that walks about in front of both cameras."""
    results = []
    for subject in range(subjects):
        rng = np.random.default_rng(subject)
        spec = SequenceSpec(f"S{subject + 1}", "walk", "", CAMERAS, 1.0, float(num))
        instants = []
        for time in range(num):
            images, boxes = [], []
            for camera in range(len(CAMERAS)):
                frame = room(camera, subject)
                if is_moving:
                    frame = rng.integers(0, 256, frame.shape, np.uint8)
                side = int(rng.integers(36, 44))
                x, y = rng.integers(side // 2, 160 - side // 2), rng.integers(side // 2, 120 - side // 2)
                box = np.float32([x - side // 2, y - side // 2, x - side // 2 + side, y - side // 2 + side])
                frame[y - 14 : y + 14, x - 6 : x + 6] = PERSON
                images.append(crop(frame, box, SIZE))
                boxes.append(box)
            boxes_px = np.stack(boxes)
            instants.append(
                Instant(spec.subject, "walk", "", time, float(time), "train", CAMERAS, images, boxes_px)
            )
        results.append(write_sequence(path, spec, instants, HUMAN36M_17, SIZE))
    return finish_dataset(path, source="test", skeleton=HUMAN36M_17, crop_size=SIZE, results=results)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return visit(tmp_path_factory.mktemp("room"), subjects=2)


@pytest.fixture(scope="module")
def backgrounds(dataset):
    return background.find_backgrounds(dataset, dataset.split_rows("train"))


def images_of(dataset, rows, cameras) -> np.ndarray:
    return np.stack([decode_image(jpeg, "a test's image") for jpeg in dataset.read_images(rows, cameras)])


def empty_crops(dataset, backgrounds, rows, cameras) -> np.ndarray:
    """What the crops would show without the person."""
    subjects = dataset.index.subject[rows]
    boxes = backgrounds.boxes_px[rows, cameras]
    return np.stack([crop(room(c, s), b, SIZE) for c, s, b in zip(cameras, subjects, boxes, strict=True)])


def replace(dataset, backgrounds, rows, cameras, other, is_replaced) -> np.ndarray:
    behind, instead = (backgrounds.look(*place, SIZE) for place in ((rows, cameras), other))
    images = images_of(dataset, rows, cameras)
    return background.replace_backgrounds(images, behind, instead, is_replaced).numpy()


def test_people_keep_their_pixels_and_get_the_other_place_behind_them(dataset, backgrounds):
    rows, cameras = np.arange(5, 55), np.zeros(50, int)
    other = (
        np.arange(VISITS, VISITS + 50),
        np.ones(50, int),
    )  # of the other subject's recordings, by the other camera
    images = images_of(dataset, rows, cameras)
    is_person = np.abs(images.astype(int) - empty_crops(dataset, backgrounds, rows, cameras)).max(-1) > 60
    assert 0.1 < is_person.mean() < 0.4
    changed = replace(dataset, backgrounds, rows, cameras, other, np.ones(50, bool)).astype(int)
    kept = np.abs(changed - images).max(-1)
    assert (kept[is_person] <= 20).mean() > 0.9
    expected = empty_crops(dataset, backgrounds, *other).astype(int)
    is_far = ~tf.nn.max_pool2d(is_person[..., None].astype(np.float32), 5, 1, "SAME").numpy()[..., 0].astype(
        bool
    )
    errors = np.abs(changed - expected).max(-1)[is_far]
    assert np.median(errors) <= 4
    assert (errors <= 20).mean() > 0.85  # edges of the plates' coarser pixels, and places seen too rarely


def test_what_is_not_to_be_replaced_stays_to_the_last_bit(dataset, backgrounds):
    rows, cameras = np.arange(4), np.zeros(4, int)
    is_replaced = np.array([True, False, True, False])
    changed = replace(dataset, backgrounds, rows, cameras, (rows + 7, cameras + 1), is_replaced)
    is_same = (changed == images_of(dataset, rows, cameras)).all((1, 2, 3))
    np.testing.assert_array_equal(is_same, ~is_replaced)


def test_a_place_that_no_crop_shows_counts_as_the_person(dataset, backgrounds):
    unknown = dataclasses.replace(backgrounds, plates=backgrounds.plates * np.uint8([1, 1, 1, 0]))
    rows, cameras = np.arange(4), np.zeros(4, int)
    changed = replace(dataset, unknown, rows, cameras, (rows + 7, cameras + 1), np.ones(4, bool))
    np.testing.assert_array_equal(changed, images_of(dataset, rows, cameras))


def test_subjects_and_cameras_have_plates_of_their_own(dataset, backgrounds):
    assert sorted(backgrounds.number.ravel().tolist()) == [0, 1, 2, 3]
    rows, cameras = np.array([3, 3, VISITS + 3, VISITS + 3]), np.array([0, 1, 0, 1])
    seen = backgrounds.look(rows, cameras, SIZE)[..., :3].astype(int)
    errors = np.abs(seen - empty_crops(dataset, backgrounds, rows, cameras)).max(-1)
    assert (np.median(errors, axis=(1, 2)) <= 4).all()


def test_places_are_found_to_half_a_pixel(dataset, backgrounds):
    """Edges of the room lie where they lay: a shift by half a pixel of the frame would be seen."""
    rows, cameras = np.arange(40, 440, 10), np.tile([0, 1], 20)

    def error(shift_px):
        shifted = dataclasses.replace(backgrounds, origin_px=backgrounds.origin_px + np.float32(shift_px))
        seen = shifted.look(rows, cameras, SIZE)
        errors = np.abs(seen[..., :3].astype(int) - empty_crops(dataset, backgrounds, rows, cameras)).max(-1)
        return errors[seen[..., 3] == 255].mean()

    assert error(0) < 3
    assert error(0) < min(error(shift) for shift in ([0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]))


def test_any_crop_can_be_drawn(backgrounds):
    rows, cameras = backgrounds.draw(np.linspace(0, 1 - 1e-7, 1000, dtype=np.float32))
    assert set(zip(rows.tolist(), cameras.tolist(), strict=True)) == {
        (row, camera) for row in range(2 * VISITS) for camera in (0, 1)
    }


def test_batches_replace_as_often_as_asked_and_depend_on_the_step_alone(dataset):
    sizes = {"image_size": SIZE, "num_pairs": 8, "num_labelled": 0, "labels": "none"}

    def take(share, start=0, **options):
        changes = Augmentation(background=share)
        batches = train_batches(dataset, **sizes, start_step=start, augmentation=changes, **options)
        return next(iter(batches))["anchor_image"].numpy()

    plain = take(0.0)
    assert (take(1.0) != plain).any((1, 2, 3)).all()
    half = [(take(0.5, step) != take(0.0, step)).any((1, 2, 3)).mean() for step in range(6)]
    assert 0.2 < np.mean(half) < 0.8
    later = train_batches(dataset, **sizes, augmentation=Augmentation(background=0.5)).skip(3)
    np.testing.assert_array_equal(next(iter(later))["anchor_image"], take(0.5, start=3))
    shared = [take(0.5, shard=(part, 2)) for part in (0, 1)]
    np.testing.assert_array_equal(np.stack(shared, 1).reshape(plain.shape), take(0.5))


def test_replicas_of_a_process_share_what_was_found(dataset, monkeypatch):
    config = get_config()
    config.batch.num_pairs, config.batch.views, config.labels.subjects = 8, 2, "none"
    config.augment.background = 0.5
    found = []

    def find(*arguments):
        found.append(background.find_backgrounds(*arguments))
        return found[-1]

    monkeypatch.setattr("mcss_tf.methods.mcss.find_backgrounds", find)
    method = MCSS(config, dataset)
    parts = [next(iter(method.train_batches(3, (part, 2))))["anchor_image"] for part in (0, 1)]
    assert len(found) == 1
    sizes = {"image_size": SIZE, "num_pairs": 8, "num_labelled": 0, "labels": "none"}
    alone = train_batches(
        dataset, **sizes, seed=config.seed, start_step=3, augmentation=Augmentation(**config.augment)
    )
    whole = next(iter(alone))["anchor_image"]
    np.testing.assert_array_equal(np.stack(parts, 1).reshape(whole.shape), whole)


def test_smaller_images_have_the_same_behind_them(dataset, backgrounds):
    """A network of half the crops' side sees the reduced picture."""
    rows, cameras = np.arange(6), np.zeros(6, int)
    images = images_of(dataset, rows, cameras)

    def change(images, size):
        behind, instead = backgrounds.look(rows, cameras, size), backgrounds.look(rows + 5, cameras + 1, size)
        return background.replace_backgrounds(images, behind, instead, np.ones(6, bool))

    half = [SIZE // 2, SIZE // 2]
    small = tf.cast(tf.image.resize(images, half, antialias=True), tf.uint8)
    changed = change(small, SIZE // 2).numpy()
    reduced = tf.image.resize(change(images, SIZE), half, antialias=True).numpy()
    assert np.median(np.abs(changed - reduced)) < 5


def test_moving_cameras_are_refused(tmp_path):
    moving = visit(tmp_path / "moving", is_moving=True)
    expected = (
        r"cameras that stand still.* Received: crops of S1 from left, \d+% of whose pixels .* Set it to 0"
    )
    with pytest.raises(InputError, match=expected):
        background.find_backgrounds(moving, moving.split_rows("train"))
