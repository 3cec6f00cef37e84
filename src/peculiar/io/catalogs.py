"""Catalogs of every kind to one table: ids exact, positions in degrees, units and descriptions kept."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units

from peculiar.catalog.columns import COLUMNS
from peculiar.io.entries import Entry, Rejected
from peculiar.io.ids import exact_ids, find_column, id_in_name, stem
from peculiar.io.tables import read_table

ID_NAMES = ("object_id", "hsc_object_id")
FILE_NAMES = ("file", "filename")
RA_NAMES = ("ra", "i_ra", "raj2000", "ra_j2000", "_raj2000", "ra_icrs", "alpha_j2000")
DEC_NAMES = ("dec", "i_dec", "dej2000", "dec_j2000", "_dej2000", "de_icrs", "dec_icrs", "delta_j2000")
HOUSE_NAMES = frozenset((*COLUMNS, "image", "flux", "latent", "reconstruction", "file", "_rowid", "_rowaddr"))

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Catalog:
    """A catalog, and the rows that were left out of it: duplicates of an id or file, and rows without one.

    `table` has `object_id` (int64) or `file` (string) or both, `ra` and `dec` (float64, degrees) where it gives them,
    and its other columns.
    """

    table: pa.Table
    rejected: tuple[Rejected, ...]


def read_catalog(
    path: Path,
    *,
    id_column: str | None = None,
    file_column: str | None = None,
    columns: Sequence[str] | None = None,
) -> Catalog:
    """Read a catalog in CSV, FITS, VOTable, ECSV or Parquet.

    Parameters
    ----------
    path
        The file; its suffix says its kind.
    id_column
        Column of the ids; otherwise object_id or HSC_object_id, in any case.
    file_column
        Column of the images' files (path, name or name without suffix); otherwise file or filename, or, without an
        id column, source.
    columns
        The other columns to keep, by their names in the file. None: all.

    Returns
    -------
    The table and what was left out. Ids are exact: integers or digits. NaN is null. The positions are the first of
    `RA_NAMES` and `DEC_NAMES` in any case, converted from radians or hours where the unit says so. Other columns keep
    their names, dots as underscores; one that has a name of the house's gets the suffix ``_catalog``. The fields'
    metadata hold ``unit`` and ``description``.

    Raises
    ------
    ValueError
        If no id or file column is there, or the ids are floats, or a column is missing.
    """
    raw = read_table(path, text_columns=[*FILE_NAMES, *([file_column] if file_column else ["source"])])
    names = raw.column_names
    for name in (id_column, file_column, *(columns or ())):
        if name is not None and name not in names:
            raise ValueError(f"{path} has no column {name!r}; it has: {', '.join(names)}")
    id_column = id_column or find_column(names, ID_NAMES)
    file_column = file_column or _file_column(raw, has_ids=id_column is not None)
    if id_column is None and file_column is None:
        raise ValueError(
            f"{path} has neither ids nor file names that are known as such; say which column holds them by --id-column "
            f"or --file-column; it has: {', '.join(names)}"
        )
    keys = {"object_id": id_column, "file": file_column} | _positions(raw)
    columns_by_house = {house: name for house, name in keys.items() if name is not None}
    house = {key: _house_column(raw, key, name, path) for key, name in columns_by_house.items()}
    used = set(columns_by_house.values())
    others = [name for name in names if name not in used and (columns is None or name in columns)]
    house_names = _free_names(others, set(house))
    for name, free in zip(others, house_names, strict=True):
        house[free] = raw.field(name).with_name(free), raw[name]
    schema = pa.schema([field for field, _ in house.values()])
    return _without_repeats(pa.table([column for _, column in house.values()], schema=schema))


@dataclass(frozen=True)
class CatalogIndex:
    """Keys of a catalog in the order of its rows, and how to sort them; made by `index_catalog`.

    `is_matched` is filled by `match`: whether any entry was found for the row.
    """

    object_ids: np.ndarray | None
    by_id: np.ndarray
    files: np.ndarray | None
    by_file: np.ndarray
    ra: np.ndarray | None
    dec: np.ndarray | None
    is_matched: np.ndarray


@dataclass(frozen=True)
class Matches:
    """What `match` found: each entry's catalog row or -1, the entries with what they took from it, the ambiguous."""

    rows: np.ndarray
    entries: list[Entry]
    rejected: list[Rejected]


