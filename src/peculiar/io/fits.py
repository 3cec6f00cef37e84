"""FITS to flux: one extension a band, a cube, one file a band; and objects cut out of large fields."""

import contextlib
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata.utils import NoOverlapError, PartialOverlapError, extract_array
from astropy.wcs import WCS, NoConvergence
from astropy.wcs.utils import proj_plane_pixel_scales, skycoord_to_pixel

from peculiar.io.bands import is_companion, match_band, select_planes
from peculiar.io.entries import Entry, ReadOptions, Unfit, check_not_empty, check_shape

SUFFIXES = (".fits", ".fit", ".fits.gz", ".fit.gz", ".fits.fz", ".fit.fz")
_DAMAGE = re.compile(r"truncated|corrupt", re.IGNORECASE)  # astropy only warns, and drops the extensions that are cut


def read_cutout(path: str, options: ReadOptions) -> np.ndarray:
    """Read the flux of one object, float32 (bands, height, width), in the order of `options.bands`.

    Extensions that are not the image itself (point-spread functions, variances, masks) are passed over. Without
    `bands` a file must hold one image or one cube: the order of extensions is no color order.
    Integers become floats before anything else; BZERO, BSCALE and BLANK are applied.
    """
    if options.band_pattern is not None and options.bands is not None:
        planes = [_read_single(path.replace("{band}", band), band, options) for band in options.bands]
        return _stack(planes, options.bands)
    with _open(path) as hdus:
        images = _images(hdus)
        labels = [_labels(hdu) for hdu in images]
        science = _science(images)
        if len(science) == 1:
            return _single(science[0], options)
        if options.bands is not None:
            found = [images[match_band(band, labels)] for band in options.bands]
            return _stack([_plane(hdu, options) for hdu in found], options.bands)
        names = ", ".join("/".join(item) or "no name" for item in labels)
        text = f"holds {len(science)} images ({names}); name them in color order with --bands"
        raise Unfit("ambiguous bands", len(science), text)


def _single(hdu: Any, options: ReadOptions) -> np.ndarray:
    """Planes of the only image of a file: a cube, or one band, whatever its name."""
    cube = _plane(hdu, options)
    if cube.ndim == 3:
        names = hdu.header.get("BANDS")  # Legacy Survey cutouts: BANDS = 'grz'
        return select_planes(cube, options.bands, list(names) if isinstance(names, str) else None)
    if options.bands is not None and len(options.bands) > 1:
        text = f"holds one image for {len(options.bands)} bands; give --band-pattern for one file a band"
        raise Unfit("missing band", ",".join(options.bands), text)
    return cube[None]


def _read_single(path: str, band: str, options: ReadOptions) -> np.ndarray:
    """Read the image of a band's own file: the extension of that name, or else the first image."""
    if not os.path.exists(path):
        raise Unfit("missing band", band, f"has no file {os.path.basename(path)!r} for band {band!r}; add it")
    check_not_empty(path)
    with _open(path) as hdus:
        plane = _plane(_science(_images(hdus))[0], options)
    if plane.ndim != 2:
        raise Unfit(
            "wrong channels", plane.shape[0], f"{os.path.basename(path)!r} is a cube, not the image of one band"
        )
    return plane


@dataclass(frozen=True)
class _Field:
    """One band of a field. `section` reads only what is asked for."""

    section: Any
    wcs: WCS
    scale: float


@contextlib.contextmanager
def open_fields(tiles: Sequence[dict[str, str]], options: ReadOptions) -> Iterator["Fields"]:
    """Keep fields open to cut objects out of; `tiles` are files by band, one dictionary a piece of sky."""
    with contextlib.ExitStack() as stack:
        yield Fields(tiles, options, stack)


