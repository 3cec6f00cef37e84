from itertools import permutations

import numpy as np
import pytest
from astropy.io import fits
from astropy.visualization import make_lupton_rgb
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from peculiar.sky.rgb import asinh, lupton


def one_pixel(*bands, dtype=np.float32):
    return np.array(bands, dtype).reshape(1, len(bands), 1, 1)


def astropy_image(flux, **curve):
    """The same picture by astropy, of one cutout (3, height, width)."""
    options = {"minimum": 0, "stretch": 0.5, "Q": 15} | curve
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return make_lupton_rgb(*np.asarray(flux, np.float64), **options)


def assert_equal_to_one_level(flux, **curve):
    ours = lupton(flux[None], **{key.lower(): value for key, value in curve.items()})[0]
    difference = np.abs(ours.astype(int) - astropy_image(flux, **curve))
    assert difference.max() <= 1
    assert ours.std() > 0  # a black image would agree with a black image


@pytest.mark.parametrize(("value", "level"), [(1, 87), (10, 136), (100, 185)])
def test_grey_has_the_known_levels(value, level):
    assert_array_equal(lupton(one_pixel(value, value, value)), np.full((1, 1, 1, 3), level))
    for n_bands in (1, 2, 3, 5, 8):
        assert_array_equal(asinh(one_pixel(*[value] * n_bands)), np.full((1, 1, 1, n_bands), level))


def test_without_intensity_a_pixel_is_black():
    assert_array_equal(lupton(one_pixel(1, -0.5, -0.5)), 0)
    assert_array_equal(lupton(one_pixel(0, 0, 0)), 0)
    assert_array_equal(lupton(one_pixel(-3, -2, -1)), 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("band", [0, 1, 2])
def test_a_pixel_without_a_number_in_any_band_is_black_and_its_neighbor_is_not(bad, band):
    flux = np.full((1, 3, 1, 2), 1, np.float32)
    flux[0, band, 0, 0] = bad
    assert lupton(flux)[0, 0].tolist() == [[0, 0, 0], [87, 87, 87]]
    assert asinh(flux)[0, 0, 0].tolist() == [0 if each == band else 87 for each in range(3)]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.uint16, ">f4", np.float64])
def test_every_kind_of_number_is_cast_first(dtype):
    assert_array_equal(lupton(one_pixel(10, 10, 10, dtype=dtype)), 136)
    assert lupton(one_pixel(200, 150, 100, dtype=dtype))[0, 0, 0].tolist() == (
        lupton(one_pixel(200, 150, 100))[0, 0, 0].tolist()
    )


def test_the_color_of_a_bright_pixel_is_kept():
    red, green, blue = lupton(one_pixel(3e4, 1e4, 1e3))[0, 0, 0].tolist()
    assert red == 255
    assert (green, blue) == (85, 8)


@settings(max_examples=60, deadline=None)
@given(
    bands=st.lists(st.floats(-50, 5_000, width=32), min_size=3, max_size=3),
    stretch=st.sampled_from([0.05, 0.5, 4.0]),
    q=st.sampled_from([1.0, 15.0]),
    minimum=st.sampled_from([0.0, -0.5, 2.0]),
)
def test_any_pixel_agrees_with_astropy_to_one_level(bands, stretch, q, minimum):
    flux = one_pixel(*bands)
    if abs(np.sum(flux, dtype=np.float64) - 3 * minimum) < 1e-6:
        return  # the sign of nothing is a matter of rounding
    ours = lupton(flux, minimum=minimum, stretch=stretch, q=q)[0]
    theirs = astropy_image(flux[0], minimum=minimum, stretch=stretch, Q=q)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@settings(max_examples=40, deadline=None)
@given(st.floats(-10, 1e6, width=32))
def test_grey_is_the_same_by_both_curves_at_any_brightness(value):
    levels = [stretch(one_pixel(value, value, value)).astype(int) for stretch in (asinh, lupton)]
    assert np.abs(levels[0] - levels[1]).max() <= 1  # rounding in the mean of three, then truncation


def test_each_band_of_asinh_is_stretched_by_itself_and_clipped():
    flux = np.random.default_rng(0).gamma(0.3, 3e3, (2, 5, 4, 6)).astype(np.float32)
    flux[0, 0, 0, 0] = 1e12
    image = asinh(flux)
    assert image.shape == (2, 4, 6, 5)
    assert image[0, 0, 0, 0] == 255
    curve = np.arcsinh(30.0 * flux.astype(float)) * 25.5 / np.arcsinh(1.5)
    assert_array_equal(image, np.moveaxis(np.minimum(curve, 255), 1, -1).astype(np.uint8))


def test_a_batch_is_its_images_one_by_one():
    flux = np.random.default_rng(0).normal(1, 3, (4, 3, 5, 7)).astype(np.float32)
    for stretch in (lupton, asinh):
        assert_array_equal(stretch(flux), np.concatenate([stretch(flux[each : each + 1]) for each in range(4)]))
        assert stretch(flux).shape == (4, 5, 7, 3)


@pytest.mark.parametrize(("stretch", "q"), [(0, 15), (0.5, 0), (-1, 15), (0.5, np.nan)])
def test_a_curve_that_is_none_is_refused(stretch, q):
    with pytest.raises(ValueError, match="stretch and q must be positive"):
        lupton(one_pixel(1, 1, 1), stretch=stretch, q=q)
    with pytest.raises(ValueError, match="stretch and q must be positive"):
        asinh(one_pixel(1, 1), stretch=stretch, q=q)


def test_other_than_three_bands_are_refused_for_lupton():
    with pytest.raises(ValueError, match=r"\(n, 3, height, width\).*use asinh otherwise"):
        lupton(one_pixel(1, 1))


# --- real fields


@pytest.mark.filterwarnings("ignore:Invalid 'BLANK' keyword")
@pytest.mark.parametrize("order", list(permutations("gri")))
def test_the_sdss_field_agrees_with_astropy_in_any_order_of_bands(shared_data, order):
    folder = shared_data / "flux" / "sdss"
    planes = [fits.getdata(folder / f"reprojected_sdss_{band}.fits", memmap=False) for band in order]
    flux = np.stack(planes).astype(np.float32)
    assert_equal_to_one_level(flux)
    assert_equal_to_one_level(flux[:, :64, :64], minimum=-0.02, stretch=0.1, Q=8)


def hsc_cube(path):
    with fits.open(path, memmap=False) as opened:
        return np.stack([np.asarray(each.data, np.float32) for each in opened if each.name.startswith("HSC-")])


def test_all_combinations_of_hsc_bands_agree_with_astropy(shared_data):
    paths = sorted((shared_data / "flux" / "hsc").glob("*.fits"))
    assert paths
    n_compared = 0
    for path in paths:
        cube = hsc_cube(path)
        assert len(cube) == 5
        for bands in permutations(range(5), 3):
            assert_equal_to_one_level(cube[list(bands)])
            n_compared += 1
    assert n_compared == 60 * len(paths)
