import numpy as np
import pytest
from numpy.testing import assert_allclose

from peculiar.spectra.abundances import strong_line_abundance
from peculiar.spectra.conditions import extinction
from peculiar.spectra.physics import measure
from peculiar.spectra.spectrum import LINES

UNIT = "1e-17 erg / (Angstrom s cm2)"
GALAXY = {
    "NII_6585": 6.372,
    "H_alpha": 88.116,
    "OIII_5008": 61.793,
    "H_beta": 23.085,
    "H_gamma": 9.5,
    "SII_6718": 13.996,
    "SII_6733": 11.0,
    "OI_6302": 2.0,
    "OIII_4364": 1.0,
    "OII_3727": 14.0,
    "OII_3730": 19.0,
}


def drawn(values, error, n=4000, seed=0):
    random = np.random.default_rng(seed)
    return {name: value + random.normal(0, error, n) for name, value in values.items()}


def by_name(values=GALAXY, draws=None, **more):
    options = {"redshift": 0.03221, "flux_unit": UNIT} | more
    found = measure(drawn(values, 0.05) if draws is None else draws, values, **options)
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def test_everything_is_measured_of_a_galaxy_with_all_lines():
    found = by_name(size_arcsec=4.1, stellar_mass=1e9)
    assert [name for name, each in found.items() if not each.is_measured] == []
    assert all(each.description for each in found.values())
    assert_allclose(found["abundance_O3N2_marino_ons"].value, 8.158, atol=5e-4)
    assert_allclose(found["size_kpc"].value, 2.7, atol=0.05)
    assert found["bpt_nii"].text == "star-forming"
    assert found["bpt_nii"].value == 1.0
    observed, bare = found["star_formation_rate"], found["star_formation_rate_dereddened"]
    dimming = 10 ** (0.4 * extinction(LINES["H_alpha"]) * found["color_excess"].value)
    assert_allclose(bare.value, observed.value * dimming)
    assert_allclose(found["specific_star_formation_rate"].value, observed.value / 1e9)
    for each in found.values():
        if np.isfinite(each.low):
            assert each.low < each.value < each.high, each.name


def test_errors_are_those_of_the_formula():
    values = {"NII_6585": 10.0, "H_alpha": 100.0}
    random = np.random.default_rng(1)
    draws = {"NII_6585": random.normal(10, 0.5, 40_000), "H_alpha": random.normal(100, 3, 40_000)}
    found = by_name(values, draws)["abundance_N2_marino_ons"]
    expected = 0.455 / np.log(10) * np.hypot(0.05, 0.03)
    assert_allclose((found.high - found.low) / 2, expected, rtol=0.03)


def test_stated_errors_hold_the_truth_as_often_as_they_say():
    truth = float(strong_line_abundance(GALAXY, "O3N2_marino_ons")[0])
    random = np.random.default_rng(2)
    names = ("NII_6585", "H_alpha", "OIII_5008", "H_beta")
    n_within = 0
    for _ in range(300):
        values = {name: GALAXY[name] + random.normal(0, 0.6) for name in names}
        draws = {name: values[name] + random.normal(0, 0.6, 400) for name in names}
        found = by_name(values, draws)["abundance_O3N2_marino_ons"]
        n_within += found.low < truth < found.high
    assert 0.60 < n_within / 300 < 0.76  # 0.68 +- 3 binomial deviations


def test_errors_that_go_together_cancel_in_a_ratio():
    common = 1 + 0.1 * np.random.default_rng(3).normal(size=4000)
    draws = {name: GALAXY[name] * common for name in ("H_alpha", "H_beta")}
    found = by_name({name: GALAXY[name] for name in draws}, draws)
    assert found["balmer_decrement"].high - found["balmer_decrement"].low < 1e-9
    assert_allclose(found["h_alpha_luminosity"].high / found["h_alpha_luminosity"].value, 1.1, atol=0.01)


