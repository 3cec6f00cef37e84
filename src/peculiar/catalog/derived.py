"""Columns that are made of a survey's own: sizes, shapes and colors, each declared once with its formula.

METHOD.md sect. 5; Storey-Fisher 2021, sect. 4.2. The first declaration of a name whose columns a catalog has is taken,
so that one name means one thing whatever the survey calls its columns.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from peculiar.catalog.columns import Column
from peculiar.catalog.filters import Formula, parse_formula

BANDS = "ugrizy"


@dataclass(frozen=True)
class Derived:
    """A column and the formula that makes it; the formula may name others that were declared before."""

    column: Column
    formula: Formula


def _declare(name: str, formula: str, unit: str, ucd: str, meaning: str) -> Derived:
    return Derived(Column(name, "double", unit, ucd, f"{meaning}: {formula}"), parse_formula(formula))


def _shapes(ellipse: str) -> Iterator[Derived]:
    """Sizes and shape from the second moments (arcsec^2) of a fitted ellipse: Hyper Suprime-Cam's columns."""
    xx, yy, xy = (f"{ellipse}_{element}" for element in ("11", "22", "12"))
    yield _declare(
        "r_eff_paper",
        f"sqrt({xx} + {yy})",
        "arcsec",
        "phys.angSize",
        "Effective radius as Storey-Fisher 2021 has it, 1.41 times that of half the light of a round galaxy",
    )
    yield _declare(
        "radius_major_arcsec",
        f"sqrt(({xx} + {yy} + hypot({xx} - {yy}, 2 * {xy})) / 2)",
        "arcsec",
        "phys.angSize.smajAxis",
        "Half-light radius along the major axis, square root of the moments' largest eigenvalue",
    )
    yield _declare(
        "radius_circularized_arcsec",
        f"({xx} * {yy} - {xy} ** 2) ** 0.25",
        "arcsec",
        "phys.angSize",
        "Half-light radius of a circle of the ellipse's area",
    )
    yield _declare(
        "ellipticity",
        f"hypot({xx} - {yy}, 2 * {xy}) / ({xx} + {yy})",
        "",
        "src.ellipticity",
        "Distortion, (1 - q^2) / (1 + q^2) of the axis ratio q",
    )
    yield _declare(
        "axis_ratio",
        "sqrt((1 - ellipticity) / (1 + ellipticity))",
        "",
        "phys.angSize;arith.ratio",
        "Minor over major axis",
    )
    yield _declare(
        "position_angle",
        f"(degrees(angle(2 * {xy}, {xx} - {yy})) / 2 + 90) % 180",
        "deg",
        "pos.posAng",
        "Of the major axis, from north through east, where the moments' x runs west and y north, as in an image with "
        "north up and east left; none of a round galaxy",
    )


def _tractor() -> Iterator[Derived]:
    """Sizes and shape of the DESI Legacy Imaging Surveys' catalogs: shape_e1, shape_e2 are of (1 - q) / (1 + q)."""
    yield _declare(
        "radius_major_arcsec",
        "shape_r",
        "arcsec",
        "phys.angSize.smajAxis",
        "Half-light radius along the major axis",
    )
    yield _declare(
        "axis_ratio",
        "(1 - hypot(shape_e1, shape_e2)) / (1 + hypot(shape_e1, shape_e2))",
        "",
        "phys.angSize;arith.ratio",
        "Minor over major axis",
    )
    yield _declare(
        "radius_circularized_arcsec",
        "shape_r * sqrt(axis_ratio)",
        "arcsec",
        "phys.angSize",
        "Half-light radius of a circle of the ellipse's area",
    )
    yield _declare(
        "ellipticity",
        "(1 - axis_ratio ** 2) / (1 + axis_ratio ** 2)",
        "",
        "src.ellipticity",
        "Distortion, (1 - q^2) / (1 + q^2) of the axis ratio q",
    )


def _colors(flux: str, dereddened: str) -> Iterator[Derived]:
    """Colors of neighboring bands, and the same without the Galaxy's dust, of columns named by a pattern."""
    for place, blue in enumerate(BANDS):
        for red in BANDS[place + 1 :]:
            ucd = f"phot.color;{_UCD[blue]};{_UCD[red]}"
            one, other = flux.format(blue), flux.format(red)
            color = f"-2.5 * log10({one} / {other})"
            yield _declare(f"{blue}_{red}", color, "mag", ucd, f"Color {blue} - {red}")
            corrected = f"{blue}_{red} {dereddened.format(blue=blue, red=red)}"
            said = f"Color {blue} - {red} without the Galaxy's dust"
            yield _declare(f"{blue}_{red}_dereddened", corrected, "mag", ucd, said)


_UCD = {
    "u": "em.opt.U",
    "g": "em.opt.B",
    "r": "em.opt.R",
    "i": "em.opt.I",
    "z": "em.opt.I",
    "y": "em.IR.NIR",
}
DERIVED: tuple[Derived, ...] = (
    *_shapes("i_cmodel_exp_ellipse"),  # the paper's; those below where a catalog has not this
    *_shapes("i_cmodel_ellipse"),
    *_shapes("r_cmodel_exp_ellipse"),
    *_tractor(),
    _declare(
        "aperture_ratio",
        "log10(i_convolvedflux_3_20_flux / i_cmodel_flux)",
        "",
        "phot.flux;arith.ratio",
        "Light of the core over all, as a logarithm",
    ),
    *_colors("{}_cmodel_flux", "- (a_{blue} - a_{red})"),
    *_colors("flux_{}", "+ 2.5 * log10(mw_transmission_{blue} / mw_transmission_{red})"),
)


def derivable(names: Iterable[str]) -> list[Derived]:
    """Return what can be made of a catalog's columns, in the order of the work; not what it has under that name.

    Of colors, those of bands that are neighbors among the bands that the catalog has.
    """
    own = set(names)
    there = set(own)
    found: list[Derived] = []
    for each in DERIVED:
        if each.column.name not in there and there.issuperset(each.formula.names):
            found.append(each)
            there.add(each.column.name)
    bands = [band for band in BANDS if own & {f"{band}_cmodel_flux", f"flux_{band}"}]
    wide = {f"{blue}_{red}" for blue in BANDS for red in BANDS} - {f"{blue}_{red}" for blue, red in pairwise(bands)}
    return [each for each in found if each.column.name.removesuffix("_dereddened") not in wide]


def parse_columns(text: str) -> list[Derived]:
    """Understand columns of the user's own, written NAME = FORMULA; NAME = FORMULA ...

    Raises
    ------
    ValueError
        One is not written so.
    """
    found: list[Derived] = []
    for part in filter(None, (each.strip() for each in text.split(";"))):
        name, sign, formula = (each.strip() for each in part.partition("="))
        if not sign or not name.isidentifier() or name in {each.column.name for each in found}:
            raise ValueError(f"a column is written NAME = FORMULA, each of another name, got {part!r}")
        found.append(Derived(Column(name, "double", "", "", formula), parse_formula(formula)))
    return found
