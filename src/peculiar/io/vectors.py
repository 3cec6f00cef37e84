"""Tables of vectors by id that other programs made: Parquet, FITS, NumPy."""

from pathlib import Path

import astropy.table
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
from astropy.io import fits

from peculiar.io.catalogs import ID_NAMES
from peculiar.io.ids import find_column

TABLE_SUFFIXES = (".parquet", ".npz", ".fits", ".fit")


def open_table(path: Path) -> pa.dataset.Dataset:
    """The table as Arrow reads it: Parquet from its file, the others from memory."""
    if not path.is_file() or path.suffix not in TABLE_SUFFIXES:
        raise FileNotFoundError(f"table must be a file that ends in {' '.join(TABLE_SUFFIXES)}, got {path}")
    if path.suffix == ".parquet":
        return pa.dataset.dataset(path)
    columns = {}
    for name, values in (_numpy_arrays(path) if path.suffix == ".npz" else _fits_columns(path)).items():
        if values.ndim in (1, 2):
            native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))  # FITS is big-endian
            flat = pa.array(native.reshape(-1), mask=np.ma.getmaskarray(values).reshape(-1))
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, native.shape[1]) if values.ndim == 2 else flat
    return pa.dataset.dataset(pa.table(columns))


def _numpy_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:  # Python objects: pickles, which can run code
        raise ValueError(f"{path} cannot be read: {error}; save plain numbers by numpy.savez") from error


def _fits_columns(path: Path) -> dict[str, np.ndarray]:
    with fits.open(path, memmap=True) as hdus:
        number = next((place for place, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)), None)
        if number is None:
            raise ValueError(f"{path} holds no table; give one with ids and vectors")
        table = astropy.table.Table.read(hdus, format="fits", hdu=number, memmap=True)
        table.convert_bytestring_to_unicode()
        return {name: table[name] for name in table.colnames}


def id_and_vectors(schema: pa.Schema, path: Path, id_column: str) -> tuple[str, list[str]]:
    """The column of ids, and the one column of lists that is the vector, or all numbers besides."""
    id_name = find_column(schema.names, [id_column] if id_column else ID_NAMES)
    if id_name is None:
        raise ValueError(
            f"{path} has no column {id_column or 'object_id'!r} of ids; give --id-column, one of: "
            f"{', '.join(schema.names)}"
        )

    def is_number(kind: pa.DataType) -> bool:
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    lists = [each.name for each in schema if is_number(getattr(each.type, "value_type", None) or pa.null())]
    numbers = [each.name for each in schema if each.name != id_name and is_number(each.type)]
    names = lists or numbers
    if len(lists) > 1 or not names:
        raise ValueError(
            f"{path} must have one column of lists, or columns of numbers besides the ids; it has lists: "
            f"{', '.join(lists) or 'none'}; numbers: {', '.join(numbers) or 'none'}"
        )
    return id_name, names


def matrix(batch: pa.RecordBatch, path: Path) -> np.ndarray:
    """The vectors of a batch, float32 (n, n_features); what is null is NaN."""

    lists = batch.column(0)
    if not pa.types.is_nested(lists.type):
        return np.stack([each.to_numpy(zero_copy_only=False).astype(np.float32) for each in batch.columns], axis=1)
    lengths = pc.list_value_length(lists).drop_null().unique().to_pylist()
    if len(lengths) != 1:
        raise ValueError(f"{path} has vectors of {sorted(lengths)} numbers; make them equal")
    vectors = np.full((len(lists), lengths[0]), np.nan, np.float32)
    flat = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    vectors[lists.is_valid().to_numpy(zero_copy_only=False)] = flat.reshape(-1, lengths[0])
    return vectors
