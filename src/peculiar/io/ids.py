"""Identifiers, exact: int64 from integers and digits, never by way of a float."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LIMIT = 2**63
_SUFFIXES = re.compile(r"(\.(jpe?g|png|tiff?|webp|fits?|npy|gz|fz))+$", re.IGNORECASE)


def exact_ids(values: np.ndarray | pa.Array | pa.ChunkedArray, name: str) -> pa.Array:
    """Convert a column of ids to int64 without losing a digit.

    Parameters
    ----------
    values
        Integers of any kind, or strings of digits with an optional sign.
    name
        The column, for messages.

    Returns
    -------
    int64 array; nulls, and empty strings, stay null.

    Raises
    ------
    ValueError
        For floats, which hold 15 to 16 digits (float32: 7) while survey ids have 17; for other types; for
        values beyond int64; for strings that are not integers.
    """
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else _arrow(np.asarray(values))
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_floating(kind):
        raise ValueError(
            f"column {name!r} holds ids as {kind}, which cannot hold 17 digits exactly: some ids are already wrong; "
            "write it again as int64 or as text"
        )
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = _digits(column, name)
    elif not (pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise ValueError(f"column {name!r} must hold integers or digits to be ids, got {kind}")
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ValueError(f"column {name!r} holds an id outside int64 (-2**63 to 2**63-1): {error}") from error


def id_in_name(source: str) -> int | None:
    """Find the one integer of a file's name: ``cut_43158859342174406_i.fits``, ``-12.png``; None if none or several.

    A minus belongs to the number only at the beginning of the name or after ``_``; digits next to letters do not count.
    """
    numbers = re.findall(r"(?:(?:^|(?<=_))-)?(?<![A-Za-z0-9])\d+(?![A-Za-z0-9])", stem(source))
    if len(numbers) != 1:
        return None
    number = int(numbers[0])
    return number if -LIMIT <= number < LIMIT else None


def stem(source: str) -> str:
    """Name of a file without folder and without the suffixes that we read (``.fits.gz`` too)."""
    return _SUFFIXES.sub("", PurePosixPath(source).name)


def ids_and_presence(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids of a column, int64, and which rows have one: 0 where there is none, and never by way of a float."""
    ids = exact_ids(column, name)
    return ids.fill_null(0).to_numpy().astype(np.int64), ids.is_valid().to_numpy(zero_copy_only=False)


def find_column(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """First of the wanted names that is there, whatever its case; the exact case goes first."""
    for want in wanted:
        if want in names:
            return want
        for name in names:
            if name.lower() == want:
                return name
    return None


def _arrow(values: np.ndarray) -> pa.Array:
    if values.dtype.kind in "SO":  # HDF5 and FITS strings
        return pa.array([v.decode() if isinstance(v, bytes) else v for v in values.tolist()])
    return pa.array(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False))


def _digits(column: pa.Array, name: str) -> pa.Array:
    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
    is_integer = pc.fill_null(pc.match_substring_regex(column, r"^[+-]?[0-9]+$"), True)
    if not pc.all(is_integer, min_count=0).as_py():
        first = column.filter(pc.invert(is_integer))[0].as_py()
        raise ValueError(f"column {name!r} holds {first!r}, which is not an integer; choose another --id-column")
    return pc.utf8_ltrim(column, characters="+")  # Arrow's cast knows no plus sign
