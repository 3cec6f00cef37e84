"""Noise of a spectrum, from its own pixels: where a file gives none, or to check the one that it gives."""

import numpy as np
from jaxtyping import Bool, Float

WIDTH = 151  # pixels; 75 differences on either side give the noise to 8 %, and sky bands are wider
LEAST = 20  # pixels that a deviation may be said from
# Third-order differences, 2 f_i - f_(i-2) - f_(i+2), have no part of any slope, and little of curvature, and skip the
# neighbor, whose noise is the pixel's own where a spectrum was resampled: DER_SNR, Stoehr et al. 2008.
STEP = 2
OF_DIFFERENCE = 1.482602 / np.sqrt(6.0)  # to a pixel's deviation, from the median absolute difference


def estimate_ivar(flux: Float[np.ndarray, " n"], *, width: int = WIDTH) -> Float[np.ndarray, " n"]:
    """Return the inverse variance of every pixel, from the differences around it.

    Deviation = 1.4826 / sqrt(6) x running median of abs(2 f_i - f_(i-2) - f_(i+2)), as DER_SNR (Stoehr et al. 2008),
    but in a window that goes along, as the noise does. Lines narrower than half of `width` do not count, for it is a
    median. Noise that neighbors share, from resampling, is seen in part: such an error is somewhat too small.

    Parameters
    ----------
    flux
        A pixel that is not finite has ivar 0, and is in no difference; so has one whose surroundings do not vary.
    width
        Pixels of the window, 21 or more.
    """
    if width <= LEAST:
        raise ValueError(f"width must be above {LEAST} pixels, got {width}")
    n = len(flux)
    if n < width:
        raise ValueError(f"flux must have {width} pixels or more for its noise to be known, got {n}")
    from scipy.ndimage import median_filter

    is_known = np.isfinite(flux)
    difference = np.full(n, np.nan)
    inner = slice(STEP, n - STEP)
    difference[inner] = np.abs(2 * flux[inner] - flux[: -2 * STEP] - flux[2 * STEP :])
    usable = np.flatnonzero(np.isfinite(difference))
    if len(usable) < LEAST:
        raise ValueError(f"flux must be finite in {LEAST} pixels or more that lie together, got {len(usable)}")
    running = median_filter(difference[usable], size=min(width, len(usable)), mode="nearest")
    deviation = OF_DIFFERENCE * np.interp(np.arange(n), usable, running)
    is_known &= deviation > 0
    return np.where(is_known, 1 / np.where(is_known, deviation, 1.0) ** 2, 0.0)


def robust_scale(normalized: Float[np.ndarray, " n"], is_used: Bool[np.ndarray, " n"] | None = None) -> float:
    """Return the deviation of residuals that are in units of their errors, by the median; 1 where errors are right.

    NaN where fewer than 20 are used.
    """
    values = normalized if is_used is None else normalized[is_used]
    if len(values) < LEAST:
        return float("nan")
    return float(1.482602 * np.median(np.abs(values - np.median(values))))
