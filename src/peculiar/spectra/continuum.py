"""The continuum of a spectrum, and its error: a robust spline or polynomial, or a model that is given."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from peculiar.spectra.noise import robust_scale
from peculiar.spectra.spectrum import LINES, SPEED_OF_LIGHT, Spectrum

# Lines that `LINES` does not hold and that would bend a continuum: NIST, vacuum, angstrom.
OTHER_LINES = {
    "NeIII_3870": 3869.86,
    "H_8": 3890.15,
    "H_epsilon": 3971.20,
    "H_delta": 4102.89,
    "HeII_4687": 4686.99,
    "HeI_5877": 5877.25,
    "Na_5892": 5891.58,
    "Na_5898": 5897.56,
    "OI_6366": 6365.54,
    "HeI_6680": 6679.99,
    "HeI_7067": 7067.14,
    "ArIII_7138": 7137.77,
    "OII_7323": 7322.01,
    "OII_7332": 7331.68,
    "SIII_9071": 9071.1,
    "SIII_9533": 9533.2,
}
# Oxygen's B and A band, and the night sky's [OI] 5577, whose residual is the strongest of all: vacuum, angstrom,
# observed frame.
TELLURIC = ((6864.0, 6950.0), (7592.0, 7700.0))
SKY_LINE = (5571.0, 5587.0)

MASK = 1_000.0  # km/s on either side of a line; components and the wings of an outflow are within
SPACING = 250.0  # angstrom between a spline's knots: 3 of the gaps that masks leave, and no line is followed
N_ROUNDS = 8  # of clipping; it has come to rest in 3 to 5
CLIP = 4.0  # deviations; of 4,000 pixels of Gaussian noise none is lost
Method = Literal["spline", "polynomial", "model"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Continuum:
    """A continuum and its error at every pixel; see `fit_continuum`.

    `is_used` are the pixels that it was fitted to; `is_outlier` those that were clipped; `noise_scale` how many times
    the pixels scatter about it as their errors say, by which `error` is multiplied where it is above 1; `notes` is what
    a reader has to be told.
    """

    values: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    method: Method
    is_used: Bool[np.ndarray, " n"]
    is_outlier: Bool[np.ndarray, " n"]
    noise_scale: float
    notes: tuple[str, ...] = ()


def line_mask(
    wavelength: Float[np.ndarray, " n"], redshift: float, *, half_width: float = MASK
) -> Bool[np.ndarray, " n"]:
    """Return which pixels are within `half_width` km/s of an emission line at a redshift."""
    centers = np.array([*LINES.values(), *OTHER_LINES.values()]) * (1 + redshift)
    near = np.abs(wavelength[:, None] / centers - 1) * SPEED_OF_LIGHT < half_width
    return np.asarray(near.any(axis=1))


def telluric_mask(wavelength: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return which pixels are in the oxygen bands of our air, or on the night sky's strongest line."""
    is_in = np.zeros(len(wavelength), bool)
    for low, high in (*TELLURIC, SKY_LINE):
        is_in |= (wavelength > low) & (wavelength < high)
    return is_in


def fit_continuum(
    spectrum: Spectrum,
    redshift: float | None,
    *,
    method: Method = "spline",
    degree: int | None = None,
    spacing: float = SPACING,
    mask_telluric: bool = True,
) -> Continuum:
    """Fit a continuum between the emission lines, clipping what lies off it, with its error.

    Weighted least squares, repeated without the pixels that lie more than 4 deviations off, until the same are left.
    A deviation is a pixel's error times how much wider than their errors the pixels scatter (by the median, at least
    1): what stars leave in a good spectrum is no outlier.

    Parameters
    ----------
    redshift
        Where emission lines are left out, 1,000 km/s on either side; None: where it is not known yet. Then what lies
        above is clipped harder than what lies below.
    method
        `spline`: cubic, with a knot each `spacing` angstrom. `polynomial`: Legendre. `model`: `spectrum.model` times a
        polynomial, so that Balmer lines in absorption are right. The model must hold stars alone: what the SDSS
        pipeline gives for class GALAXY or QSO has the emission lines in it, and they would be taken away; a note says
        where that seems so.
    degree
        Of the polynomial; by default 6, and 2 with a model.
    spacing
        Above 0, angstrom.
    mask_telluric
        Leave out the oxygen bands and the sky line at 5577.

    Raises
    ------
    ValueError
        Too few pixels are left; or there is no model.
    """
    if method == "model" and spectrum.model is None:
        raise ValueError('method "model" needs a spectrum that has a model, and this one has none; take "spline"')
    if not spacing > 0:
        raise ValueError(f"spacing must be above 0 angstrom, got {spacing}")
    is_free = spectrum.ivar > 0
    if redshift is not None:
        is_free &= ~line_mask(spectrum.wavelength, redshift)
    if mask_telluric:
        is_free &= ~telluric_mask(spectrum.wavelength)
    basis = _basis(spectrum, is_free, method, degree, spacing)
    n_least = 2 * basis.shape[1] + 4
    if is_free.sum() < n_least:
        raise ValueError(
            f"a continuum of {basis.shape[1]} coefficients needs {n_least} pixels off the lines or more, "
            f"got {is_free.sum()}; choose a lower degree or a larger spacing"
        )
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # matrices are small: threads would wait for each other
        values, error, is_used, scale = _clipped_fit(basis, spectrum, is_free, 2.5 if redshift is None else CLIP)
    notes = () if method != "model" or redshift is None else _model_notes(spectrum, redshift)
    return Continuum(
        values=values,
        error=error * max(1.0, scale),
        method=method,
        is_used=is_used,
        is_outlier=is_free & ~is_used,
        noise_scale=scale,
        notes=notes,
    )


