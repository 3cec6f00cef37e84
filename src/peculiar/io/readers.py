"""Files of every kind to images of one survey; what cannot be one comes back with rule, value and reason."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from peculiar.io import arrays, fits, images, parquet
from peculiar.io.entries import (
    MAX_CHANNELS,
    READ_ERRORS,
    Entry,
    Loaded,
    ReadOptions,
    Rejected,
    Unfit,
    check_not_empty,
    quiet,
    unreadable,
)
from peculiar.io.folders import CONTAINER_SUFFIXES, list_entries, list_tiles
from peculiar.sky import rgb
from peculiar.sky.cutouts import fit

__all__ = ["Entry", "Loaded", "ReadOptions", "Rejected", "list_entries", "read_many", "survey_shape"]

FIT_RULES = {"exact": "wrong size", "crop": "too small", "pad": "too large", "resample": "not square"}
N_SAMPLE = 100  # inputs that a survey's shape is taken from

_Pixels = np.ndarray | Unfit


def read_many(entries: Sequence[Entry], options: ReadOptions) -> list[Loaded | Rejected]:
    """Read entries, in their order; every container and field is opened once.

    Bad input never raises: it becomes a `Rejected`. Made for worker processes.
    """
    results: list[Loaded | Rejected | None] = [None] * len(entries)
    with quiet():
        for position, pixels in _read(entries, options):
            results[position] = _finished(entries[position], pixels, options)
    return [result for result in results if result is not None]


def survey_shape(entries: Iterable[Entry], options: ReadOptions) -> tuple[int, int]:
    """Find the most common size, in pixels, and number of channels of the first 100 readable inputs.

    What `options` says of either is kept. Of images that are not square the shorter side counts where they are
    cropped, the longer where they are padded, and neither otherwise.

    Raises
    ------
    ValueError
        If nothing is readable, with the first reasons.
    """
    if options.is_field:
        if options.size is None:
            raise ValueError("fields need the size of the cutouts; give --size in pixels")
        return options.size, options.channels or len(options.bands or ())
    shapes: Counter[tuple[int, int]] = Counter()
    reasons: list[str] = []
    for some in _batches(entries, 20):
        with quiet():
            for position, pixels in _read(some, options):
                try:
                    shapes[_shape(pixels, options)] += 1
                except Unfit as unfit:
                    reasons.append(unfit.rejected(some[position]).reason)
        if shapes.total() >= N_SAMPLE:
            break
    if not shapes:
        raise ValueError(
            f"nothing could be read ({len(reasons)} tried). First: " + "; ".join(reasons[:3] or ["no input"])
        )
    return shapes.most_common(1)[0][0]


def _read(entries: Sequence[Entry], options: ReadOptions) -> Iterator[tuple[int, _Pixels]]:
    """Pixels of entries with their positions: each container once, then single files."""
    groups: dict[str, list[int]] = defaultdict(list)
    for position, entry in enumerate(entries):
        groups[entry.path].append(position)
    for path, positions in groups.items():
        some = [entries[position] for position in positions]
        done = 0
        try:
            for pixels in _read_group(path, some, options):
                yield positions[done], pixels
                done += 1
        except Unfit as unfit:
            yield from ((position, unfit) for position in positions[done:])
        except READ_ERRORS as error:
            yield from ((position, unreadable(error)) for position in positions[done:])


def _read_group(path: str, entries: Sequence[Entry], options: ReadOptions) -> Iterator[_Pixels]:
    """Pixels of the entries of one path, in order."""
    if options.is_field:
        with fits.open_fields(list_tiles(Path(path), options), options) as fields:
            for entry in entries:
                yield _cut(fields, entry)
        return
    if options.band_pattern is None:
        check_not_empty(path)
    kind = path.lower()
    if kind.endswith(CONTAINER_SUFFIXES):
        reader = parquet if kind.endswith(parquet.SUFFIXES) else arrays
        indices = [entry.index for entry in entries]
        if None in indices:
            next(reader.list_rows(path, options), None)  # raises what kept it from being listed
        yield from reader.read_rows(path, indices, options)
    elif kind.endswith(fits.SUFFIXES):
        yield from (fits.read_cutout(path, options) for _ in entries)
    else:
        yield from (images.decode(path, options) for _ in entries)


def _cut(fields: fits.Fields, entry: Entry) -> _Pixels:
    try:
        return fields.cut(entry)
    except Unfit as unfit:
        return unfit
    except READ_ERRORS as error:
        return unreadable(error)


def _finished(entry: Entry, pixels: _Pixels, options: ReadOptions) -> Loaded | Rejected:
    try:
        if isinstance(pixels, Unfit):
            raise pixels
        if options.ids == "name" and entry.object_id is None and entry.index is None:
            text = "has not exactly one int64 in its name to be its object_id; rename it, or use --ids source"
            raise Unfit("bad id", Path(entry.source).name, text)
        return _made(entry, pixels, options)
    except Unfit as unfit:
        return unfit.rejected(entry)


def _made(entry: Entry, pixels: np.ndarray, options: ReadOptions) -> Loaded:
    """Check, fit and stretch: native pixels to the survey's image."""
    is_flux = pixels.dtype != np.uint8
    _check_content(pixels, options)
    fitted = _fitted(pixels, options)
    if fitted.shape != pixels.shape:
        _check_content(fitted, options)  # the center may be empty where the whole is not
    image = _stretched(fitted, options) if is_flux else fitted
    if not is_flux and image.shape[-1] == 1 and options.channels == 3:
        image = np.repeat(image, 3, axis=-1)
    n_channels = image.shape[-1]
    if n_channels != (options.channels or n_channels) or n_channels > MAX_CHANNELS:
        limit = options.channels or f"at most {MAX_CHANNELS}"
        text = f"has {n_channels} channels where the survey has {limit}; convert it"
        raise Unfit("wrong channels", n_channels, text)
    if is_flux and (image == image[0, 0]).all():
        value = f"{image[0, 0].tolist()} after the stretch"
        text = f"is {value} everywhere; check the bands, or set --stretch-width and --minimum to the survey's units"
        raise Unfit("constant image", value, text)
    return Loaded(entry, np.ascontiguousarray(image), fitted if is_flux and options.keep_flux else None)


