"""Emission lines as pixels see them: Gaussians integrated over each pixel, and their derivatives."""

import numpy as np
from jaxtyping import Float


def pixel_edges(wavelength: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel begins and ends, angstrom: half-way to its neighbors.

    Across a gap, a step of more than 1.5 times the other, a pixel is as wide as on its other side: pixels that are
    absent belong to nobody.
    """
    step = np.diff(wavelength)
    before, after = np.r_[step[0], step], np.r_[step, step[-1]]
    before, after = np.minimum(before, 1.5 * after), np.minimum(after, 1.5 * before)
    return wavelength - before / 2, wavelength + after / 2


def gaussian_pixels(
    lower: np.ndarray, upper: np.ndarray, center: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean over each pixel of a Gaussian of area 1, and its slopes with center and with sigma.

    Parameters
    ----------
    lower, upper
        Edges of the pixels, angstrom.
    center, sigma
        Of the Gaussian, angstrom; they broadcast with the edges.

    Returns
    -------
    (erf(b) - erf(a)) / 2 / (upper - lower), 1 / angstrom, where a and b are the edges in units of sqrt(2) sigma: exact
    where a line is as narrow as a pixel, which the value at the pixel's middle is not.
    """
    from scipy.special import erf

    inside = 1 / (upper - lower)
    low, high = (lower - center) / sigma, (upper - center) / sigma
    mean = 0.5 * (erf(high / np.sqrt(2)) - erf(low / np.sqrt(2))) * inside
    scale = inside / (sigma * np.sqrt(2 * np.pi))
    at_low, at_high = np.exp(-0.5 * low**2) * scale, np.exp(-0.5 * high**2) * scale
    return mean, at_low - at_high, low * at_low - high * at_high
