"""Augmentation: hand-drawn mirrors, and that off means off."""

import dataclasses

import numpy as np
import pytest

from mcss_tf.data.augment import NUM_DRAWS, Augmentation, augment_images, flip_canonical, flip_images
from mcss_tf.geometry.canonical import canonical_pose
from mcss_tf.geometry.skeleton import HUMAN36M_17
from tests.helpers import STANDING_MM

SIDE = 32
ONES = np.ones(17, np.float32)
STRONGEST = {
    "brightness": 0.5,
    "contrast": 0.9,
    "colour": 0.5,
    "hue_deg": 180.0,
    "blur_px": 3.0,
    "rotation_deg": 30.0,
    "scale": 0.3,
    "translation": 0.3,
    "erase": 1.0,
}


@pytest.fixture
def image() -> np.ndarray:
    """A bright square a little off the centre of a dark picture."""
    picture = np.full((SIDE, SIDE, 3), 60, np.uint8)
    picture[10:18, 14:22] = [200, 150, 100]
    return picture


def change(image, seed=0, **options) -> np.ndarray:
    draws = np.random.default_rng([7, seed]).random((1, NUM_DRAWS), np.float32)
    return augment_images(image[None], draws, Augmentation(**options)).numpy()[0]


def test_raising_the_left_hand_becomes_raising_the_right_hand():
    """Drawn: the left hip on +x, the person faces -y. The left wrist is up and 100 mm to the front."""
    pose = STANDING_MM.copy()
    pose[13] = [240, -100, 900]
    flipped, mask = flip_canonical(pose, ONES, HUMAN36M_17)
    expected = STANDING_MM.copy()
    expected[16] = [-240, -100, 900]
    np.testing.assert_allclose(flipped, expected, atol=1e-3)
    assert mask.all()


def test_a_mirrored_world_gives_the_mirrored_canonical_pose():
    """Any upright mirror does: mirror the world in x + y = 0, swap sides, and apply Eq. 3."""
    world = np.random.default_rng(0).normal(size=(5, 17, 3)).astype(np.float32) * 500
    canonical, _ = canonical_pose(world, HUMAN36M_17)
    mirrored = np.stack([-world[..., 1], -world[..., 0], world[..., 2]], -1)[:, list(HUMAN36M_17.mirror)]
    expected, _ = canonical_pose(mirrored, HUMAN36M_17)
    received, _ = flip_canonical(canonical, np.ones((5, 17), np.float32), HUMAN36M_17)
    np.testing.assert_allclose(received, expected, atol=1e-2)


def test_flipping_twice_changes_nothing():
    pose = canonical_pose(np.random.default_rng(1).normal(size=(17, 3)) * 500, HUMAN36M_17)[0]
    twice, _ = flip_canonical(*flip_canonical(pose, ONES, HUMAN36M_17), HUMAN36M_17)
    np.testing.assert_allclose(twice, pose, atol=1e-2)


def test_masks_are_mirrored_and_need_the_right_hip():
    mask = ONES.copy()
    mask[13] = 0
    pose = STANDING_MM * mask[:, None]
    flipped, flipped_mask = flip_canonical(pose, mask, HUMAN36M_17)
    assert np.flatnonzero(flipped_mask == 0).tolist() == [16]
    assert not flipped[16].any()
    mask[1] = 0
    flipped, flipped_mask = flip_canonical(STANDING_MM * mask[:, None], mask, HUMAN36M_17)
    assert not flipped_mask.any()
    assert not flipped.any()


def test_off_is_the_default_and_changes_nothing(image):
    assert not Augmentation().is_on
    np.testing.assert_array_equal(change(image), image)


@pytest.mark.parametrize("name", STRONGEST)
def test_each_change_depends_on_the_seed_alone(image, name):
    options = {name: STRONGEST[name]}
    assert Augmentation(**options).is_on
    results = [change(image, seed, **options) for seed in range(6)]
    assert all(r.shape == image.shape and r.dtype == np.uint8 for r in results)
    np.testing.assert_array_equal(results[1], change(image, 1, **options))
    assert len({r.tobytes() for r in results}) >= 4  # a small rectangle may lie between pixels


def test_every_option_is_tried():
    assert {f.name for f in dataclasses.fields(Augmentation)} == {*STRONGEST, "flip", "background"}


