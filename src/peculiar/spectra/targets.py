"""Targets for a spectrograph: their names and places as observing tools write them, and slits."""

import numpy as np
from jaxtyping import Float

ARCSEC = 3600.0


def slit_through(
    one: Float[np.ndarray, " 2"],
    other: Float[np.ndarray, " 2"],
    *,
    shape: tuple[int, int],
    pixel_scale: float,
    north: float = 0.0,
) -> tuple[float, float, float]:
    """Return angle (degrees, north through east) and center (arcsec east, north) of a slit through two points.

    Parameters
    ----------
    one, other
        Two points of the image as on a screen: (x to the right, y down), pixels, the center of the first pixel 0.
    shape
        Height and width of the image, whose center is the object.
    pixel_scale
        Arcsec a pixel.
    north
        Where north is, degrees from up, counterclockwise; east is 90 degrees on.

    Raises
    ------
    ValueError
        The points are one.
    """
    if np.allclose(one, other):
        raise ValueError(f"a slit goes through two points, got the same twice, {one[0]:g}, {one[1]:g}")
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    (east, north_one), (east_other, north_other) = (
        _on_sky((np.asarray(each, float) - middle) * pixel_scale, north) for each in (one, other)
    )
    angle = float(np.degrees(np.arctan2(east_other - east, north_other - north_one)) % 180)
    return angle, (east + east_other) / 2, (north_one + north_other) / 2


def _on_sky(offset: np.ndarray, north: float) -> tuple[float, float]:
    """East and north of an offset on the screen (right, down)."""
    left, up = -offset[0], -offset[1]
    turn = np.radians(north)
    # Counterclockwise by `north`: up and left are as north and east where it is 0.
    return float(left * np.cos(turn) - up * np.sin(turn)), float(up * np.cos(turn) + left * np.sin(turn))


def sexagesimal(ra: float, dec: float) -> tuple[str, str]:
    """Return right ascension and declination, degrees, as 09:59:34.32 and +01:37:07.4."""
    from astropy.coordinates import Angle
    from astropy.units import deg, hourangle

    hours = Angle(ra, deg).to_string(unit=hourangle, sep=":", precision=2, pad=True)
    return hours, Angle(dec, deg).to_string(unit=deg, sep=":", precision=1, pad=True, alwayssign=True)


def target_name(ra: float, dec: float, prefix: str = "J") -> str:
    """Return the name by position of the IAU's convention, as J095934.32+013707.4: cut off, not rounded."""
    from astropy.coordinates import Angle
    from astropy.units import deg, hourangle

    hours = np.floor(ra / 15 * ARCSEC * 100 + 1e-6) / 100 / ARCSEC
    degrees = np.floor(abs(dec) * ARCSEC * 10 + 1e-6) / 10 / ARCSEC
    right = Angle(hours, hourangle).to_string(sep="", precision=2, pad=True)
    return f"{prefix}{right}{'-' if dec < 0 else '+'}{Angle(degrees, deg).to_string(sep='', precision=1, pad=True)}"
