"""The gas and the galaxy: dust, electron density and temperature, luminosity, star formation, size, velocities."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from peculiar.spectra.diagnostics import Fluxes, log_ratio
from peculiar.spectra.spectrum import LINES, SPEED_OF_LIGHT

if TYPE_CHECKING:
    from astropy.cosmology import FLRW

Curve = Literal["cardelli", "calzetti"]
RateCalibration = Literal["kennicutt_evans_2012", "kennicutt_1998"]

# Ratios to H-beta without dust, case B, 10,000 K, 100 cm-3: Osterbrock & Ferland 2006, table 4.4.
CASE_B = {"H_alpha": 2.86, "H_gamma": 0.468}
CARDELLI_R_V, CALZETTI_R_V = 3.1, 4.05  # Cardelli et al. 1989, the diffuse medium; Calzetti et al. 2000, eq. 5
CARDELLI_RANGE, CALZETTI_RANGE = (
    (3_030.0, 33_000.0),
    (1_200.0, 22_000.0),
)  # angstrom; of the former, without its UV part
SANDERS_SII = (0.4315, 2107.0, 627.1)  # Sanders et al. 2016, table 2: ratio = a (b + n) / (c + n), at 10,000 K
DENSITY_RANGE = (1.0, 1e5)  # cm-3; Sanders et al. 2016: beyond it the ratio no longer changes
TEMPERATURE_RANGE = (5_000.0, 25_000.0)  # K; in it a three-level atom solved directly agrees within 5 % (tests)
OIII_RATIO = 2.98  # [OIII] 5008 / 4960: METHOD.md sect. 7; Storey & Zeippen 2000
SFR_PER_H_ALPHA = {  # M_sun/yr per erg/s
    "kennicutt_evans_2012": 10**-41.27,  # Kennicutt & Evans 2012, table 1: Kroupa IMF
    "kennicutt_1998": 7.9e-42,  # Kennicutt 1998, eq. 2: Salpeter IMF
}


def extinction(wavelength: Fluxes, curve: Curve = "cardelli") -> np.ndarray:
    """Return k = A / E(B-V), magnitudes, at rest wavelengths in angstrom.

    "cardelli": Cardelli, Clayton & Mathis 1989, eqs 2 and 3, R_V 3.1, from 3,030 to 33,000 A (their ultraviolet part is
    left out). "calzetti": Calzetti et al. 2000, eq. 4, R_V 4.05, from 1,200 to 22,000 A; made for the stars' light of
    starbursts, whose E(B-V) is 0.44 of the gas's. A wavelength outside is an error.
    """
    wavelength = np.asarray(wavelength, np.float64)
    ranges = {"cardelli": CARDELLI_RANGE, "calzetti": CALZETTI_RANGE}
    if curve not in ranges:
        raise ValueError(f'curve must be "cardelli" or "calzetti", got {curve!r}')
    low, high = ranges[curve]
    if not ((wavelength >= low) & (wavelength <= high)).all():
        outside = wavelength[~((wavelength >= low) & (wavelength <= high))][0]
        raise ValueError(f"wavelength must be from {low:g} to {high:g} angstrom for {curve}, got {outside:g}")
    inverse = 1e4 / wavelength  # 1/micron
    return (_cardelli(inverse) if curve == "cardelli" else _calzetti(inverse))[()]


def _cardelli(inverse: np.ndarray) -> np.ndarray:
    y = inverse - 1.82
    a = np.polyval([0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0], y)  # eq. 3a
    b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0], y)  # eq. 3b
    is_infrared = inverse < 1.1
    a = np.where(is_infrared, 0.574 * inverse**1.61, a)  # eqs 2a, 2b
    b = np.where(is_infrared, -0.527 * inverse**1.61, b)
    return CARDELLI_R_V * a + b


def _calzetti(inverse: np.ndarray) -> np.ndarray:
    short = np.polyval([0.011, -0.198, 1.509, -2.156], inverse)
    long = -1.857 + 1.040 * inverse
    return 2.659 * np.where(inverse > 1 / 0.63, short, long) + CALZETTI_R_V


def color_excess(
    line: Fluxes, h_beta: Fluxes, *, name: Literal["H_alpha", "H_gamma"] = "H_alpha", curve: Curve = "cardelli"
) -> np.ndarray:
    """Return E(B-V) of the gas, magnitudes, from a Balmer line against H-beta.

    2.5 / (k(H-beta) - k(line)) log10(ratio / case B), case B being 2.86 for H-alpha and 0.468 for H-gamma. Below 0
    where the ratio says less than no dust: kept, so that errors stay symmetric. NaN where a flux is not above 0.
    """
    difference = extinction(LINES["H_beta"], curve) - extinction(LINES[name], curve)
    return (2.5 / difference * (log_ratio(line, h_beta) - np.log10(CASE_B[name])))[()]


def deredden(fluxes: Mapping[str, Fluxes], excess: Fluxes, curve: Curve = "cardelli") -> dict[str, np.ndarray]:
    """Return fluxes without the dust's dimming, by line name.

    flux 10^(0.4 k E(B-V)); an E(B-V) below 0 is taken as 0. NaN where `excess` is.
    """
    excess = np.maximum(np.asarray(excess, np.float64), 0.0)
    return {
        name: np.asarray(flux) * 10 ** (0.4 * extinction(LINES[name], curve) * excess) for name, flux in fluxes.items()
    }


def electron_density(sii_6718: Fluxes, sii_6733: Fluxes) -> tuple[np.ndarray, np.ndarray]:
    """Return the electron density, cm-3, from the [SII] lines, and whether it is within the ratio's reach.

    Sanders et al. 2016, eq. 7 with the [SII] terms of table 2, at 10,000 K. At a ratio of 1.4484 and above it is 1 (the
    low-density limit), at 0.4375 and below 100,000 (the high one), and `is_in_range` is False: the density is only a
    limit there. NaN and False where a flux is not above 0. Below some 30 cm-3 the ratio changes by about 3 % only.
    """
    ratio = 10 ** np.asarray(log_ratio(sii_6718, sii_6733))
    a, b, c = SANDERS_SII
    low, high = DENSITY_RANGE
    smallest, largest = (a * (b + n) / (c + n) for n in (high, low))
    is_in_range = (ratio > smallest) & (ratio < largest)
    inside = np.where(is_in_range, ratio, 1.0)
    density = np.where(is_in_range, (c * inside - a * b) / (a - inside), np.where(ratio >= largest, low, high))
    return np.where(np.isnan(ratio), np.nan, density)[()], is_in_range[()]


def temperature_oiii(oiii_4364: Fluxes, oiii_5008: Fluxes, density: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the electron temperature of O++, K, and whether it is within 5,000 to 25,000 K.

    Izotov et al. 2006, eqs 1 and 2: t = 1.432 / (log R - log C), C = (8.44 - 1.09 t + 0.5 t^2 - 0.08 t^3)
    (1 + 0.0004 x) / (1 + 0.044 x), x = 1e-4 n t^-0.5, t in 10,000 K; R = ([OIII] 4960 + 5008) / 4364, where 4960 is
    taken as 5008 / 2.98. Without dust (`deredden` first). NaN where a flux is not above 0 or where no temperature can
    give the ratio.
    """
    log_r = np.asarray(log_ratio(np.asarray(oiii_5008) * (1 + 1 / OIII_RATIO), oiii_4364))
    t = np.full_like(log_r, 1.2)
    for _ in range(30):  # a fixed point; each turn gains a factor of some ten
        x = 1e-4 * density / np.sqrt(t)
        term = np.polyval([-0.08, 0.5, -1.09, 8.44], t) * (1 + 0.0004 * x) / (1 + 0.044 * x)
        difference = log_r - np.log10(term)
        t = np.clip(1.432 / np.where(difference > 0, difference, np.nan), 0.1, 4.0)
    t = np.where((t > 0.1) & (t < 4.0), t, np.nan)  # at an end it has not converged
    low, high = TEMPERATURE_RANGE
    return (1e4 * t)[()], ((1e4 * t >= low) & (1e4 * t <= high))[()]


