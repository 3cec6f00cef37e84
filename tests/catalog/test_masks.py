import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord, SkyOffsetFrame
from astropy.stats import binom_conf_interval
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.catalog import masks
from peculiar.catalog.masks import Kind, Shapes, flagged, fraction_of, inside_shapes

NEAR = 1e-7  # degrees: positions nearer to a border than this are not asked about


def made(kind, ra, dec, width=1.0, height=None, inner=(0.0, 0.0), angle=0.0, is_excluded=False, corners=()):
    """Shapes from numbers or lists of them; corners one list a polygon."""
    kind = np.atleast_1d(np.asarray(kind, np.int8))
    full = lambda values, dtype=float: np.broadcast_to(np.asarray(values, dtype), len(kind)).copy()  # noqa: E731
    counts = np.zeros(len(kind), int)
    counts[kind == Kind.POLYGON] = [len(each) for each in corners]
    return Shapes(
        kind,
        full(ra),
        full(dec),
        full(width),
        full(width if height is None else height),
        full(inner[0]),
        full(inner[1]),
        full(angle),
        full(is_excluded, bool),
        np.concatenate([np.asarray(each, float) for each in corners]) if len(corners) else np.empty((0, 2)),
        np.concatenate([[0], np.cumsum(counts)]),
    )


def around(ra, dec, radius, n=4000, seed=0):
    """Positions around a place, in the right number everywhere on the sky."""
    random = np.random.default_rng(seed)
    frame = SkyOffsetFrame(origin=SkyCoord(ra * units.deg, dec * units.deg))
    x, y = random.uniform(-radius, radius, (2, n))
    places = SkyCoord(x * units.deg, y * units.deg, frame=frame).icrs
    return places.ra.deg, places.dec.deg


def tangent(ra, dec, scale=1e-4):
    """A TAN projection at a place, north up and east to the left."""
    wcs = WCS(naxis=2)
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [ra, dec], [1, 1], [-scale, scale]
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    return wcs


@pytest.mark.parametrize("dec", [-90.0, -89.99, -30.0, 0.0, 89.95, 90.0])
@pytest.mark.parametrize("ra", [0.0, 359.99, 217.3])
def test_circles_are_angular_distances_everywhere(ra, dec):
    x, y = around(ra, dec, 0.4)
    apart = SkyCoord(ra * units.deg, dec * units.deg).separation(SkyCoord(x * units.deg, y * units.deg)).deg
    far = np.abs(apart - 0.3) > NEAR
    found = inside_shapes(x, y, made(Kind.CIRCLE, ra, dec, 0.6))
    assert 0.3 < found.mean() < 0.6
    assert_array_equal(found[far], (apart < 0.3)[far])
    ring = inside_shapes(x, y, made(Kind.CIRCLE, ra, dec, 0.6, inner=(0.2, 0.2)))
    far &= np.abs(apart - 0.1) > NEAR
    assert_array_equal(ring[far], ((apart < 0.3) & (apart > 0.1))[far])


@pytest.mark.parametrize(("ra", "dec"), [(0.001, 20.0), (359.999, -45.0), (150.0, 0.0), (40.0, 89.9), (200.0, -89.97)])
@pytest.mark.parametrize("angle", [0.0, 30.0, 145.0, -70.0])
def test_ellipses_boxes_polygons_and_annuli_are_those_of_the_package_regions(ra, dec, angle):
    regions = pytest.importorskip("regions")
    center, wcs = SkyCoord(ra * units.deg, dec * units.deg), tangent(ra, dec)
    x, y = around(ra, dec, 0.12)
    positions = SkyCoord(x * units.deg, y * units.deg)
    sizes = {"width": 0.15 * units.deg, "height": 0.06 * units.deg, "angle": angle * units.deg}
    holes = {
        **{"inner_width": 0.05 * units.deg, "outer_width": 0.15 * units.deg, "angle": angle * units.deg},
        **{"inner_height": 0.02 * units.deg, "outer_height": 0.06 * units.deg},
    }
    hole = (0.05, 0.02)
    corners = wcs.all_pix2world([[-800, -300], [700, -500], [0, 0], [300, 900], [-400, 200]], 0)
    cases = [
        (regions.EllipseSkyRegion(center, **sizes), made(Kind.ELLIPSE, ra, dec, 0.15, 0.06, angle=angle)),
        (regions.RectangleSkyRegion(center, **sizes), made(Kind.BOX, ra, dec, 0.15, 0.06, angle=angle)),
        (
            regions.EllipseAnnulusSkyRegion(center, **holes),
            made(Kind.ELLIPSE, ra, dec, 0.15, 0.06, inner=hole, angle=angle),
        ),
        (
            regions.RectangleAnnulusSkyRegion(center, **holes),
            made(Kind.BOX, ra, dec, 0.15, 0.06, inner=hole, angle=angle),
        ),
        (
            regions.PolygonSkyRegion(SkyCoord(corners * units.deg)),
            made(Kind.POLYGON, 0, 0, corners=[corners]),
        ),
    ]
    for region, shapes in cases:
        found = inside_shapes(x, y, shapes)
        assert 0.05 < found.mean() < 0.95
        # The plane of `regions` takes an angle for its tangent: 1e-7 degrees at these sizes.
        assert (found != region.contains(positions, wcs)).sum() <= 1