def _centre(picture) -> np.ndarray:
    weight = picture[..., 0].astype(float) - 60
    grid = np.indices(weight.shape)
    return (grid * weight).sum((1, 2)) / weight.sum()


def test_brightness_and_contrast_stay_within_their_limits(image):
    for seed in range(10):
        shift = change(image, seed, brightness=0.1).astype(int) - image
        assert shift.min() == shift.max()
        assert abs(shift.max()) <= 26
        spread = change(image, seed, contrast=0.2).std() / image.std()
        assert 0.78 < spread < 1.22


def test_geometry_stays_within_its_limits(image):
    """The middle of the square, at (13.5, 17.5), is 2.8 px from the middle of the picture."""
    for seed in range(10):
        moved = _centre(change(image, seed, translation=0.1)) - _centre(image)
        assert 0 < np.abs(moved).max() <= 3.3
        middle = np.full(2, (SIDE - 1) / 2)
        before = _centre(image) - middle
        after = _centre(change(image, seed, rotation_deg=20.0)) - middle
        assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before), abs=0.3)
        cosine = after @ before / np.linalg.norm(after) / np.linalg.norm(before)
        assert np.degrees(np.arccos(min(cosine, 1))) <= 23
        area = (change(image, seed, scale=0.2)[..., 0].astype(float) - 60).sum()
        assert 0.6 < area / (image[..., 0].astype(float) - 60).sum() < 1.5


def test_blur_keeps_the_sum_and_lowers_the_peak(image):
    blurred = change(image, 3, blur_px=2.0).astype(float)
    assert blurred.mean() == pytest.approx(image.mean(), abs=0.5)
    assert blurred.std() < image.std()


def test_erasing_covers_at_most_a_quarter_with_one_colour(image):
    for seed in range(10):
        is_changed = (change(image, seed, erase=1.0) != image).any(-1)
        assert is_changed.mean() <= 0.3
        assert len(np.unique(change(image, seed, erase=1.0)[is_changed], axis=0)) <= 1
    untouched = [np.array_equal(change(image, seed, erase=0.5), image) for seed in range(20)]
    assert 3 <= sum(untouched) <= 17


def test_hue_turns_colours_about_grey(image):
    for seed in range(10):
        turned = change(image, seed, hue_deg=180.0).astype(float)
        np.testing.assert_array_equal(turned[0, 0], 60)  # grey stays
        assert turned[12, 16].mean() == pytest.approx(image[12, 16].mean(), abs=1)
    # Colours of the square: its distance from grey stays, its direction takes all angles.
    offsets = np.array([change(image, seed, hue_deg=180.0)[12, 16] - 150.0 for seed in range(40)])
    np.testing.assert_allclose(np.linalg.norm(offsets, axis=1), 50 * 2**0.5, atol=1.5)
    assert np.abs(offsets.mean(0)).max() < 25


def test_each_image_of_a_batch_is_changed_by_its_own_numbers(image):
    """A batch is what its images are alone, whatever stands beside them."""
    draws = np.random.default_rng(0).random((5, NUM_DRAWS), np.float32)
    options = Augmentation(**STRONGEST)
    together = augment_images(np.stack([image] * 5), draws, options).numpy()
    for number, changed in enumerate(together):
        alone = augment_images(image[None], draws[number : number + 1], options).numpy()[0]
        np.testing.assert_allclose(changed.astype(int), alone, atol=1)
    assert len({changed.tobytes() for changed in together}) == 5


def test_switching_one_change_leaves_the_others(image):
    """The rectangle that is erased is the same with and without a change of brightness."""
    draws = np.random.default_rng(3).random((1, NUM_DRAWS), np.float32)
    alone = augment_images(image[None], draws, Augmentation(erase=1.0)).numpy()
    both = augment_images(image[None], draws, Augmentation(erase=1.0, brightness=0.2)).numpy()
    is_erased = (alone != image).any(-1)
    assert is_erased.any()
    np.testing.assert_array_equal(alone[is_erased], both[is_erased])


def test_flipping_mirrors_what_it_is_told_to(image):
    flipped = flip_images(np.stack([image, image]), np.array([True, False])).numpy()
    np.testing.assert_array_equal(flipped[0], image[:, ::-1])
    np.testing.assert_array_equal(flipped[1], image)
