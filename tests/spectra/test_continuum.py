from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from peculiar.spectra.continuum import fit_continuum, line_mask, telluric_mask
from peculiar.spectra.noise import estimate_ivar, robust_scale
from peculiar.spectra.planted import plant
from peculiar.spectra.spectrum import LINES


def test_the_continuum_is_within_its_stated_errors_below_strong_lines_too():
    pulls = []
    for seed in range(40):
        planted = plant(seed=seed, signal_to_noise=200)
        found = fit_continuum(planted.spectrum, planted.redshift)
        at = [np.searchsorted(planted.spectrum.wavelength, LINES[name] * 1.03221) for name in ("H_alpha", "OIII_5008")]
        pulls.append(((found.values - planted.spectrum.model) / found.error)[at])
    assert abs(np.mean(pulls)) < 0.4
    assert 0.75 < np.std(pulls) < 1.3


def test_lines_do_not_lift_a_continuum_of_unknown_redshift():
    planted = plant(seed=1, signal_to_noise=300)
    found = fit_continuum(planted.spectrum, None)
    assert np.abs(found.values - planted.spectrum.model).max() < 1.0  # the noise of a pixel; H-alpha stands 60 above


def test_cosmic_rays_are_clipped_and_named():
    planted = plant(seed=2)
    struck = [200, 600]
    flux = planted.spectrum.flux.copy()
    flux[struck] += 500
    found = fit_continuum(replace(planted.spectrum, flux=flux), planted.redshift)
    without = fit_continuum(planted.spectrum, planted.redshift)
    assert found.is_outlier[struck].all()
    assert not found.is_used[struck].any()
    assert np.abs(found.values - without.values).max() < 0.3


def absorbed(depth=0.5):
    """A spectrum whose continuum has H-beta in absorption, and is 1.3 times what its model says."""
    planted = plant(seed=3, signal_to_noise=40)
    wavelength = planted.spectrum.wavelength
    dip = 1 - depth * np.exp(-0.5 * ((wavelength - LINES["H_beta"] * 1.03221) / 12) ** 2)
    flux = planted.spectrum.flux - planted.spectrum.model + 1.3 * planted.spectrum.model * dip
    return replace(planted.spectrum, flux=flux, model=planted.spectrum.model * dip)


def test_a_model_keeps_the_absorption_that_a_spline_cannot_know():
    spectrum = absorbed()
    at = np.searchsorted(spectrum.wavelength, LINES["H_beta"] * 1.03221)
    by_model = fit_continuum(spectrum, 0.03221, method="model")
    by_spline = fit_continuum(spectrum, 0.03221)
    assert by_model.values[at] == pytest.approx(1.3 * spectrum.model[at], rel=0.02)
    assert by_spline.values[at] > 1.7 * by_model.values[at]
    assert by_model.notes == ()


def test_a_model_that_has_emission_lines_in_it_is_told():
    planted = plant(seed=4, signal_to_noise=2000, ratios={"OIII_5008": 1.0, "NII_6585": 1.0, "H_alpha": 1.0})
    spectrum = replace(planted.spectrum, model=planted.spectrum.flux)
    found = fit_continuum(spectrum, planted.redshift, method="model")
    assert len(found.notes) == 1
    assert "OIII_5008 and NII_6585" in found.notes[0]


def test_masked_pixels_and_bands_of_the_air_are_not_used():
    planted = plant(seed=5, wavelength_range=(5_400.0, 8_000.0))
    ivar = planted.spectrum.ivar.copy()
    ivar[50:60] = 0
    flux = planted.spectrum.flux.copy()
    flux[50:60] = np.nan
    found = fit_continuum(replace(planted.spectrum, ivar=ivar, flux=flux), planted.redshift)
    assert not found.is_used[50:60].any()
    assert np.isfinite(found.values).all()
    assert not found.is_used[telluric_mask(planted.spectrum.wavelength)].any()
    assert not found.is_used[line_mask(planted.spectrum.wavelength, planted.redshift)].any()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"model": None}, {"method": "model"}, 'method "model" needs a spectrum that has a model'),
        ({}, {"spacing": 0.0}, "spacing must be above 0"),
        ({}, {"method": "polynomial", "degree": 99}, "degree must be from 0 to 20, got 99"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, options, message):
    with pytest.raises(ValueError, match=message):
        fit_continuum(replace(plant(seed=0).spectrum, **change), 0.03221, **options)


def test_too_few_pixels_off_the_lines_are_refused():
    planted = plant(seed=0)
    is_line = line_mask(planted.spectrum.wavelength, planted.redshift)
    spectrum = replace(planted.spectrum, ivar=np.where(is_line, planted.spectrum.ivar, 0.0))
    with pytest.raises(ValueError, match="off the lines or more, got 0"):
        fit_continuum(spectrum, planted.redshift)


def test_noise_is_found_in_the_pixels_and_goes_along_with_them():
    random = np.random.default_rng(0)
    deviation = np.linspace(1, 3, 4000)
    slope = np.linspace(50, 10, 4000)
    flux = slope + deviation * random.standard_normal(4000)
    flux[1000:1008] += 100  # a line
    flux[5] = np.nan
    ivar = estimate_ivar(flux)
    assert ivar[5] == 0
    found = 1 / np.sqrt(ivar[ivar > 0])
    assert_allclose(np.mean(found / np.delete(deviation, 5)), 1.0, atol=0.03)
    assert np.abs(found / np.delete(deviation, 5) - 1).max() < 0.45
    assert robust_scale((flux - slope) * np.sqrt(ivar), ivar > 0) == pytest.approx(1.0, abs=0.06)


def test_a_spectrum_too_short_for_its_noise_is_refused():
    with pytest.raises(ValueError, match="flux must have 151 pixels or more"):
        estimate_ivar(np.ones(100))
    assert np.isnan(robust_scale(np.ones(3)))
