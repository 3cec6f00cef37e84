import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from peculiar.catalog import groups
from peculiar.catalog.groups import friends_of_friends, group_objects


def brute(ra, dec, radius):
    """Components by every separation, one step at a time; and the separations."""
    places = SkyCoord(ra * units.deg, dec * units.deg)
    apart = places[:, None].separation(places[None, :]).arcsec
    label = np.arange(len(ra))
    while True:
        new = np.array([label[row <= radius].min() for row in apart])
        if (new == label).all():
            return label, apart
        label = new


def first_of(label):
    """Labels as the place of the first of each group, so that two numberings compare."""
    return np.array([np.flatnonzero(label == each)[0] for each in label])


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([(0.0, 90.0), (0.0, -90.0), (0.0, 0.0), (180.0, 30.0), (359.9995, -45.0), (77.0, 89.999)]),
    st.lists(st.tuples(st.floats(-30, 30), st.floats(-30, 30)), min_size=1, max_size=25),
    st.floats(0.5, 60),
)
def test_groups_are_those_of_every_pair_at_poles_and_the_meridian_too(center, offsets, radius):
    around = SkyCoord(*center, unit="deg")
    east, north = np.array(offsets).T
    places = around.directional_offset_by(np.arctan2(east, north) * units.rad, np.hypot(east, north) * units.arcsec)
    expected, apart = brute(places.ra.deg, places.dec.deg, radius)
    assume((np.abs(apart - radius) > 1e-6).all())  # astropy rounds too
    found = friends_of_friends(places.ra.deg, places.dec.deg, radius)
    assert_array_equal(first_of(found), first_of(expected))


def test_ra_0_and_360_are_one_place_and_the_pole_has_no_ra():
    ra, dec = np.array([0.0, 360.0, 359.999, -0.001, 0.0, 123.0, 200.0]), np.array([1.0, 1, 1, 1, 90, 90, -90])
    assert_array_equal(first_of(friends_of_friends(ra, dec, 4.0)), [0, 0, 0, 0, 4, 4, 6])


def test_a_chain_of_steps_is_one_group_and_a_longer_step_ends_it():
    dec = np.cumsum([0, 5, 5, 5, 9, 5]) / 3600
    assert_array_equal(first_of(friends_of_friends(np.zeros(6), dec, 8.0)), [0, 0, 0, 0, 4, 4])


def test_what_has_no_position_is_in_no_group():
    ra = np.array([10.0, np.nan, 10.0, np.inf, 50.0])
    dec = np.array([0.0, 0.0, 0.001, 0.0, np.nan])
    found = group_objects(np.array([7, 3, 5, 1, 2]), ra, dec, np.array([1.0, 2, 3, 4, 5]), radius_arcsec=8)
    assert_array_equal(found.is_placed, [True, False, True, False, False])
    assert_array_equal(found.group_id, [5, 0, 5, 0, 0])
    assert_array_equal(found.size, [2, 0, 2, 0, 0])
    assert_array_equal(found.rank, [2, 0, 1, 0, 0])
    assert_array_equal(found.is_representative, [False, True, True, True, True])


def test_the_first_of_a_group_has_the_largest_value_equal_ones_by_id_and_nan_last():
    ids = np.array([2**53 + 3, 2**53 + 1, 2**53 + 2, -4, 9])
    zeros = np.zeros(5)
    found = group_objects(ids, zeros, zeros, np.array([5.0, 5.0, np.nan, 1.0, -np.inf]), radius_arcsec=1)
    assert_array_equal(found.group_id, [-4] * 5)
    assert_array_equal(found.rank, [2, 1, 5, 3, 4])
    assert found.is_representative.sum() == 1
    assert (found.n_groups, found.n_grouped) == (1, 5)


def test_a_group_keeps_its_id_when_others_come():
    random = np.random.default_rng(1)
    ids = np.arange(400) * 3
    ra, dec, value = random.uniform(10, 10.05, 400), random.uniform(0, 0.05, 400), random.random(400)
    early = group_objects(ids[:200], ra[:200], dec[:200], value[:200], radius_arcsec=8)
    late = group_objects(ids, ra, dec, value, radius_arcsec=8)
    assert early.n_groups > 5
    assert late.n_groups > 5
    assert np.isin(late.group_id[:200], early.group_id).all()  # joined perhaps, never renamed


def test_nothing_and_one_and_nothing_placed():
    empty = np.empty(0)
    assert len(friends_of_friends(empty, empty, 8.0)) == 0
    assert group_objects(empty.astype(int), empty, empty, empty, radius_arcsec=8).n_groups == 0
    assert_array_equal(friends_of_friends(np.array([1.0]), np.array([2.0]), 8.0), [0])
    assert_array_equal(friends_of_friends(np.array([np.nan]), np.array([2.0]), 8.0), [-1])


@pytest.mark.parametrize("radius", [0, -1, 3601, np.nan])
def test_a_radius_that_means_nothing_is_refused(radius):
    with pytest.raises(ValueError, match="radius_arcsec must be above 0 and at most 3600"):
        friends_of_friends(np.zeros(2), np.zeros(2), radius)


def test_declinations_beyond_the_poles_are_refused():
    with pytest.raises(ValueError, match=r"from -90 to 90 degrees, got 150.0; are ra and dec interchanged"):
        friends_of_friends(np.zeros(2), np.array([0.0, 150.0]), 8.0)


def test_parts_do_not_change_the_groups(monkeypatch):
    random = np.random.default_rng(2)
    ra, dec = random.uniform(0, 0.2, 3000), random.uniform(-0.1, 0.1, 3000)
    whole = friends_of_friends(ra, dec, 8.0)
    monkeypatch.setattr(groups, "PAIRS_AT_ONCE", 50)
    parted = friends_of_friends(ra, dec, 8.0)
    assert len(np.unique(whole)) < 2950
    assert_array_equal(first_of(parted), first_of(whole))


def test_half_a_million_take_seconds_and_many_at_one_place_are_one_point():
    random = np.random.default_rng(3)
    ra, dec = random.uniform(0, 30, 500_000), random.uniform(-10, 10, 500_000)
    ra[:200_000], dec[:200_000] = 5.0, 5.0
    found = friends_of_friends(ra, dec, 8.0)
    assert (found[:200_000] == found[0]).all()
