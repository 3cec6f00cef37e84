"""What all writers share: a file put in place only when whole, and the few column types that every format holds."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from peculiar.run import atomic

log = logging.getLogger(__name__)

_OWN_KEYS = (b"ARROW:schema", b"pandas")  # of the file formats, no fact about the product


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; move it there at the end, or remove it on failure."""
    with atomic(path) as part:
        yield part
    log.info("wrote %s", path)


def checked(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Pass the batches on; one that has another schema than the file is an error."""
    for batch in batches:
        if not batch.schema.equals(schema):
            raise ValueError(f"every batch must have the given schema\n{schema}\ngot\n{batch.schema}")
        yield batch


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema in the few types that CSV, FITS and VOTable share: bool, int16 to int64, floats, strings."""
    if not len(schema):
        raise ValueError("a table to export needs at least one column")
    return pa.schema([field.with_type(_plain_type(field.name, field.type)) for field in schema], schema.metadata)


def _plain_type(name: str, dtype: pa.DataType) -> pa.DataType:
    # Unsigned and 8-bit integers are widened: FITS has them only by an offset that hides nulls from some readers.
    widened = {
        pa.int8(): pa.int16(),
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.int64(),
        pa.float16(): pa.float32(),
        pa.null(): pa.string(),
    }
    kinds = pa.types
    if kinds.is_dictionary(dtype):
        return _plain_type(name, dtype.value_type)
    if dtype in widened:
        return widened[dtype]
    if kinds.is_boolean(dtype) or kinds.is_integer(dtype) or kinds.is_floating(dtype):
        return dtype
    if kinds.is_decimal(dtype):
        return pa.float64()
    textual = (kinds.is_string, kinds.is_large_string, kinds.is_string_view)
    if any(is_kind(dtype) for is_kind in (*textual, kinds.is_timestamp, kinds.is_date, kinds.is_time)):
        return pa.string()
    raise ValueError(f"column {name} is {dtype}, which CSV, FITS and VOTable cannot hold; drop it or write Parquet")


def to_plain(batch: pa.RecordBatch, plain: pa.Schema) -> pa.RecordBatch:
    """Cast a batch to its plain schema; a value that does not fit is an error that names the column."""
    arrays = []
    for field, array in zip(plain, batch.columns, strict=True):
        try:
            arrays.append(array.cast(field.type))
        except pa.ArrowInvalid as error:
            raise ValueError(f"column {field.name} does not fit {field.type}: {error}") from error
    return pa.RecordBatch.from_arrays(arrays, schema=plain)


def facts_of(schema: pa.Schema) -> dict[str, str]:
    """Return the schema's metadata as text: facts about the whole product, such as the weights."""
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items() if key not in _OWN_KEYS}


def note(field: pa.Field, key: str) -> str:
    """Return one entry of a field's metadata (unit, ucd, description), empty where there is none."""
    return str((field.metadata or {}).get(key.encode(), b"").decode())