def test_a_box_is_as_wide_along_its_axes_as_it_says():
    shapes = made(Kind.BOX, 10.0, 60.0, 8.0, 2.0)
    north = np.array([60.999999, 61.000001, 59.000001, 58.999999])
    assert_array_equal(inside_shapes(np.full(4, 10.0), north, shapes), [True, False, True, False])
    frame = SkyOffsetFrame(origin=SkyCoord(10 * units.deg, 60 * units.deg))
    edge = SkyCoord([3.999999, 4.000001, -3.999999, -4.000001] * units.deg, np.zeros(4) * units.deg, frame=frame).icrs
    assert_array_equal(inside_shapes(edge.ra.deg, edge.dec.deg, shapes), [True, False, True, False])


def test_an_angle_turns_the_height_from_north_to_east():
    shapes = made(Kind.BOX, 0.0, 0.0, 0.02, 1.0, angle=45.0)
    ra, dec = np.array([0.3, 359.7, 359.7, 0.3]), np.array([0.3, -0.3, 0.3, -0.3])
    assert_array_equal(inside_shapes(ra, dec, shapes), [True, True, False, False])


def test_sides_of_polygons_are_great_circles():
    corners = [(0.0, 40.0), (40.0, 40.0), (40.0, 0.0), (0.0, 0.0)]
    shapes = made(Kind.POLYGON, 0, 0, corners=[corners])
    middle = np.degrees(np.arctan(np.tan(np.radians(40)) / np.cos(np.radians(20))))  # of the side along the north
    ra = np.full(2, 20.0)
    assert_array_equal(inside_shapes(ra, np.array([middle - 1e-6, middle + 1e-6]), shapes), [True, False])


def test_a_polygon_around_the_pole_holds_it():
    shapes = made(Kind.POLYGON, 0, 0, corners=[[(0, 89), (90, 89), (180, 89), (270, 89)]])
    assert inside_shapes(np.array([12.0, 200.0]), np.array([90.0, 89.7]), shapes).all()
    assert not inside_shapes(np.array([45.0, 0.0]), np.array([89.2, -90.0]), shapes).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_many_shapes_are_the_union_of_each_alone_less_what_is_excluded(seed):
    random = np.random.default_rng(seed)
    n, pole = 25, random.choice([-1, 0, 1])
    ra, dec = random.uniform(-2, 2, n) % 360, random.uniform(-2, 2, n) + 88 * pole
    kind = random.integers(0, 4, n)
    corners = [
        np.stack([ra[k] + random.uniform(-1, 1, m), dec[k] + random.uniform(-1, 1, m)], axis=1)
        for k, m in zip(np.flatnonzero(kind == Kind.POLYGON), random.integers(3, 9, n), strict=False)
    ]
    width, height = random.uniform(0.01, 2, (2, n))
    height = np.where(kind == Kind.CIRCLE, width, height)
    hole = random.random(n) * (random.random(n) < 0.5)
    excluded = random.random(n) < 0.3
    excluded[0] = False
    angle = random.uniform(0, 360, n)
    every = made(kind, ra, dec, width, height, (width * hole, height * hole), angle, excluded, corners)
    x, y = random.uniform(-3, 3, 400) % 360, np.clip(random.uniform(-3, 3, 400) + 88 * pole, -90, 90)
    covered = {True: np.zeros(400, bool), False: np.zeros(400, bool)}
    polygons = iter(corners)
    for k in range(n):
        mine = [next(polygons)] if kind[k] == Kind.POLYGON else []
        inner = (width[k] * hole[k], height[k] * hole[k])
        alone = made(kind[k], ra[k], dec[k], width[k], height[k], inner, angle[k], False, mine)
        covered[bool(excluded[k])] |= inside_shapes(x, y, alone)
    assert_array_equal(inside_shapes(x, y, every), covered[False] & ~covered[True])


