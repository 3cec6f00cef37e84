"""Flux to color: the stretch of Lupton et al. 2004, and an asinh curve for any number of bands."""

import numpy as np
from jaxtyping import Real, UInt8

MINIMUM, STRETCH, Q = 0.0, 0.5, 15.0  # Storey-Fisher 2021, sect. 2
ASINH_REFERENCE = 0.1  # Lupton 2004 as astropy implements it: the curve passes 0.1 * 255 at intensity 0.1 * stretch


def lupton(
    flux: Real[np.ndarray, "n 3 height width"],
    *,
    minimum: float = MINIMUM,
    stretch: float = STRETCH,
    q: float = Q,
) -> UInt8[np.ndarray, "n height width 3"]:
    """Color images of three bands that keep each pixel's color at any brightness.

    With ``I = (R + G + B) / 3`` of the fluxes less `minimum`, every band is multiplied by
    ``asinh(Q / stretch * I) * slope / I``, ``slope = 0.1 * 255 / asinh(0.1 * Q)``; a pixel whose brightest band
    passes 255 is scaled as a whole, so that its color stays; then truncated. Lupton et al. 2004, eqs. 1 to 3;
    the numbers are those of Storey-Fisher et al. 2021, sect. 2.

    Parameters
    ----------
    flux
        Bands in the order red, green, blue (HSC: i, r, g), in survey units.
    minimum, stretch
        Black point and linear range, survey units. `stretch` and `q` must be positive.
    q
        Softening, no unit.

    Returns
    -------
    Images, 0 to 255. A pixel with NaN or infinity in any band, or whose intensity is not positive, is black.
    Equal to `astropy.visualization.make_lupton_rgb` to one level.
    """
    _check_curve(stretch, q)
    if flux.ndim != 4 or flux.shape[1] != 3:
        raise ValueError(
            f"flux must be (n, 3, height, width) for a Lupton image, got {flux.shape}; use asinh otherwise"
        )
    bands = np.asarray(flux, np.float64) - minimum
    bad = ~np.isfinite(bands).all(axis=1, keepdims=True)
    bands = np.where(bad, 0.0, bands)
    intensity = bands.mean(axis=1, keepdims=True)
    values = np.maximum(bands * _gain(intensity, stretch, q), 0.0)
    brightest = values.max(axis=1, keepdims=True)
    values *= 255.0 / np.maximum(brightest, 255.0)
    return np.ascontiguousarray(np.moveaxis(values, 1, -1)).astype(np.uint8)


def asinh(
    flux: Real[np.ndarray, "n bands height width"],
    *,
    minimum: float = MINIMUM,
    stretch: float = STRETCH,
    q: float = Q,
) -> UInt8[np.ndarray, "n height width bands"]:
    """Images of any number of bands, each stretched by itself with the curve of `lupton`.

    Values above 255 are clipped; NaN and infinity are 0. A grey pixel gets the same value as in `lupton`.
    """
    _check_curve(stretch, q)
    bands = np.asarray(flux, np.float64) - minimum
    bands = np.where(np.isfinite(bands), bands, 0.0)
    values = np.clip(bands * _gain(bands, stretch, q), 0.0, 255.0)
    return np.ascontiguousarray(np.moveaxis(values, 1, -1)).astype(np.uint8)


def _gain(intensity: np.ndarray, stretch: float, q: float) -> np.ndarray:
    """What a flux is multiplied by, 0 where the intensity is not positive."""
    slope = ASINH_REFERENCE * 255.0 / np.arcsinh(ASINH_REFERENCE * q)
    positive = intensity > 0
    safe = np.where(positive, intensity, 1.0)
    return np.where(positive, np.arcsinh(q / stretch * safe) * slope / safe, 0.0)


def _check_curve(stretch: float, q: float) -> None:
    if not (stretch > 0 and q > 0):
        raise ValueError(f"stretch and q must be positive, got stretch {stretch} and q {q}")
