import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peculiar.sky.cutouts import fit

RANDOM = np.random.default_rng(1)


def image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, channels), np.uint8)


def flux(height: int, width: int, bands: int = 3) -> np.ndarray:
    return RANDOM.normal(size=(bands, height, width)).astype(np.float32)


@pytest.mark.parametrize("how", ["exact", "crop", "pad", "resample"])
def test_pixels_of_the_right_size_stay_as_they_are(how):
    for pixels in (image(64, 64), flux(64, 64)):
        np.testing.assert_array_equal(fit(pixels, 64, how), pixels)


def test_the_papers_crop_starts_at_twelve():
    pixels = image(120, 120)
    np.testing.assert_array_equal(fit(pixels, 96, "crop"), pixels[12:108, 12:108])


def test_crop_takes_the_center_of_elongated_flux():
    pixels = flux(40, 101)
    np.testing.assert_array_equal(fit(pixels, 32, "crop"), pixels[:, 4:36, 34:66])


def test_pad_surrounds_with_zeros():
    padded = fit(image(40, 33) | 1, 64, "pad")
    assert padded.shape == (64, 64, 3)
    assert (padded[12:52, 15:48] > 0).all()
    assert padded.astype(bool).sum() == 40 * 33 * 3
    assert fit(flux(40, 33), 64, "pad").dtype == np.float32


@given(st.integers(32, 70), st.integers(32, 70), st.integers(32, 70))
def test_crop_undoes_pad(height, width, size):
    pixels = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
    big = max(height, width, size)
    small = min(height, width)
    np.testing.assert_array_equal(fit(fit(pixels, big, "pad"), small, "crop").shape, fit(pixels, small, "crop").shape)
    if height == width and (big - height) % 2 == 0:
        np.testing.assert_array_equal(fit(fit(pixels, big, "pad"), height, "crop"), pixels)


@pytest.mark.parametrize(
    ("shape", "how", "word"),
    [
        ((50, 50), "exact", "--fit crop|pad|resample"),
        ((50, 90), "crop", "too small"),
        ((50, 90), "pad", "too large"),
        ((50, 90), "resample", "square"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(shape, how, word):
    for pixels in (image(*shape), flux(*shape)):
        with pytest.raises(ValueError, match=r"50x\d0 pixels") as raised:
            fit(pixels, 64, how)
        assert word in str(raised.value)
        assert "--fit" in str(raised.value)


def test_other_arrays_are_refused():
    for pixels in (np.zeros((64, 64), np.uint8), np.zeros((3, 64, 64), np.int32)):
        with pytest.raises(ValueError, match="must be uint8"):
            fit(pixels, 64, "exact")


@given(st.integers(32, 80), st.integers(32, 80))
def test_resampled_flux_keeps_surface_brightness_exactly(old, new):
    pixels = np.random.default_rng(old * new).normal(size=(2, old, old)) + 3.0
    resampled = fit(pixels, new, "resample")
    np.testing.assert_allclose(resampled.mean(axis=(1, 2)), pixels.mean(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(fit(np.full((1, old, old), 2.5), new, "resample"), 2.5, rtol=1e-12)


def test_flux_halved_is_the_mean_of_two_by_two():
    pixels = flux(64, 64)
    expected = pixels.reshape(3, 32, 2, 32, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(fit(pixels, 32, "resample"), expected, atol=1e-6)


def test_pixels_that_are_not_finite_do_not_spread():
    pixels = np.ones((1, 64, 64), np.float32)
    pixels[0, 3, 3] = np.nan
    pixels[0, 10:14, 10:14] = np.inf
    resampled = fit(pixels, 32, "resample")
    assert np.isnan(resampled).sum() == 4
    np.testing.assert_allclose(resampled[np.isfinite(resampled)], 1.0)


def test_resampled_images_are_antialiased():
    checkers = np.indices((128, 128)).sum(0) % 2 * 255
    pixels = np.repeat(checkers[..., None], 5, axis=-1).astype(np.uint8)
    resampled = fit(pixels, 64, "resample")
    assert resampled.shape == (64, 64, 5)
    assert resampled.dtype == np.uint8
    assert np.abs(resampled[4:-4, 4:-4].astype(int) - 127).max() <= 2  # picking every second pixel gives 0 or 255
