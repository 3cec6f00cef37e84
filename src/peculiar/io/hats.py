"""Write a catalog in HATS: Parquet parted by place on the sky, as LSDB reads it; of any length, in bounded memory.

The layout is that of the IVOA note (https://www.ivoa.net/documents/Notes/HATS/), which the package `hats` reads and
checks: one Parquet file a HEALPix pixel, each pixel as large as it can be with at most so many objects.
"""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int64

from peculiar.io.plain import checked, facts_of

log = logging.getLogger(__name__)
INDEX, INDEX_ORDER = "_healpix_29", 29  # the note's spatial index: the finest HEALPix pixel that 64 bits hold
COUNT_ORDER = 10  # pixels of 3.4 arcmin, the finest partition; 12.6 million counts are 0.1 GB
SKYMAP_ORDER = 8  # pixels of 14 arcmin: a map of counts that is small to read
MAX_ROWS = 250_000  # a partition: some 0.1 GB of the catalog's 60 columns, which LSDB has in memory several times
SPILL_ROWS = 200_000  # gathered before they are told apart; memory is that of these or of a partition
GROUP_ROWS = 50_000  # of a row group, the least that a reader of a small cone reads
DIRECTORY_PIXELS = 10_000  # HiPS's rule, which the note takes: Dir is the pixel's number rounded down to it


@dataclass(frozen=True)
class Hats:
    """What was written: rows, rows left out as they have no position, and partitions."""

    n_rows: int
    n_without_position: int
    n_partitions: int


@dataclass(frozen=True)
class _Partitions:
    """HEALPix pixels, nested numbering, that cover all objects once, ascending on the sky."""

    order: np.ndarray
    pixel: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """First index of order 29 of each."""
        return self.pixel << (2 * (INDEX_ORDER - self.order))

    def path(self, number: int) -> str:
        """The file of a partition, relative to the dataset's folder."""
        order, pixel = int(self.order[number]), int(self.pixel[number])
        directory = pixel // DIRECTORY_PIXELS * DIRECTORY_PIXELS
        return f"Norder={order}/Dir={directory}/Npix={pixel}.parquet"


def write_hats(
    folder: Path,
    schema: pa.Schema,
    batches: Callable[[], Iterable[pa.RecordBatch]],
    *,
    name: str,
    max_rows: int = MAX_ROWS,
    facts: Mapping[str, str] | None = None,
) -> Hats:
    """Write the catalog `name` as a HATS folder, put in the place of what was there only when it is whole.

    Parameters
    ----------
    folder
        Of the catalog: `hats.properties`, `partition_info.csv`, `skymap.fits`, `dataset/`.
    schema
        Columns with ra and dec, ICRS, degrees. A column ``_healpix_29`` is computed anew.
    batches
        Called twice, to count and to write; gives the same rows, in any order.
    max_rows
        A partition has at most so many rows; a pixel of order 10 (3.4 arcmin) with more of them stays one partition.
    facts
        More properties, such as obs_title or hats_copyright; those that are empty are left out.

    Notes
    -----
    Rows without a finite position are left out, and counted. Rows of equal index keep their order. Two passes: the
    first counts objects in pixels of order 10; the second spills rows to a file for each partition, beside the result,
    which then is sorted by itself. Memory is that of one partition or of `SPILL_ROWS`, and of the counts (0.1 GB at
    worst); the disk holds the rows twice for a while.

    Raises
    ------
    ValueError
        There is no column ra or dec, a declination is beyond 90 degrees, or no row has a position.
    ImportError
        cdshealpix is not installed.
    """
    if missing := [each for each in ("ra", "dec") if each not in schema.names]:
        raise ValueError(f"HATS is parted by position and needs the column {', '.join(missing)}; there is none")
    if max_rows < 1:
        raise ValueError(f"max_rows must be at least 1, got {max_rows}")
    indexed = _indexed_schema(schema)
    partial, spill = (folder.with_name(f".{folder.name}.{each}") for each in ("partial", "spill"))
    _remove(partial, spill)  # what a kill left
    try:
        counts, n_read = _count(batches(), schema)
        n_rows = int(counts.sum())
        if not n_rows:
            raise ValueError(f"none of {n_read} rows has a position, ra and dec, to be parted by")
        parts = _partition(counts, max_rows)
        spill.mkdir(parents=True)
        _spill(batches(), schema, indexed, parts, spill)
        _write_partitions(partial, indexed, parts, spill)
        _write_skymap(partial, counts)
        found = Hats(n_rows, n_read - n_rows, len(parts.pixel))
        _write_properties(partial, name, found, max_rows, {**facts_of(schema), **(facts or {})})
        _remove(folder)
        partial.replace(folder)
    finally:
        _remove(partial, spill)
    log.info("wrote %s, %d partitions", folder, found.n_partitions)
    return found


