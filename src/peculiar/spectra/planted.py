"""Spectra whose lines are known: what a measurement has to find again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from peculiar.spectra.profiles import gaussian_pixels, pixel_edges
from peculiar.spectra.spectrum import LINES, SPEED_OF_LIGHT, Spectrum

# Fluxes in units of H-alpha, as those of HSC J095934+013707: METHOD.md sect. 7; [OII], [OI], [OIII] 4364 and H-gamma
# as a galaxy of its oxygen has them.
RATIOS = {
    "OII_3727": 0.55,
    "OII_3730": 0.75,
    "H_gamma": 0.15,
    "OIII_4364": 0.012,
    "H_beta": 0.2857,
    "OIII_4933": 0.0,
    "OIII_4960": 0.7013 / 2.98,
    "OIII_5008": 0.7013,
    "OI_6302": 0.03,
    "NII_6550": 0.0723 / 3,
    "H_alpha": 1.0,
    "NII_6585": 0.0723,
    "SII_6718": 0.1588,
    "SII_6733": 0.1000,
}
SAMPLING = 2.5  # pixels in the instrument's full width at half maximum


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A made spectrum and what was put in; a row of `flux` a component, its lines in the order of `LINES`."""

    spectrum: Spectrum
    redshift: float
    velocity: np.ndarray  # km/s relative to `redshift`
    width: np.ndarray  # intrinsic, km/s
    flux: np.ndarray  # (components, lines)


def plant(
    *,
    seed: int,
    signal_to_noise: float = 30.0,
    resolution: float = 2_000.0,
    redshift: float = 0.03221,
    velocity: Sequence[float] = (0.0,),
    width: Sequence[float] = (50.0,),
    weight: Sequence[float] | None = None,
    ratios: Mapping[str, float] = RATIOS,
    continuum: float = 1.0,
    wavelength_range: tuple[float, float] = (3_700.0, 7_100.0),
) -> Planted:
    """Make a spectrum with emission lines on a sloping, curved continuum, with noise.

    Parameters
    ----------
    seed
        Of the noise.
    signal_to_noise
        Of H-alpha's flux in a component of weight 1, were it alone on a known continuum (were it in the middle, where
        it is out of the range); noise is 1 at the red end, and grows to the blue by a third.
    resolution
        Wavelength over full width at half maximum, at the middle of the range; the instrument's width is the same in
        angstrom everywhere.
    redshift, velocity, width, weight
        A component has its velocity about the redshift, its intrinsic width, one standard deviation, both in km/s, and
        its flux relative to `signal_to_noise`; weights are 1 by default.
    ratios
        Fluxes in units of H-alpha, by the names of `LINES`.
    continuum
        Times 10 deviations of the noise; 0 for none.
    wavelength_range
        Angstrom, observed, vacuum.
    """
    low, high = wavelength_range
    fwhm = (low + high) / 2 / resolution
    wavelength = np.arange(low, high, fwhm / SAMPLING)
    sigma = np.full(len(wavelength), fwhm / np.sqrt(8 * np.log(2)))
    place = 2 * (wavelength - low) / (high - low) - 1
    noise = 1 + 0.15 * (1 - place)
    level = 10 * continuum * (1 - 0.3 * place + 0.2 * place**2)

    lower, upper = pixel_edges(wavelength)
    velocities, widths = np.array(velocity, float), np.array(width, float)
    weights = np.ones(len(velocities)) if weight is None else np.array(weight, float)
    alpha_center, place_of = LINES["H_alpha"] * (1 + redshift), list(LINES).index("H_alpha")
    # The flux of one deviation: of H-alpha where it is in the range, else as if it were in the middle.
    alpha_center = alpha_center if low < alpha_center < high else (low + high) / 2
    relative = np.array([ratios.get(name, 0.0) for name in LINES])
    flux, lines = np.zeros((len(velocities), len(LINES))), np.zeros(len(wavelength))
    for row, (speed, wide) in enumerate(zip(velocities, widths, strict=True)):
        centers = np.array(list(LINES.values())) * (1 + redshift) * (1 + speed / SPEED_OF_LIGHT)
        sigmas = np.hypot(sigma[0], centers * wide / SPEED_OF_LIGHT)
        profiles = gaussian_pixels(lower[:, None], upper[:, None], centers, sigmas)[0]
        alpha = gaussian_pixels(lower, upper, alpha_center * (1 + speed / SPEED_OF_LIGHT), sigmas[place_of])[0]
        unit = 1 / np.sqrt((alpha**2 / noise**2).sum())
        flux[row] = signal_to_noise * weights[row] * unit * relative
        lines += profiles @ flux[row]
    random = np.random.default_rng(seed)
    spectrum = Spectrum(
        wavelength=wavelength,
        flux=level + lines + noise * random.standard_normal(len(wavelength)),
        ivar=1 / noise**2,
        instrument_sigma=sigma,
        model=level,
        flux_unit="1e-17 erg / (Angstrom s cm2)",
        name=f"planted {seed}",
    )
    return Planted(spectrum=spectrum, redshift=redshift, velocity=velocities, width=widths, flux=flux)
