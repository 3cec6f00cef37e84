"""When targets can be observed: their altitude over a night, and their dark hours over a season, by astroplan.

No file is fetched: the Earth's orientation is that of astropy's own tables, and where these end its mean, which moves
an altitude by less than an arcminute.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

STEP_MINUTES = 10
SEASON_STEP_MINUTES = 15
MAX_SEASON_DAYS = 800
DARK = -18.0  # degrees: the Sun's altitude below which it is astronomical night
# Longitude (east) and latitude in degrees, height in m: the observatories' own pages.
SITES: dict[str, tuple[float, float, float]] = {
    "Calar Alto": (-2.546, 37.224, 2168),
    "CTIO": (-70.806, -30.169, 2215),
    "Gemini North": (-155.469, 19.824, 4213),
    "Gemini South": (-70.737, -30.241, 2722),
    "Keck": (-155.475, 19.826, 4160),
    "Kitt Peak": (-111.600, 31.958, 2120),
    "La Palma": (-17.880, 28.760, 2350),
    "La Silla": (-70.730, -29.257, 2347),
    "Las Campanas": (-70.702, -29.014, 2380),
    "LBT": (-109.889, 32.701, 3221),
    "Lick": (-121.637, 37.343, 1290),
    "Lowell": (-111.422, 34.744, 2360),
    "McDonald": (-104.022, 30.672, 2075),
    "MMT": (-110.885, 31.689, 2608),
    "Palomar": (-116.865, 33.356, 1706),
    "Paranal": (-70.405, -24.627, 2635),
    "Rubin": (-70.749, -30.244, 2663),
    "SAAO": (20.811, -32.379, 1798),
    "Siding Spring": (149.061, -31.273, 1149),
    "Subaru": (-155.476, 19.826, 4139),
    "Xinglong": (117.577, 40.393, 960),
}


@dataclass(frozen=True, eq=False)
class Night:
    """Targets over one night; times are UTC, in days of the modified Julian date."""

    mjd: Float[np.ndarray, " times"]
    altitude: Float[np.ndarray, "targets times"]
    sun_altitude: Float[np.ndarray, " times"]
    moon_altitude: Float[np.ndarray, " times"]
    moon_illumination: float
    moon_distance: Float[np.ndarray, " targets"]
    is_dark: Bool[np.ndarray, " times"]
    hours: Float[np.ndarray, " targets"]


@dataclass(frozen=True, eq=False)
class Season:
    """Dark hours a night that each target is high enough, over a season."""

    mjd: Float[np.ndarray, " nights"]
    hours: Float[np.ndarray, "targets nights"]


def locate(observatory: str) -> tuple[float, float, float]:
    """Return longitude (east) and latitude, degrees, and height, m, of an observatory by name, or as LON,LAT,HEIGHT.

    Raises
    ------
    ValueError
        It is no name that is known here and no three numbers, or these are out of range.
    """
    named = {name.lower(): place for name, place in SITES.items()}.get(observatory.strip().lower())
    if named is not None:
        return named
    try:
        longitude, latitude, height = (float(part) for part in observatory.split(","))
    except ValueError as error:
        raise ValueError(
            f"no observatory {observatory!r} here; give its longitude (east), latitude and height as -70.4,-24.6,2635, "
            f"or one of {', '.join(SITES)}"
        ) from error
    if not (-180 <= longitude <= 360 and -90 <= latitude <= 90 and -500 <= height <= 9_000):
        raise ValueError(f"an observatory lies at -180 to 360, -90 to 90 degrees, -500 to 9,000 m, got {observatory!r}")
    return longitude, latitude, height


def night_of(
    ra: Float[np.ndarray, " targets"],
    dec: Float[np.ndarray, " targets"],
    observatory: str,
    date: str,
    *,
    min_altitude: float = 30.0,
) -> Night:
    """Return the night that begins on a local date, from noon to noon.

    Parameters
    ----------
    ra, dec
        ICRS, degrees.
    observatory
        As `locate` takes it.
    date
        Year-month-day, as 2026-12-01.
    min_altitude
        Degrees above the horizon from which a target can be observed: 30 is an airmass of 2.
    """
    with _offline():
        watcher, noon = _watcher(observatory, date)
        times = noon + _days(np.arange(0, 24 * 60 + 1, STEP_MINUTES) / 1440)
        targets = _sky(ra, dec)
        altitude = watcher.altaz(times, targets, grid_times_targets=True).alt.deg
        sun = watcher.sun_altaz(times).alt.deg
        moon = watcher.moon_altaz(times).alt.deg
        middle = times[int(np.argmin(sun))]
        illumination = float(watcher.moon_illumination(middle))
        distance = _moon_distance(watcher, middle, targets)
    is_dark = sun < DARK
    hours = ((altitude >= min_altitude) & is_dark).sum(axis=1) * STEP_MINUTES / 60
    return Night(times.mjd, altitude, sun, moon, illumination, distance, is_dark, hours)


def season_of(
    ra: Float[np.ndarray, " targets"],
    dec: Float[np.ndarray, " targets"],
    observatory: str,
    first: str,
    last: str,
    *,
    min_altitude: float = 30.0,
) -> Season:
    """Return the dark hours a night between two dates, of a night a week."""
    with _offline():
        watcher, noon = _watcher(observatory, first)
        _, end = _watcher(observatory, last)
        if not end > noon:
            raise ValueError(f"a season ends after it begins, got {first} to {last}")
        if (end - noon).jd > MAX_SEASON_DAYS:
            raise ValueError(f"a season may have {MAX_SEASON_DAYS} days, got {first} to {last}")
        n_nights = int(np.ceil((end - noon).jd / 7)) + 1
        nights = noon + _days(7 * np.arange(n_nights))
        steps = np.arange(0, 24 * 60, SEASON_STEP_MINUTES) / 1440
        times = (nights[:, None] + _days(steps)[None, :]).ravel()
        altitude = watcher.altaz(times, _sky(ra, dec), grid_times_targets=True).alt.deg
        is_dark = watcher.sun_altaz(times).alt.deg < DARK
    is_up = (altitude >= min_altitude) & is_dark
    hours = is_up.reshape(len(ra), n_nights, len(steps)).sum(axis=2) * SEASON_STEP_MINUTES / 60
    return Season(nights.mjd, hours)


def _watcher(observatory: str, date: str) -> tuple[Any, Any]:
    """The observer, and noon of a local date there."""
    import astropy.units as u
    from astroplan import Observer
    from astropy.coordinates import EarthLocation
    from astropy.time import Time

    longitude, latitude, height = locate(observatory)
    place = EarthLocation.from_geodetic(longitude * u.deg, latitude * u.deg, height * u.m)
    try:
        day = Time(f"{date.strip()} 12:00", format="iso", scale="utc", out_subfmt="date_hm")
    except ValueError as error:
        raise ValueError(f"a date is written year-month-day, as 2026-12-01, got {date!r}") from error
    east = (longitude + 180) % 360 - 180
    return Observer(location=place, name=observatory), day - east / 360 * u.day


def _days(values: np.ndarray) -> Any:
    import astropy.units as u

    return values * u.day


def _sky(ra: np.ndarray, dec: np.ndarray) -> Any:
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    return SkyCoord(ra * u.deg, dec * u.deg)


def _moon_distance(watcher: Any, time: Any, targets: Any) -> np.ndarray:
    """Degrees from the Moon to the targets as the observer sees them."""
    moon = watcher.moon_altaz(time)
    seen = watcher.altaz(time, targets)
    return np.asarray(moon.separation(seen).deg)


@contextmanager
def _offline() -> Iterator[None]:
    """Astropy without the network: see the module's text."""
    from astropy.utils import iers
    from astropy.utils.exceptions import AstropyWarning
    from erfa import ErfaWarning

    with ExitStack() as held:
        held.enter_context(iers.conf.set_temp("auto_download", False))
        held.enter_context(iers.conf.set_temp("auto_max_age", None))
        held.enter_context(iers.conf.set_temp("iers_degraded_accuracy", "ignore"))
        held.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "Tried to get polar motions", AstropyWarning)
        warnings.simplefilter("ignore", ErfaWarning)  # "dubious year": leap seconds to come are not known
        yield