def index_catalog(table: pa.Table) -> CatalogIndex:
    """Sort the keys of a catalog's table once. Holds ids, file names and positions only."""
    names = table.column_names
    ids = table["object_id"].to_numpy() if "object_id" in names else None
    files = None
    if "file" in names:
        files = np.array([(name or "").encode() for name in table["file"].to_pylist()], np.bytes_)
    orders = [np.empty(0, np.int64) if keys is None else np.argsort(keys, kind="stable") for keys in (ids, files)]
    ra, dec = (table[name].to_numpy() if name in names else None for name in ("ra", "dec"))
    return CatalogIndex(ids, orders[0], files, orders[1], ra, dec, np.zeros(table.num_rows, bool))


def match(index: CatalogIndex, entries: Sequence[Entry]) -> Matches:
    """Find each entry's row of the catalog, a batch at a time.

    An entry with an object_id is found by it, if the catalog has ids. Any other is found by file: its source, its
    name, or its name without suffix, in this order; or else by the one integer in its name, if that is an id of the
    catalog. It takes the object_id of its row, and the position if it has none. A row that fits a second file is
    ambiguous: that file keeps row -1 and is returned as rejected. `index.is_matched` is updated.
    """
    rows = np.full(len(entries), -1, np.int64)
    rejected: list[Rejected] = []
    has_id = np.array([entry.object_id is not None and index.object_ids is not None for entry in entries], bool)
    if index.object_ids is not None:
        numbers = [id_in_name(entry.source) if entry.object_id is None else entry.object_id for entry in entries]
        is_number = np.array([number is not None for number in numbers], bool)
        values = np.array([number or 0 for number in numbers], np.int64)
        rows = np.where(is_number, _find(index.object_ids, index.by_id, values), -1)
    if index.files is not None:
        by_file = _find_files(index, entries)
        rows = np.where(has_id | (by_file < 0), rows, by_file)
        _refuse_second(index, entries, rows, (by_file >= 0) & ~has_id, rejected)
    index.is_matched[rows[rows >= 0]] = True
    filled = [_filled(entry, row, index) for entry, row in zip(entries, rows.tolist(), strict=True)]
    return Matches(rows, filled, rejected)


def unmatched(index: CatalogIndex, table: pa.Table) -> Iterator[Rejected]:
    """Rows of the catalog that no entry was found for, with the rule ``no image``."""
    key = "object_id" if index.object_ids is not None else "file"
    for row in np.flatnonzero(~index.is_matched).tolist():
        value = table[key][row].as_py()
        reason = f"the catalog's {key} {value} has no image; add its file, or leave out the row"
        yield Rejected(f"catalog#{value}", value if key == "object_id" else None, "no image", str(value), reason)


def _file_column(raw: pa.Table, *, has_ids: bool) -> str | None:
    """Column of file names; beside ids it must be text to count as one."""
    name = find_column(raw.column_names, FILE_NAMES if has_ids else (*FILE_NAMES, "source"))
    return name if name is not None and _is_text(raw.field(name).type) else None


def _positions(raw: pa.Table) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for house, wanted in (("ra", RA_NAMES), ("dec", DEC_NAMES)):
        name = find_column(raw.column_names, wanted)
        if name is not None and not (pa.types.is_floating(kind := raw.field(name).type) or pa.types.is_integer(kind)):
            log.warning("column %s is no %s in degrees: it holds %s", name, house, kind)
            name = None
        found[house] = name
    return found


def _house_column(raw: pa.Table, house: str, name: str, path: Path) -> tuple[pa.Field, pa.Array]:
    """Column that we have a name and a type for."""
    column, metadata = raw[name], dict(raw.field(name).metadata or {})
    if house == "object_id":
        try:
            column = exact_ids(column, name)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    elif house == "file":
        column = column.cast(pa.string())
    else:
        column = column.cast(pa.float64())
        factor = _to_degrees(metadata.get(b"unit", b"").decode(), name, path)
        if factor != 1.0:
            column = pc.multiply(column, factor)
        metadata[b"unit"] = b"deg"
    return pa.field(house, column.type, metadata=metadata), column