class Fields:
    """The open fields of one call; a file is opened when an object first asks for it."""

    def __init__(self, tiles: Sequence[dict[str, str]], options: ReadOptions, stack: contextlib.ExitStack) -> None:
        self._tiles, self._options, self._stack = tiles, options, stack
        self._open: dict[tuple[str, str], _Field] = {}

    def cut(self, entry: Entry) -> np.ndarray:
        """Flux around an object, float32 (bands, size, size), centered to half a pixel, each band by its own WCS.

        The first tile that holds the whole cutout is taken. Pixels are not resampled, so bands should share a grid.
        """
        size, ra, dec = self._options.size, entry.ra, entry.dec
        if size is None:
            raise Unfit("wrong size", "none", "is cut out of a field, which needs the size of the cutouts; give --size")
        if ra is None or dec is None or not (math.isfinite(ra) and -90 <= dec <= 90):
            raise Unfit("no position", f"ra {ra}, dec {dec}", "has no valid ra, dec in the catalog to be cut out at")
        outside = ""
        for tile in self._tiles:
            try:
                return self._cut_tile(tile, ra, dec, size)
            except (NoOverlapError, PartialOverlapError, NoConvergence) as error:
                outside = str(error).split("\n")[0]
        position = f"ra {ra:.6f}, dec {dec:.6f}"
        text = f"a cutout of {size} pixels at {position} leaves the field ({outside or 'there is no field'}); drop it"
        raise Unfit("outside field", position, text)

    def _cut_tile(self, tile: dict[str, str], ra: float, dec: float, size: int) -> np.ndarray:
        assert self._options.bands is not None  # ReadOptions sees to it
        planes, scales = [], []
        for band in self._options.bands:
            field = self._band(tile, band)
            x, y = skycoord_to_pixel(SkyCoord(ra, dec, unit="deg"), field.wcs)  # turns ICRS into the field's frame
            if not (np.isfinite(x) and np.isfinite(y)):
                raise NoOverlapError("the position is not on this projection")
            # rounding errors must not shift one band by a pixel where an object lies on a pixel's center
            position = (round(float(y), 6), round(float(x), 6))
            planes.append(np.asarray(extract_array(field.section, (size, size), position, mode="strict"), np.float32))
            scales.append(field.scale)
        if max(scales) > 1.01 * min(scales):
            value = ", ".join(f"{scale * 3600:.4f}" for scale in scales)
            raise Unfit("wrong pixel scale", value, f"bands have pixels of {value} arcsec; resample them to one grid")
        return np.stack(planes)

    def _band(self, tile: dict[str, str], band: str) -> _Field:
        if band not in tile:
            raise Unfit("missing band", band, f"the field has no file for band {band!r}; name them with --bands")
        key = (tile[band], band)
        if key not in self._open:
            images = _images(self._stack.enter_context(_open(tile[band])))
            planes = [hdu for hdu in images if len(_shape(hdu)) == 2 == len(hdu.shape)]
            if not planes:
                raise Unfit("no image", tile[band], f"{tile[band]} holds no two-dimensional image; give the fields")
            hdu = _science(planes)[0]
            if len(_science(planes)) > 1:
                hdu = planes[match_band(band, [_labels(hdu) for hdu in planes])]
            wcs = WCS(hdu.header)
            if not wcs.has_celestial:
                raise Unfit(
                    "no position", tile[band], f"{tile[band]} has no WCS, so nothing can be cut out of it by ra, dec"
                )
            self._open[key] = _Field(hdu.section, wcs, float(np.mean(proj_plane_pixel_scales(wcs))))
        return self._open[key]


@contextlib.contextmanager
def _open(path: str) -> Iterator[Any]:
    """Open a FITS file, all headers read; damage is an error."""
    with fits.open(path) as hdus:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            len(hdus)  # reads all headers
        damage = [str(w.message) for w in caught if _DAMAGE.search(str(w.message))]
        if damage:
            raise OSError("truncated or corrupt: " + damage[0])
        yield hdus


def _images(hdus: Any) -> list[Any]:
    images = [hdu for hdu in hdus if hdu.is_image and len(_shape(hdu)) in (2, 3)]
    if not images:
        kinds = ", ".join(type(hdu).__name__ for hdu in hdus)
        raise Unfit("no image", kinds, f"holds no image in two or three dimensions (it holds: {kinds}); remove it")
    return images


def _science(images: list[Any]) -> list[Any]:
    """Images that are not the companions of others; all if nothing would be left."""
    return [hdu for hdu in images if not any(map(is_companion, _labels(hdu)))] or images


def _shape(hdu: Any) -> tuple[int, ...]:
    """Shape without leading axes of length one."""
    shape = tuple(int(side) for side in hdu.shape)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _labels(hdu: Any) -> list[str]:
    """Names of an image: its own, its band's, and its kind if that is not 'image'."""
    header = hdu.header
    values = [header.get("EXTNAME"), header.get("BAND"), header.get("FILTER")]
    kind = header.get("IMAGETYP")  # Legacy Survey: 'image' or 'invvar'
    labels = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    labels = [label for label in labels if label.upper() not in ("PRIMARY", "COMPRESSED_IMAGE")]
    return [*labels, kind.strip()] if isinstance(kind, str) and is_companion(kind) else labels


def _plane(hdu: Any, options: ReadOptions) -> np.ndarray:
    shape = _shape(hdu)
    check_shape(shape[-2], shape[-1], options)
    if len(shape) == 3 and shape[0] * shape[1] * shape[2] > 8 * options.max_pixels:
        text = f"is a cube of {shape[0]} planes, more than can be read; cut it to the bands wanted"
        raise Unfit("too large", "x".join(map(str, shape)), text)
    return np.asarray(hdu.data, np.float32).reshape(shape)


def _stack(planes: list[np.ndarray], bands: Sequence[str]) -> np.ndarray:
    shapes = {plane.shape for plane in planes}
    if len(shapes) > 1 or planes[0].ndim != 2:
        value = ", ".join(f"{band} {'x'.join(map(str, p.shape))}" for band, p in zip(bands, planes, strict=True))
        raise Unfit("wrong size", value, f"has bands of different shapes ({value}); cut them on one grid")
    return np.stack(planes)
