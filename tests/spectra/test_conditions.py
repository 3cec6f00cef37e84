import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.spectra.conditions import (
    color_excess,
    deredden,
    electron_density,
    extinction,
    line_flux_unit,
    luminosity,
    size_kpc,
    star_formation_rate,
    temperature_oiii,
    velocity_separation,
)


def test_cardelli_is_the_table_of_its_paper():
    inverse = np.array([2.78, 2.27, 1.82, 1.43, 1.11, 0.80, 0.63, 0.46])  # U B V R I J H K
    table = [1.569, 1.337, 1.000, 0.751, 0.479, 0.282, 0.190, 0.114]  # Cardelli et al. 1989, table 3: A / A(V)
    found = extinction(1e4 / inverse) / 3.1
    assert_allclose(found, table, rtol=0.02)  # the table's B and K are 1 % from the paper's own formula
    assert_allclose(np.delete(found, [1, 7]), np.delete(table, [1, 7]), atol=2.1e-3)


def test_extinction_at_the_balmer_lines_is_what_is_quoted_everywhere():
    assert_allclose(extinction(np.array([6562.8, 4861.3])), [2.53, 3.61], atol=0.01)
    assert_allclose(extinction(np.array([6562.8, 4861.3]), "calzetti"), [3.33, 4.60], atol=0.01)
    assert_allclose(extinction(5500.0, "calzetti"), 4.05, atol=0.02)  # R_V, at V
    assert_allclose(extinction(6299.9, "calzetti"), extinction(6300.1, "calzetti"), rtol=0.01)  # its two parts meet


@pytest.mark.parametrize("curve", ["cardelli", "calzetti"])
def test_planted_dust_is_found_by_both_balmer_ratios_and_taken_away(curve):
    bare = {"H_alpha": 286.0, "H_beta": 100.0, "H_gamma": 46.8, "OII_3727": 150.0}
    excess = np.array([0.0, 0.3, 1.2])
    wavelength = {"H_alpha": 6564.61, "H_beta": 4862.68, "H_gamma": 4341.68, "OII_3727": 3727.09}
    dimmed = {name: bare[name] * 10 ** (-0.4 * extinction(wavelength[name], curve) * excess) for name in bare}
    assert_allclose(color_excess(dimmed["H_alpha"], dimmed["H_beta"], curve=curve), excess, atol=1e-12)
    by_gamma = color_excess(dimmed["H_gamma"], dimmed["H_beta"], name="H_gamma", curve=curve)
    assert_allclose(by_gamma, excess, atol=1e-12)
    for name, flux in deredden(dimmed, by_gamma, curve).items():
        assert_allclose(flux, bare[name])


def test_a_ratio_below_case_b_keeps_its_negative_excess_and_brightens_nothing():
    excess = color_excess(2.7, 1.0)
    assert excess < -0.04
    assert deredden({"H_beta": 5.0}, excess)["H_beta"] == 5.0
    assert np.isnan(color_excess(-1.0, 1.0))


def test_what_extinction_does_not_reach_is_refused():
    with pytest.raises(ValueError, match=r"from 3030 to 33000 angstrom for cardelli, got 656\.3"):
        extinction(656.3)
    with pytest.raises(ValueError, match='"cardelli" or "calzetti", got \'smc\''):
        extinction(5000.0, "smc")


def test_density_gives_its_ratio_back_and_limits_at_the_ends():
    density = np.array([30.0, 100, 1000, 10_000])
    ratio = 0.4315 * (2107 + density) / (627.1 + density)
    found, is_in_range = electron_density(ratio, 1.0)
    assert_allclose(found, density)
    assert is_in_range.all()
    found, is_in_range = electron_density(np.array([1.6, 1.4485, 0.43, -1, np.nan]), 1.0)
    assert_allclose(found, [1, 1, 1e5, np.nan, np.nan])
    assert not is_in_range.any()


def oiii_ratio(temperature, density):
    """[OIII] (4960 + 5008) / 4364 of a three-level atom, solved directly.

    Collision strengths at 10,000 K with their slopes, Lennon & Burke 1994; rates of decay Storey & Zeippen 2000 and
    Galavis et al. 1997; none of it in the package.
    """
    t = temperature / 1e4
    weights = np.array([9.0, 5.0, 1.0])
    energy = np.array([0.0, 29_169.0, 62_137.0])  # K, above the mean of the ground term
    strength = {(0, 1): 2.29 * t**0.04, (0, 2): 0.293 * t**0.08, (1, 2): 0.582 * t**0.14}
    decay = {(0, 1): 0.0281, (0, 2): 0.226, (1, 2): 1.71}
    rate = np.zeros((3, 3))  # from, to
    for (low, high), upsilon in strength.items():
        down = 8.629e-6 / np.sqrt(temperature) * upsilon / weights[high] * density
        rate[high, low] = down + decay[low, high]
        rate[low, high] = down * weights[high] / weights[low] * np.exp((energy[low] - energy[high]) / temperature)
    system = rate.T - np.diag(rate.sum(axis=1))
    system[0] = 1
    populations = np.linalg.solve(system, [1, 0, 0])
    # 0.0281 is of 4960 and 5008 together; mean photon energies go as 1 / wavelength.
    return populations[1] * decay[0, 1] / 4996.0 / (populations[2] * decay[1, 2] / 4364.4)


