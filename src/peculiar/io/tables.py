"""Tables of every kind to Arrow: integers exact, NaN null, units and descriptions in the fields' metadata."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.io import fits, votable
from astropy.table import Column, MaskedColumn, Table

from peculiar.io.entries import quiet

FITS_SUFFIXES = (".fits", ".fit", ".fits.gz", ".fit.gz", ".fits.fz")
VOTABLE_SUFFIXES = (".vot", ".votable", ".xml", ".vot.gz")
SUFFIXES = (".csv", ".csv.gz", *FITS_SUFFIXES, *VOTABLE_SUFFIXES, ".ecsv", ".parquet")

log = logging.getLogger(__name__)


def read_table(path: Path, *, text_columns: Sequence[str] = ()) -> pa.Table:
    """Read a table by its suffix; columns of several values a row are left out, which the log says.

    In a CSV `text_columns`, in any usual case, stay text even if they hold digits: ``0001`` is a file.
    Raises ValueError if it is of no kind that is read, or cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a catalog ({' '.join(SUFFIXES)})")
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise ValueError(f"{path} is of no kind that is read as a catalog; these are: {' '.join(SUFFIXES)}")
    try:
        with quiet():
            table = _read(path, name, text_columns)
    except (OSError, ValueError, TypeError, IndexError, KeyError) as error:  # Arrow's and astropy's errors are these
        raise ValueError(f"{path} cannot be read as a catalog: {error}; convert it to CSV, FITS or Parquet") from error
    return _nan_to_null(table)


def _read(path: Path, name: str, text_columns: Sequence[str]) -> pa.Table:
    if name.endswith(".parquet"):
        return _plain(pq.read_table(path))
    if name.endswith(FITS_SUFFIXES):
        with fits.open(path, memmap=True) as hdus:
            number = next((i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)), None)
            if number is None:
                raise ValueError("it holds no table")
            return _arrow(Table.read(hdus, format="fits", hdu=number, memmap=True))
    if name.endswith(VOTABLE_SUFFIXES):
        return _arrow(votable.parse(path, verify="ignore").get_first_table().to_table(use_names_over_ids=True))
    if name.endswith(".ecsv") or _is_ecsv(path, name):
        return _arrow(Table.read(path, format="ascii.ecsv"))
    cases = {case for text in text_columns for case in (text, text.lower(), text.title(), text.upper())}
    convert = pa.csv.ConvertOptions(
        column_types={prefix + case: pa.string() for case in cases for prefix in ("", "#", "# ")},
        strings_can_be_null=True,
    )
    table = pa.csv.read_csv(path, convert_options=convert)
    # the archive of HSC puts its header into a comment: "# object_id,ra,dec"
    return table.rename_columns([column.lstrip("# ").strip() for column in table.column_names])


def _is_ecsv(path: Path, name: str) -> bool:
    if name.endswith(".gz"):
        return False
    with path.open("rb") as file:
        return file.readline().startswith(b"# %ECSV")


def _arrow(table: Table) -> pa.Table:
    fields, arrays = [], []
    for name in table.colnames:
        column = table[name]
        if not isinstance(column, Column | MaskedColumn) or column.ndim > 1 or column.dtype.kind not in "biufSUO":
            log.warning("column %s is left out: it is no plain number or text a row", name)
            continue
        array = _column(column)
        metadata = {"unit": str(column.unit or ""), "description": column.description or ""}
        fields.append(pa.field(name, array.type, metadata={k: v for k, v in metadata.items() if v}))
        arrays.append(array)
    return pa.table(arrays, schema=pa.schema(fields))


def _column(column: Column) -> pa.Array:
    mask = np.ma.getmaskarray(column) if isinstance(column, MaskedColumn) else None
    values = np.asarray(column)
    if values.dtype.kind in "SUO":
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
        return pa.array(texts, pa.string(), mask=mask)
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))  # FITS is big-endian
    return pa.array(native, mask=mask)


def _plain(table: pa.Table) -> pa.Table:
    """Drop nested columns, and the metadata of pandas, which names columns of its own."""
    is_nested = [pa.types.is_nested(field.type) for field in table.schema]
    for field, nested in zip(table.schema, is_nested, strict=True):
        if nested:
            log.warning("column %s is left out: it is no plain number or text a row", field.name)
    kept = [field.name for field, nested in zip(table.schema, is_nested, strict=True) if not nested]
    return table.select(kept).replace_schema_metadata(None)


def _nan_to_null(table: pa.Table) -> pa.Table:
    for i, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            column = table.column(i)
            null = pa.scalar(None, field.type)
            table = table.set_column(i, field, pc.if_else(pc.fill_null(pc.is_nan(column), True), null, column))
    return table
