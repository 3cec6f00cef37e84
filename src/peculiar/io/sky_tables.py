"""Tables with positions, of every kind that is read, a batch at a time and as often as wanted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.io import fits

from peculiar.io.catalogs import DEC_NAMES, RA_NAMES
from peculiar.io.entries import quiet
from peculiar.io.ids import find_column
from peculiar.io.tables import SUFFIXES, read_table

BATCH_ROWS = 65_536
READ_BYTES = 2**20  # of a column of Parquet at a time
CSV_BLOCK = 2**23  # bytes; what types are told by
DEGREES = ("", "deg", "degree", "degrees")
# No right ascension and declination of our time; such columns are asked for by mistake.
OTHER_FRAMES = ("l", "b", "glon", "glat", "gal_l", "gal_b", "elon", "elat", "ecl_lon", "ecl_lat")
TO_ICRS = 'convert them to ICRS degrees first, say with astropy\'s SkyCoord(...).icrs and "ra.deg", "dec.deg"'


@dataclass(frozen=True)
class SkyTable:
    """A table whose positions are ICRS degrees, and some of its columns.

    Parameters
    ----------
    schema
        The columns that were asked for, numbers and texts, with `unit` and `description` in the fields' metadata.
    n_rows
        None where only reading would tell.
    read
        Opens the table anew and yields these columns, in batches.
    """

    ra: str
    dec: str
    schema: pa.Schema
    n_rows: int | None
    read: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]

    def positions(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Right ascension and declination, float64, degrees, NaN where there is none, a batch at a time."""
        for batch in self.read([self.ra, self.dec]):
            ra, dec = (batch.column(name).cast(pa.float64()) for name in (self.ra, self.dec))
            yield ra.to_numpy(zero_copy_only=False), dec.to_numpy(zero_copy_only=False)

    def rows(self, numbers: np.ndarray) -> pa.Table:
        """The columns of some rows, given by ascending numbers; the table is read through once, as far as needed."""
        parts, first = [self.schema.empty_table()], 0
        if len(numbers) and len(self.schema):
            for batch in self.read(self.schema.names):
                here = numbers[np.searchsorted(numbers, first) : np.searchsorted(numbers, first + batch.num_rows)]
                first += batch.num_rows
                if len(here):
                    taken = batch.take(pa.array(here - first + batch.num_rows))
                    arrays = [plain(taken.column(name)) for name in self.schema.names]
                    parts.append(pa.Table.from_arrays(arrays, names=self.schema.names).cast(self.schema))
                if first > numbers[-1]:
                    break
        return pa.concat_tables(parts)


def open_sky_table(path: Path, *, ra: str = "", dec: str = "", columns: Sequence[str] = ()) -> SkyTable:
    """Open a table with positions: CSV, FITS, VOTable, ECSV or Parquet.

    CSV, FITS and Parquet are read in batches, in the memory of one (Parquet: of two columns of a row group); VOTable,
    ECSV and what is compressed as a whole (.fits.gz) are read at once, as the formats, or astropy, know no other way.

    Parameters
    ----------
    path
        The file; its suffix says its kind.
    ra, dec
        Columns of the positions; where empty, the first of `RA_NAMES` and `DEC_NAMES`, in any case.
    columns
        The others that are wanted.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It has no such column; or its positions are no ICRS (or FK5 J2000, which is the same to 0.03 arcsec) degrees, as
        far as units, types and names tell.
    """
    name = path.name.lower()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a table ({' '.join(SUFFIXES)}), or an atlas")
    try:
        with quiet():
            schema, n_rows, read = _opened(path, name)
    except (OSError, ValueError, TypeError, IndexError, KeyError) as error:  # Arrow's and astropy's errors are these
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    return sky_table(str(path), schema, n_rows, read, ra=ra, dec=dec, columns=columns)