def test_parts_and_shapes_larger_than_a_part_change_nothing(monkeypatch):
    random = np.random.default_rng(1)
    ra, dec = random.uniform(0, 4, 3000), random.uniform(-2, 2, 3000)
    kind = random.integers(0, 3, 300)
    width = random.uniform(0.01, 1, 300)
    shapes = made(kind, random.uniform(0, 4, 300), random.uniform(-2, 2, 300), width, angle=20)
    whole = inside_shapes(ra, dec, shapes)
    monkeypatch.setattr(masks, "PAIRS_AT_ONCE", 40)
    assert_array_equal(inside_shapes(ra, dec, shapes), whole)
    assert 0.1 < whole.mean() < 1


def test_a_circle_of_half_the_sky_or_all_of_it_is_that():
    random = np.random.default_rng(2)
    ra, dec = random.uniform(0, 360, 500), np.degrees(np.arcsin(random.uniform(-1, 1, 500)))
    assert_array_equal(inside_shapes(ra, dec, made(Kind.CIRCLE, 0, 90, 180)), dec >= 0)
    assert inside_shapes(ra, dec, made(Kind.CIRCLE, 10, 20, 360)).all()


def test_the_other_side_of_the_sky_is_in_no_tangent_plane():
    for kind in (Kind.BOX, Kind.ELLIPSE):
        assert_array_equal(
            inside_shapes(np.array([10.0, 190.0]), np.array([5.0, -5.0]), made(kind, 10, 5, 15)), [True, False]
        )


def test_what_has_no_position_is_inside_nothing_and_nothing_is_inside_no_shape():
    ra, dec = np.array([1.0, np.nan, np.inf, 1.0]), np.array([1.0, 1.0, 1.0, np.nan])
    assert_array_equal(inside_shapes(ra, dec, made(Kind.CIRCLE, 1, 1)), [True, False, False, False])
    assert not inside_shapes(ra, dec, made([], [], [])).any()
    assert len(inside_shapes(np.empty(0), np.empty(0), made(Kind.CIRCLE, 1, 1))) == 0


def test_a_declination_beyond_the_poles_is_refused():
    with pytest.raises(ValueError, match=r"from -90 to 90 degrees, got 150.0; are ra and dec interchanged"):
        inside_shapes(np.array([2.0]), np.array([150.0]), made(Kind.CIRCLE, 0, 0))


def test_shapes_that_a_plane_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="an ellipse or a box must be at most 20 degrees, got 25 of shape 1"):
        inside_shapes(np.zeros(1), np.zeros(1), made([Kind.CIRCLE, Kind.BOX], 0, 0, 25))
    wide = made(Kind.POLYGON, 0, 0, corners=[[(0, 0), (120, 0), (240, 0)]])
    with pytest.raises(ValueError, match="reach of a polygon from its center must be at most 60"):
        inside_shapes(np.zeros(1), np.zeros(1), wide)


def test_flags_are_set_where_they_are_true_or_not_zero():
    values = np.array([0.0, 1.0, -1.0, 4.0, np.nan, -0.0])
    assert_array_equal(flagged(values), [False, True, True, True, False, False])


@pytest.mark.parametrize(("n_inside", "n"), [(0, 10), (10, 10), (1, 1), (3, 40), (446, 1000)])
def test_fractions_have_wilsons_interval(n_inside, n):
    found = fraction_of(np.arange(n) < n_inside)
    assert (found.n, found.n_inside, found.fraction) == (n, n_inside, n_inside / n)
    low, high = binom_conf_interval(n_inside, n, confidence_level=0.6826894921370859, interval="wilson")
    assert_allclose([found.low, found.high], [low, high], atol=1e-12)


def test_the_fraction_of_nothing_is_unknown():
    assert np.isnan(fraction_of(np.zeros(0, bool)).fraction)
