import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.catalog import crossmatch
from peculiar.catalog.crossmatch import (
    N_SHIFTS,
    Counterparts,
    chance_of,
    matches_of_pairs,
    pairs_within,
    refuse_no_degrees,
    shifted,
)

RADIUS = 40.0


def sky(n, seed, *, center=(150.0, 2.0), size=0.3):
    """Positions in a square of degrees, across ra 0 or at a pole where the center is there."""
    random = np.random.default_rng(seed)
    offsets = random.uniform(-size / 2, size / 2, (2, n)) * units.deg
    points = SkyCoord(*center, unit="deg").spherical_offsets_by(*offsets)
    return points.ra.deg, points.dec.deg


def matched(ours, theirs, radius=RADIUS, cut=None):
    found = Counterparts(*ours, radius)
    for part in np.array_split(np.arange(len(theirs[0])), cut or 1):
        found.look_at(theirs[0][part], theirs[1][part])
    return found.matches()


def of_astropy(ours, theirs, radius=RADIUS):
    """All pairs by astropy, an implementation of its own."""
    place, row, separation, _ = SkyCoord(*theirs, unit="deg").search_around_sky(
        SkyCoord(*ours, unit="deg"), radius * units.arcsec
    )
    return place, row, separation.arcsec


@pytest.mark.parametrize("center", [(150.0, 2.0), (0.0, 0.0), (359.99, -60.0), (10.0, 90.0), (0.0, -90.0)])
def test_counterparts_are_those_of_search_around_sky(center):
    ours, theirs = sky(400, 1, center=center), sky(900, 2, center=center)
    found = matched(ours, theirs, cut=7)
    place, row, separation = of_astropy(ours, theirs)
    assert len(place) > 100
    assert_array_equal(found.n_within, np.bincount(place, minlength=400))
    for each in range(400):
        mine = np.flatnonzero(place == each)
        if not len(mine):
            assert (found.row[each], found.is_mutual[each]) == (-1, False)
            assert np.isnan(found.separation_arcsec[each])
            continue
        best = mine[np.argmin(separation[mine])]
        assert found.row[each] == row[best]
        assert_allclose(found.separation_arcsec[each], separation[best], rtol=1e-7)
        nearest_of_theirs = np.min(separation[row == row[best]])
        assert found.is_mutual[each] == (separation[best] == nearest_of_theirs)
    assert 0 < found.is_mutual.sum() < found.is_matched.sum()


def test_pairs_are_those_of_search_around_sky():
    ours, theirs = sky(300, 3), sky(500, 4)
    place, row, separation = pairs_within(*ours, *theirs, RADIUS)
    expected = of_astropy(ours, theirs)
    order, other = np.lexsort((row, place)), np.lexsort((expected[1], expected[0]))
    assert_array_equal(np.stack([place, row])[:, order], np.stack(expected[:2])[:, other])
    assert_allclose(separation[order], expected[2][other], rtol=1e-7)


@given(st.integers(1, 40), st.integers(0, 2**31), st.integers(1, 5_000))
def test_neither_cuts_nor_crowding_change_what_is_found(n_parts, seed, n_pairs_at_once):
    ours, theirs = sky(60, seed), sky(200, seed + 1)
    whole = matched(ours, theirs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossmatch, "PAIRS_AT_ONCE", n_pairs_at_once)
        parts = matched(ours, theirs, cut=n_parts)
    for name in ("n_within", "row", "is_mutual", "separation_arcsec"):
        assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_all_pairs_at_once_give_the_same_matches():
    ours, theirs = sky(100, 5), sky(300, 6)
    expected = matched(ours, theirs)
    place, row, separation = pairs_within(*ours, *theirs, RADIUS)
    order = np.random.default_rng(0).permutation(len(place))
    found = matches_of_pairs(100, place[order], separation[order], row[order])
    assert_array_equal(found.n_within, expected.n_within)
    assert_array_equal(found.is_mutual, expected.is_mutual)
    assert_allclose(found.separation_arcsec, expected.separation_arcsec)
    is_there = expected.is_matched
    assert_array_equal(row[order][found.row[is_there]], expected.row[is_there])
    empty = matches_of_pairs(3, *(np.empty(0, kind) for kind in (np.int64, float, np.int64)))
    assert_array_equal(empty.row, [-1] * 3)


def test_small_separations_keep_their_digits():
    step = 1e-6 / 3600
    found = matched((np.array([10.0, 10.0]), np.array([0.0, 5.0])), (np.array([10.0 + step, 10.0]), np.array([0, 5.0])))
    assert_allclose(found.separation_arcsec, [1e-6, 0], rtol=1e-4)
    assert_array_equal(found.n_within, 1)


def test_what_has_no_position_has_no_counterpart_and_is_none():
    nowhere = np.nan
    found = Counterparts(np.array([nowhere, 10.0, 10.0]), np.array([0.0, nowhere, 0.0]), 1.0)
    found.look_at(np.array([nowhere, 10.0]), np.array([0.0, 0.0]))
    assert (found.n_rows, found.n_rows_without_position) == (2, 1)
    assert_array_equal(found.matches().n_within, [0, 0, 1])
    assert_array_equal(found.matches().row, [-1, -1, 1])
    nobody = Counterparts(np.full(2, np.nan), np.full(2, np.nan), 1.0)
    nobody.look_at(np.array([10.0]), np.array([0.0]))
    assert_array_equal(nobody.matches().n_within, [0, 0])
    alone = Counterparts(np.array([10.0]), np.array([0.0]), 1.0)
    alone.look_at(np.empty(0), np.empty(0))
    assert not alone.matches().is_matched.any()