def line_flux_unit(flux_unit: str) -> float:
    """Return what one unit of line flux is in erg/s/cm2, from the spectrum's unit of flux density.

    "1e-17 erg / (Angstrom s cm2)" gives 1e-17: a line's flux is density times angstrom. A unit of line flux itself,
    "erg / (s cm2)", is taken as it is. An error where the unit is empty or relative, or is not of these.
    """
    import astropy.units as u

    advice = 'give the absolute one, as "1e-17 erg / (Angstrom s cm2)"'
    if not flux_unit.strip():
        raise ValueError(f"flux_unit is empty, so fluxes are relative: {advice}")
    try:
        unit = u.Unit(flux_unit)
    except ValueError as error:
        raise ValueError(f"flux_unit must be a unit that astropy reads, got {flux_unit!r}: {advice}") from error
    target = u.erg / u.s / u.cm**2
    for candidate in (unit, unit * u.AA):
        if candidate.is_equivalent(target):
            return float(candidate.to(target))
    raise ValueError(f"flux_unit must be flux per wavelength (or line flux), got {flux_unit!r}: {advice}")


def choose_cosmology(cosmology: "str | FLRW" = "Planck18") -> "FLRW":
    """Return astropy's cosmology of a name, "Planck18" or "WMAP9" say; one that is given as such is returned."""
    import astropy.cosmology

    if not isinstance(cosmology, str):
        return cosmology
    if cosmology not in astropy.cosmology.available:
        raise ValueError(f"cosmology must be one of {', '.join(astropy.cosmology.available)}, got {cosmology!r}")
    return getattr(astropy.cosmology, cosmology)