def _check_content(pixels: np.ndarray, options: ReadOptions) -> None:
    """Refuse pixels that say nothing: a band without a finite value, or one value everywhere."""
    if pixels.dtype == np.uint8:
        is_constant, value = bool((pixels == pixels[0, 0]).all()), str(pixels[0, 0].tolist())
    else:
        lowest, highest = (
            f(pixels, axis=(1, 2), initial=i, where=np.isfinite(pixels))
            for f, i in ((np.min, np.inf), (np.max, -np.inf))
        )
        for plane in np.flatnonzero(lowest > highest):
            name = options.bands[plane] if options.bands and len(options.bands) == len(pixels) else f"plane {plane}"
            raise Unfit("no finite pixel", name, f"has no finite pixel in {name}; get the band again, or leave it out")
        is_constant, value = bool((lowest == highest).all()), str(lowest.tolist())
    if is_constant:
        raise Unfit("constant image", value, f"is {value} everywhere: an empty image; remove it")


def _fitted(pixels: np.ndarray, options: ReadOptions) -> np.ndarray:
    height, width = pixels.shape[:2] if pixels.dtype == np.uint8 else pixels.shape[1:]
    if options.size is None and height != width:
        raise Unfit("not square", f"{height}x{width}", f"is {height}x{width} pixels; give --size and --fit crop|pad")
    try:
        return fit(pixels, options.size or height, options.fit)
    except ValueError as error:
        raise Unfit(FIT_RULES[options.fit], f"{height}x{width}", str(error)) from error


def _stretched(flux: np.ndarray, options: ReadOptions) -> np.ndarray:
    is_lupton = _is_lupton(len(flux), options)
    if is_lupton and len(flux) != 3:
        raise Unfit(
            "wrong channels", len(flux), f"has {len(flux)} bands; stretch lupton needs three: use --stretch asinh"
        )
    stretch = rgb.lupton if is_lupton else rgb.asinh
    image: np.ndarray = stretch(flux[None], minimum=options.minimum, stretch=options.stretch_width, q=options.q)[0]
    return image


def _is_lupton(n_bands: int, options: ReadOptions) -> bool:
    return options.stretch == "lupton" or (options.stretch is None and n_bands == 3)


def _shape(pixels: _Pixels, options: ReadOptions) -> tuple[int, int]:
    """Size and channels that a survey of such inputs would have."""
    if isinstance(pixels, Unfit):
        raise pixels
    is_image = pixels.dtype == np.uint8
    (height, width), n_channels = (pixels.shape[:2], pixels.shape[2]) if is_image else (pixels.shape[1:], len(pixels))
    if options.size is None and height != width and options.fit in ("exact", "resample"):
        text = f"is {height}x{width} pixels; give --size and --fit crop|pad"
        raise Unfit("not square", f"{height}x{width}", text)
    side = max(height, width) if options.fit == "pad" else min(height, width)
    return options.size or side, options.channels or n_channels


def _batches(entries: Iterable[Entry], n: int) -> Iterator[list[Entry]]:
    iterator = iter(entries)
    while some := list(islice(iterator, n)):
        yield some