def test_objects_in_one_place_are_matched_alike():
    n = 20_000  # their pairs would be 4e8
    found = matched((np.zeros(n), np.zeros(n)), (np.zeros(n), np.zeros(n)), radius=1.0)
    assert_array_equal(found.n_within, n)
    assert_array_equal(found.row, 0)
    assert found.is_mutual.all()


def test_of_equally_near_rows_the_first_is_taken():
    ours = (np.array([10.0]), np.array([0.0]))
    theirs = (np.array([10.0, 10.0, 10.0]), np.array([1e-4, -1e-4, 1e-4]))
    for cut in (1, 3):
        assert matched(ours, theirs, cut=cut).row[0] == 0


@pytest.mark.parametrize("center", [(150.0, 2.0), (0.0, 0.0), (10.0, 89.9999)])
def test_shifted_positions_are_ten_and_twenty_radii_away(center):
    ra, dec = sky(50, 7, center=center)
    moved = SkyCoord(*shifted(ra, dec, 3.0), unit="deg")
    away = moved.separation(SkyCoord(np.tile(ra, N_SHIFTS), np.tile(dec, N_SHIFTS), unit="deg")).arcsec
    assert_allclose(away.reshape(N_SHIFTS, 50), np.repeat([30.0, 60.0], 4)[:, None] * np.ones(50), rtol=1e-5)
    angles = SkyCoord(ra, dec, unit="deg").position_angle(moved[:50]).deg if center[1] < 80 else np.zeros(50)
    assert_allclose((angles + 180) % 360, 180, atol=1e-3)
    tiny = SkyCoord(*shifted(ra, dec, 0.01), unit="deg")
    assert tiny[:50].separation(SkyCoord(ra, dec, unit="deg")).arcsec.min() > 9.9


def test_the_measured_chance_is_that_of_a_random_sky():
    n_theirs, size, radius = 40_000, 1.0, 5.0
    ours, theirs = sky(4_000, 8, size=0.8), sky(n_theirs, 9, size=size)
    expected = 1 - np.exp(-n_theirs / (size * 3600) ** 2 * np.pi * radius**2)
    found = Counterparts(*shifted(*ours, radius), radius)
    found.look_at(*theirs)
    chance = chance_of(found.matches().n_within)
    assert chance.n_positions == 8 * 4_000
    assert abs(chance.fraction - expected) < 4 * chance.fraction_error
    assert 0.001 < chance.fraction_error < 0.01
    # Of objects that are not in their table all matches are false, and so it is said.
    matches = matched(ours, theirs, radius=radius)
    n_false = chance.n_false(4_000, int(matches.is_matched.sum()))
    assert 0.85 * matches.is_matched.sum() < n_false <= matches.is_matched.sum()


def test_planted_counterparts_are_told_from_chance():
    n, radius, n_true = 4_000, 5.0, 2_500
    ours, others = sky(n, 10, size=0.8), sky(40_000, 11, size=1.0)
    scatter = np.random.default_rng(12).normal(0, 0.5 / 3600, (2, n_true))
    theirs = tuple(
        np.concatenate([mine[:n_true] + by, other]) for mine, by, other in zip(ours, scatter, others, strict=True)
    )
    matches = matched(ours, theirs, radius=radius)
    found = Counterparts(*shifted(*ours, radius), radius)
    found.look_at(*theirs)
    n_false = chance_of(found.matches().n_within).n_false(n, int(matches.is_matched.sum()))
    really = int((matches.is_matched & (matches.row >= n_true)).sum())
    assert abs(n_false - really) < 0.2 * really


def test_chance_of_nothing_is_unknown():
    assert np.isnan(chance_of(np.empty(0, np.int64)).fraction)
    assert np.isnan(chance_of(np.empty(0, np.int64)).n_false(10, 5))
    none = chance_of(np.zeros(80, np.int64))
    assert (none.fraction, none.fraction_error) == (0, 1 / 80)
    assert np.isnan(chance_of(np.ones(80, np.int64)).n_false(10, 10))


@pytest.mark.parametrize("radius", [0.0, -1.0, 3_601.0, np.nan])
def test_radii_that_mean_nothing_are_refused(radius):
    with pytest.raises(ValueError, match=r"radius_arcsec must be above 0 and at most 3600"):
        Counterparts(np.zeros(1), np.zeros(1), radius)


@pytest.mark.parametrize(("ra", "dec", "said"), [(361.0, 0.0, "ra must be"), (10.0, -90.1, "interchanged")])
def test_what_is_no_position_in_degrees_is_refused(ra, dec, said):
    with pytest.raises(ValueError, match=said):
        refuse_no_degrees(np.array([1.0, ra]), np.array([1.0, dec]))
    with pytest.raises(ValueError, match=said):
        Counterparts(np.zeros(1), np.zeros(1), 1.0).look_at(np.array([ra]), np.array([dec]))
