"""A measured quantity, and the lines that it is made of: their fluxes as fitted, and draws of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from peculiar.spectra.spectrum import LINES

DETECTED = 3.0  # a line is detected at this many standard deviations of its draws; limits are at as many
Unit = str | tuple[str, ...]  # a line, or lines of which the sum counts


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A measured quantity.

    Parameters
    ----------
    value
        From the fluxes as fitted; where `limit` says so, a limit; NaN where `reason` says why there is none.
    low, high
        16 and 84 % of the draws; NaN for a limit, and where no error is carried.
    unit
        As astropy spells it; empty for a pure number.
    limit
        "upper" or "lower" where a line is not detected or the value is beyond a calibration's reach.
    is_in_range
        Whether the value is where the calibration holds.
    part_defined
        Part of the draws for which there is a value: fluxes drawn below 0 have none.
    text
        A class, where the quantity is one; `value` is then its part of the draws.
    reason
        Why there is no value.
    description
        What it is, and its source.
    """

    name: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    unit: str = ""
    limit: Literal["", "upper", "lower"] = ""
    is_in_range: bool = True
    part_defined: float = 1.0
    text: str = ""
    reason: str = ""
    description: str

    @property
    def is_measured(self) -> bool:
        """Whether there is a value, a limit or a class."""
        return not self.reason


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedLines:
    """Lines with their values and draws."""

    values: dict[str, float]
    draws: dict[str, np.ndarray]

    def flux_and_error(self, unit: Unit) -> tuple[float, float]:
        """Of a line, or of the sum of a doublet: whose lines' errors go against each other."""
        names = names_of([unit])
        draws = np.sum([self.draws[name] for name in names], axis=0)
        return sum(self.values[name] for name in names), float(np.std(draws, ddof=1))

    def missing(self, units: Sequence[Unit]) -> list[str]:
        """Names that are not measured."""
        return [name for name in names_of(units) if name not in self.values]

    def weak(self, units: Sequence[Unit]) -> list[Unit]:
        """What is measured but not detected."""
        found = []
        for unit in units:
            if not self.missing([unit]):
                flux, error = self.flux_and_error(unit)
                found += [] if flux >= DETECTED * error and flux > 0 else [unit]
        return found

    def negative(self, units: Sequence[Unit]) -> list[Unit]:
        """What is as far below 0 as a detected line is above: no limit can be had of it."""
        pairs = [(unit, *self.flux_and_error(unit)) for unit in self.weak(units)]
        return [unit for unit, flux, error in pairs if flux <= -DETECTED * error and flux < 0]

    def lacking(self, units: Sequence[Unit]) -> str:
        """Why these lines do not give a value; empty where they do."""
        missing, negative = self.missing(units), self.negative(units)
        weak = [unit for unit in self.weak(units) if unit not in negative]
        said = [f"{listed(missing)} not measured"] if missing else []
        said += [f"{listed(weak)} not detected (under {DETECTED:g} sigma)"] if weak else []
        advice = "give a continuum with the stars' lines"
        said += [f"{listed(negative)} below 0 by over {DETECTED:g} sigma: absorption; {advice}"] if negative else []
        return ", ".join(said)

    def values_of(self, units: Sequence[Unit]) -> dict[str, np.ndarray]:
        """Fluxes as fitted, by name."""
        return {name: np.asarray(self.values[name]) for name in names_of(units)}

    def draws_of(self, units: Sequence[Unit]) -> dict[str, np.ndarray]:
        """Draws, by name."""
        return {name: self.draws[name] for name in names_of(units)}


def check_lines(fluxes: Mapping[str, np.ndarray], values: Mapping[str, float]) -> FittedLines:
    """Return the lines of which both a value and draws are given; those with a NaN are left out."""
    if set(fluxes) != set(values):
        raise ValueError(f"fluxes and values must be of the same lines, got {sorted(fluxes)} and {sorted(values)}")
    unknown = sorted(set(fluxes) - set(LINES))
    if unknown:
        raise KeyError(f"lines must be of {', '.join(LINES)}, got {', '.join(unknown[:3])}")
    shapes = {np.shape(draws) for draws in fluxes.values()}
    if len(shapes) > 1 or any(len(shape) != 1 or shape[0] < 2 for shape in shapes):
        raise ValueError(f"fluxes must be of one shape (n_draws,), two draws or more, got {sorted(shapes)}")
    draws = {name: np.asarray(each, np.float64) for name, each in fluxes.items()}
    known = [name for name in values if np.isfinite(values[name]) and np.isfinite(draws[name]).all()]
    return FittedLines(
        values={name: float(values[name]) for name in known},
        draws={name: draws[name] for name in known},
    )


def names_of(units: Sequence[Unit]) -> list[str]:
    """Return the names of lines, those of a sum one by one."""
    return [name for unit in units for name in ((unit,) if isinstance(unit, str) else unit)]


def listed(units: Sequence[Unit]) -> str:
    """Return lines as a sentence names them."""
    names = [unit if isinstance(unit, str) else " + ".join(unit) for unit in units]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
