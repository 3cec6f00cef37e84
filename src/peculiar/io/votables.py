"""VOTables as services answer with them: whether all is there, and columns as Arrow arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import votable

from peculiar.io.entries import quiet

OVERFLOW, BAD = "OVERFLOW", "ERROR"  # values of QUERY_STATUS; IVOA DALI 1.1, sect. 4.4
MAIN_ID = ("meta.id;meta.main", "id_main")  # UCD1+ and UCD1
Column = Any  # astropy's, masked or not


class NoVOTable(Exception):
    """It is something else, or ends too early."""


@dataclass(frozen=True)
class Reply:
    """An answer: its rows as an astropy table, the column that names them, if any, and what it says of itself."""

    table: Any
    main_id: str | None
    is_cut_off: bool
    error: str


# Astropy's and expat's, and what a hostile answer makes of them: nests of thousands, rows by the billion.
READ_ERRORS = (
    *(OSError, ValueError, TypeError, IndexError, KeyError, SyntaxError),
    *(MemoryError, RecursionError, OverflowError),
)


def read_reply(path: Path) -> Reply:
    """Read a service's answer. One that is an error, or empty, has an empty table.

    Raises
    ------
    NoVOTable
        It is none.
    """
    try:
        with quiet():
            found = votable.parse(path, verify="ignore")
            tables = list(found.iter_tables())
            infos = [*found.infos, *(each for resource in found.resources for each in resource.infos)]
            infos += [each for table in tables for each in table.infos]
            states = {each.value: each.content or "no reason given" for each in infos if each.name == "QUERY_STATUS"}
            first = tables[0] if tables else votable.tree.TableElement(found)
            rows = first.to_table(use_names_over_ids=True)
    except READ_ERRORS as error:
        raise NoVOTable(" ".join(str(error).split())[:100]) from error
    if not tables and not states:
        raise NoVOTable("no table in it")
    main_id = next((each.name for each in first.fields if (each.ucd or "").lower() in MAIN_ID), None)
    return Reply(rows, main_id, OVERFLOW in states, states.get(BAD, ""))


def numbers(column: Column) -> np.ndarray:
    """A column as float64, NaN where it is masked."""
    return np.where(np.ma.getmaskarray(np.ma.asarray(column)), np.nan, np.asarray(column, np.float64))


def array(column: Column) -> pa.Array:
    """A column of numbers, truths or texts; null where it is masked, NaN or empty."""
    values, mask = np.asarray(column), np.ma.getmaskarray(np.ma.asarray(column))
    if values.dtype.kind in "SUO":
        return texts(column)
    if values.dtype.kind == "f":
        mask = mask | np.isnan(values)
    return pa.array(np.ascontiguousarray(values, values.dtype.newbyteorder("=")), mask=mask)


def texts(column: Column) -> pa.Array:
    """A column as texts without blanks at their ends, null where it is masked or empty."""
    mask = np.ma.getmaskarray(np.ma.asarray(column)).tolist()
    values = [each.decode() if isinstance(each, bytes) else str(each) for each in np.asarray(column).tolist()]
    stripped = [None if gone else each.strip() or None for each, gone in zip(values, mask, strict=True)]
    return pa.array(stripped, pa.string())


def row_texts(table: Any, names: Sequence[str]) -> pa.Array:
    """All that rows say in some columns, a text a row: the same for the same row, where it has no name."""
    columns = [map(str, table[name].tolist()) for name in names]
    return pa.array(["\t".join(parts) for parts in zip(*columns, strict=True)], pa.string())
