"""Wavelengths to angstrom in vacuum, flux densities to per angstrom: what a file's units mean."""

import re

import numpy as np
from astropy import units
from jaxtyping import Float

from peculiar.io.entries import quiet
from peculiar.io.spectra.raw import Refused

LOG_ANGSTROM = "log10 Angstrom"
_PER_ANGSTROM = units.erg / units.s / units.cm**2 / units.AA
_RELATIVE = ("relative", "none", "normalized", "normalised", "arbitrary", "unitless", "dimensionless", "unknown", "")
# As files spell what astropy knows by another name; A is ampere to astropy, and never that in a spectrum.
_SPELLINGS = (
    (re.compile(r"\b(?:angstroms?|angs?|AA?)\b(?!\w)", re.IGNORECASE), "Angstrom"),
    (re.compile(r"\bAA?(?=-\d)"), "Angstrom"),
    (re.compile(r"\bergs\b", re.IGNORECASE), "erg"),
    (re.compile(r"\b(?:microns?|micrometers?)\b", re.IGNORECASE), "um"),
    (re.compile(r"\b(?:nanometers?|nanometres?)\b", re.IGNORECASE), "nm"),
)
NANOMETERS = 3000.0  # optical spectra in angstrom lie above this, in nanometers below it
MICRONS = 30.0


def parse_unit(text: str, option: str) -> units.UnitBase:
    """Return the astropy unit of a text, with the spellings that files use; `option` is named in the refusal."""
    spelled = text.strip()
    for pattern, word in _SPELLINGS:
        spelled = pattern.sub(word, spelled)
    try:
        with quiet():
            return units.Unit(spelled)
    except (ValueError, TypeError) as error:
        raise Refused(f"gives the unit {text!r}, which is not understood; say it with {option}") from error


def to_angstrom(wavelength: Float[np.ndarray, " n"], unit: str) -> tuple[Float[np.ndarray, " n"], float, str]:
    """Return wavelengths in angstrom, the factor that made them so (0 for logarithms), and a sentence on the unit.

    Without a unit values above 3,000 are taken for angstrom. Raises Refused where they are so small that they look
    like nanometers, microns or logarithms, or where the unit is not a length.
    """
    if "log" in unit.lower():
        if np.nanmax(wavelength) > MICRONS:
            raise Refused(f"has wavelengths up to {np.nanmax(wavelength):g}, which are no logarithms; give their unit")
        return 10.0**wavelength, 0.0, "logarithms of angstrom"
    if unit.strip():
        parsed = parse_unit(unit, "--wavelength-unit angstrom, nm or um")
        try:
            factor = float(parsed.to(units.AA))
        except units.UnitConversionError as error:
            text = f"gives wavelengths in {unit!r}, which is not a length; say --wavelength-unit angstrom, nm or um"
            raise Refused(text) from error
        return wavelength * factor, factor, str(parsed)
    positive = wavelength[np.isfinite(wavelength) & (wavelength > 0)]
    least, largest = (positive.min(), positive.max()) if len(positive) else (0.0, 0.0)
    if largest < NANOMETERS:
        logs = least > 3 and largest < 5
        guess = "log10 angstrom" if logs else "um" if largest < MICRONS else "nm"
        word = {"um": "microns", "nm": "nanometers"}.get(guess, "logarithms")
        raise Refused(
            f"gives no unit of wavelength, and its values {least:g} to {largest:g} look like {word}; "
            f"say --wavelength-unit {'log' if logs else guess}, or whatever else they are (angstrom, nm, um)"
        )
    return wavelength, 1.0, "angstrom, supposed from the values, because the file gives no unit"


def to_flux_density(wavelength: Float[np.ndarray, " n"], unit: str) -> tuple[Float[np.ndarray, " n"], str, str]:
    """Return the factors that make flux densities per angstrom, their unit, and a sentence.

    A unit per angstrom is kept, with its scale. Another per wavelength, or one per frequency (Jy), becomes
    erg / (Angstrom s cm2), 1e-17 of it. Counts are kept as they are, for they are only relative. Text such as
    "relative" or no text at all gives the empty unit.

    Parameters
    ----------
    wavelength
        Angstrom, vacuum.
    """
    ones = np.ones(len(wavelength))
    if unit.strip().lower() in _RELATIVE:
        return ones, "", "none given: fluxes are relative"
    parsed = parse_unit(unit, "--flux-unit (1e-17 erg/s/cm2/angstrom, Jy, or relative)")
    if parsed.physical_type == "dimensionless":
        return ones, "", "none: fluxes are relative"
    if isinstance(parsed, units.function.FunctionUnitBase):
        raise Refused(f"gives fluxes in {unit!r}, which is logarithmic; convert them to a flux density first")
    per_angstrom = not parsed.is_equivalent(_PER_ANGSTROM) or _is_per_angstrom(parsed)
    if per_angstrom and not parsed.is_equivalent(units.Jy):
        return ones, parsed.to_string(), f"{parsed.to_string()}, as the file has it"
    target = units.Unit(1e-17 * _PER_ANGSTROM)
    factors = parsed.to(target, ones, equivalencies=units.spectral_density(wavelength * units.AA))
    return np.asarray(factors, float), target.to_string(), f"{parsed.to_string()}, converted to {target.to_string()}"


def _is_per_angstrom(unit: units.UnitBase) -> bool:
    return any(base == units.AA and power == -1 for base, power in zip(unit.bases, unit.powers, strict=True))


def air_to_vacuum(wavelength: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return vacuum wavelengths of wavelengths in standard air, angstrom.

    The refractive index is that of Ciddor (1996, Applied Optics 35, 1566, eq. 1: dry air, 15 C, 101,325 Pa, 450 ppm
    of carbon dioxide), a function of the vacuum wavelength, so it is iterated. Below 2,000 A the formula does not
    hold, and by custom wavelengths are in vacuum there: they are returned as they are.
    """
    vacuum = np.array(wavelength, float)
    air = vacuum >= 2000.0
    given = vacuum[air]
    found = given
    for _ in range(3):  # each step is 3e-4 of the one before
        wavenumber_squared = (1e4 / found) ** 2  # 1 / um2
        found = given * (1 + 0.05792105 / (238.0185 - wavenumber_squared) + 0.00167917 / (57.362 - wavenumber_squared))
    vacuum[air] = found
    return vacuum
