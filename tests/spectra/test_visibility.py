import numpy as np
import pytest

from peculiar.spectra.visibility import locate, night_of, season_of


def test_a_target_stands_highest_at_the_latitudes_complement_and_the_declination():
    night = night_of(np.array([150.0, 10.0]), np.array([2.0, -24.6]), "Paranal", "2026-02-20")
    assert night.altitude[0].max() == pytest.approx(90 - 24.627 - 2.0, abs=0.2)  # precession: 0.13
    assert night.altitude[1].max() > 89
    assert night.is_dark.sum() / 6 == pytest.approx(8.0, abs=0.7)  # late summer in the south
    assert night.hours[0] > 5  # opposite the Sun
    assert night.hours[1] < 1  # near the Sun
    assert -1 < night.mjd[0] - 61091.5 - 70.4 / 360 < 1


def test_the_moon_is_full_when_almanacs_say_so():
    full = night_of(np.array([0.0]), np.array([0.0]), "Subaru", "2026-12-23")  # full moon 2026-12-24 01:28 UTC
    new = night_of(np.array([0.0]), np.array([0.0]), "Subaru", "2026-12-08")  # new moon 2026-12-09 00:52 UTC
    assert full.moon_illumination > 0.97
    assert new.moon_illumination < 0.03


def test_the_season_is_the_half_of_the_year_in_which_a_target_is_up_by_night():
    season = season_of(np.array([150.0]), np.array([2.0]), "Keck", "2026-01-01", "2026-12-31")
    best, worst = season.mjd[season.hours[0].argmax()], season.mjd[season.hours[0] == 0].mean()
    assert abs(best - 61091) < 35  # 2026-02-20, when it is opposite the Sun
    assert abs(worst - 61091 - 182) < 45
    assert season.hours[0].max() > 7
    assert season.hours[0].min() == 0


def test_where_the_sun_does_not_set_there_is_no_night():
    night = night_of(np.array([150.0]), np.array([80.0]), "15.6,78.2,10", "2026-06-21")
    assert not night.is_dark.any()
    assert night.hours[0] == 0


def test_years_that_no_table_reaches_are_answered_too():
    assert night_of(np.array([150.0]), np.array([2.0]), "Subaru", "2040-02-20").hours[0] > 4


@pytest.mark.parametrize(
    ("observatory", "date", "said"),
    [
        ("Atlantis", "2026-01-01", "no observatory 'Atlantis'.*Subaru"),
        ("1,2", "2026-01-01", "no observatory"),
        ("10,95,0", "2026-01-01", "-90 to 90"),
        ("Subaru", "tomorrow", "a date is written year-month-day"),
        ("Subaru", "2026-13-01", "a date is written year-month-day"),
    ],
)
def test_what_is_no_place_or_date_says_so(observatory, date, said):
    with pytest.raises(ValueError, match=said):
        night_of(np.array([150.0]), np.array([2.0]), observatory, date)


def test_a_place_is_known_by_its_name_in_any_case():
    assert locate("subaru") == locate("Subaru")
