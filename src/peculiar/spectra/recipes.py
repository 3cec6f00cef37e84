"""How each quantity is made: the lines that it needs, the function of their fluxes, and what it is called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from peculiar.spectra.abundances import CALIBRATIONS, direct_abundance, strong_line_abundance
from peculiar.spectra.conditions import (
    Curve,
    RateCalibration,
    color_excess,
    deredden,
    electron_density,
    luminosity,
    star_formation_rate,
    temperature_oiii,
)
from peculiar.spectra.diagnostics import log_ratio
from peculiar.spectra.spectrum import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from astropy.cosmology import FLRW

PECULIAR_VELOCITY = 300.0  # km/s, of galaxies against the expansion: the usual round number

Lines = Mapping[str, np.ndarray]  # fluxes by line name
Made = tuple[np.ndarray, np.ndarray]  # the quantity, and whether it is where its calibration holds
BALMER = ("H_alpha", "H_beta")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A quantity to be made from lines; with a `reason` it cannot be, whatever they are.

    `lines` are what must be detected, each a name or the names of lines of which the sum counts (a doublet that the
    instrument may not part).
    """

    name: str
    lines: tuple["str | tuple[str, ...]", ...]
    make: Callable[[Lines], Made]
    unit: str = ""
    description: str
    reason: str = ""


def dust_recipes(curve: Curve) -> list[Recipe]:
    """Return the Balmer decrement and E(B-V) from H-alpha and from H-gamma."""
    return [
        Recipe(
            name="balmer_decrement",
            lines=BALMER,
            make=lambda lines: _always(10 ** log_ratio(lines["H_alpha"], lines["H_beta"])),
            description="H-alpha / H-beta; 2.86 without dust (case B, Osterbrock & Ferland 2006)",
        ),
        Recipe(
            name="color_excess",
            lines=BALMER,
            make=lambda lines: _always(color_excess(lines["H_alpha"], lines["H_beta"], curve=curve)),
            unit="mag",
            description=f"E(B-V) of the gas from H-alpha / H-beta, {curve} curve; below 0 means no dust",
        ),
        Recipe(
            name="color_excess_h_gamma",
            lines=("H_gamma", "H_beta"),
            make=lambda lines: _always(color_excess(lines["H_gamma"], lines["H_beta"], name="H_gamma", curve=curve)),
            unit="mag",
            description=f"E(B-V) of the gas from H-gamma / H-beta, {curve} curve; below 0 means no dust",
        ),
    ]


def gas_recipes(curve: Curve, *, has_dust: bool) -> list[Recipe]:
    """Return density, temperature and the direct abundance; has_dust: H-alpha and H-beta tell the dust."""
    doubly: tuple[str, ...] = ("OIII_4364", "OIII_5008", *(BALMER if has_dust else ("H_beta",)))
    dust = "without dust" if has_dust else "as observed, for H-alpha and H-beta do not tell the dust"

    def direct(part: str, lines: Lines) -> Made:
        found = direct_abundance(_bare(lines, curve) if has_dust else lines)
        return getattr(found, part), found.is_in_range

    def temperature(lines: Lines) -> Made:
        bare = _bare(lines, curve) if has_dust else lines
        return temperature_oiii(bare["OIII_4364"], bare["OIII_5008"])

    return [
        Recipe(
            name="electron_density",
            lines=("SII_6718", "SII_6733"),
            make=lambda lines: electron_density(lines["SII_6718"], lines["SII_6733"]),
            unit="cm-3",
            description="from [SII] 6718 / 6733 at 10,000 K (Sanders et al. 2016)",
        ),
        Recipe(
            name="electron_temperature",
            lines=("OIII_4364", "OIII_5008", *(BALMER if has_dust else ())),
            make=temperature,
            unit="K",
            description=f"of O++ from [OIII] 4364 / (4960 + 5008), {dust} (Izotov et al. 2006, eqs 1 and 2)",
        ),
        Recipe(
            name="oxygen_doubly_ionized",
            lines=doubly,
            make=partial(direct, "doubly_ionized"),
            description=f"12+log(O++/H+), {dust} (Izotov et al. 2006, eq. 5); a lower limit of 12+log(O/H)",
        ),
        Recipe(
            name="abundance_direct",
            lines=(*doubly, ("OII_3727", "OII_3730")),
            make=partial(direct, "total"),
            description=f"12+log(O/H) by electron temperature, {dust}, O+ from [OII] 3727 + 3730 at 0.7 T + 3,000 K "
            "(Izotov et al. 2006, eqs 1, 2, 3 and 5; Garnett 1992)",
        ),
    ]


