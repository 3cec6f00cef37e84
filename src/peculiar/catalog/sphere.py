"""Places on the sky as vectors: for them ra = 0 and the poles are as any other place."""

import numpy as np
from jaxtyping import Float

ARCSEC = np.pi / 648_000  # radians
MAX_RADIUS = 3_600.0  # arcsec; what is farther is no piece and no counterpart of anything, and pairs are too many


def unit_vectors(ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Return directions as vectors of length 1, of positions in degrees."""
    right, up = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(up) * np.cos(right), np.cos(up) * np.sin(right), np.sin(up)], axis=1)


def chord_of(radius_arcsec: float) -> float:
    """Return the straight distance between two such vectors that are so far apart, up to half a turn."""
    return float(2 * np.sin(radius_arcsec * ARCSEC / 2))


def chord_of_near(radius_arcsec: float) -> float:
    """Return the same for what is looked for around many places.

    Raises
    ------
    ValueError
        The radius is not above 0 or above `MAX_RADIUS`.
    """
    if not 0 < radius_arcsec <= MAX_RADIUS:
        raise ValueError(f"radius_arcsec must be above 0 and at most {MAX_RADIUS:g}, got {radius_arcsec}")
    return chord_of(radius_arcsec)
