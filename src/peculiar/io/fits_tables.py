"""Write a table of any length to a FITS binary table in the memory of one batch."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io import fits

from peculiar.io.plain import checked, facts_of, note, placed, plain_schema, to_plain

_FORMATS = {  # FITS letter and the big-endian type that FITS stores
    "bool": ("L", "i1"),
    "int16": ("I", ">i2"),
    "int32": ("J", ">i4"),
    "int64": ("K", ">i8"),
    "float": ("E", ">f4"),
    "double": ("D", ">f8"),
}
_NOT_ASCII = "Text beyond ASCII is stored as UTF-8, which the FITS standard does not provide for."


def write_fits(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a FITS binary table with TUNIT, TUCD and TCOMM cards; return the number of rows.

    FITS wants the number of rows, the width of every text column and the value that means null before the first row.
    So the batches are first spooled to a file beside `path`, then written from it: memory is that of one batch.

    Notes
    -----
    int64 is exact (``K``). A null is the TNULL of its column among integers, NaN among floats, a zero byte among
    logicals and empty text among strings. Text is stored as UTF-8, which astropy reads; the standard allows only
    ASCII, and a COMMENT says so where other characters occur.
    """
    plain = plain_schema(schema)
    columns = [_FitsColumn(field) for field in plain]
    spool = path.with_name(f".{path.name}.spool")
    try:
        with pa.ipc.new_file(spool, plain) as writer:
            n_rows = 0
            for batch in checked(batches, schema):
                rows = to_plain(batch, plain)
                for column, array in zip(columns, rows.columns, strict=True):
                    column.look_at(array)
                writer.write_batch(rows)
                n_rows += rows.num_rows
        with placed(path) as part:
            _write_rows(part, _header(columns, facts_of(schema), n_rows), columns, spool)
    finally:
        spool.unlink(missing_ok=True)
    return n_rows


class _FitsColumn:
    """One column: what the first pass has found out about it, and its values as FITS stores them."""

    def __init__(self, field: pa.Field) -> None:
        self.field = field
        self.is_text = pa.types.is_string(field.type)
        self.is_integer = pa.types.is_integer(field.type)
        self.is_ascii = True
        self.n_bytes = 1  # FITS allows width 0, but some readers do not
        self.has_null = False
        self.smallest, self.largest = 0, 0

    def look_at(self, array: pa.Array) -> None:
        self.has_null |= array.null_count > 0
        if self.is_text:
            self.n_bytes = max(self.n_bytes, pc.max(pc.binary_length(array)).as_py() or 0)
            self.is_ascii &= pc.all(pc.string_is_ascii(array)).as_py() is not False
        elif self.is_integer and array.null_count < len(array):
            extremes = pc.min_max(array).as_py()
            self.smallest = min(self.smallest, extremes["min"])
            self.largest = max(self.largest, extremes["max"])

    @property
    def dtype(self) -> str:
        return f"S{self.n_bytes}" if self.is_text else _FORMATS[str(self.field.type)][1]

    @property
    def null(self) -> int | None:
        """The integer that stands for null: an end of the type's range that no value has taken."""
        if not (self.is_integer and self.has_null):
            return None
        limits = np.iinfo(self.dtype)
        if self.smallest > limits.min:
            return int(limits.min)
        if self.largest < limits.max:
            return int(limits.max)
        raise ValueError(
            f"column {self.field.name} has nulls and both ends of {self.field.type}; FITS has no null left"
        )

    def definition(self) -> fits.Column:
        letter = f"{self.n_bytes}A" if self.is_text else _FORMATS[str(self.field.type)][0]
        unit = _ascii(note(self.field, "unit")) or None
        return fits.Column(name=_ascii(self.field.name), format=letter, unit=unit, null=self.null)

    def values(self, array: pa.Array) -> np.ndarray:
        if self.is_text:
            text = pc.fill_null(array, "").cast(pa.binary()).to_numpy(zero_copy_only=False)
            return np.asarray(text, self.dtype)
        if pa.types.is_boolean(self.field.type):
            letters = pc.if_else(array, ord("T"), ord("F"))
            return np.asarray(pc.fill_null(letters, 0).to_numpy(zero_copy_only=False), self.dtype)
        fill = self.null if self.is_integer else float("nan")
        filled = array if fill is None else pc.fill_null(array, pa.scalar(fill, self.field.type))
        return np.asarray(filled.to_numpy(zero_copy_only=False), self.dtype)


def _header(columns: list[_FitsColumn], facts: dict[str, str], n_rows: int) -> fits.Header:
    header = fits.BinTableHDU.from_columns([column.definition() for column in columns], nrows=0).header
    header["NAXIS2"] = n_rows
    header["EXTNAME"] = "CATALOG"
    for number, column in enumerate(columns, start=1):
        for card, key in ((f"TUCD{number}", "ucd"), (f"TCOMM{number}", "description")):
            if text := _ascii(note(column.field, key)):
                header[card] = text
    for key, value in facts.items():
        header.add_comment(_ascii(f"{key} = {value}").replace("\n", " "))
    if not all(column.is_ascii for column in columns):
        header.add_comment(_NOT_ASCII)
    return header


def _write_rows(part: Path, header: fits.Header, columns: list[_FitsColumn], spool: Path) -> None:
    layout = np.dtype([(f"column{number}", column.dtype) for number, column in enumerate(columns)])
    with fits.StreamingHDU(str(part), header) as stream, pa.OSFile(str(spool)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            records = np.empty(batch.num_rows, layout)
            for name, column, array in zip(layout.names or (), columns, batch.columns, strict=True):
                records[name] = column.values(array)
            if len(records):
                stream.write(records.view(np.uint8))


def _ascii(text: str) -> str:
    """Return text as a FITS header can hold it."""
    return text.encode("ascii", "backslashreplace").decode()