@pytest.mark.parametrize("temperature", [5_000, 8_000, 10_000, 13_000, 16_000, 20_000, 25_000])
@pytest.mark.parametrize("density", [10.0, 100.0, 1000.0])
def test_temperature_is_that_of_an_atom_solved_directly(temperature, density):
    nebular = oiii_ratio(temperature, density) / (1 + 1 / 2.98)
    found, is_in_range = temperature_oiii(1.0, nebular, density)
    assert_allclose(found, temperature, rtol=0.05)
    assert is_in_range or temperature in (5_000, 25_000)


def test_temperature_solves_its_equation():
    ratio = np.array([40.0, 100, 400, 2000])
    t = temperature_oiii(1 / ratio * (1 + 1 / 2.98), 1.0)[0] / 1e4
    x = 1e-2 / np.sqrt(t)
    term = (8.44 - 1.09 * t + 0.5 * t**2 - 0.08 * t**3) * (1 + 0.0004 * x) / (1 + 0.044 * x)
    assert_allclose(term * 10 ** (1.432 / t), ratio, rtol=1e-6)
    assert np.isnan(temperature_oiii(np.array([0.0, -1.0, 1.0]), np.array([1.0, 1.0, 3.0]))[0]).all()


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("1e-17 erg / (Angstrom s cm2)", 1e-17),
        ("erg / (s cm2 AA)", 1.0),
        ("1e-19 W / (m2 nm)", 1e-17),  # 1e-16 erg/s/cm2 per nm
        ("1e-16 erg / (s cm2)", 1e-16),
    ],
)
def test_units_of_flux_density_and_of_line_flux_are_read(unit, expected):
    assert_allclose(line_flux_unit(unit), expected)


@pytest.mark.parametrize("unit", ["", " ", "counts", "Jy", "furlongs"])
def test_relative_and_other_units_are_refused_with_the_remedy(unit):
    with pytest.raises(ValueError, match=r"flux_unit .*1e-17 erg / \(Angstrom s cm2\)"):
        line_flux_unit(unit)


def test_luminosity_and_rate_are_those_by_hand():
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    # 4 pi (100 Mpc)^2 x 1e-14 erg/s/cm2 = 1.1965e40 erg/s
    near = luminosity(1000.0, "1e-17 erg / (Angstrom s cm2)", 0.023, cosmology)
    distance = cosmology.luminosity_distance(0.023).value  # Mpc, 100.2
    assert_allclose(near, 1.19649e40 * (distance / 100) ** 2, rtol=1e-4)
    assert_allclose(star_formation_rate(10**41.27), 1.0)
    assert_allclose(star_formation_rate(1e41, "kennicutt_1998"), 0.79)
    with pytest.raises(ValueError, match="kennicutt_evans_2012, kennicutt_1998, got 'x'"):
        star_formation_rate(1.0, "x")


def test_size_is_that_of_the_paper():
    assert_allclose(size_kpc(4.1, 0.03221), 2.7, atol=0.05)
    assert_allclose(size_kpc(np.array([1.0, 2.0]), 0.1, "WMAP9") * [2, 1], size_kpc(2.0, 0.1, "WMAP9"))


def test_distances_need_a_redshift_and_a_cosmology_that_there_is():
    for redshift in (0.0, -0.01, np.nan):
        with pytest.raises(ValueError, match="redshift must be above 0 for a distance"):
            size_kpc(1.0, redshift)
    with pytest.raises(ValueError, match=r"cosmology must be one of .*Planck18.*, got 'Planck81'"):
        size_kpc(1.0, 0.1, "Planck81")


def test_separation_is_proper_and_relativistic():
    assert_allclose(velocity_separation(0.03221, 0.03221 + 180 / 299_792.458 * 1.03221), 180, rtol=1e-3)
    assert_allclose(velocity_separation(0.5, 0.2), -velocity_separation(0.2, 0.5))
    there = np.array([0.0, 1.0, 7.0])  # beta = ((1 + z)^2 - 1) / ((1 + z)^2 + 1)
    assert_allclose(velocity_separation(0.0, there) / 299_792.458, [0, 0.6, 63 / 65])
    assert_array_equal(np.sign(velocity_separation(there, 1.0)), [1, 0, -1])