def sky_table(
    where: str,
    schema: pa.Schema,
    n_rows: int | None,
    read: Callable[[Sequence[str]], Iterator[pa.RecordBatch]],
    *,
    ra: str = "",
    dec: str = "",
    columns: Sequence[str] = (),
) -> SkyTable:
    """A table of our own or another's, once its columns are found fit; see `open_sky_table`."""
    names = schema.names
    listed = ", ".join(names[:40]) + (" ..." if len(names) > 40 else "")
    for asked in filter(None, (ra, dec, *columns)):
        if asked not in names:
            raise ValueError(f"{where} has no column {asked!r}; it has: {listed}")
    found = {
        house: given or find_column(names, known)
        for house, given, known in (("ra", ra, RA_NAMES), ("dec", dec, DEC_NAMES))
    }
    for house, column in found.items():
        if column is None:
            raise ValueError(
                f"{where} has no {house} that is known as such; name the column with --{house}-column; it has: {listed}"
            )
        _refuse_no_degrees(where, schema.field(column))
    for column in columns:
        kind = schema.field(column).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
            raise ValueError(f"{where}: column {column!r} holds {kind}; name one of numbers or texts")
    kept = [schema.field(column).with_type(_plain_type(schema.field(column).type)) for column in columns]
    return SkyTable(str(found["ra"]), str(found["dec"]), pa.schema(kept), n_rows, read)


def plain(column: pa.Array) -> pa.Array:
    """Integers, floats, truths and texts as they are, dates and the like as texts; NaN is null."""
    kind = _plain_type(column.type)
    column = column.cast(kind) if column.type != kind else column
    if pa.types.is_floating(kind):
        values = column.to_numpy(zero_copy_only=False)
        column = pa.array(values, kind, mask=np.isnan(values))
    return column


def _plain_type(kind: pa.DataType) -> pa.DataType:
    is_number = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or kind in (pa.float32(), pa.float64())
    return kind if is_number else pa.float32() if kind == pa.float16() else pa.string()


def _refuse_no_degrees(where: str, field: pa.Field) -> None:
    """What types, units and names tell of positions that are not ICRS degrees."""
    kind, name = field.type, field.name
    said = f"{where}: column {name!r}"
    if name.lower() in OTHER_FRAMES or "1950" in name:
        raise ValueError(f"{said} is of another frame than ICRS, as its name says; {TO_ICRS}")
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise ValueError(
            f"{said} holds {kind}, no numbers; positions must be degrees. Sexagesimal ones (09:51:22.3): {TO_ICRS}"
        )
    unit = (field.metadata or {}).get(b"unit", b"").decode()
    if unit.lower() not in DEGREES:
        raise ValueError(f"{said} is in {unit!r}; positions must be degrees: {TO_ICRS}")


_Opened = tuple[pa.Schema, int | None, Callable[[Sequence[str]], Iterator[pa.RecordBatch]]]


def _opened(path: Path, name: str) -> _Opened:
    """Columns, rows and how to read."""
    if name.endswith(".parquet"):
        with pq.ParquetFile(path) as file:
            schema, n_rows = file.schema_arrow.remove_metadata(), file.metadata.num_rows
        return schema, n_rows, lambda columns: _parquet(path, columns)
    if name.endswith((".fits", ".fit")):
        return _fits(path)
    if name.endswith((".csv", ".csv.gz")) and not _is_ecsv(path, name):
        names, schema = _csv_schema(path)
        return schema, None, lambda columns: _csv(path, names, schema, columns)
    whole = read_table(path)
    return whole.schema, whole.num_rows, lambda columns: iter(whole.select(columns).to_batches(BATCH_ROWS))


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, buffer_size=READ_BYTES) as file:
        for group in range(file.num_row_groups):  # over all at once Arrow keeps what it has read
            yield from file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns))


def _is_ecsv(path: Path, name: str) -> bool:
    if name.endswith(".gz"):
        return False
    with path.open("rb") as file:
        return file.readline().startswith(b"# %ECSV")


