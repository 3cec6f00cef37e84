"""A spectrum as a file gives it, and the options that say what the file does not."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Medium = Literal["", "vacuum", "air"]
Errors = Literal["file", "scatter"]
MaskMeans = Literal["", "bad", "good"]
FORMATS = "SDSS spec, DESI coadd, ESO phase 3, a FITS or Parquet table, ECSV, or text with a header line"


class Refused(Exception):
    """What is wrong with a file, as a sentence without its name. Caught by `read_spectrum`, which adds the name."""


@dataclass(frozen=True, kw_only=True)
class SpectrumOptions:
    """What the caller says of a file; see `peculiar.io.spectra.read_spectrum`."""

    medium: Medium = ""
    wavelength_unit: str = ""
    flux_unit: str = ""
    resolution: float | None = None
    instrument_sigma: float | None = None
    errors: Errors = "file"
    mask_means: MaskMeans = ""
    row: str = ""

    def __post_init__(self) -> None:
        for name, choices in (
            ("medium", ("", "vacuum", "air")),
            ("errors", ("file", "scatter")),
            ("mask_means", ("", "bad", "good")),
        ):
            if getattr(self, name) not in choices:
                words = ", ".join(choice or "nothing" for choice in choices)
                raise ValueError(f"{name} must be one of {words}, got {getattr(self, name)!r}")
        if self.resolution is not None and self.instrument_sigma is not None:
            raise ValueError("resolution and instrument_sigma both say the width of the instrument; give one of them")
        for name in ("resolution", "instrument_sigma"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and np.isfinite(value)):
                raise ValueError(f"{name} must be a number above 0, got {value}")


@dataclass(frozen=True, kw_only=True)
class RawSpectrum:
    """Columns of one spectrum as the file has them: any order, any unit, nothing dropped.

    Attributes
    ----------
    wavelength, wavelength_unit
        The unit as the file spells it, ``log10 Angstrom`` for logarithms; empty where it says none.
    flux, flux_unit, model
        Flux density, and the file's own continuum or template in the same unit.
    spread, spread_kind
        What the file says of the noise, in the unit of `flux`; None where it has no such column.
    mask, mask_means
        Integers or booleans, and whether those above zero are bad or good; "" where the file does not say.
    instrument_sigma
        In the unit of `wavelength`.
    resolution
        Resolving power, wavelength over full width at half maximum.
    facts, history
        What the reader found out; what an earlier reading found out, of a file that `write_spectrum` wrote.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    wavelength_unit: str = ""
    flux_unit: str = ""
    spread: np.ndarray | None = None
    spread_kind: Literal["ivar", "error", "variance"] = "ivar"
    mask: np.ndarray | None = None
    mask_means: MaskMeans = ""
    model: np.ndarray | None = None
    instrument_sigma: np.ndarray | None = None
    resolution: float | None = None
    medium: Medium = ""
    name: str = ""
    ra: float | None = None
    dec: float | None = None
    redshift: float | None = None
    facts: dict[str, str] = field(default_factory=dict)
    history: dict[str, str] = field(default_factory=dict)


def pick_row(row: str, ids: np.ndarray | None, n_rows: int, what: str) -> int:
    """Return the number of the row that is asked for, by id first and by its place second.

    `ids` are the identifiers of the rows, where the file has any. Raises Refused where several rows are there and
    none is chosen, where none is meant, or where an id is in several rows (then they are named by their numbers).
    """
    known = [str(each).strip() for each in ids.tolist()] if ids is not None else []
    if not row:
        if n_rows == 1:
            return 0
        shown = ", ".join((known or [str(each) for each in range(n_rows)])[:5]) + (", ..." if n_rows > 5 else "")
        raise Refused(f"holds {n_rows} spectra; choose one with --row, by {what}: {shown}")
    found = [number for number, each in enumerate(known) if each == row.strip()]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(map(str, found[:5]))
        raise Refused(f"holds {len(found)} spectra of {what} {row}; choose one by its number: --row {shown}")
    if row.strip().isdecimal() and int(row) < n_rows:
        return int(row)
    shown = ", ".join(known[:5]) or "none has an id"
    raise Refused(f"has no row {row!r}; rows are numbered 0 to {n_rows - 1}, or named by {what}: {shown}")