def test_a_line_that_was_not_measured_is_named_and_the_rest_is_measured():
    values = {name: flux for name, flux in GALAXY.items() if name not in ("OII_3727", "OII_3730", "OI_6302")}
    values["H_gamma"] = np.nan
    found = by_name(values)
    assert found["abundance_direct"].reason == "OII_3727 and OII_3730 not measured"
    assert found["bpt_oi"].reason == "OI_6302 not measured"
    assert found["color_excess_h_gamma"].reason == "H_gamma not measured"
    assert found["oxygen_doubly_ionized"].is_measured
    assert "lower limit" in found["oxygen_doubly_ionized"].description
    assert all(np.isnan(each.value) == (not each.is_measured) for each in found.values())


def test_a_line_that_was_not_detected_gives_limits_the_right_way_round():
    values = GALAXY | {"NII_6585": 0.05, "OIII_4364": -0.01}
    found = by_name(values)
    errors = {name: draws.std(ddof=1) for name, draws in drawn(values, 0.05).items()}
    highest = np.log10((0.05 + 3 * errors["NII_6585"]) / GALAXY["H_alpha"])
    assert found["abundance_N2_pettini_pagel"].limit == "upper"
    assert_allclose(found["abundance_N2_pettini_pagel"].value, 8.90 + 0.57 * highest)
    assert found["abundance_O3N2_marino_ons"].limit == "upper"
    assert found["electron_temperature"].limit == "upper"
    assert found["abundance_direct"].limit == "lower"
    assert found["oxygen_doubly_ionized"].limit == "lower"
    assert np.isnan(found["abundance_direct"].low)
    assert found["bpt_nii"].reason == "NII_6585 not detected (under 3 sigma)"
    assert found["metal_poor_direct"].reason == "OIII_4364 not detected (under 3 sigma)"


def test_a_line_in_absorption_gives_no_limit_but_advice():
    found = by_name(GALAXY | {"H_beta": -5.0})
    expected = "H_beta below 0 by over 3 sigma: absorption; give a continuum with the stars' lines"
    assert found["color_excess"].reason == expected
    assert found["star_formation_rate_dereddened"].reason == expected
    assert found["bpt_nii"].reason == expected
    assert found["star_formation_rate"].is_measured


def test_two_undetected_lines_that_pull_apart_give_no_limit():
    found = by_name(GALAXY | {"H_beta": 0.02, "NII_6585": 0.05})
    # O3N2 falls with H-beta and with [NII]: a lower limit of the index, an upper one of the abundance.
    assert found["abundance_O3N2_marino_ons"].limit == "upper"
    assert found["color_excess"].limit == "lower"
    found = by_name(GALAXY | {"OIII_5008": 0.02, "NII_6585": 0.05})
    assert found["abundance_O3N2_marino_ons"].reason == "OIII_5008 and NII_6585 not detected (under 3 sigma)"


def test_a_doublet_that_is_not_parted_counts_as_its_sum():
    apart = np.random.default_rng(4).normal(0, 20, 4000)
    values = GALAXY | {"OII_3727": -2.0, "OII_3730": 35.0}
    draws = drawn(values, 0.05)
    draws["OII_3727"], draws["OII_3730"] = draws["OII_3727"] + apart, draws["OII_3730"] - apart
    found, expected = by_name(values, draws)["abundance_direct"], by_name()["abundance_direct"]
    assert found.limit == ""
    assert_allclose(found.value, expected.value, atol=0.01)
    assert_allclose(found.high - found.low, expected.high - expected.low, rtol=0.1)


def test_without_a_detected_balmer_pair_nothing_is_dereddened_and_it_says_so():
    found = by_name({name: flux for name, flux in GALAXY.items() if name != "H_alpha"})
    assert "as observed" in found["electron_temperature"].description
    assert "without dust" in by_name()["electron_temperature"].description
    # Dust dims [OIII] 4364 the most: without its correction the gas seems cooler.
    assert found["electron_temperature"].value < by_name()["electron_temperature"].value
    assert found["star_formation_rate_dereddened"].reason == "H_alpha not measured"


def test_metal_poor_is_the_part_of_the_draws_below():
    values = {"NII_6585": 0.77, "H_alpha": 100.0}  # 8.90 + 0.57 log(0.0077) = 7.695
    found = by_name(values, drawn(values, 0.05, n=20_000))
    expected = (drawn(values, 0.05, n=20_000)["NII_6585"] / 100 < 10 ** ((7.69 - 8.90) / 0.57)).mean()
    assert_allclose(found["metal_poor_N2_pettini_pagel"].value, expected, atol=0.02)
    assert 0.2 < expected < 0.5
    assert found["metal_poor_N2_pettini_pagel"].text == "not extremely metal-poor"
    assert found["metal_poor_N2_marino_ons"].reason == "N2 = -2.11 is outside -1.6 to -0.2"
    assert not found["abundance_N2_marino_ons"].is_in_range


