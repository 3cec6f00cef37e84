import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from peculiar.figures.follow_up import _on_screen
from peculiar.spectra.targets import sexagesimal, slit_through, target_name


def sky_of(x, y, *, size, scale, north):
    """The same geometry by astropy: a tangential projection, turned."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [(size - 1) / 2 + 1, (size - 1) / 2 + 1]
    turn = np.radians(north)
    # Screen y runs down; up is north where it is not turned, left is east.
    right, down = np.array([-np.cos(turn), -np.sin(turn)]), np.array([np.sin(turn), -np.cos(turn)])
    wcs.wcs.cd = np.stack([right, down], axis=1) * scale / 3600
    return SkyCoord(*wcs.pixel_to_world_values(x, y), unit="deg")


@pytest.mark.parametrize("north", [0.0, 30.0, -100.0])
@pytest.mark.parametrize("points", [((10, 20), (60, 20)), ((47, 10), (47, 80)), ((20, 70), (66, 31))])
def test_a_slit_goes_through_two_points_as_on_the_sky(points, north):
    one, other = np.array(points, float)
    angle, east, up = slit_through(one, other, shape=(96, 96), pixel_scale=0.168, north=north)
    first, second = (sky_of(*each, size=96, scale=0.168, north=north) for each in (one, other))
    difference = (first.position_angle(second).deg - angle + 90) % 180 - 90
    assert abs(difference) < 0.01
    middle = sky_of(*(one + other) / 2, size=96, scale=0.168, north=north)
    offset = SkyCoord(150.0, 2.0, unit="deg").spherical_offsets_to(middle)
    assert (east, up) == pytest.approx([each.arcsec for each in offset], abs=1e-3)
    x, y = _on_screen(east, up, north)
    assert (x, y) == pytest.approx(((one + other) / 2 - 47.5) * 0.168, abs=1e-9)


def test_up_is_north_and_left_is_east():
    up, _, _ = slit_through(np.array([47.5, 80]), np.array([47.5, 10]), shape=(96, 96), pixel_scale=1.0)
    across, _, _ = slit_through(np.array([80, 47.5]), np.array([10, 47.5]), shape=(96, 96), pixel_scale=1.0)
    assert (up, across) == (0, 90)
    assert slit_through(np.array([0.0, 47.5]), np.array([10, 47.5]), shape=(96, 96), pixel_scale=1.0)[1] > 0


def test_one_point_is_no_slit():
    with pytest.raises(ValueError, match="two points"):
        slit_through(np.ones(2), np.ones(2), shape=(96, 96), pixel_scale=1.0)


def test_places_and_names_are_as_the_sky_has_them():
    place = SkyCoord("09h59m34.32s +01d37m07.4s")  # Storey-Fisher 2021: HSC J095934+013707
    assert sexagesimal(place.ra.deg, place.dec.deg) == ("09:59:34.32", "+01:37:07.4")
    assert target_name(place.ra.deg, place.dec.deg) == "J095934.32+013707.4"
    assert sexagesimal(0.0, -0.5 / 3600) == ("00:00:00.00", "-00:00:00.5")
    assert target_name(359.99999, -0.51 / 3600) == "J235959.99-000000.5"
