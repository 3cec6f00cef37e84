from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import curve_fit
from scipy.special import erf

from peculiar.spectra.continuum import fit_continuum
from peculiar.spectra.lines import covered_lines, fit_lines
from peculiar.spectra.planted import plant
from peculiar.spectra.profiles import gaussian_pixels, pixel_edges
from peculiar.spectra.spectrum import LINES, SPEED_OF_LIGHT


def truth_of(planted, fit):
    return planted.flux[:, [list(LINES).index(name) for name in fit.lines]]


def test_a_line_loses_nothing_to_pixels_however_narrow():
    wavelength = np.arange(5000.0, 5100.0, 1.0)
    lower, upper = pixel_edges(wavelength)
    for sigma in (0.05, 0.4, 3.0):
        mean, by_center, by_sigma = gaussian_pixels(lower, upper, np.array(5050.3), np.array(sigma))
        assert (mean * (upper - lower)).sum() == pytest.approx(1.0, abs=1e-9)
        step = 1e-5
        for slope, at in ((by_center, (step, 0.0)), (by_sigma, (0.0, step))):
            ahead = gaussian_pixels(lower, upper, np.array(5050.3 + at[0]), np.array(sigma + at[1]))[0]
            behind = gaussian_pixels(lower, upper, np.array(5050.3 - at[0]), np.array(sigma - at[1]))[0]
            assert_allclose((ahead - behind) / (2 * step), slope, atol=1e-4 * np.abs(slope).max())


def test_pixels_beside_a_gap_do_not_reach_into_it():
    lower, upper = pixel_edges(np.array([1.0, 2.0, 3.0, 50.0, 51.0, 52.0]) + 5000)
    assert_allclose((upper - lower)[[0, 1, 4, 5]], 1.0)
    assert (upper - lower).max() <= 1.5


def test_lines_without_noise_come_out_as_they_were_put_in():
    planted = plant(seed=0, signal_to_noise=1e6, velocity=(40.0,), width=(70.0,))
    fit = fit_lines(planted.spectrum, planted.redshift, n_components=1)
    assert fit.lines == tuple(LINES)
    assert fit.velocity[0] == pytest.approx(40.0, abs=0.01)
    assert fit.width[0] == pytest.approx(70.0, abs=0.01)
    assert fit.redshift[0] == pytest.approx(1.03221 * (1 + 40 / SPEED_OF_LIGHT) - 1, abs=1e-7)
    assert_allclose(fit.flux, truth_of(planted, fit), rtol=1e-3, atol=1e-5 * fit.flux.max())


@pytest.mark.parametrize("resolution", [2_000, 5_000])
def test_errors_of_one_component_are_as_large_as_its_faults(resolution):
    pulls, speeds, widths = [], [], []
    for seed in range(14):
        planted = plant(seed=seed, signal_to_noise=20, resolution=resolution)
        fit = fit_lines(planted.spectrum, planted.redshift, n_components=1)
        pulls.append((fit.flux - truth_of(planted, fit)) / fit.flux_error)
        speeds.append((fit.velocity - planted.velocity) / fit.velocity_error)
        widths.append((fit.width - planted.width) / fit.width_error)
    assert abs(np.mean(pulls)) < 0.15
    assert 0.85 < np.std(pulls) < 1.15
    for each in (speeds, widths):
        assert abs(np.mean(each)) < 0.8
        assert 0.6 < np.std(each) < 1.5


def test_two_components_are_found_and_within_their_errors():
    pulls, apart, totals = [], [], []
    for seed in range(8):
        planted = plant(seed=seed, signal_to_noise=25, resolution=6_000, velocity=(-75, 75), width=(30, 45))
        fit = fit_lines(planted.spectrum, planted.redshift)
        assert fit.n_components == 2
        assert fit.parts == ("blue", "red", "total")
        assert fit.bic_difference > 10
        assert "two components" in fit.summary()
        truth = truth_of(planted, fit)
        pulls.append((fit.flux[:2] - truth) / fit.flux_error[:2])
        totals.append((fit.flux[2] - truth.sum(axis=0)) / fit.flux_error[2])
        apart.append((fit.separation - 150) / fit.separation_error)
    assert 0.8 < np.std(pulls) < 1.2
    assert 0.8 < np.std(totals) < 1.2
    assert 0.4 < np.std(apart) < 1.7
    assert abs(np.mean(apart)) < 1


