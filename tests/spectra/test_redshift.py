from dataclasses import replace

import numpy as np
import pytest

from peculiar.io.spectra import read_spectrum
from peculiar.spectra.continuum import fit_continuum
from peculiar.spectra.lines import fit_lines
from peculiar.spectra.planted import plant
from peculiar.spectra.redshift import find_redshift
from peculiar.spectra.spectrum import SPEED_OF_LIGHT

WIDE = (3_700.0, 9_500.0)


@pytest.mark.parametrize("redshift", [0.0, 0.12, 0.4, 0.8])
def test_a_redshift_is_found_without_a_guess(redshift):
    planted = plant(
        seed=1, signal_to_noise=25, redshift=redshift, wavelength_range=WIDE if redshift < 0.4 else (4e3, 1e4)
    )
    result = find_redshift(planted.spectrum)
    assert result.quality == "secure"
    assert abs(result.redshift - redshift) < 4 * result.error
    assert 0 < result.error < 1e-4
    assert result.margin >= 25
    assert {"OIII_5008"} <= set(result.lines)
    assert abs(result.runner_up - redshift) / (1 + redshift) * SPEED_OF_LIGHT > 1_000
    assert len(result.trial_redshift) == len(result.trial_gain)
    assert abs(result.trial_redshift[np.argmax(result.trial_gain)] - redshift) < 0.003


def test_errors_of_redshifts_are_as_large_as_their_faults():
    pulls = []
    for seed in range(12):
        planted = plant(seed=seed, signal_to_noise=15)
        result = find_redshift(planted.spectrum, guess=0.03)
        pulls.append((result.redshift - planted.redshift) / result.error)
    assert abs(np.mean(pulls)) < 1.0
    assert 0.6 < np.std(pulls) < 1.6


def test_noise_has_no_redshift():
    for seed in range(4):
        empty = plant(seed=seed, signal_to_noise=0.0, wavelength_range=WIDE)
        result = find_redshift(empty.spectrum)
        assert result.quality == "none"
        assert np.isnan(result.redshift)
        assert np.isnan(result.error)
        assert result.fit is None
        assert "no emission lines" in result.reason


def test_one_line_alone_is_not_secure():
    planted = plant(seed=2, signal_to_noise=15, ratios={"H_alpha": 1.0}, redshift=0.1, wavelength_range=WIDE)
    result = find_redshift(planted.spectrum)
    assert result.quality in ("probable", "uncertain")
    assert result.margin < 25


def test_a_cosmic_ray_is_no_line():
    empty = plant(seed=3, signal_to_noise=0.0, wavelength_range=WIDE).spectrum
    flux = empty.flux.copy()
    flux[1500] += 100
    assert find_redshift(replace(empty, flux=flux)).quality == "none"


def test_only_the_window_of_a_guess_is_searched():
    planted = plant(seed=4, signal_to_noise=30, redshift=0.1, wavelength_range=WIDE)
    result = find_redshift(planted.spectrum, guess=0.102, window=0.005)
    assert result.redshift == pytest.approx(0.1, abs=1e-4)
    assert result.trial_redshift.min() > 0.0969
    assert result.trial_redshift.max() < 0.1072
    away = find_redshift(planted.spectrum, guess=0.3, window=0.002)
    assert away.quality != "secure"


def test_a_broken_pixel_error_is_not_believed():
    empty = plant(seed=5, signal_to_noise=0.0, wavelength_range=WIDE).spectrum
    result = find_redshift(replace(empty, ivar=25 * empty.ivar))
    assert result.noise_scale == pytest.approx(5, rel=0.1)
    assert result.quality == "none"


def test_a_range_that_is_none_or_holds_no_line_is_refused():
    spectrum = plant(seed=6).spectrum
    with pytest.raises(ValueError, match="minimum and maximum must ascend"):
        find_redshift(spectrum, minimum=0.5, maximum=0.1)
    with pytest.raises(ValueError, match="3700 to 7100 angstrom, at any redshift from 3 to 4"):
        find_redshift(spectrum, minimum=3.0, maximum=4.0)


def test_ngc_3073_has_its_redshift_and_the_pipelines_fluxes(shared_data):
    from astropy.io import fits

    path = shared_data / "spectrum" / "NGC3073_SDSS_DR18.fits"
    spectrum = read_spectrum(path)
    rows = {row["LINENAME"]: row for row in fits.getdata(path, "SPZLINE")}
    result = find_redshift(spectrum)
    assert result.quality == "secure"
    assert result.redshift == pytest.approx(0.003861, abs=3e-5)  # of H-alpha in the same table
    continuum = fit_continuum(spectrum, result.redshift, method="model")
    fit = fit_lines(spectrum, result.redshift, continuum=continuum)
    assert fit.n_components == 1
    theirs = {"OIII_5008": "[O_III] 5007", "H_alpha": "H_alpha", "NII_6585": "[N_II] 6583", "H_beta": "H_beta"}
    theirs |= {"SII_6718": "[S_II] 6716", "SII_6733": "[S_II] 6730"}
    for name, named in theirs.items():
        at = fit.lines.index(name)
        area, area_error = float(rows[named]["LINEAREA"]), float(rows[named]["LINEAREA_ERR"])
        assert fit.flux[0, at] == pytest.approx(area, rel=0.10)
        assert abs(fit.flux[0, at] - area) < 3 * np.hypot(fit.flux_error[0, at], area_error)
