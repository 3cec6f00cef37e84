"""Read region files of DS9 and CASA as shapes on the sky, and say what is inside MOC files.

Plain lines of DS9 files, hundreds of thousands in masks of bright stars, are read here: the package `regions` needs
40 s for 100,000 of them, and this 2 s (benchmarks/masks.py). It reads all else.
"""

import gzip
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from peculiar.catalog.masks import MAX_REACH, MAX_SIZE, Kind, Shapes

if TYPE_CHECKING:
    from astropy.coordinates import BaseCoordinateFrame

MOC_AT_ONCE = 1_000_000  # positions that a MOC is asked about at a time
MAX_BYTES = 500_000_000  # five million shapes; a file that is packed may hold any amount
NEEDS = 'pip install "peculiar[catalog]"'
# DS9's names of the frames whose lengths are angles, and astropy's (https://ds9.si.edu/doc/ref/region.html).
FRAMES = {
    **{"icrs": "icrs", "fk5": "fk5", "j2000": "fk5", "fk4": "fk4", "b1950": "fk4", "galactic": "galactic"},
    "ecliptic": "barycentricmeanecliptic",
}
PIXEL_FRAMES = ("image", "physical", "linear", "amplifier", "detector")
NO_INSIDE = (
    *("point", "circlepoint", "boxpoint", "diamondpoint", "crosspoint", "xpoint", "arrowpoint", "boxcirclepoint"),
    *("line", "vector", "segment", "text", "ruler", "compass", "projection"),
)
KINDS = {"circle": Kind.CIRCLE, "ellipse": Kind.ELLIPSE, "box": Kind.BOX, "rotbox": Kind.BOX, "polygon": Kind.POLYGON}
UNITS = {"": 1.0, "d": 1.0, "'": 1 / 60, '"': 1 / 3600, "r": 180 / np.pi}  # of lengths, in degrees
_SHAPE = re.compile(r"([+-]?)\s*([a-z][a-z0-9]*)(?:\s*\(([^()&|]*)\)|\s+([^()&|]*?))\s*(?:\|\|)?\s*")
_LENGTH = re.compile(r"""([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)([d'"r]?)""")
_BETWEEN = re.compile(r"\s*,\s*|\s+")
_EXCLUDED = re.compile(r"\binclude\s*=\s*0")
_CORNER_BOX = re.compile(r"^\s*[+-]?\s*box\s*\[", re.IGNORECASE | re.MULTILINE)


@dataclass(slots=True)
class _Row:
    """One shape as its file has it: degrees, in a frame of its own."""

    frame: Any
    kind: Kind
    lon: float
    lat: float
    sizes: tuple[float, float, float, float]  # width, height, and those of the hole
    angle: float
    is_excluded: bool
    corners: list[tuple[float, float]]
    line: int  # of its file, from 1; 0 where it is not known


def read_regions(path: Path) -> Shapes:
    """Read a region file, of DS9 (.reg) or CASA (CRTF), gzipped or not, as shapes on the sky.

    Circles, ellipses, boxes, polygons and annuli, in ICRS, FK5, FK4, galactic or ecliptic coordinates. A shape with "-"
    before it is excluded: it takes away from all others of its file. Members of a DS9 composite count each.

    Raises
    ------
    ValueError
        A shape is of pixels, has no inside, or cannot be read or understood, naming its line; nothing is passed over.
        FITS region files, which hold pixels of one image, are refused, and a file that has excluded shapes only.
    ImportError
        The file needs the package `regions`, which is not installed.
    FileNotFoundError
        There is no such file.
    """
    text = _text_of(path)
    is_casa = text.lstrip().startswith("#CRTF") or path.name.removesuffix(".gz").endswith((".crtf", ".crtfs"))
    rows = list(_casa_rows(text, path) if is_casa else _ds9_rows(text, path))
    if not rows:
        raise ValueError(f'{path} holds no shape; a region file has lines as: fk5; circle(150.1,2.2,30")')
    if all(row.is_excluded for row in rows):
        raise ValueError(
            f"{path} holds excluded shapes only ({len(rows)}, each with a minus sign), so that nothing or all the rest "
            "of the sky would be inside; write them without the minus sign, or add the shape that they are taken from"
        )
    for row in rows:
        _check(row, path)
    shapes = _as_shapes(rows)
    too_far = np.flatnonzero((shapes.kind == Kind.POLYGON) & (shapes.reach > MAX_REACH))
    if len(too_far):
        _refuse(path, rows[too_far[0]].line, f"a polygon may reach {MAX_REACH:g} degrees from its center; split it")
    return shapes


