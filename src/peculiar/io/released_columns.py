"""Columns of released products: one value a row, ids to the last digit, nothing unfolded that is nested."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from peculiar.io.ids import exact_ids

_VALUES = (bool, int, float, str, bytes, type(None))  # what a column of objects may hold


def flat(values: Any, name: str, path: Path) -> pa.ChunkedArray | np.ndarray:
    """A column with one value a row; lists in lists, which could unfold without end, are refused unopened."""
    if isinstance(values, pa.ChunkedArray):
        return values
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ValueError(f"{path} has a column {name} of shape {values.shape}; a column has one value a row")
        if not values.dtype.hasobject:
            return values
    elif not isinstance(values, list | tuple):
        raise ValueError(f"{path} has a column {name} that is none; a column has one value a row")
    if any(type(each) not in _VALUES for each in values):
        raise ValueError(f"{path} has a column {name} that holds neither numbers nor texts")
    column = np.empty(len(values), object)
    column[:] = values
    return column


def whole_numbers(values: Any) -> Any:
    """Numbers that were saved as floats as integers, where none can have lost a digit; else as they are."""
    array = np.asarray(values)
    if array.dtype.hasobject and all(isinstance(each, int | float) and abs(each) < 2**53 for each in array):
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        return values
    largest = 2 ** (np.finfo(array.dtype).nmant + 1)
    is_exact = np.isfinite(array).all() and (array == np.round(array)).all() and (np.abs(array) < largest).all()
    return array.astype(np.int64) if is_exact else values


def ids_of(values: Any, name: str, path: Path) -> pa.Array:
    """A column of exact integers; floats are refused, with how many rows they have confounded."""
    array = np.asarray(values)
    is_float = array.dtype.kind == "f" or (array.dtype == object and any(isinstance(each, float) for each in array))
    if is_float:
        kind = "float64" if array.dtype == object else str(array.dtype)
        shared = np.unique(array.astype(np.float64), return_counts=True)[1]
        n_shared = int(shared[shared > 1].sum())
        digits = "7 digits" if kind == "float32" else "15 to 16 digits"
        raise ValueError(
            f"{path} holds {name} as {kind}, which keeps {digits} of the ids' 17: {n_shared} of its {len(array)} rows "
            "have an id in common with another, and any may be another's; get the file whose ids are int64"
        )
    try:
        ids = exact_ids(values if isinstance(values, pa.ChunkedArray) else array, name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if ids.null_count:
        raise ValueError(f"{path} has {ids.null_count} rows without {name}; leave them out")
    return ids


def values_of(values: Any, name: str, path: Path) -> pa.Array:
    """Numbers or texts; NaN is null."""
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    try:
        listed = [each.decode() if isinstance(each, bytes) else each for each in values.tolist()]
        return pa.array(values if values.dtype.kind in "biuf" else listed, from_pandas=True)
    except (ValueError, TypeError, OverflowError) as error:  # Arrow's are these
        raise ValueError(f"{path} has a column {name} of values that do not go together: {error}") from error