def test_density_at_its_end_is_a_limit_that_does_not_claim_too_much():
    found = by_name(GALAXY | {"SII_6733": GALAXY["SII_6718"] / 1.6})["electron_density"]
    assert (found.limit, found.value) == ("upper", 30.0)
    values = {"SII_6718": 1.6, "SII_6733": 1.0}
    found = by_name(values, drawn(values, 0.15))["electron_density"]
    assert found.limit == "upper"
    assert 50 < found.value < 1000
    values = {"SII_6718": 14.0, "SII_6733": 10.0}  # 32 cm-3, and with these errors perhaps none
    found = by_name(values, drawn(values, 0.5))["electron_density"]
    assert found.limit == "upper"
    assert 50 < found.value < 200
    values = {"SII_6718": 4.0, "SII_6733": 10.0}
    found = by_name(values, drawn(values, 0.05))["electron_density"]
    assert (found.limit, found.value) == ("lower", 10_000.0)


def test_abundances_of_a_seyfert_say_that_they_are_not_made_for_it():
    found = by_name(GALAXY | {"NII_6585": 90.0, "OIII_5008": 200.0})
    assert found["bpt_nii"].text == "Seyfert"
    assert found["abundance_N2_marino_ons"].description.endswith("ionized by young stars, this is Seyfert")
    assert "Seyfert" not in found["electron_density"].description


def test_near_a_curve_the_class_has_its_probability():
    values = {"NII_6585": 63.2, "H_alpha": 100.0, "OIII_5008": 185.0, "H_beta": 100.0}  # near Kewley 2001
    found = by_name(values, drawn(values, 5.0))["bpt_nii"]
    assert found.text == "composite"
    assert 0.3 < found.value < 0.95
    assert "Seyfert 0." in found.description


def test_relative_fluxes_and_no_distance_leave_out_the_luminosity_with_the_reason():
    found = by_name(flux_unit="")
    assert found["star_formation_rate"].reason.startswith("flux_unit is empty, so fluxes are relative")
    assert found["abundance_direct"].is_measured
    found = by_name(redshift=-0.001, size_arcsec=2.0)
    assert found["size_kpc"].reason.startswith("redshift must be above 0")
    assert found["h_alpha_luminosity"].reason.startswith("redshift must be above 0")
    assert "peculiar velocity of 300 km/s is 26 %" in by_name(redshift=0.00386)["h_alpha_luminosity"].description
    assert "Planck18" in found["star_formation_rate"].description


def test_what_is_given_wrongly_is_refused():
    draws = drawn(GALAXY, 0.05, n=10)
    with pytest.raises(ValueError, match="fluxes and values must be of the same lines"):
        measure(draws, {"H_alpha": 1.0}, redshift=0.1)
    with pytest.raises(KeyError, match="got HeII"):
        measure({"HeII": np.ones(3)}, {"HeII": 1.0}, redshift=0.1)
    with pytest.raises(ValueError, match=r"one shape \(n_draws,\)"):
        measure({"H_alpha": np.ones(3), "H_beta": np.ones(4)}, {"H_alpha": 1.0, "H_beta": 1.0}, redshift=0.1)
    with pytest.raises(ValueError, match="stellar_mass must be above 0 M_sun, got -1"):
        measure(draws, GALAXY, redshift=0.1, stellar_mass=-1)
    with pytest.raises(ValueError, match="cosmology must be one of"):
        measure(draws, GALAXY, redshift=0.1, cosmology="flat")
    with pytest.raises(ValueError, match='curve must be "cardelli" or "calzetti"'):
        measure(draws, GALAXY, redshift=0.1, curve="smc")


def test_no_lines_at_all_is_a_list_of_reasons():
    assert not any(each.is_measured for each in measure({}, {}, redshift=0.1, flux_unit=UNIT))
