"""Parquet with a column of encoded images: bytes, or the {bytes, path} of Hugging Face."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from peculiar.io.arrays import Row
from peculiar.io.entries import READ_ERRORS, ReadOptions, Unfit, unreadable
from peculiar.io.ids import exact_ids, find_column
from peculiar.io.images import decode

SUFFIXES = (".parquet",)
IMAGE_COLUMNS = ("image", "images", "img", "png", "jpeg", "jpg")
ID_COLUMNS = ("object_id", "object_ids", "hsc_object_id")
BATCH = 64  # encoded images held at a time


def list_rows(path: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of a Parquet file with their ids and positions; the images are not touched.

    All ids are checked before the first row comes. Raises `Unfit`, or one of `READ_ERRORS`.
    """
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        _image_column(file.schema_arrow)
        columns = [find_column(names, wanted) for wanted in (ID_COLUMNS, ("ra",), ("dec",))]
        present = [column for column in columns if column is not None]
        if columns[0] is not None:
            for batch in file.iter_batches(columns=[columns[0]]):
                _ids(batch.column(0), columns[0])
        if not present:
            yield from map(Row, range(file.metadata.num_rows))
            return
        start = 0
        for batch in file.iter_batches(columns=present):
            none = pa.nulls(batch.num_rows)
            ids, ra, dec = (none if name is None else batch.column(name) for name in columns)
            rows = range(start, start + batch.num_rows)
            yield from map(Row, rows, _ids(ids, columns[0] or ""), _degrees(ra), _degrees(dec))
            start = rows.stop


def read_rows(path: str, indices: Sequence[int | None], options: ReadOptions) -> Iterator[np.ndarray | Unfit]:
    """Pixels of rows in the order asked; within a row group what stands before the first of them is passed over."""
    with pq.ParquetFile(path) as file:
        column = _image_column(file.schema_arrow)
        found: dict[int, Any] = {}
        wanted = sorted({index for index in indices if index is not None})
        encoded = _encoded(file, column, wanted)
        for index in indices:
            if index is None:
                yield Unfit("unreadable", path, "held no list of objects when it was listed; ingest it again")
                continue
            while index not in found:
                row, value = next(encoded)
                found[row] = value
            yield _decoded(found.pop(index), options)


def _decoded(value: Any, options: ReadOptions) -> np.ndarray | Unfit:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not data:
        return Unfit("empty file", 0, "holds no bytes of an image; fill the column or drop the row")
    try:
        return decode(BytesIO(data), options)
    except Unfit as unfit:
        return unfit
    except READ_ERRORS as error:
        return unreadable(error)


def _encoded(file: pq.ParquetFile, column: str, wanted: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Encoded images of ascending rows; only the row groups that hold them are opened, a few rows at a time."""
    rows, start = np.asarray(wanted, np.int64), 0
    for group in range(file.num_row_groups):
        n_rows = file.metadata.row_group(group).num_rows
        if rows.size and np.searchsorted(rows, start) < np.searchsorted(rows, start + n_rows):
            last = rows[np.searchsorted(rows, start + n_rows) - 1]
            first = start
            for batch in file.iter_batches(batch_size=BATCH, row_groups=[group], columns=[column]):
                here = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + batch.num_rows)]
                for row in here.tolist():
                    yield row, batch.column(0)[row - first].as_py()
                first += batch.num_rows
                if first > last:
                    break
        start += n_rows


def _image_column(schema: pa.Schema) -> str:
    """The column of encoded images: by its name, or the only one that could be."""
    names = [field.name for field in schema if _holds_bytes(field.type)]
    named = find_column(names, IMAGE_COLUMNS)
    if named is not None or len(names) == 1:
        return named or names[0]
    value = ", ".join(schema.names[:20])
    text = (
        f"holds no column named image of encoded images (it holds: {value}); rename the column, or pass it as catalog"
    )
    raise Unfit("no image", value, text)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _ids(column: pa.Array, name: str) -> list[int | None]:
    try:
        ids: list[int | None] = exact_ids(column, name).to_pylist()
    except ValueError as error:
        raise Unfit("bad id", column.type, str(error)) from error
    return ids


def _degrees(column: pa.Array) -> list[float | None]:
    return [value if value is not None and np.isfinite(value) else None for value in column.cast("float64").to_pylist()]
