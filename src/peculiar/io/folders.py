"""What there is to read: entries of a folder, a container or fields, in a stable order, one after the other."""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from peculiar.io import arrays, fits, parquet
from peculiar.io.bands import match_band
from peculiar.io.entries import READ_ERRORS, Entry, ReadOptions, Unfit, quiet
from peculiar.io.ids import id_in_name, stem

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
CONTAINER_SUFFIXES = (*arrays.SUFFIXES, *parquet.SUFFIXES)
SUFFIXES = (*IMAGE_SUFFIXES, *fits.SUFFIXES, *CONTAINER_SUFFIXES)

log = logging.getLogger(__name__)


def list_entries(
    images: Path, options: ReadOptions, catalog: pa.Table | None = None, *, ignored: Counter[str] | None = None
) -> Iterator[Entry]:
    """List what there is to read, sorted by name, without opening images.

    Parameters
    ----------
    images
        A folder, searched to its depths: JPEG, PNG, TIFF, WebP and FITS hold one object each (one a name with
        `options.band_pattern`), HDF5, .npy, .npz and Parquet many. Or one such file. Or fields (`options.is_field`).
    options
        How they will be read.
    catalog
        For fields: `object_id`, `ra`, `dec` of the objects to cut out (`peculiar.io.catalogs.read_catalog`).
    ignored
        Counts the files that are passed over, by suffix: other kinds, and names that do not fit the pattern. Hidden
        files and folders are not even counted; links to folders are not followed.

    Yields
    ------
    Entries. A container that cannot be listed is one entry without index; reading it says why.
    """
    if not images.exists():
        raise FileNotFoundError(f"{images} does not exist; give the folder or file of the images")
    if options.band_pattern and not options.band_pattern.lower().endswith(fits.SUFFIXES):
        raise ValueError(f"band_pattern must end in {', '.join(fits.SUFFIXES)}, got {options.band_pattern!r}")
    if options.is_field:
        return _list_field(images, catalog)
    if images.is_file():
        if not images.name.lower().endswith(SUFFIXES):
            raise ValueError(f"{images} is of no kind that is read; these are: {' '.join(SUFFIXES)}")
        return _list_file(images.name, str(images), options)
    counter = Counter[str]() if ignored is None else ignored
    return _list_banded(images, options, counter) if options.band_pattern else _list_folder(images, options, counter)


def list_tiles(images: Path, options: ReadOptions) -> list[dict[str, str]]:
    """Files of fields by band, one dictionary a piece of sky.

    With `options.band_pattern` every name is a piece; otherwise the folder is one, and a file belongs to the band that
    its name ends with (``frame_i.fits``); one file with an extension a band is one too.
    """
    bands = options.bands or ()
    if images.is_file():
        return [{band: str(images) for band in bands}]
    files = [(relative, path) for relative, path in walk(images) if path.lower().endswith(fits.SUFFIXES)]
    if options.band_pattern is None:
        labels = [[stem(relative)] for relative, _ in files]
        return [{band: files[match_band(band, labels)][1] for band in bands}]
    tiles: dict[str, dict[str, str]] = {}
    pattern = _band_regex(options.band_pattern, bands)
    for relative, path in files:
        if match := pattern.fullmatch(relative):
            tiles.setdefault(match["name"], {})[match["band"]] = path
    return list(tiles.values())


def walk(folder: Path | str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Files below a folder, sorted by name, as (relative posix path, path); hidden ones are left out."""
    with os.scandir(folder) as found:
        items = sorted((item for item in found if not item.name.startswith(".")), key=lambda item: item.name)
    for item in items:
        if item.is_dir(follow_symlinks=False):
            yield from walk(item.path, f"{prefix}{item.name}/")
        else:
            yield f"{prefix}{item.name}", item.path


def _list_folder(images: Path, options: ReadOptions, ignored: Counter[str]) -> Iterator[Entry]:
    for relative, path in walk(images):
        if relative.lower().endswith(SUFFIXES):
            yield from _list_file(relative, path, options)
        else:
            ignored[os.path.splitext(relative)[1].lower() or "no suffix"] += 1
    if ignored:
        log.info("passed over %d files that are no images: %s", ignored.total(), dict(ignored))


def _list_file(relative: str, path: str, options: ReadOptions) -> Iterator[Entry]:
    if not path.lower().endswith(CONTAINER_SUFFIXES):
        yield Entry(relative, path, None, _named_id(relative, options))
        return
    list_rows = parquet.list_rows if path.lower().endswith(parquet.SUFFIXES) else arrays.list_rows
    rows = list_rows(path, options)
    while True:
        try:
            with quiet():  # not around a yield: warnings of the caller are his
                row = next(rows, None)
        except (Unfit, *READ_ERRORS):
            yield Entry(relative, path)
            return
        if row is None:
            return
        if row.index is None:
            yield Entry(relative, path, None, _named_id(relative, options))
        else:
            name = row.index if row.object_id is None else row.object_id
            yield Entry(f"{relative}#{name}", path, row.index, row.object_id, row.ra, row.dec)


def _list_banded(images: Path, options: ReadOptions, ignored: Counter[str]) -> Iterator[Entry]:
    bands, pattern = options.bands or (), options.band_pattern or ""
    regex = _band_regex(pattern, bands)
    for relative, _ in walk(images):
        match = regex.fullmatch(relative)
        if match is None:
            ignored[os.path.splitext(relative)[1].lower() or "no suffix"] += 1
            continue
        name = match["name"]
        path = str(images / pattern.replace("{name}", name))
        # the object is listed with the first band that it has: no list of the names seen has to be kept
        earlier = bands[: bands.index(match["band"])]
        if not any(os.path.exists(path.replace("{band}", band)) for band in earlier):
            yield Entry(name, path, None, _named_id(name, options))


def _band_regex(pattern: str, bands: tuple[str, ...]) -> re.Pattern[str]:
    # longest first, so that a band whose name ends another's does not win
    either = "|".join(re.escape(band) for band in sorted(bands, key=len, reverse=True))
    literal = re.escape(pattern)
    literal = literal.replace(re.escape("{name}"), "(?P<name>.+)", 1).replace(re.escape("{name}"), "(?P=name)")
    literal = literal.replace(re.escape("{band}"), f"(?P<band>{either})", 1).replace(re.escape("{band}"), "(?P=band)")
    return re.compile(literal)


def _list_field(images: Path, catalog: pa.Table | None) -> Iterator[Entry]:
    missing = {"object_id", "ra", "dec"} - set(() if catalog is None else catalog.column_names)
    if catalog is None or missing:
        lacks = "no catalog was given" if catalog is None else f"the catalog has no {', '.join(sorted(missing))}"
        raise ValueError(f"objects are cut out of a field by object_id, ra, dec, but {lacks}")
    return _field_rows(images, catalog.select(["object_id", "ra", "dec"]))


def _field_rows(images: Path, catalog: pa.Table) -> Iterator[Entry]:
    row = 0
    for batch in catalog.to_batches(max_chunksize=arrays.ROWS):
        for object_id, ra, dec in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield Entry(f"field#{object_id}", str(images), row, object_id, ra, dec)
            row += 1


def _named_id(source: str, options: ReadOptions) -> int | None:
    return id_in_name(source) if options.ids == "name" else None