def _basis(spectrum: Spectrum, is_free: np.ndarray, method: Method, degree: int | None, spacing: float) -> np.ndarray:
    """Columns that the continuum is a sum of, (n, n_coefficients)."""
    wavelength = spectrum.wavelength
    low, high = wavelength[0], wavelength[-1]
    if method != "spline":
        degree = (6 if method == "polynomial" else 2) if degree is None else degree
        if not 0 <= degree <= 20:
            raise ValueError(f"degree must be from 0 to 20, got {degree}")
        columns = np.polynomial.legendre.legvander(2 * (wavelength - low) / (high - low) - 1, degree)
        if method == "polynomial":
            return columns
        assert spectrum.model is not None
        return columns * np.where(np.isfinite(spectrum.model), spectrum.model, 0.0)[:, None]
    from scipy.interpolate import BSpline

    # Knots are dealt out by pixels that can be fitted, so that none lies where nothing holds it.
    n_inner = int((high - low) / spacing)
    inner = np.quantile(wavelength[is_free], np.linspace(0, 1, n_inner + 2)[1:-1]) if is_free.any() else np.empty(0)
    knots = np.r_[[low] * 4, inner, [high] * 4]
    return BSpline.design_matrix(wavelength, knots, 3).toarray()


def _clipped_fit(
    basis: np.ndarray, spectrum: Spectrum, is_free: np.ndarray, clip_above: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Values, their error, the pixels used, and how many times their errors these scatter."""
    weight = np.sqrt(spectrum.ivar)
    flux = np.where(spectrum.ivar > 0, spectrum.flux, 0.0)
    is_used, scale = is_free, 1.0
    for _ in range(N_ROUNDS):
        q, r = np.linalg.qr(basis[is_used] * weight[is_used, None])
        inverse = np.linalg.pinv(r, rcond=1e-10)
        values = basis @ (inverse @ (q.T @ (flux * weight)[is_used]))
        off = (flux - values) * weight
        scale = robust_scale(off, is_used)
        limit = max(1.0, scale)
        kept = is_free & (off < clip_above * limit) & (off > -CLIP * limit)
        if (kept == is_used).all() or kept.sum() < 2 * basis.shape[1]:
            break
        is_used = kept
    error = np.sqrt(((basis @ inverse) ** 2).sum(axis=1))
    return values, error, is_used, scale


def _model_notes(spectrum: Spectrum, redshift: float) -> tuple[str, ...]:
    """A warning where forbidden lines, which no star absorbs or emits, stand in the model."""
    assert spectrum.model is not None
    standing = []
    for name in ("OIII_5008", "NII_6585", "SII_6718"):
        velocity = (spectrum.wavelength / (LINES[name] * (1 + redshift)) - 1) * SPEED_OF_LIGHT
        core, sides = np.abs(velocity) < 150, (np.abs(velocity) > 500) & (np.abs(velocity) < 1_500)
        if not core.any() or sides.sum() < 5:
            continue
        level = np.median(spectrum.model[sides])
        noise = 1.4826 * np.median(np.abs(spectrum.model[sides] - level))
        if spectrum.model[core].max() - level > max(5 * noise, 0.1 * abs(level)):
            standing.append(name)
    if len(standing) < 2:
        return ()
    return (
        f"the model has emission at {' and '.join(standing)}: it is not of stars alone, and lines measured above it "
        'are too weak; take "spline"',
    )
