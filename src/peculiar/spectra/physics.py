"""Everything that lines tell of a galaxy, each with its error: draws of fluxes in, quantities out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from peculiar.spectra import conditions
from peculiar.spectra.abundances import CALIBRATIONS, EXTREMELY_METAL_POOR, strong_line_index
from peculiar.spectra.conditions import DENSITY_RANGE, Curve, RateCalibration
from peculiar.spectra.diagnostics import (
    LOW_LINES,
    SHARED_LINES,
    STAR_FORMING,
    UNKNOWN,
    Diagram,
    class_probabilities,
    classify,
    diagram_place,
)
from peculiar.spectra.quantities import DETECTED, FittedLines, Quantity, check_lines, listed, names_of
from peculiar.spectra.recipes import BALMER, Recipe, dust_recipes, gas_recipes, light_recipes, strong_line_recipes

if TYPE_CHECKING:
    from astropy.cosmology import FLRW

ONE_SIGMA = (15.865, 84.135)  # %, of a normal distribution
# cm-3; outside, the [SII] ratio is within 3 % of its low-density end, and 14 % of its high-density end (Sanders et al.
# 2016, eq. 6): a limit is never set further out, however small the errors.
DENSITY_TOLD = (30.0, 10_000.0)
DIAGRAM_SOURCES = {
    "NII": "Kewley 2001, Kauffmann 2003, Schawinski 2007",
    "SII": "Kewley 2001, Kewley 2006",
    "OI": "Kewley 2001, Kewley 2006",
}


def measure(
    fluxes: Mapping[str, Float[np.ndarray, " n_draws"]],
    values: Mapping[str, float],
    *,
    redshift: float,
    flux_unit: str = "",
    size_arcsec: float | None = None,
    stellar_mass: float | None = None,
    cosmology: "str | FLRW" = "Planck18",
    curve: Curve = "cardelli",
    rate: RateCalibration = "kennicutt_evans_2012",
) -> list[Quantity]:
    """Measure what the lines of one component, or of all together, tell of a galaxy.

    Errors are those of the fluxes, carried by the draws; a calibration's own scatter is in its description. Ratios of
    near lines (BPT, strong-line abundances, density) are of fluxes as observed; the electron temperature, the direct
    abundance and what is named `_dereddened` are of fluxes without dust, where H-alpha and H-beta are detected.

    A line whose value is under 3 standard deviations of its draws is not detected: what needs it is given as the limit
    with the line at max(value, 0) + 3 standard deviations, where that is a limit, and not if the line is as far below
    0 (stars' absorption). What cannot be measured is in the list too, with its reason.

    Parameters
    ----------
    fluxes
        Draws of each line's flux, by name of `LINES`, the n-th of all lines being of one fit. A line that holds a NaN
        counts as not measured.
    values
        The fluxes as fitted, of the same names.
    redshift
        For distances; at or below 0 there are none.
    flux_unit
        Of the flux density, as `Spectrum.flux_unit`; where empty or relative there is no luminosity.
    size_arcsec
        An angle to be given in kpc.
    stellar_mass
        M_sun, for the specific star-formation rate.
    cosmology
        Astropy's, by name or as an object.
    curve
        The dust's: see `conditions.extinction`.
    rate
        See `conditions.star_formation_rate`.
    """
    fitted = check_lines(fluxes, values)
    if stellar_mass is not None and not stellar_mass > 0:
        raise ValueError(f"stellar_mass must be above 0 M_sun, got {stellar_mass}")
    cosmology = cosmology if not isinstance(cosmology, str) else conditions.choose_cosmology(cosmology)
    has_dust = not fitted.lacking(BALMER)
    gas, strong = gas_recipes(curve, has_dust=has_dust), strong_line_recipes()
    light = light_recipes(redshift, flux_unit, cosmology=cosmology, curve=curve, rate=rate, stellar_mass=stellar_mass)
    found = [_carry(each, fitted) for each in (*dust_recipes(curve), *gas, *strong)]
    found += [_metal_poor(each, fitted) for each in (*gas, *strong) if each.name.startswith("abundance_")]
    classes = [_classed(diagram, fitted) for diagram in LOW_LINES]
    found += [*classes, *(_carry(each, fitted) for each in light)]
    found = [_with_class(each, classes[0].text) for each in found]
    found += [_size(size_arcsec, redshift, cosmology)] if size_arcsec is not None else []
    return [_with_density_limit(each) if each.name == "electron_density" else each for each in found]


def _carry(recipe: Recipe, fitted: FittedLines) -> Quantity:
    """One quantity with its error, or its limit, or the reason why there is neither."""
    empty = Quantity(
        name=recipe.name, value=float("nan"), unit=recipe.unit, part_defined=0.0, description=recipe.description
    )
    if recipe.reason:
        return replace(empty, reason=recipe.reason)
    if fitted.missing(recipe.lines) or fitted.negative(recipe.lines):
        return replace(empty, reason=fitted.lacking(recipe.lines))
    if fitted.weak(recipe.lines):
        return _limit(empty, recipe, fitted)
    value, is_in_range = recipe.make(fitted.values_of(recipe.lines))
    if not np.isfinite(value):
        return replace(empty, reason=f"no value answers to the fluxes of {listed(recipe.lines)}")
    draws, _ = recipe.make(fitted.draws_of(recipe.lines))
    defined = draws[np.isfinite(draws)]
    low, high = np.percentile(defined, ONE_SIGMA) if len(defined) else (float("nan"), float("nan"))
    return replace(
        empty,
        value=float(value),
        low=float(low),
        high=float(high),
        is_in_range=bool(is_in_range),
        part_defined=len(defined) / len(draws),
    )


def _limit(empty: Quantity, recipe: Recipe, fitted: FittedLines) -> Quantity:
    """The quantity with weak lines at their upper limits, if all of them push it the same way."""
    weak = fitted.weak(recipe.lines)
    lines = fitted.values_of(recipe.lines)
    for unit in weak:
        flux, error = fitted.flux_and_error(unit)
        names = names_of([unit])  # of a doublet, each line has its share
        lines |= {name: np.asarray((max(flux, 0.0) + DETECTED * error) / len(names)) for name in names}
    value, is_in_range = recipe.make(lines)
    fainter = np.array([1.0, 0.5, 0.1, 0.001])  # which way does it go when a line is fainter than its limit?
    moves = [
        np.diff(recipe.make(lines | {name: lines[name] * fainter for name in names_of([unit])})[0]) for unit in weak
    ]
    # Comparisons with NaN are False: where a fainter line leaves no value there is no limit.
    is_falling = all((move <= 0).all() and move[0] < 0 for move in moves)
    is_rising = all((move >= 0).all() and move[0] > 0 for move in moves)
    if not np.isfinite(value) or not (is_falling or is_rising):
        return replace(empty, reason=fitted.lacking(recipe.lines))
    return replace(
        empty,
        value=float(value),
        limit="upper" if is_falling else "lower",
        is_in_range=bool(is_in_range),
        part_defined=1.0,
        description=f"{empty.description}; {listed(weak)} not detected, taken at {DETECTED:g} sigma above its flux",
    )


def _classed(diagram: Diagram, fitted: FittedLines) -> Quantity:
    """The class on a BPT diagram, with its part of the draws."""
    lines = (LOW_LINES[diagram], *SHARED_LINES)
    text = f"class on the {diagram} diagram ({DIAGRAM_SOURCES[diagram]})"
    empty = Quantity(name=f"bpt_{diagram.lower()}", value=float("nan"), part_defined=0.0, description=text)
    if fitted.lacking(lines):
        return replace(empty, reason=fitted.lacking(lines))
    chosen = str(classify(*diagram_place(fitted.values_of(lines), diagram), diagram))
    x, y = diagram_place(fitted.draws_of(lines), diagram)
    parts = class_probabilities(x, y, diagram)
    said = ", ".join(f"{name} {part:.3f}" for name, part in parts.items())
    return replace(
        empty,
        value=parts.get(chosen, 0.0),
        text=chosen,
        part_defined=float(np.isfinite(x + y).mean()),
        description=f"{text}; part of the draws: {said}",
    )


def _metal_poor(recipe: Recipe, fitted: FittedLines) -> Quantity:
    """The part of the draws with an abundance below 7.69."""
    name = recipe.name.removeprefix("abundance_")
    text = f"part of the draws with {recipe.name} below {EXTREMELY_METAL_POOR}"
    empty = Quantity(name=f"metal_poor_{name}", value=float("nan"), part_defined=0.0, description=text)
    calibration = CALIBRATIONS.get(name)
    if fitted.lacking(recipe.lines):
        return replace(empty, reason=fitted.lacking(recipe.lines))
    if calibration is not None:
        index = float(strong_line_index(fitted.values_of(recipe.lines), calibration.index))
        if not calibration.minimum <= index <= calibration.maximum:
            reason = f"{calibration.index} = {index:.2f} is outside {calibration.minimum:g} to {calibration.maximum:g}"
            return replace(empty, reason=reason)
        text = f"{text}; in its range this calibration gives {calibration.lowest:.2f} at the least"
    draws, _ = recipe.make(fitted.draws_of(recipe.lines))
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return replace(empty, reason=f"no draw has a value of {recipe.name}")
    part = float((defined < EXTREMELY_METAL_POOR).mean())
    return replace(
        empty,
        value=part,
        text="extremely metal-poor" if part > 0.5 else "not extremely metal-poor",
        part_defined=len(defined) / len(draws),
        description=text,
    )


def _with_class(quantity: Quantity, found: str) -> Quantity:
    """Abundances and star formation are for gas that stars ionize: where it is of another class, say so."""
    is_of_stars = quantity.name.startswith(("abundance", "metal_poor", "star_formation", "specific_star_formation"))
    if not is_of_stars or found in (STAR_FORMING, UNKNOWN) or not quantity.is_measured:
        return quantity
    return replace(
        quantity, description=f"{quantity.description}; made for gas ionized by young stars, this is {found}"
    )


def _size(size_arcsec: float, redshift: float, cosmology: "str | FLRW") -> Quantity:
    text = f"{size_arcsec:g} arcsec at redshift {redshift:g}"
    try:
        value = float(conditions.size_kpc(size_arcsec, redshift, cosmology))
    except ValueError as error:  # no distance: the rest is measured all the same
        reason = str(error)
        return Quantity(
            name="size_kpc", value=float("nan"), unit="kpc", part_defined=0.0, reason=reason, description=text
        )
    return Quantity(name="size_kpc", value=value, unit="kpc", description=text)


def _with_density_limit(quantity: Quantity) -> Quantity:
    """Where 16 or 84 % of the draws lie beyond what density can do, the density is a limit: of 84 % of the draws."""
    is_low, is_high = quantity.low <= DENSITY_RANGE[0], quantity.high >= DENSITY_RANGE[1]
    if not quantity.is_measured or quantity.limit or not (is_low or is_high):
        return quantity
    value = max(quantity.high, DENSITY_TOLD[0]) if is_low else min(quantity.low, DENSITY_TOLD[1])
    said = "no less than 30" if is_low else "no more than 10,000"
    text = f"{quantity.description}; at the {'low' if is_low else 'high'}-density limit: of 84 % of the draws, {said}"
    return replace(
        quantity,
        value=value,
        low=float("nan"),
        high=float("nan"),
        limit="upper" if is_low else "lower",
        is_in_range=False,
        description=text,
    )
