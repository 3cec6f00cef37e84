"""What a person types to find objects: an id, a list of them, a source, or a place on the sky."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from peculiar.explorer.opened import Opened

RADIUS_ARCSEC = 10.0
MOST_FOUND = 10_000
_RADIUS = re.compile(
    r"""[\s,]*\b(?:r|radius)\s*=\s*(?P<value>[0-9]+\.?[0-9]*|\.[0-9]+)\s*(?P<unit>d|deg|°|'|arcmin|m|"|arcsec|s|)\s*$"""
)
_ARCSEC = {"d": 3600.0, "deg": 3600.0, "°": 3600.0, "'": 60.0, "arcmin": 60.0, "m": 60.0}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")


@dataclass(frozen=True)
class Found:
    """Objects by id, those that match best first; and what was understood."""

    object_ids: np.ndarray
    what: Literal["ids", "source", "position"]
    said: str


def find(opened: Opened, text: str) -> Found:
    """Objects that a text names.

    Whole numbers are ids, between blanks or commas. Two numbers with a point are a place in degrees, ICRS, and what has
    hours or colons is one too; ``r=5"``, ``r=1'`` or ``r=0.1d`` after it is how far around is looked, else 10 arcsec.
    Anything else is the source of an object, whole or its end.

    Raises
    ------
    ValueError
        It names nothing here.
    """
    text = text.strip()
    if not text:
        raise ValueError(
            "type an id, a list of ids, a source, or a place on the sky as 150.1 2.2 or 10:00:24 +02:12:36"
        )
    parts = [each for each in re.split(r"[\s,;]+", text) if each]
    if all(re.fullmatch(r"-?\d+", each) for each in parts):
        return _by_ids(opened, parts)
    radius = _RADIUS.search(text)
    place = _place(text[: radius.start()] if radius else text)
    if place is not None:
        arcsec = float(radius["value"]) * _ARCSEC.get(radius["unit"], 1.0) if radius else RADIUS_ARCSEC
        return _by_place(opened, *place, arcsec)
    return _by_source(opened, text)


def _by_ids(opened: Opened, parts: list[str]) -> Found:
    wanted = [int(each) for each in parts if -(2**63) <= int(each) < 2**63]
    object_ids = np.array(list(dict.fromkeys(wanted)), np.int64)[:MOST_FOUND]
    object_ids = object_ids[opened.known(object_ids)]
    if not len(object_ids):
        raise ValueError(f"no object has the id {parts[0]}" if len(parts) == 1 else "no object has one of these ids")
    missing = len(set(parts)) - len(object_ids)
    return Found(object_ids, "ids", f"{len(object_ids)} found" + (f", {missing} not in this atlas" if missing else ""))


def _place(text: str) -> tuple[float, float] | None:
    """Right ascension and declination in degrees; None where the text is no place."""
    from astropy import units
    from astropy.coordinates import SkyCoord

    parts = [each for each in re.split(r"[\s,]+", text.strip()) if each]
    if len(parts) == 2 and all(_NUMBER.match(each) for each in parts):
        ra, dec = map(float, parts)
        if abs(dec) > 90:
            raise ValueError(f"declination must be from -90 to 90 degrees, got {dec:g}")
        return ra % 360, dec
    if not re.search(r"\d\s*[h:]\s*\d", text) and len(parts) != 6:
        return None
    try:
        found = SkyCoord(text.replace(",", " "), unit=(units.hourangle, units.deg))
    except ValueError:
        return None
    return float(found.ra.deg), float(found.dec.deg)


def _by_place(opened: Opened, ra: float, dec: float, arcsec: float) -> Found:
    from astropy.coordinates import angular_separation

    there = [np.radians(opened.number(name)) for name in ("ra", "dec")]
    with np.errstate(invalid="ignore"):
        far = np.degrees(angular_separation(np.radians(ra), np.radians(dec), *there)) * 3600
    rows = np.flatnonzero(far <= arcsec)
    said = f"within {arcsec:g} arcsec of {ra:.6f} {dec:+.6f}"
    if not len(rows):
        if np.isnan(far).all():
            raise ValueError("no object of this atlas has a position; look for an id or a source")
        nearest = int(np.nanargmin(far))
        away = f"{far[nearest]:.1f} arcsec" if far[nearest] < 3600 else f"{far[nearest] / 3600:.2f} degrees"
        raise ValueError(f"no object {said}; the nearest, {opened.object_ids[nearest]}, is {away} away")
    rows = rows[np.argsort(far[rows], kind="stable")][:MOST_FOUND]
    return Found(opened.object_ids[rows], "position", f"{len(rows)} {said}")


def _by_source(opened: Opened, text: str) -> Found:
    import pyarrow.compute as pc

    sources = opened.texts("source")
    for match in (pc.equal(sources, text), pc.ends_with(sources, text), pc.match_substring(sources, text)):
        rows = np.flatnonzero(pc.fill_null(match, False).to_numpy(zero_copy_only=False))
        if len(rows):
            return Found(opened.object_ids[rows[:MOST_FOUND]], "source", f"{len(rows)} whose source has {text!r}")
    raise ValueError(f"nothing here is called {text!r}: it is no id, no place on the sky, and in no source")
