"""A spectrum in a FITS file: of a survey, a table, or an image of one dimension."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from peculiar.io.spectra.raw import FORMATS, RawSpectrum, Refused, SpectrumOptions
from peculiar.io.spectra.surveys import is_desi, is_sdss, raw_of_desi, raw_of_sdss
from peculiar.io.spectra.tables import SpectrumColumn, find_columns, raw_of_table
from peculiar.io.spectra.units import LOG_ANGSTROM


@contextmanager
def _open_fits(path: Path) -> Iterator[Any]:
    """Open a FITS file, all headers read; one that is cut off is refused, where astropy only warns."""
    with fits.open(path) as hdus:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            len(hdus)
        damage = [str(each.message) for each in caught if "truncated" in str(each.message).lower()]
        if damage:
            raise Refused("is cut off: it ends before its last table does; fetch it again")
        yield hdus


def read_fits_spectrum(path: Path, options: SpectrumOptions) -> RawSpectrum:
    """Return the spectrum of a FITS file: by DESI's or SDSS's data model, else its first table that has one.

    Raises Refused, with what the file holds, where it holds none.
    """
    with _open_fits(path) as hdus:
        if is_desi(hdus):
            return raw_of_desi(hdus, options)
        if is_sdss(hdus):
            return raw_of_sdss(hdus, options)
        for hdu in hdus:
            if isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
                columns = _fits_columns(hdu)
                if columns and find_columns(columns):
                    header = {**_keywords(hdus[0].header), **_keywords(hdu.header)}
                    is_eso = str(header.get("VOPUB", "")).startswith("ESO")
                    return raw_of_table(columns, header, options, "ESO phase 3" if is_eso else "FITS table")
        image = _image_spectrum(hdus, options)
        if image is not None:
            return image
        held = ", ".join(f"{hdu.name or 'PRIMARY'} ({_holds(hdu)})" for hdu in hdus)
        raise Refused(f"holds no spectrum that is known: {held[:500]}; readable are {FORMATS}")


def _holds(hdu: Any) -> str:
    if getattr(hdu, "columns", None) is not None:
        return "table of " + " ".join(hdu.columns.names[:8])
    return "empty" if not hdu.shape else "image of " + "x".join(map(str, hdu.shape))


def _keywords(header: Any) -> dict[str, Any]:
    return {key: header[key] for key in header if key not in ("COMMENT", "HISTORY", "")}


def _fits_columns(hdu: Any) -> list[SpectrumColumn]:
    data, header = hdu.data, hdu.header
    if data is None or not len(data):
        return []
    return [
        SpectrumColumn(
            name=column.name,
            values=np.array(data[column.name]),  # a copy: the file is closed before it is used
            unit=str(column.unit or ""),
            ucd=str(header.get(f"TUCD{number}", "")),
            utype=str(header.get(f"TUTYP{number}", "")),
        )
        for number, column in enumerate(hdu.columns, start=1)
    ]


def _image_spectrum(hdus: Any, options: SpectrumOptions) -> RawSpectrum | None:
    """A spectrum kept as an image of one dimension (IRAF, old ESO): its wavelengths are in the header's CRVAL1."""
    images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == 1 and hdu.shape[0] > 1]
    hdu = next((each for each in images if "CRVAL1" in each.header), None)
    if hdu is None:
        return None
    header = hdu.header
    kind = str(header.get("CTYPE1", "")).strip().upper()
    step = header.get("CDELT1", header.get("CD1_1"))
    if step is None or kind not in ("", "WAVE", "AWAV", "LAMBDA", "LINEAR", "WAVELENGTH"):
        raise Refused(
            f"holds an image with CTYPE1 {kind!r}, which is no linear wavelength; write it as a table instead"
        )
    pixel = np.arange(1, hdu.shape[0] + 1)
    axis = header["CRVAL1"] + (pixel - header.get("CRPIX1", 1.0)) * step
    unit = LOG_ANGSTROM if header.get("DC-FLAG") == 1 else str(header.get("CUNIT1", ""))
    columns = [
        SpectrumColumn(
            name="wave" if kind not in ("WAVE", "AWAV") else {"WAVE": "wave_vac", "AWAV": "wave_air"}[kind],
            values=axis,
            unit=unit,
        ),
        SpectrumColumn(name="flux", values=np.array(hdu.data), unit=str(header.get("BUNIT", ""))),
    ]
    columns += [
        SpectrumColumn(name=other.name, values=np.array(other.data))
        for other in images
        if other is not hdu and other.shape == hdu.shape
    ]
    return raw_of_table(columns, {**_keywords(hdus[0].header), **_keywords(header)}, options, "FITS image")
