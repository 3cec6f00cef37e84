"""Links to what others have of a place on the sky."""

import json
import math
from urllib.parse import quote, urlencode

# Pixels of the HSC viewer in the colors that the paper's images have: red i, green r, blue g.
_HSC_TONES = {"beta": 22026.465794806718, "a": 1, "bias": 0.05, "b0": 0}
_HSC_COLORS = {
    "type": "SDSS_TRUE_COLOR",
    "filter": ["HSC-I", "HSC-R", "HSC-G"],
    "simpleRgb": _HSC_TONES,
    "sdssTrueColor": _HSC_TONES,
}
_HSC_FIELD = 0.0002  # radians, the height of the view: 41 arcsec
_AROUND_ARCSEC, _AROUND_ARCMIN = "10", "0.17"  # the same: SIMBAD takes either, NED minutes of arc only


def sky_viewers(ra: float | None, dec: float | None) -> dict[str, str]:
    """Addresses of sky viewers and databases at a position, by their names; none where it is not known.

    Parameters
    ----------
    ra, dec
        ICRS, degrees; any turn of `ra` is taken. None, NaN and infinity are no position.

    Raises
    ------
    ValueError
        `dec` is not from -90 to 90.

    Notes
    -----
    Positions are given to 1e-7 degrees, 0.4 milliarcsec. Nothing is asked for: whether a survey covers the place shows
    when the link is followed.
    """
    if ra is None or dec is None or not (math.isfinite(ra) and math.isfinite(dec)):
        return {}
    if abs(dec) > 90:
        raise ValueError(f"dec must be from -90 to 90 degrees, got {dec}; check that ra and dec are not exchanged")
    east, north, signed = f"{ra % 360:.7f}", f"{dec:.7f}", f"{ra % 360:.7f} {dec:+.7f}"
    view = {"a": round(math.radians(ra % 360), 10), "d": round(math.radians(dec), 10), "fovy": _HSC_FIELD, "roll": 0}
    state = json.dumps({"view": view, "sspParams": _HSC_COLORS}, separators=(",", ":"))
    return {
        "HSC map": f"https://hsc-release.mtk.nao.ac.jp/hscMap-pdr2/app/#/?_={quote(state, safe='')}",
        "Legacy Surveys": "https://www.legacysurvey.org/viewer?"
        + _query(ra=east, dec=north, layer="ls-dr10", zoom="16", mark=f"{east},{north}"),
        "SIMBAD": "https://simbad.cds.unistra.fr/simbad/sim-coo?"
        + _query(Coord=signed, CooFrame="ICRS", Radius=_AROUND_ARCSEC)
        + "&Radius.unit=arcsec",
        "NED": "https://ned.ipac.caltech.edu/conesearch?"
        + _query(
            search_type="Near Position Search",
            coordinates=f"{east}d {dec:+.7f}d",
            radius=_AROUND_ARCMIN,
            in_csys="Equatorial",
            in_equinox="J2000",
        ),
        "Aladin Lite": "https://aladin.cds.unistra.fr/AladinLite/?"
        + _query(target=signed, fov="0.02", survey="CDS/P/DSS2/color"),
    }


def _query(**fields: str) -> str:
    return urlencode(fields, safe=",", quote_via=quote)