def inside_moc(path: Path, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Say which positions are inside a MOC, a FITS, JSON or ASCII file of HEALPix cells (IVOA), bool (n,).

    Parameters
    ----------
    path
        Of a space MOC in ICRS, as the standard has it.
    ra, dec
        ICRS, degrees; one that is not finite is inside nothing.

    Raises
    ------
    ValueError
        It is no MOC, or not one of the sky, or has another coordinate system.
    ImportError
        The package `mocpy` is not installed.
    """
    from astropy import units

    moc = _read_moc(path)
    found, where = np.zeros(len(ra), bool), np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    for start in range(0, len(where), MOC_AT_ONCE):
        some = where[start : start + MOC_AT_ONCE]
        # The Rust library takes longitudes of one turn.
        found[some] = moc.contains_lonlat(np.mod(ra[some], 360) * units.deg, dec[some] * units.deg)
    return found


def _refuse(path: Path, line: int, why: str, error: Exception | None = None) -> NoReturn:
    raise ValueError(f"{path}{f', line {line}' if line else ''}: {why}") from error


def _head(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; regions and mocs are files")
    with path.open("rb") as stream:
        return stream.read(80)


def _text_of(path: Path) -> str:
    head = _head(path)
    if head.startswith(b"SIMPLE  ="):
        raise ValueError(
            f"{path} is a FITS file; FITS regions hold pixels of one image, so save them from DS9 in fk5 or icrs; if "
            "it is a MOC, give it as one of the mocs"
        )
    with gzip.open(path) if head.startswith(b"\x1f\x8b") else path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES / 1e6:.0f} MB of text, unpacked; split it")
    return raw.decode("utf-8", errors="replace")  # labels may be in any encoding; what is read is ASCII


def _ds9_rows(text: str, path: Path) -> Iterator[_Row]:
    """The shapes of a DS9 file; what is neither one nor a comment, frame or setting is refused."""
    frame = ""
    for number, line in enumerate(text.splitlines(), start=1):
        code, _, properties = line.partition("#")
        if _EXCLUDED.search(code) or (code.strip() and _EXCLUDED.search(properties)):
            _refuse(path, number, "include=0 is not read; write a minus sign before each shape that is excluded")
        if code.startswith("global"):
            continue
        for part in filter(None, (each.strip().lower() for each in code.split(";"))):
            if part in FRAMES or part in PIXEL_FRAMES:
                frame = part
            elif part != "wcs":  # which names no frame, as "wcs; fk5" in HSC's masks of bright stars
                yield from _ds9_shape(part, frame, number, path)


def _ds9_shape(part: str, frame: str, line: int, path: Path) -> Iterator[_Row]:
    found = _SHAPE.fullmatch(part)
    if found is None:
        _refuse(path, line, f"{part[:60]!r} is neither a frame nor one shape; unions of shapes stand a line each")
    sign, name, inside, bare = found.groups()
    if name in NO_INSIDE:
        _refuse(path, line, f"a {name} has no inside; take it out of the file")
    if frame in PIXEL_FRAMES:
        _refuse(path, line, f"{frame} coordinates are pixels of one image; save the regions from DS9 in fk5 or icrs")
    if not frame:
        _refuse(path, line, "no coordinate frame was named; write fk5, icrs or galactic on a line before the shapes")
    values = _BETWEEN.split((inside if inside is not None else bare).strip())
    row = _plain(name, values, frame, line, is_excluded=sign == "-")
    if row is not None:
        yield row
        return
    plain_name = "box" if name == "rotbox" else name
    for region in _parsed(f"{frame}\n{sign}{plain_name}({','.join(values)})", "ds9", path, line):
        yield _row_of(region, path, line)


def _plain(name: str, values: list[str], frame: str, line: int, *, is_excluded: bool) -> _Row | None:
    """A shape whose numbers are decimal degrees and lengths with one-letter units; None where it is another."""
    kind, numbers = KINDS.get(name), [_LENGTH.fullmatch(each) for each in values]
    n_wanted = {Kind.CIRCLE: (3,), Kind.ELLIPSE: (4, 5), Kind.BOX: (4, 5)}
    if kind is None or None in numbers:
        return None
    known = [(float(each[1]), each[2]) for each in numbers if each is not None]
    places = known if kind == Kind.POLYGON else [*known[:2], *known[4:]]
    if any(unit not in ("", "d") for _, unit in places):
        return None
    if kind == Kind.POLYGON:
        flat = [value for value, _ in known]
        if len(flat) % 2 or len(flat) < 6:
            return None
        corners = list(zip(flat[::2], flat[1::2], strict=True))
        return _Row(frame, kind, *corners[0], (0, 0, 0, 0), 0, is_excluded, corners, line)
    if len(known) not in n_wanted[kind]:
        return None
    sizes = [value * UNITS[unit] for value, unit in known[2:4]]
    width, height = (2 * sizes[0], 2 * sizes[-1]) if kind != Kind.BOX else sizes
    angle = known[4][0] if len(known) == 5 else 0.0
    return _Row(frame, kind, known[0][0], known[1][0], (width, height, 0, 0), angle, is_excluded, [], line)


def _casa_rows(text: str, path: Path) -> Iterator[_Row]:
    if box := _CORNER_BOX.search(text):
        # `regions` takes the difference of right ascensions for the width, without the cosine of the declination.
        line = text.count("\n", 0, box.end()) + 1
        _refuse(path, line, "a box given by its corners is not read; write a centerbox or poly")
    for region in _parsed(text, "crtf", path, 0):
        if region.meta.get("type") != "ann":  # an annotation, which CASA draws and does not count as a region
            yield _row_of(region, path, 0)


def _parsed(text: str, form: str, path: Path, line: int) -> list[Any]:
    """What `regions` makes of a text; what it would pass over with a warning is refused."""
    try:
        from regions import Regions
    except ImportError as error:
        raise ImportError(f"{path} needs the package regions to be read: {NEEDS}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = list(Regions.parse(text, format=form))
    except (ValueError, TypeError, KeyError, IndexError, Warning) as error:
        _refuse(path, line, f"not understood: {error}", error)
    if line and not found:
        _refuse(path, line, f"{text.splitlines()[-1]!r} is no shape that can be read; write a polygon")
    return found


def _row_of(region: Any, path: Path, line: int) -> _Row:
    """A sky region of `regions`, as it says what it is."""
    name = type(region).__name__
    if name.endswith("PixelRegion"):
        _refuse(path, line, f"{name} is of pixels or names no coordinates; write coord=J2000, ICRS or GALACTIC")
    kinds = {"Circle": Kind.CIRCLE, "Ellipse": Kind.ELLIPSE, "Rectangle": Kind.BOX, "Polygon": Kind.POLYGON}
    kind = kinds.get(re.sub("(Annulus)?SkyRegion$", "", name))
    if kind is None:
        _refuse(path, line, f"{name} has no inside that can be tested; take it out of the file")
    is_excluded = not region.meta.get("include", True)
    if kind == Kind.POLYGON:
        places = region.vertices.spherical
        corners = list(zip(places.lon.deg.tolist(), places.lat.deg.tolist(), strict=True))
        frame = region.vertices.frame.replicate_without_data()
        return _Row(frame, kind, *corners[0], (0, 0, 0, 0), 0, is_excluded, corners, line)
    place, frame = region.center.spherical, region.center.frame.replicate_without_data()

    def size(*names: str) -> float:
        lengths = [getattr(region, each, None) for each in names]
        return next((float(each.to_value("deg")) for each in lengths if each is not None), 0.0)

    if kind == Kind.CIRCLE:
        outer, inner = 2 * size("outer_radius", "radius"), 2 * size("inner_radius")
        sizes, angle = (outer, outer, inner, inner), 0.0
    else:
        sizes = (
            *(size("outer_width", "width"), size("outer_height", "height")),
            *(size("inner_width"), size("inner_height")),
        )
        angle = float(region.angle.to_value("deg"))
    return _Row(frame, kind, float(place.lon.deg), float(place.lat.deg), sizes, angle, is_excluded, [], line)


def _check(row: _Row, path: Path) -> None:
    """Refuse a shape that is none on the sky."""
    places = row.corners or [(row.lon, row.lat)]
    if not np.isfinite([*(each for place in places for each in place), *row.sizes, row.angle]).all():
        _refuse(path, row.line, "a number is not finite")
    if any(abs(lat) > 90 for _, lat in places):
        _refuse(path, row.line, "a declination or latitude is beyond 90 degrees; are the coordinates interchanged?")
    if row.kind == Kind.POLYGON:
        if len(places) < 3:
            _refuse(path, row.line, f"a polygon needs three corners or more, got {len(places)}")
        return
    width, height, inner_width, inner_height = row.sizes
    if min(width, height) <= 0:
        _refuse(path, row.line, f"sizes must be above 0, got {width:g} and {height:g} degrees across")
    if inner_width >= width or inner_height >= height:
        _refuse(path, row.line, "the hole of an annulus must be smaller than its outside")
    if row.kind != Kind.CIRCLE and max(width, height) > MAX_SIZE:
        _refuse(path, row.line, f"a box or ellipse may be {MAX_SIZE:g} degrees across; write a polygon or a MOC")


def _as_shapes(rows: list[_Row]) -> Shapes:
    counts = np.array([len(row.corners) for row in rows])
    first = np.concatenate([[0], np.cumsum(counts)])
    lon, lat, angle = (np.array([getattr(row, each) for row in rows], float) for each in ("lon", "lat", "angle"))
    corners = np.array([place for row in rows for place in row.corners], float).reshape(-1, 2)
    keys = np.array([str(row.frame) for row in rows])
    for key in np.unique(keys):
        mine = np.flatnonzero(keys == key)
        of_corner = np.isin(np.repeat(keys, counts), key)
        frame = _frame(rows[mine[0]].frame)
        lon[mine], lat[mine], turned = _in_icrs(lon[mine], lat[mine], frame)
        angle[mine] += turned
        corners[of_corner] = np.stack(_in_icrs(corners[of_corner, 0], corners[of_corner, 1], frame)[:2], axis=1)
    sizes = np.array([row.sizes for row in rows], float)
    return Shapes(
        kind=np.array([row.kind for row in rows], np.int8),
        ra=lon,
        dec=lat,
        width=sizes[:, 0],
        height=sizes[:, 1],
        inner_width=sizes[:, 2],
        inner_height=sizes[:, 3],
        angle=angle,
        is_excluded=np.array([row.is_excluded for row in rows], bool),
        corners=corners,
        first=first,
    )


def _frame(frame: "str | BaseCoordinateFrame") -> Any:
    return FRAMES[frame] if isinstance(frame, str) else frame


def _in_icrs(lon: np.ndarray, lat: np.ndarray, frame: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of a frame in ICRS, degrees, and the position angle there of the frame's north."""
    from astropy.coordinates import SkyCoord

    if frame == "icrs" or not len(lon):
        return lon, lat, np.zeros(len(lon))
    places = SkyCoord(lon, lat, unit="deg", frame=frame).icrs
    north = SkyCoord(0, 90, unit="deg", frame=frame).icrs
    return places.ra.deg, places.dec.deg, places.position_angle(north).deg


def _read_moc(path: Path) -> Any:
    head = _head(path)
    if head.startswith(b"\x1f\x8b"):
        raise ValueError(f"{path} is gzipped, which a MOC may not be here; unpack it first")
    try:
        from mocpy import MOC
    except ImportError as error:
        raise ImportError(f"{path} needs the package mocpy to be read: {NEEDS}") from error
    form = "fits" if head.startswith(b"SIMPLE  =") else "json" if head.lstrip().startswith(b"{") else "ascii"
    try:
        moc = MOC.load(path, format=form)
    except OSError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{path} is no MOC of the sky in FITS, JSON or ASCII form: {why}") from error
    if moc.empty() or not 0 < moc.sky_fraction <= 1:
        raise ValueError(
            f"{path} holds no cell of the sky; orders go from 0 to 29, cells from 0 to 12 times 4^order - 1"
        )
    return moc
