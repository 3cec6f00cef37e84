"""Tables of vectors by id that other programs made: Parquet, CSV, FITS, NumPy."""

import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import astropy.table
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
from astropy.io import fits

from peculiar.io.catalogs import ID_NAMES
from peculiar.io.ids import find_column, ids_and_presence

log = logging.getLogger(__name__)
SUFFIXES = (".parquet", ".csv", ".npz", ".fits", ".fit")
POSITIONS = ("ra", "dec")  # numbers that are no features
ROWS_AT_ONCE = 8_192


@dataclass(frozen=True)
class Vectors:
    """A table opened for reading: ids of all rows, and their vectors a batch at a time.

    Parameters
    ----------
    object_id, has_id
        int64 and bool (n,); 0 where there is none.
    names
        Columns that make the vector.
    n_features
        Length of a vector.
    """

    path: Path
    dataset: pa.dataset.Dataset
    object_id: np.ndarray
    has_id: np.ndarray
    names: tuple[str, ...]
    n_features: int

    def batches(self) -> Iterator[np.ndarray]:
        """Vectors, float32 (n, n_features), in the order of the rows; NaN where they are null, inf where too large."""
        for batch in self.dataset.to_batches(list(self.names), batch_size=ROWS_AT_ONCE, batch_readahead=1):
            if batch.num_rows:
                yield self._matrix(batch)

    def _matrix(self, batch: pa.RecordBatch) -> np.ndarray:
        vectors = np.full((batch.num_rows, self.n_features), np.nan)
        if pa.types.is_nested(batch.column(0).type):
            lists = batch.column(0)
            flat = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
            vectors[lists.is_valid().to_numpy(zero_copy_only=False)] = flat.reshape(-1, self.n_features)
        else:
            for place, column in enumerate(batch.columns):
                vectors[:, place] = column.to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):
            return vectors.astype(np.float32)


def open_vectors(path: Path, id_column: str = "", columns: tuple[str, ...] = ()) -> Vectors:
    """Open a table of vectors by its ending; Parquet and CSV are read as they lie, the others from memory.

    Parameters
    ----------
    id_column
        The column of ids; empty for object_id in any usual spelling.
    columns
        Those that make the vector; empty for the one column of lists, or all columns of numbers but ids and positions.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It cannot be read, or has no ids or no vectors.
    """
    dataset = _opened(path)
    id_name = find_column(dataset.schema.names, [id_column] if id_column else ID_NAMES)
    if id_name is None:
        raise ValueError(
            f"{path} has no column {id_column or 'object_id'!r} of ids; give --id-column, one of: "
            f"{', '.join(dataset.schema.names)}"
        )
    names = _vector_columns(dataset.schema, path, id_name, columns)
    try:
        object_id, has_id = ids_and_presence(dataset.to_table([id_name])[id_name], id_name)
        n_features = _n_features(dataset, names, path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path} cannot be read: {error}; write it again") from error
    return Vectors(path, dataset, object_id, has_id, names, n_features)


def _opened(path: Path) -> pa.dataset.Dataset:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"a table of vectors must end in {' '.join(SUFFIXES)}, got {path}; convert it")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a table of ids and vectors")
    try:
        if suffix in (".parquet", ".csv"):
            return pa.dataset.dataset(path, format=suffix[1:])
        return pa.dataset.dataset(_held(_numpy_arrays(path) if suffix == ".npz" else _fits_columns(path)))
    # What NumPy, zipfile, astropy and Arrow raise on damaged files.
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as a table of vectors: {error}; write it again") from error


def _held(columns: dict[str, np.ndarray]) -> pa.Table:
    """Columns of numbers, and of vectors, as Arrow has them."""
    arrays = {}
    for name, values in columns.items():
        if values.ndim in (1, 2):
            native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))  # FITS is big-endian
            flat = pa.array(native.reshape(-1), mask=np.ma.getmaskarray(values).reshape(-1))
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, native.shape[1]) if values.ndim == 2 else flat
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"its arrays have different lengths, {lengths}")
    return pa.table(arrays)


def _numpy_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:  # a pickle can run code
        return {name: archive[name] for name in archive.files}


def _fits_columns(path: Path) -> dict[str, np.ndarray]:
    with fits.open(path, memmap=True) as hdus:
        number = next((place for place, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)), None)
        if number is None:
            raise ValueError("it holds no table")
        table = astropy.table.Table.read(hdus, format="fits", hdu=number, memmap=True)
        table.convert_bytestring_to_unicode()
        return {name: table[name] for name in table.colnames}


def _vector_columns(schema: pa.Schema, path: Path, id_name: str, asked: tuple[str, ...]) -> tuple[str, ...]:
    absent = [name for name in asked if name not in schema.names]
    if absent:
        raise ValueError(f"{path} has no column {', '.join(absent)}; it has {', '.join(schema.names)}")

    def is_number(kind: pa.DataType) -> bool:
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    considered = [each for each in schema if each.name != id_name and (not asked or each.name in asked)]
    lists = [each.name for each in considered if is_number(getattr(each.type, "value_type", None) or pa.null())]
    numbers = [each.name for each in considered if is_number(each.type)]
    if not asked:
        numbers = [name for name in numbers if name.lower() not in POSITIONS]
    names = lists or numbers
    left_out = [each.name for each in considered if each.name not in (*names, *POSITIONS)]
    if left_out:
        log.warning("%s: columns %s are left out of the vectors; name others by --columns", path, ", ".join(left_out))
    if len(lists) > 1 or not names or (asked and len(names) != len(asked)):
        raise ValueError(
            f"{path} must have one column of lists, or columns of numbers besides the ids; of those considered are "
            f"lists: {', '.join(lists) or 'none'}; numbers: {', '.join(numbers) or 'none'}; name them by --columns"
        )
    return tuple(sorted(names, key=asked.index) if asked else names)


def _n_features(dataset: pa.dataset.Dataset, names: tuple[str, ...], path: Path) -> int:
    kind = dataset.schema.field(names[0]).type
    if not pa.types.is_nested(kind):
        return len(names)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    found: set[int] = set()
    for batch in dataset.to_batches(list(names), batch_size=ROWS_AT_ONCE, batch_readahead=1):
        found |= set(pc.list_value_length(batch.column(0)).drop_null().unique().to_pylist())
    if len(found) != 1:
        raise ValueError(f"{path} has vectors of {sorted(found) or 'no'} numbers; make them equal")
    return found.pop()
