"""Files as they came: read by the readers that will ingest them, their bands, size and place on the sky checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from peculiar.io.archives.archive import Flawed, Target

if TYPE_CHECKING:
    import numpy as np

OFF_SURVEY, NO_BAND = "off the survey", "no such band"
_FINAL = {"missing band": NO_BAND, "no image": "no image", "too large": "wrong size", "too small": "wrong size"}


def check_fits(path: Path, target: Target, size: int, *, bands: Sequence[str] | None = None) -> None:
    """Check a FITS file: it opens, has the bands, the size in pixels (to one), light in it, and the object inside.

    With `bands` it is a cube whose header names its planes; without, one image.
    """
    from peculiar.io.entries import READ_ERRORS, ReadOptions, Unfit, quiet
    from peculiar.io.fits import read_cutout

    _check_beginning(path)
    try:
        with quiet():
            flux = read_cutout(str(path), ReadOptions(bands=None if bands is None else tuple(bands)))
            distance = _distance(path, target)
    except Unfit as unfit:
        raise Flawed(f"{_FINAL.get(unfit.rule, unfit.rule)}: {unfit.value}", is_final=True) from unfit
    except READ_ERRORS as error:
        raise Flawed(f"unreadable FITS: {' '.join(str(error).split())[:100]}", is_final=False) from error
    if bands is None and len(flux) != 1:
        raise Flawed(f"wrong channels: {len(flux)}, asked 1", is_final=True)
    _check_size(flux.shape[1:], size)
    _check_light(flux, bands)
    if distance > size / 4:
        raise Flawed(f"another place: the object is {distance:.0f} pixels from the center", is_final=False)


def check_picture(path: Path, size: int) -> None:
    """Check a JPEG or PNG: it decodes, has the size in pixels (to one), and is not one color."""
    from peculiar.io.entries import READ_ERRORS, ReadOptions, Unfit, quiet
    from peculiar.io.images import decode

    _check_beginning(path)
    try:
        with quiet():
            pixels = decode(str(path), ReadOptions())
    except Unfit as unfit:
        raise Flawed(f"{_FINAL.get(unfit.rule, unfit.rule)}: {unfit.value}", is_final=True) from unfit
    except READ_ERRORS as error:
        raise Flawed(f"unreadable image: {' '.join(str(error).split())[:100]}", is_final=False) from error
    _check_size(pixels.shape[:2], size)
    if (pixels == pixels[0, 0]).all():
        raise Flawed(OFF_SURVEY, is_final=True)


def check_no_page(begins: bytes) -> None:
    """Raise where a file begins as a web page does: an error that came with status 200."""
    text = begins.lstrip()[:100].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        raise Flawed("a web page instead of a file", is_final=False)


def _check_beginning(path: Path) -> None:
    with path.open("rb") as stream:
        begins = stream.read(512)
    if not begins:
        raise Flawed("an empty file", is_final=False)
    check_no_page(begins)


def _check_size(shape: Sequence[int], size: int) -> None:
    if any(abs(side - size) > 1 for side in shape):
        raise Flawed(f"wrong size: {'x'.join(map(str, shape))}, asked {size}x{size}", is_final=True)


def _check_light(flux: "np.ndarray", bands: Sequence[str] | None) -> None:
    """Archives answer with zeros, or NaN, where they have nothing."""
    import numpy as np

    finite = np.isfinite(flux)
    lowest, highest = (f(flux, axis=(1, 2), initial=i, where=finite) for f, i in ((np.min, np.inf), (np.max, -np.inf)))
    is_empty = lowest >= highest
    if is_empty.all():
        raise Flawed(OFF_SURVEY, is_final=True)
    if is_empty.any() and bands is not None:
        names = ", ".join(band for band, empty in zip(bands, is_empty, strict=True) if empty)
        raise Flawed(f"{NO_BAND}: {names} is empty", is_final=True)


def _distance(path: Path, target: Target) -> float:
    """Pixels from the center of the first image to the object, by its WCS; 0 where it has none."""
    import numpy as np
    from astropy.coordinates import SkyCoord
    from astropy.io import fits
    from astropy.wcs import WCS
    from astropy.wcs.utils import skycoord_to_pixel

    with fits.open(path) as hdus:
        header = next(hdu.header for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] >= 2)
        if "CTYPE1" not in header:
            return 0.0
        wcs = WCS(header, naxis=2)
        if not wcs.has_celestial:
            return 0.0
        x, y = skycoord_to_pixel(SkyCoord(target.ra, target.dec, unit="deg"), wcs)
    away = float(np.hypot(x - (header["NAXIS1"] - 1) / 2, y - (header["NAXIS2"] - 1) / 2))
    return away if np.isfinite(away) else float("inf")