def test_one_component_is_not_taken_for_two():
    for seed in range(5):
        planted = plant(seed=seed, signal_to_noise=40, resolution=4_000)
        fit = fit_lines(planted.spectrum, planted.redshift)
        assert fit.n_components == 1
        assert fit.bic_difference < 0


def test_a_fit_of_one_line_is_that_of_a_plain_least_squares():
    planted = plant(seed=7, signal_to_noise=30, ratios={"H_alpha": 1.0}, width=(120.0,))
    spectrum = replace(planted.spectrum, instrument_sigma=None)
    fit = fit_lines(spectrum, planted.redshift, n_components=1, lines=["H_alpha"])
    assert "not known" in fit.notes[0]
    base = fit_continuum(spectrum, planted.redshift)
    where = fit.is_fitted
    lower, upper = (each[where] for each in pixel_edges(spectrum.wavelength))

    def line(_, flux, center, sigma, level, slope):
        areas = erf((upper - center) / sigma / 2**0.5) - erf((lower - center) / sigma / 2**0.5)
        return flux * areas / 2 / (upper - lower) + level + slope * (spectrum.wavelength[where] - center)

    center = LINES["H_alpha"] * 1.03221
    left = (spectrum.flux - base.values)[where]
    found, covariance = curve_fit(
        line, left, left, [50, center, 3, 0, 0], sigma=spectrum.ivar[where] ** -0.5, absolute_sigma=True
    )
    assert fit.flux[0, 0] == pytest.approx(found[0], rel=1e-4)
    assert fit.velocity[0] == pytest.approx((found[1] / center - 1) * SPEED_OF_LIGHT, abs=0.05)
    assert fit.width[0] == pytest.approx(found[2] / found[1] * SPEED_OF_LIGHT, rel=1e-3)
    assert fit.flux_error[0, 0] == pytest.approx(covariance[0, 0] ** 0.5, rel=0.02)
    assert fit.width_error[0] == pytest.approx(covariance[2, 2] ** 0.5 / center * SPEED_OF_LIGHT, rel=0.08)


def test_doublets_keep_their_ratio_and_draws_their_covariance():
    planted = plant(seed=8, signal_to_noise=30, resolution=6_000, velocity=(-80, 80), width=(40, 40))
    fit = fit_lines(planted.spectrum, planted.redshift, n_components=2)
    draws = {part: fit.draws(4_000, seed=1, part=part) for part in fit.parts}
    for part in fit.parts:
        assert_allclose(draws[part]["OIII_5008"] / draws[part]["OIII_4960"], 2.98, rtol=1e-4)
        assert_allclose(draws[part]["NII_6585"] / draws[part]["NII_6550"], 3.0, rtol=1e-4)
        for at, name in enumerate(fit.lines):
            row = fit.parts.index(part)
            assert draws[part][name].std() == pytest.approx(fit.flux_error[row, at], rel=0.06)
            assert abs(draws[part][name].mean() - fit.flux[row, at]) < 0.08 * fit.flux_error[row, at]
    assert_allclose(draws["blue"]["H_alpha"] + draws["red"]["H_alpha"], draws["total"]["H_alpha"])
    assert fit.fluxes("total")["H_alpha"] == pytest.approx(fit.flux[:2, fit.lines.index("H_alpha")].sum())
    with pytest.raises(KeyError, match="part must be one of blue, red, total"):
        fit.fluxes("first")


