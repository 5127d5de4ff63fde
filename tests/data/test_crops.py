import numpy as np
import pytest

from mcss_tf.data.crops import crop


@pytest.fixture
def pixels():
    """Asymmetric in both directions: red grows downwards, green to the right."""
    rows, columns = np.mgrid[:40, :60]
    return np.stack([rows * 6, columns * 4, np.full_like(rows, 7)], -1).astype(np.uint8)


def test_crop_of_its_own_size_is_the_slice(pixels):
    np.testing.assert_array_equal(crop(pixels, np.array([10, 5, 30, 25]), 20), pixels[5:25, 10:30])


def test_shrinking_averages(pixels):
    expected = pixels[4:36, 8:40].reshape(16, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_allclose(crop(pixels, np.array([8, 4, 40, 36]), 16), expected, atol=1)


def test_enlarging_keeps_the_place(pixels):
    enlarged = crop(pixels, np.array([10, 5, 20, 15]), 40)
    np.testing.assert_allclose(enlarged[2::4, 2::4], pixels[5:15, 10:20], atol=4)


@pytest.mark.parametrize("box", [(-10, -6, 20, 24), (45, 25, 75, 55), (-20, -30, 80, 70)])
def test_beyond_the_frame_is_black(pixels, box):
    """Against a frame with wide black margins."""
    margin = 100
    wide = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)))
    side = box[2] - box[0]
    expected = wide[box[1] + margin : box[3] + margin, box[0] + margin : box[2] + margin]
    np.testing.assert_array_equal(crop(pixels, np.array(box, float), side), expected)


def test_wholly_outside_is_black(pixels):
    for box in ((100, 0, 120, 20), (-50, -50, -10, -10), (0, 60, 20, 80)):
        outside = crop(pixels, np.array(box), 8)
        assert outside.shape == (8, 8, 3)
        assert not outside.any()