def _to_degrees(unit: str, name: str, path: Path) -> float:
    if unit.lower() in ("", "deg", "degree", "degrees"):
        return 1.0
    try:
        return float(units.Unit(unit).to(units.deg))
    except (ValueError, TypeError) as error:  # UnitConversionError is a TypeError too
        raise ValueError(f"{path}: column {name!r} is in {unit!r}, which is no angle; give it in degrees") from error


def _free_names(names: Sequence[str], taken: set[str]) -> list[str]:
    """Names for the other columns: none of ours, none twice, no dots or backquotes, which Lance keeps for itself."""
    free: list[str] = []
    for name in names:
        new = name.replace(".", "_").replace("`", "_")
        while new in HOUSE_NAMES or new in taken or (new != name and new in names):
            new += "_catalog"
        taken.add(new)
        free.append(new)
    return free


def _without_repeats(table: pa.Table) -> Catalog:
    """Keep the first row of each id (without ids: of each file) and report the others."""
    key = "object_id" if "object_id" in table.column_names else "file"
    column = table[key].combine_chunks()
    is_null = column.is_null().to_numpy(zero_copy_only=False)
    codes = pc.dictionary_encode(column).indices.fill_null(-1).to_numpy(zero_copy_only=False)
    is_first = np.zeros(len(codes), bool)
    is_first[np.unique(codes, return_index=True)[1]] = True
    rejected = []
    for row in np.flatnonzero(~is_first | is_null).tolist():
        value = column[row].as_py()
        if value is None:
            rule, reason = (
                "bad id" if key == "object_id" else "bad file",
                f"row {row} of the catalog has no {key}; fill it in or leave out the row",
            )
        else:
            rule = f"duplicate {key}"
            reason = f"row {row} of the catalog has the {key} {value} again; the first row with it is used"
        object_id = value if key == "object_id" else None
        rejected.append(Rejected(f"catalog#row{row}", object_id, rule, str(value), reason))
    kept = table.filter(pa.array(is_first & ~is_null)) if rejected else table
    return Catalog(kept, tuple(rejected))


def _find(keys: np.ndarray, order: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Row of each value among the keys, the first if several, or -1."""
    if not len(keys):
        return np.full(len(values), -1, np.int64)
    places = np.minimum(np.searchsorted(keys, values, sorter=order), len(keys) - 1)
    rows = order[places]
    return np.where(keys[rows] == values, rows, -1)


def _find_files(index: CatalogIndex, entries: Sequence[Entry]) -> np.ndarray:
    rows = np.full(len(entries), -1, np.int64)
    if index.files is None:
        return rows
    for form in (str, lambda source: PurePosixPath(source).name, stem):
        values = np.array([form(entry.source).encode() for entry in entries], np.bytes_)
        rows = np.where(rows < 0, _find(index.files, index.by_file, values), rows)
    return rows


def _refuse_second(
    index: CatalogIndex, entries: Sequence[Entry], rows: np.ndarray, is_by_file: np.ndarray, rejected: list[Rejected]
) -> None:
    """Set to -1 what came by file to a row that was matched before, in this batch or an earlier one."""
    seen: set[int] = set()
    for i in np.flatnonzero(is_by_file).tolist():
        row, entry = int(rows[i]), entries[i]
        if row in seen or index.is_matched[row]:
            rows[i] = -1
            name = "" if index.files is None else index.files[row].decode()
            reason = f"{entry.source}: the catalog's file {name!r} fits another image too; give its path in the catalog"
            rejected.append(Rejected(entry.source, entry.object_id, "ambiguous match", name, reason))
        seen.add(row)


def _filled(entry: Entry, row: int, index: CatalogIndex) -> Entry:
    """Entry with what its catalog row knows and it does not."""
    if row < 0:
        return entry
    object_id = entry.object_id
    if object_id is None and index.object_ids is not None:
        object_id = int(index.object_ids[row])
    ra, dec = (float(c[row]) if c is not None and np.isfinite(c[row]) else None for c in (index.ra, index.dec))
    return replace(
        entry,
        object_id=object_id,
        ra=ra if entry.ra is None else entry.ra,
        dec=dec if entry.dec is None else entry.dec,
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