def test_what_is_not_there_has_a_limit_that_holds():
    n_detected = 0
    for seed in range(10):
        planted = plant(seed=seed, signal_to_noise=20)
        fit = fit_lines(planted.spectrum, planted.redshift, n_components=1)
        at = fit.lines.index("OIII_4933")
        n_detected += fit.is_detected[0, at]
        assert fit.upper_limit[0, at] > 0
        assert fit.is_detected[0, fit.lines.index("H_alpha")]
    assert n_detected <= 1


def test_equivalent_widths_are_flux_over_the_continuum():
    planted = plant(seed=9, signal_to_noise=60)
    fit = fit_lines(planted.spectrum, planted.redshift, n_components=1)
    at = fit.lines.index("H_alpha")
    level = np.interp(LINES["H_alpha"] * 1.03221, planted.spectrum.wavelength, planted.spectrum.model)
    error = fit.equivalent_width_error[0, at]
    assert abs(fit.equivalent_width[0, at] - truth_of(planted, fit)[0, at] / level) < 3 * error
    assert error > 0.9 * fit.flux_error[0, at] / level
    assert fit.equivalent_width_rest[0, at] == pytest.approx(fit.equivalent_width[0, at] / 1.03221, rel=1e-3)
    bare = plant(seed=9, signal_to_noise=60, continuum=0.0)
    assert np.isnan(fit_lines(bare.spectrum, 0.03221, n_components=1).equivalent_width).mean() > 0.7


def test_errors_that_are_too_small_are_told_scaled_and_make_no_second_component():
    planted = plant(seed=10, signal_to_noise=30)
    spectrum = replace(planted.spectrum, ivar=9 * planted.spectrum.ivar)
    plain = fit_lines(spectrum, planted.redshift)
    scaled = fit_lines(spectrum, planted.redshift, scale_errors=True)
    assert plain.n_components == scaled.n_components == 1
    assert plain.noise_scale == pytest.approx(3.0, rel=0.1)
    assert any("times what their errors say, more" in note for note in plain.notes)
    assert_allclose(scaled.flux_error / plain.flux_error, scaled.error_scale)
    assert scaled.error_scale == pytest.approx(3.0, rel=0.1)


def test_refits_of_a_clear_line_have_the_errors_of_the_covariance():
    planted = plant(seed=11, signal_to_noise=40)
    plain = fit_lines(planted.spectrum, planted.redshift, n_components=1)
    refitted = fit_lines(planted.spectrum, planted.redshift, n_components=1, n_monte_carlo=80, seed=3)
    assert_allclose(np.median(refitted.flux_error / plain.flux_error), 1.0, atol=0.12)
    assert refitted.velocity_error[0] == pytest.approx(plain.velocity_error[0], rel=0.4)
    assert set(refitted.draws(50, seed=0)["H_alpha"]) <= set(refitted.monte_carlo[:, refitted.lines.index("H_alpha")])
    again = fit_lines(planted.spectrum, planted.redshift, n_components=1, n_monte_carlo=80, seed=3)
    assert_allclose(again.flux_error, refitted.flux_error)


def test_a_blend_says_that_its_parts_are_not_known_while_its_sum_is():
    planted = plant(seed=12, signal_to_noise=25, velocity=(-30, 30), width=(30, 30))
    assert fit_lines(planted.spectrum, planted.redshift).n_components == 1
    forced = fit_lines(planted.spectrum, planted.redshift, n_components=2)
    assert any("of each one believe nothing, of totals all" in note for note in forced.notes)
    at = forced.lines.index("H_alpha")
    assert abs(forced.flux[2, at] - truth_of(planted, forced)[:, at].sum()) < 4 * forced.flux_error[2, at]
    assert (forced.flux[:2, at] >= 0).all()