def healpix_index(ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Number the HEALPix pixels of order 29, nested, that positions are in; -1 for one that is not finite.

    By cdshealpix, which `hats` uses too: where rounding decides, both decide alike.

    Parameters
    ----------
    ra, dec
        ICRS, degrees; dec from -90 to 90.
    """
    try:
        from cdshealpix.nested import lonlat_to_healpix
    except ImportError as error:
        raise ImportError("HATS needs cdshealpix; install it by: pip install cdshealpix") from error
    from astropy.coordinates import Latitude, Longitude

    is_placed = np.isfinite(ra) & np.isfinite(dec)
    if (np.abs(dec[is_placed]) > 90).any():
        worst = dec[is_placed][np.argmax(np.abs(dec[is_placed]))]
        raise ValueError(f"dec must be from -90 to 90 degrees, got {worst}; are ra and dec interchanged?")
    index = np.full(len(ra), -1, np.int64)
    if is_placed.any():
        longitude, latitude = Longitude(ra[is_placed], "deg"), Latitude(dec[is_placed], "deg")
        index[is_placed] = lonlat_to_healpix(longitude, latitude, INDEX_ORDER).astype(np.int64)
    return index


def _indexed_schema(schema: pa.Schema) -> pa.Schema:
    note = {b"description": b"HEALPix pixel of order 29, nested numbering: the index that HATS is sorted by"}
    others = [field for field in schema if field.name != INDEX]
    return pa.schema([pa.field(INDEX, pa.int64(), metadata=note), *others], metadata=schema.metadata)


def _indices(batch: pa.RecordBatch) -> np.ndarray:
    ra, dec = (batch[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in ("ra", "dec"))
    return healpix_index(ra, dec)


def _count(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> tuple[np.ndarray, int]:
    """Objects in each pixel of `COUNT_ORDER`, and how many rows there are, also without a position."""
    counts = np.zeros(12 * 4**COUNT_ORDER, np.int64)
    n_read = 0
    for batch in checked(batches, schema):
        n_read += batch.num_rows
        index = _indices(batch)
        pixels, n_here = np.unique(index[index >= 0] >> (2 * (INDEX_ORDER - COUNT_ORDER)), return_counts=True)
        counts[pixels] += n_here
    return counts, n_read


def _partition(counts: np.ndarray, max_rows: int) -> _Partitions:
    """The largest pixels with at most `max_rows` objects, and those of `COUNT_ORDER` that have more all the same."""
    pyramid = [counts]
    for _ in range(COUNT_ORDER):
        pyramid.append(pyramid[-1].reshape(-1, 4).sum(axis=1))
    orders, pixels = [], []
    is_open = np.ones(12, bool)  # in no partition yet
    for order, here in enumerate(reversed(pyramid)):
        is_taken = is_open & (here > 0) & ((here <= max_rows) | (order == COUNT_ORDER))
        pixels.append(np.flatnonzero(is_taken))
        orders.append(np.full(len(pixels[-1]), order))
        is_open = np.repeat(is_open & (here > max_rows), 4)
    found = _Partitions(np.concatenate(orders), np.concatenate(pixels))
    ascending = np.argsort(found.starts)
    return _Partitions(found.order[ascending], found.pixel[ascending])


def _spill(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, indexed: pa.Schema, parts: _Partitions, spill: Path
) -> None:
    """Part rows into a file for each partition: Arrow streams one after another, so that one file at a time is open."""
    bare = indexed.remove_metadata()
    bare = pa.schema([field.remove_metadata() for field in bare])  # a stream repeats its schema
    for rows in _gathered(batches, schema, bare):
        index = rows[INDEX].to_numpy()
        rows = rows.take(np.argsort(index, kind="stable"))
        number = np.searchsorted(parts.starts, np.sort(index), side="right") - 1
        firsts = np.flatnonzero(np.r_[True, number[1:] != number[:-1]])
        for first, stop in zip(firsts, np.r_[firsts[1:], len(number)], strict=True):
            path = spill / f"{number[first]}.arrows"
            with path.open("ab") as file, pa.ipc.new_stream(file, bare) as stream:
                stream.write_table(rows.slice(first, stop - first))


def _gathered(batches: Iterable[pa.RecordBatch], schema: pa.Schema, bare: pa.Schema) -> Iterator[pa.Table]:
    """Rows that have a position, with their index, some `SPILL_ROWS` at a time."""
    waiting: list[pa.RecordBatch] = []
    for batch in checked(batches, schema):
        index = _indices(batch)
        columns = [pa.array(index) if name == INDEX else batch[name] for name in bare.names]
        waiting.append(pa.RecordBatch.from_arrays(columns, schema=bare).filter(pa.array(index >= 0)))
        if sum(each.num_rows for each in waiting) >= SPILL_ROWS:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if any(each.num_rows for each in waiting):
        yield pa.Table.from_batches(waiting)


def _write_partitions(partial: Path, indexed: pa.Schema, parts: _Partitions, spill: Path) -> None:
    """`dataset/`: the partitions, sorted, and their footers together; and the list of partitions."""
    dataset = partial / "dataset"
    footers: list[pq.FileMetaData] = []
    for number in range(len(parts.pixel)):
        path = dataset / parts.path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        spilled = spill / f"{number}.arrows"
        rows = pa.Table.from_batches(_unspilled(spilled))
        spilled.unlink()
        rows = rows.take(np.argsort(rows[INDEX].to_numpy(), kind="stable")).cast(indexed)
        mine: list[pq.FileMetaData] = []
        pq.write_table(rows, path, row_group_size=GROUP_ROWS, compression="zstd", metadata_collector=mine)
        mine[0].set_file_path(parts.path(number))
        footers += mine
    breadth_first = np.lexsort((parts.pixel, parts.order)).tolist()
    pq.write_metadata(indexed, dataset / "_metadata", metadata_collector=[footers[each] for each in breadth_first])
    pq.write_metadata(indexed, dataset / "_common_metadata")
    lines = [f"{parts.order[each]},{parts.pixel[each]}" for each in breadth_first]
    (partial / "partition_info.csv").write_text("\n".join(["Norder,Npix", *lines]) + "\n", encoding="utf-8")


def _unspilled(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as file:
        while file.tell() < path.stat().st_size:
            with pa.ipc.open_stream(file) as stream:
                yield from stream


def _write_skymap(partial: Path, counts: np.ndarray) -> None:
    """Objects a pixel, as a HEALPix map in FITS that leaves out what is empty."""
    from cdshealpix.skymap import SkymapImplicit

    coarse = counts.reshape(12 * 4**SKYMAP_ORDER, -1).sum(axis=1)
    SkymapImplicit(coarse, null_value=0).to_explicit().to_fits(str(partial / "skymap.fits"))


def _write_properties(partial: Path, name: str, found: Hats, max_rows: int, facts: Mapping[str, str]) -> None:
    size = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    properties = {
        "obs_collection": name,
        "dataproduct_type": "object",
        "hats_nrows": found.n_rows,
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": INDEX,
        "hats_col_healpix_order": INDEX_ORDER,
        "hats_npix_suffix": ".parquet",
        "hats_skymap_order": SKYMAP_ORDER,
        "hats_max_rows": max_rows,
        "hats_estsize": size // 1024,
        "hats_builder": f"peculiar {version('peculiar')}",
        "hats_creation_date": f"{datetime.now(UTC):%Y-%m-%dT%H:%MUTC}",
        "hats_version": "v1.0",
        **{key: value for key, value in facts.items() if value},
    }
    lines = ["#HATS catalog", *(f"{_escaped(key)}={_escaped(str(value))}" for key, value in properties.items())]
    for each in ("hats.properties", "properties"):  # the second is the older name of the first
        (partial / each).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _escaped(text: str) -> str:
    """Text as a Java properties file holds it on one line."""
    for mark in ("\\", ":", "=", "#", "!"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def _remove(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)
