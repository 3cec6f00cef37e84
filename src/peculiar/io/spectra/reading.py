"""Read one spectrum from any of the files that astronomers keep them in, and write one as ECSV."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from peculiar.io.entries import READ_ERRORS, quiet
from peculiar.io.plain import placed
from peculiar.io.spectra.finish import finish_spectrum
from peculiar.io.spectra.fits import read_fits_spectrum
from peculiar.io.spectra.raw import FORMATS, Errors, MaskMeans, Medium, RawSpectrum, Refused, SpectrumOptions
from peculiar.io.spectra.tables import SpectrumColumn, raw_of_table
from peculiar.io.spectra.text import text_columns
from peculiar.io.spectra.units import parse_unit
from peculiar.spectra.spectrum import Spectrum

MAX_BYTES = 500_000_000  # a file that is packed may hold any amount


def read_spectrum(
    path: str | os.PathLike[str],
    *,
    medium: Medium = "",
    wavelength_unit: str = "",
    flux_unit: str = "",
    resolution: float | None = None,
    instrument_sigma: float | None = None,
    errors: Errors = "file",
    mask_means: MaskMeans = "",
    row: str | int | None = None,
) -> Spectrum:
    """Read one spectrum, in vacuum and angstrom, whatever the file; its kind is told by its content.

    SDSS ``spec`` files, DESI ``coadd`` and ``spectra`` files (arms joined), ESO phase 3 and other FITS tables (a row a
    pixel, or a row a spectrum with vectors in its cells), ECSV, Parquet, and CSV or blank-separated text with a header
    line. What the caller says goes before what the file says; `Spectrum.facts` names both.

    Parameters
    ----------
    path
        The file; ``.gz`` of FITS and text too.
    medium
        "vacuum" or "air", where the file does not say. Air is converted to vacuum.
    wavelength_unit
        "angstrom", "nm", "um" or another length, or "log" for log10 of angstrom, where the file does not say.
    flux_unit
        A flux density per angstrom, micron, hertz ..., where the file does not say; "relative" for none.
    resolution
        Resolving power, wavelength over full width at half maximum.
    instrument_sigma
        Width of the instrument's response, angstrom, one standard deviation; instead of `resolution`.
    errors
        "file", or "scatter" to estimate them from neighboring pixels where the file gives none
        (`peculiar.spectra.noise.estimate_ivar`).
    mask_means
        What a mask above 0 says: "bad" or "good". Bad where nothing says it, unless most pixels would fall to it.
    row
        Which spectrum of several: an id (DESI's TARGETID, as int or text) or a number, from 0. None: the only one.

    Returns
    -------
    Spectrum
        NaN fluxes, and errors that are NaN or not above 0, are masked (ivar 0) and counted in the facts; pixels
        without a wavelength are left out; descending wavelengths are turned.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        With the file's name and a remedy: no spectrum in it, cut off, medium or unit unknown, wavelengths twice or in
        disorder, no errors, negative ivar, every pixel masked, several spectra and none chosen.
    """
    path = Path(path)
    options = SpectrumOptions(
        medium=medium,
        wavelength_unit=wavelength_unit,
        flux_unit=flux_unit,
        resolution=resolution,
        instrument_sigma=instrument_sigma,
        errors=errors,
        mask_means=mask_means,
        row="" if row is None else str(row),
    )
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give a spectrum ({FORMATS})")
    try:
        with quiet():
            return finish_spectrum(_read(path, options), options)
    except Refused as refusal:
        raise ValueError(f"{path} {refusal}") from refusal
    except READ_ERRORS as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{path} cannot be read as a spectrum: {words}; fetch it again, or convert it") from error


def write_spectrum(path: str | os.PathLike[str], spectrum: Spectrum) -> None:
    """Write a spectrum as ECSV, to the last bit; `read_spectrum` gives it back.

    Columns wavelength, flux, ivar and, where known, instrument_sigma and model, with units; the rest in the header.
    An existing file is replaced.
    """
    table = Table({"wavelength": spectrum.wavelength, "flux": spectrum.flux, "ivar": spectrum.ivar})
    table["wavelength"].unit = "Angstrom"
    for name in ("instrument_sigma", "model"):
        if (values := getattr(spectrum, name)) is not None:
            table[name] = values
    if "instrument_sigma" in table.colnames:
        table["instrument_sigma"].unit = "Angstrom"
    if spectrum.flux_unit:
        unit = parse_unit(spectrum.flux_unit, "flux_unit")
        for name in {"flux", "model"} & set(table.colnames):
            table[name].unit = unit
        table["ivar"].unit = unit**-2
    known = {key: getattr(spectrum, key) for key in ("name", "ra", "dec", "redshift")}
    table.meta = {
        "medium": "vacuum",
        **{k: v for k, v in known.items() if v not in (None, "")},
        "facts": spectrum.facts,
    }
    with placed(Path(path)) as part:
        table.write(part, format="ascii.ecsv", overwrite=True)


def _read(path: Path, options: SpectrumOptions) -> RawSpectrum:
    with path.open("rb") as file:
        start = file.read(6)
    if not start:
        raise Refused("is empty (0 bytes); fetch it again")
    if start.startswith(b"PAR1"):
        return _read_parquet(path, options)
    with gzip.open(path, "rb") if start.startswith(b"\x1f\x8b") else path.open("rb") as file:
        start = file.read(80)
        if start.startswith(b"SIMPLE"):
            return read_fits_spectrum(path, options)
        content = start + file.read(MAX_BYTES)
    if len(content) >= MAX_BYTES:
        raise Refused(f"has more than {MAX_BYTES / 1e6:.0f} MB of text, unpacked: no spectrum is so long")
    text = _decoded(content)
    if text.startswith("# %ECSV"):
        table = Table.read(text, format="ascii.ecsv")
        columns = [_column_of(table[name], name) for name in table.colnames]
        return raw_of_table(columns, dict(table.meta), options, "ECSV")
    return raw_of_table(text_columns(text), {}, options, "text")


def _decoded(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Refused(f"is of no kind that is read ({FORMATS}); convert it to one of these")
    return text


def _column_of(column: Any, name: str) -> SpectrumColumn:
    values = np.ma.asarray(column) if np.ma.isMaskedArray(column) else np.asarray(column)
    unit = getattr(column, "unit", None)
    return SpectrumColumn(name=name, values=values, unit="" if unit is None else str(unit))


def _read_parquet(path: Path, options: SpectrumOptions) -> RawSpectrum:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    columns = []
    for field in table.schema:
        values = table[field.name].to_numpy()
        unit = (field.metadata or {}).get(b"unit", b"").decode()
        columns.append(SpectrumColumn(name=field.name, values=values, unit=unit))
    return raw_of_table(columns, {}, options, "Parquet table")