def test_a_trough_that_the_continuum_does_not_know_is_no_second_component():
    planted = plant(seed=13, signal_to_noise=60)
    wavelength = planted.spectrum.wavelength
    dip = sum(
        np.exp(-0.5 * ((wavelength / LINES[name] / 1.03221 - 1) * SPEED_OF_LIGHT / 700) ** 2)
        for name in ("H_alpha", "H_beta", "H_gamma")
    )
    spectrum = replace(planted.spectrum, flux=planted.spectrum.flux - 3 * dip, model=planted.spectrum.model - 3 * dip)
    assert fit_lines(spectrum, planted.redshift).n_components == 1
    model = fit_continuum(spectrum, planted.redshift, method="model")
    fit = fit_lines(spectrum, planted.redshift, continuum=model)
    at = fit.lines.index("H_beta")
    assert fit.n_components == 1
    assert abs(fit.flux[0, at] - truth_of(planted, fit)[0, at]) < 3.5 * fit.flux_error[0, at]


def test_lines_that_no_pixel_holds_are_left_out_and_named():
    planted = plant(seed=14)
    wavelength = planted.spectrum.wavelength
    near = np.abs(wavelength / (LINES["OIII_5008"] * 1.03221) - 1) * SPEED_OF_LIGHT < 300
    spectrum = replace(planted.spectrum, ivar=np.where(near, 0, planted.spectrum.ivar))
    assert "OIII_5008" not in covered_lines(spectrum, planted.redshift)
    fit = fit_lines(spectrum, planted.redshift, n_components=1)
    assert fit.not_covered == ("OIII_5008",)
    assert "OIII_4960" in fit.lines
    assert not fit.is_fitted[near].any()


def test_the_model_is_the_sum_of_its_parts_and_leaves_noise():
    planted = plant(seed=15, signal_to_noise=50)
    fit = fit_lines(planted.spectrum, planted.redshift, n_components=1)
    left = ((planted.spectrum.flux - fit.model) * np.sqrt(planted.spectrum.ivar))[fit.is_fitted]
    assert (left**2).sum() == pytest.approx(fit.chi2, rel=1e-6)
    assert fit.reduced_chi2 == pytest.approx(1.0, abs=0.2)
    assert_allclose(fit.line_model.sum(axis=0) + fit.continuum, fit.model)


def test_rows_of_a_table_hold_every_part_and_line():
    planted = plant(seed=16, velocity=(-150, 150), width=(40, 40))
    rows = fit_lines(planted.spectrum, planted.redshift).to_rows()
    assert len(rows) == 3 * len(LINES)
    alpha = next(row for row in rows if row["part"] == "red" and row["line"] == "H_alpha")
    assert alpha["is_detected"] is True
    assert alpha["velocity"] == pytest.approx(150, abs=20)
    assert next(row for row in rows if row["part"] == "total")["velocity"] is None


@pytest.mark.parametrize(
    ("redshift", "options", "message"),
    [
        (5.0, {}, "no emission line of OII_3727.* is covered at redshift 5: .*3700 to 7100 angstrom"),
        (float("nan"), {}, "redshift must be from -0.1 to 20, got nan"),
        (0.03, {"n_components": 3}, "n_components must be 1, 2, or 0"),
        (0.03, {"degree": 9}, "degree must be from 0 to 3"),
        (0.03, {"max_velocity": 0.0}, "max_velocity must be above 0"),
        (0.03, {"min_separation": 900.0}, "min_separation must be above 0 and below max_velocity"),
        (0.03, {"n_monte_carlo": 5}, "n_monte_carlo must be 20 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(redshift, options, message):
    with pytest.raises(ValueError, match=message):
        fit_lines(plant(seed=0).spectrum, redshift, **options)


def test_a_line_without_a_wavelength_is_refused():
    with pytest.raises(KeyError, match="lines not known: Ly_alpha"):
        fit_lines(plant(seed=0).spectrum, 0.03, lines=["Ly_alpha"])


def test_lines_that_a_mask_takes_whole_are_refused_with_what_is_left():
    planted = plant(seed=0)
    blue = planted.spectrum.wavelength < 3_780
    spectrum = replace(planted.spectrum, ivar=np.where(blue, 1.0, 0.0))
    with pytest.raises(ValueError, match="pixels that are not masked go from 3700 to 3780"):
        fit_lines(spectrum, planted.redshift)
