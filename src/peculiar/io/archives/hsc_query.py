"""The catalog query of the paper's sample, corrected, for two releases of the Hyper Suprime-Cam survey."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Literal

BANDS = ("g", "r", "i", "z", "y")
# Storey-Fisher 2021, sect. 2.1; an object that has any of them in any band is left out.
FLAGS = (
    "pixelflags_bright_objectcenter",
    "pixelflags_bright_object",
    "pixelflags_edge",
    "pixelflags_saturatedcenter",
    "pixelflags_interpolatedcenter",
    "pixelflags_crcenter",
    "cmodel_flag",
)
ALIASES = {"forced": "f1", "forced2": "f2", "forced4": "f4", "meas": "m", "meas2": "m2", "masks": "k"}
ERRORS = {"pdr2": "magsigma", "pdr3": "magerr"}  # how the releases call the error of a magnitude


@dataclass(frozen=True, kw_only=True)
class HscQuery:
    """Options of ``peculiar query hsc``; the defaults are the paper's sample."""

    release: Annotated[Literal["pdr2", "pdr3"], "data release"] = "pdr2"
    min_mag: Annotated[float, "brightest CModel magnitude, inclusive, not corrected for extinction"] = 20.0
    max_mag: Annotated[float, "faintest, exclusive"] = 20.5
    mag_band: Annotated[str, "band of the magnitude limits"] = "i"
    bands: Annotated[tuple[str, ...], "bands that the cuts are made in, and that columns are returned of"] = BANDS
    n_inputs: Annotated[int, "fewest exposures at the object, in each band"] = 3
    flags: Annotated[tuple[str, ...], "flags that must not be set in any band; none: no cut"] = FLAGS
    box: Annotated[tuple[float, ...], "area: least and greatest ra, least and greatest dec, degrees"] = ()
    cone: Annotated[tuple[float, ...], "area: ra, dec, degrees, and radius, arcsec"] = ()
    is_galaxies: Annotated[bool, "leave out what is a point source in i; the paper does not"] = False
    is_masks: Annotated[bool, "return the bright-star masks (pdr3)"] = False
    n_rows: Annotated[int, "most rows; 0: all"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, given, known in (
            ("release", (self.release,), tuple(ERRORS)),
            ("bands", self.bands, BANDS),
            ("mag_band", (self.mag_band,), BANDS),
            ("flags", () if self.flags == ("none",) else self.flags, _known_flags(self.release)),
        ):
            wrong = [each for each in given if each not in known]
            if wrong or len(set(given)) < len(given):
                raise ValueError(f"{name} must be of {', '.join(known)}, each once, got {','.join(given)!r}")
        if not self.bands:
            raise ValueError("bands must be at least one, got none")
        if not 0 <= self.min_mag < self.max_mag <= 40:
            raise ValueError(f"min_mag must be below max_mag, both 0 to 40, got {self.min_mag} and {self.max_mag}")
        if self.n_inputs < 0 or self.n_rows < 0:
            raise ValueError(f"n_inputs and n_rows must not be negative, got {self.n_inputs} and {self.n_rows}")
        if self.is_masks and self.release != "pdr3":
            raise ValueError("masks are known to be in the tables of pdr3 only; ask for them with --release pdr3")
        self._check_area()

    def _check_area(self) -> None:
        if self.box and self.cone:
            raise ValueError("give box or cone, not both")
        if self.box:
            ok = len(self.box) == 4 and 0 <= self.box[0] < self.box[1] <= 360 and -90 <= self.box[2] < self.box[3] <= 90
            if not ok:
                raise ValueError(f"box must be least and greatest ra, least and greatest dec, got {self.box}")
        if self.cone and not (len(self.cone) == 3 and -90 <= self.cone[1] <= 90 and 0 < self.cone[2] <= 36_000):
            raise ValueError(f"cone must be ra, dec and a radius of at most 36,000 arcsec, got {self.cone}")


def known_columns(release: str) -> dict[str, frozenset[str]]:
    """Columns of the tables that queries may name, by table, as the shipped list has them."""
    text = files("peculiar.io.archives").joinpath("hsc_columns.json").read_text(encoding="utf-8")
    return {
        table: frozenset(name.replace("{band}", band) for name in names for band in BANDS)
        for table, names in json.loads(text)[release].items()
    }


def hsc_sql(query: HscQuery) -> str:
    """PostgreSQL for the archive.

    The published query lacks a comma and does not return the fluxes that the comparison of catalogs needs; this one
    does: {g,r,i}_cmodel_flux, i_convolvedflux_3_20_flux. What pdr3 calls i_blendedness_abs is returned under the
    name of pdr2, i_blendedness_abs_flux. Never run against the archive.
    """
    columns = ",\n    ".join(_columns(query))
    tables = dict.fromkeys(["forced", "forced2", "forced4", "meas", _blendedness_table(query.release)])
    tables |= {"masks": None} if query.is_masks else {}
    first, *others = (f"{query.release}_wide.{table} AS {ALIASES[table]}" for table in tables)
    joins = "".join(f"\n    LEFT JOIN {each} USING (object_id)" for each in others)
    cuts = "\n    AND ".join(_cuts(query))
    limit = f"\nLIMIT {query.n_rows}" if query.n_rows else ""
    return f"SELECT\n    {columns}\nFROM\n    {first}{joins}\nWHERE\n    {cuts}{limit}\n;\n"


def _columns(query: HscQuery) -> Iterator[str]:
    bands, error = query.bands, ERRORS[query.release]
    yield from (f"f1.{each}" for each in ("object_id", "ra", "dec", "tract", "patch", "parent_id"))
    yield from (f"f1.a_{band}" for band in bands)
    for name in ("mag", error, "flag"):
        yield from (f"f1.{band}_cmodel_{name}" for band in bands)
    for name in ("mag", error, "flag"):
        yield from (f"f2.{band}_psfflux_{name}" for band in bands)
    flags = [each for each in FLAGS if each.startswith("pixelflags")]
    for name in ("inputcount_value", "extendedness_value", "localbackground_flux", *flags):
        yield from (f"f1.{band}_{name}" for band in bands)
    yield from (f"f1.{band}_cmodel_flux" for band in "gri")  # colors and the aperture ratio (Fig. 5)
    yield "f4.i_convolvedflux_3_20_flux"
    if query.release == "pdr2":
        yield from (f"m.{band}_blendedness_abs_flux" for band in bands)
        yield from (f"m.{band}_blendedness_flag" for band in bands)
    else:
        yield from (f"m2.{band}_blendedness_abs AS {band}_blendedness_abs_flux" for band in bands)
        yield from (f"m2.{band}_blendedness_flag" for band in bands)
    for band in "ir":
        for model in ("cmodel_exp", "cmodel_dev", "cmodel"):
            yield from (f"m.{band}_{model}_ellipse_{element}" for element in ("11", "22", "12"))
    if query.is_masks:
        yield from (f"k.{band}_mask_brightstar_any" for band in bands)


def _cuts(query: HscQuery) -> Iterator[str]:
    yield "f1.isprimary"
    yield "f1.nchild = 0"
    if query.box:
        yield f"boxSearch(f1.coord, {', '.join(f'{each!r}' for each in query.box)})"
    if query.cone:
        yield f"coneSearch(f1.coord, {', '.join(f'{each!r}' for each in query.cone)})"
    yield f"f1.{query.mag_band}_cmodel_mag >= {query.min_mag!r}"
    yield f"f1.{query.mag_band}_cmodel_mag < {query.max_mag!r}"
    if query.n_inputs:
        yield from (f"f1.{band}_inputcount_value >= {query.n_inputs}" for band in query.bands)
    if query.is_galaxies:
        yield "f1.i_extendedness_value = 1"
    for flag in query.flags:
        if flag != "none":
            yield from (f"NOT f1.{band}_{flag}" for band in query.bands)


def _blendedness_table(release: str) -> str:
    return "meas" if release == "pdr2" else "meas2"


def _known_flags(release: str) -> tuple[str, ...]:
    names = known_columns(release)["forced"] if release in ERRORS else frozenset()
    return tuple(sorted(each[2:] for each in names if each.startswith(("i_pixelflags", "i_cmodel_flag"))))