def luminosity(flux: Fluxes, flux_unit: str, redshift: float, cosmology: "str | FLRW" = "Planck18") -> np.ndarray:
    """Return a line's luminosity, erg/s: 4 pi (luminosity distance)^2 flux, `flux_unit` as of `line_flux_unit`."""
    _check_redshift(redshift)
    distance = choose_cosmology(cosmology).luminosity_distance(redshift).to_value("cm")
    return (4 * np.pi * distance**2 * line_flux_unit(flux_unit) * np.asarray(flux, np.float64))[()]


def star_formation_rate(h_alpha: Fluxes, calibration: RateCalibration = "kennicutt_evans_2012") -> np.ndarray:
    """Return the star-formation rate, M_sun/yr, from the luminosity of H-alpha in erg/s, without dust.

    "kennicutt_evans_2012": log rate = log L - 41.27 (Kroupa IMF); "kennicutt_1998": 7.9e-42 L (Salpeter IMF).
    """
    if calibration not in SFR_PER_H_ALPHA:
        raise ValueError(f"calibration must be one of {', '.join(SFR_PER_H_ALPHA)}, got {calibration!r}")
    return (SFR_PER_H_ALPHA[calibration] * np.asarray(h_alpha, np.float64))[()]


def size_kpc(size_arcsec: Fluxes, redshift: float, cosmology: "str | FLRW" = "Planck18") -> np.ndarray:
    """Return a proper size, kpc, from an angle in arcsec."""
    _check_redshift(redshift)
    scale = choose_cosmology(cosmology).kpc_proper_per_arcmin(redshift).to_value("kpc / arcmin") / 60
    return (scale * np.asarray(size_arcsec, np.float64))[()]


def velocity_separation(redshift: Fluxes, other: Fluxes) -> np.ndarray:
    """Return the velocity of the other as seen from the first, km/s; above 0 where the other recedes.

    1 + z multiplies: r = (1 + other) / (1 + redshift), v = c (r^2 - 1) / (r^2 + 1). Near c (other - redshift) /
    (1 + redshift), but for all velocities.
    """
    ratio = (1 + np.asarray(other, np.float64)) / (1 + np.asarray(redshift, np.float64))
    return (SPEED_OF_LIGHT * (ratio**2 - 1) / (ratio**2 + 1))[()]


def _check_redshift(redshift: float) -> None:
    if not redshift > 0:
        raise ValueError(f"redshift must be above 0 for a distance, got {redshift}: the expansion says nothing of it")
