import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.spectra.abundances import CALIBRATIONS, direct_abundance, strong_line_abundance
from peculiar.spectra.conditions import temperature_oiii

PAPER = {  # METHOD.md sect. 7, equivalent widths
    "NII_6585": 6.372,
    "H_alpha": 88.116,
    "OIII_5008": 61.793,
    "H_beta": 23.085,
    "SII_6718": 13.996,
    "SII_6733": 8.814,
}


@pytest.mark.parametrize(
    ("calibration", "expected"),
    [("O3N2_marino_ons", 8.158), ("N2_marino_ons", 8.148), ("N2S2_dopita_linear", 7.915)],
)
def test_the_papers_galaxy_has_the_papers_abundances(calibration, expected):
    value, is_in_range = strong_line_abundance(PAPER, calibration)
    assert_allclose(value, expected, atol=5e-4)
    assert is_in_range


@pytest.mark.parametrize(
    ("calibration", "index", "expected"),
    [  # the papers' formulas by hand
        ("O3N2_marino_te", 1.0, 8.533 - 0.214),
        ("N2_marino_te", -1.0, 8.743 - 0.462),
        ("O3N2_pettini_pagel", 1.0, 8.41),
        ("N2_pettini_pagel", -1.0, 8.33),
        ("N2_pettini_pagel_cubic", -1.0, 9.37 - 2.03 + 1.26 - 0.32),
        ("N2S2_dopita", 0.2, 8.77 + 0.2 + 0.45 * 0.5**5),
        ("N2S2_dopita", -0.3, 8.47),
    ],
)
def test_each_calibration_is_its_papers_formula(calibration, index, expected):
    assert_allclose(CALIBRATIONS[calibration].abundance(index)[0], expected)


def test_out_of_range_is_told_and_the_value_given():
    value, is_in_range = CALIBRATIONS["N2_marino_te"].abundance(np.array([-1.61, -1.6, -0.2, -0.19, np.nan]))
    assert_array_equal(is_in_range, [False, True, True, False, False])
    assert_array_equal(np.isfinite(value), [True, True, True, True, False])


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_a_flux_that_is_not_positive_gives_nan(calibration):
    nitrogen = np.array([6.372, 0.0, -1.0, np.nan])
    value, is_in_range = strong_line_abundance(PAPER | {"NII_6585": nitrogen}, calibration)
    assert_array_equal(np.isfinite(value), [True, False, False, False])
    assert_array_equal(is_in_range, [True, False, False, False])


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_fluxes_of_another_unit_give_the_same(calibration):
    scaled = {name: 1e-17 * flux for name, flux in PAPER.items()}
    assert_allclose(strong_line_abundance(scaled, calibration)[0], strong_line_abundance(PAPER, calibration)[0])


def test_only_some_calibrations_reach_the_extremely_metal_poor():
    reaching = {name for name, each in CALIBRATIONS.items() if each.lowest < 7.69}
    assert reaching == {"N2S2_dopita", "N2S2_dopita_linear", "N2_pettini_pagel", "N2_pettini_pagel_cubic"}


def test_another_calibration_is_refused_with_the_names():
    with pytest.raises(ValueError, match=r"calibration must be one of O3N2_marino_ons, .*, got 'R23'"):
        strong_line_abundance(PAPER, "R23")


def excitation(wavelength, strength, weight, energy, temperature):
    """Flux against H-beta of an ion as abundant as hydrogen: a two-level atom at low density.

    Osterbrock & Ferland 2006, eqs 3.20 and 3.22, H-beta of their table 4.4: 3.03e-14 cm3/s at 10,000 K, T^-0.87.
    """
    excited = 8.629e-6 / np.sqrt(temperature) * strength / weight * np.exp(-energy / temperature)
    return excited / wavelength / (3.03e-14 * (temperature / 1e4) ** -0.87 / 4861.3)


@pytest.mark.parametrize("temperature", [8_000.0, 10_000.0, 12_000.0, 15_000.0])
def test_ions_are_as_abundant_as_a_two_level_atom_says(temperature):
    # Collision strengths near 10,000 K: 2.29 (O++ 3P-1D, Lennon & Burke 1994), 1.34 (O+ 4S-2D, Pradhan et al. 2006).
    cool = 0.7 * temperature + 3_000
    nebular = excitation(4996.0, 2.29 * (temperature / 1e4) ** 0.04, 9, 29_169.0, temperature)
    singly = excitation(3728.5, 1.34, 4, 38_590.0, cool)
    ratios = np.geomspace(20, 5000, 4000)
    ratio = ratios[np.argmin(np.abs(temperature_oiii(1 / ratios, 1 / (1 + 1 / 2.98))[0] - temperature))]
    plus_plus, plus = 4e-5, 2e-5
    fluxes = {
        "H_beta": 1.0,
        "OIII_5008": plus_plus * nebular / (1 + 1 / 2.98),
        "OIII_4364": plus_plus * nebular / ratio,
        "OII_3727": 0.4 * plus * singly,
        "OII_3730": 0.6 * plus * singly,
    }
    found = direct_abundance(fluxes)
    assert_allclose(found.temperature, temperature, rtol=3e-3)
    assert_allclose(found.doubly_ionized, 12 + np.log10(plus_plus), atol=0.04)
    assert_allclose(found.singly_ionized, 12 + np.log10(plus), atol=0.06)
    assert_allclose(found.total, 12 + np.log10(plus + plus_plus), atol=0.04)
    assert found.is_in_range


def test_without_oxygen_ii_there_is_the_doubly_ionized_only():
    found = direct_abundance({"OIII_4364": np.array([1.0, -1.0]), "OIII_5008": 60.0, "H_beta": 20.0})
    assert_array_equal(np.isfinite(found.doubly_ionized), [True, False])
    assert np.isnan(found.singly_ionized).all()
    assert np.isnan(found.total).all()
    assert_array_equal(found.is_in_range, [True, False])


def test_more_of_the_auroral_line_is_hotter_and_poorer():
    auroral = np.linspace(0.3, 2.0, 20)
    fluxes = {"OIII_4364": auroral, "OIII_5008": 60.0, "H_beta": 20.0, "OII_3727": 10.0, "OII_3730": 14.0}
    found = direct_abundance(fluxes)
    assert (np.diff(found.temperature) > 0).all()
    assert (np.diff(found.total) < 0).all()
