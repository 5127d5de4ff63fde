"""Files and images of any shape become squares of the network's size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcss_tf.serving.decoding import fit_square


def test_an_image_of_the_right_size_is_unchanged() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit_square(images, 8), images)


def test_a_wide_image_gets_black_bars_above_and_below() -> None:
    fitted = fit_square(np.full((1, 2, 4, 3), 90, np.uint8), 8)[0, :, :, 0].numpy()
    np.testing.assert_allclose(fitted[[0, 1, 6, 7]], 0)
    np.testing.assert_allclose(fitted[2:6], 90)


def test_shrinking_averages_instead_of_dropping_rows() -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    # One row in eight: sampling only the nearest rows would miss every one of them.
    stripes[:, ::8] = 200
    fitted = fit_square(stripes, 8).numpy()
    np.testing.assert_allclose(fitted[:, 1:-1], 25, atol=3)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 16))
def test_every_shape_fits_and_keeps_its_aspect(height: int, width: int, size: int) -> None:
    fitted = fit_square(np.full((1, height, width, 3), 255, np.uint8), size)[0, :, :, 0].numpy()
    assert fitted.shape == (size, size)
    filled = fitted > 0
    rows, columns = filled.any(axis=1).sum(), filled.any(axis=0).sum()
    assert max(rows, columns) == size
    assert rows == pytest.approx(max(1, size * height / max(height, width)), abs=0.51)
    assert columns == pytest.approx(max(1, size * width / max(height, width)), abs=0.51)
    np.testing.assert_allclose(fitted[filled], 255, rtol=1e-5)