def strong_line_recipes() -> list[Recipe]:
    """Return 12+log(O/H) by each calibration of `CALIBRATIONS`."""
    found = []
    for name, each in CALIBRATIONS.items():
        scatter = f"; its own scatter, {each.scatter:g} dex, comes on top" if np.isfinite(each.scatter) else ""
        text = f"12+log(O/H), {each.source}; {each.index} from {each.minimum:g} to {each.maximum:g}{scatter}"
        make = partial(strong_line_abundance, calibration=name)
        found.append(Recipe(name=f"abundance_{name}", lines=each.lines, make=make, description=text))
    return found


def light_recipes(
    redshift: float,
    flux_unit: str,
    *,
    cosmology: "str | FLRW",
    curve: Curve,
    rate: RateCalibration,
    stellar_mass: float | None,
) -> list[Recipe]:
    """Return the luminosity of H-alpha and what follows from it, each dimmed by dust and without."""
    name_of = cosmology if isinstance(cosmology, str) else (cosmology.name or "the cosmology given")
    try:
        erg = float(luminosity(1.0, flux_unit, redshift, cosmology))
        reason = ""
    except ValueError as error:  # no distance or no unit: the rest can be measured all the same
        erg, reason = float("nan"), str(error)
    per_erg = float(star_formation_rate(1.0, rate))
    where = f"{name_of}{_nearby(redshift)}"
    kinds = {"h_alpha_luminosity": ("erg / s", erg, f"L(H-alpha), {where}")}
    kinds["star_formation_rate"] = ("solMass / yr", erg * per_erg, f"from L(H-alpha), {rate}, {where}")
    if stellar_mass is not None:
        text = f"star-formation rate over {stellar_mass:.3g} M_sun, whose error is not carried; {rate}, {where}"
        kinds["specific_star_formation_rate"] = ("1 / yr", erg * per_erg / stellar_mass, text)
    found = []
    for name, (unit, factor, text) in kinds.items():
        dimmed, bare = partial(_dimmed, factor), partial(_undimmed, factor, curve)
        observed = Recipe(
            name=name, lines=("H_alpha",), make=dimmed, unit=unit, description=f"{text}; dimmed by dust", reason=reason
        )
        without = Recipe(
            name=f"{name}_dereddened",
            lines=BALMER,
            make=bare,
            unit=unit,
            description=f"{text}; without dust, {curve} curve",
            reason=reason,
        )
        found += [observed, without]
    return found


def _dimmed(factor: float, lines: Lines) -> Made:
    return _always(factor * lines["H_alpha"])


def _undimmed(factor: float, curve: Curve, lines: Lines) -> Made:
    return _always(factor * _bare(lines, curve)["H_alpha"])


def _always(values: np.ndarray) -> Made:
    """A quantity that holds everywhere."""
    return values, np.isfinite(values)


def _bare(lines: Lines, curve: Curve) -> dict[str, np.ndarray]:
    return deredden(lines, color_excess(lines["H_alpha"], lines["H_beta"], curve=curve), curve)


def _nearby(redshift: float) -> str:
    """What peculiar velocities do to the distance, where it is more than 5 %."""
    part = PECULIAR_VELOCITY / SPEED_OF_LIGHT / redshift if redshift > 0 else 0.0
    if part < 0.05:
        return ""
    return (
        f" (by redshift alone: a peculiar velocity of {PECULIAR_VELOCITY:g} km/s is {100 * part:.0f} % of the distance)"
    )