def _csv_schema(path: Path) -> tuple[list[str], pa.Schema]:
    """Names as they stand in the file, and the columns by the names that they are known by."""
    with pa.csv.open_csv(path, read_options=pa.csv.ReadOptions(block_size=CSV_BLOCK)) as reader:
        schema = reader.schema
    # The archive of HSC puts its header into a comment: "# object_id,ra,dec".
    fields = [field.with_name(field.name.lstrip("# ").strip()) for field in schema]
    # Whole degrees at first may be followed by others; a column that is empty at first may be a number later.
    numbers = [f.with_type(pa.float64()) if pa.types.is_null(f.type) or _is_position(f) else f for f in fields]
    return schema.names, pa.schema(numbers)


def _is_position(field: pa.Field) -> bool:
    return pa.types.is_integer(field.type) and field.name.lower() in (*RA_NAMES, *DEC_NAMES)


def _csv(path: Path, names: list[str], schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    theirs = dict(zip(schema.names, names, strict=True))
    convert = pa.csv.ConvertOptions(
        include_columns=[theirs[each] for each in columns],
        column_types={theirs[each]: schema.field(each).type for each in columns},
        strings_can_be_null=True,
    )
    try:
        options = pa.csv.ReadOptions(block_size=CSV_BLOCK)
        with pa.csv.open_csv(path, read_options=options, convert_options=convert) as reader:
            for batch in reader:
                yield batch.rename_columns(list(columns))
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path}: {error}; its first {CSV_BLOCK // 2**20} MB held another type there: mend it, or give Parquet"
        ) from error


def _fits(path: Path) -> _Opened:
    with fits.open(path, memmap=True) as hdus:
        number = next((i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)), None)
        if number is None:
            raise ValueError("it holds no table")
        header = hdus[number].header
        frame = str(header.get("RADESYS", header.get("RADECSYS", ""))).strip().upper()
        equinox = header.get("EQUINOX", header.get("EPOCH", 2000.0))
        if frame.startswith("FK4") or frame in ("GALACTIC", "ECLIPTIC") or equinox == 1950:
            raise ValueError(f"its header says frame {frame or 'FK4'}, equinox {equinox}; {TO_ICRS}")
        columns = [_fits_field(hdus[number], name) for name in hdus[number].columns.names]
        n_rows = len(hdus[number].data)
    return pa.schema(columns), n_rows, lambda names: _fits_batches(path, number, names)


def _fits_field(hdu: Any, name: str) -> pa.Field:
    column = hdu.columns[name]
    values = hdu.data[name][:1]
    kind = pa.list_(pa.null()) if values.ndim > 1 or values.dtype.kind not in "biufSU" else _fits_array(hdu, name).type
    metadata = {
        "unit": column.unit or "",
        "description": str(hdu.header.get(f"TCOMM{hdu.columns.names.index(name) + 1}", "")),
    }
    return pa.field(name, kind, metadata={key: value for key, value in metadata.items() if value})


def _fits_array(hdu: Any, name: str, start: int = 0, stop: int = 1) -> pa.Array:
    """Some rows of a column; what stands for no integer is null."""
    values = np.asarray(hdu.data[start:stop][name])
    if values.dtype.kind in "SU":
        texts = np.char.strip(values.astype(str)) if values.dtype.kind == "U" else np.char.strip(np.char.decode(values))
        return pa.array(texts.tolist(), pa.string(), mask=texts == "")
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    null = hdu.columns[name].null
    return pa.array(native, mask=native == int(null) if null not in (None, "") and native.dtype.kind in "iu" else None)


def _fits_batches(path: Path, number: int, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with fits.open(path, memmap=True) as hdus:
        hdu = hdus[number]
        for start in range(0, len(hdu.data), BATCH_ROWS):
            arrays = [_fits_array(hdu, name, start, start + BATCH_ROWS) for name in names]
            yield pa.record_batch(arrays, names=list(names))
