"""Write catalogs for other people's tools, streamed, and put in place only when whole.

Every writer takes a schema and an iterator of record batches, so that a hundred million rows need the memory of one
batch. Units, UCDs and descriptions are read from the fields' metadata (`peculiar.catalog.columns.describe_schema`),
and facts about the whole product, such as the weights, from the schema's.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from peculiar.io.fits_tables import write_fits
from peculiar.io.plain import checked, facts_of, note, placed, plain_schema, to_plain
from peculiar.io.released import RELEASED_SCORES, ReleaseBatch, write_hdf5

__all__ = [
    "RELEASED_SCORES",
    "ReleaseBatch",
    "write_csv",
    "write_fits",
    "write_hdf5",
    "write_labels",
    "write_parquet",
    "write_votable",
]

LABEL_COLUMNS = {
    "object_id": "Identifier of the object, a 64-bit integer",
    "label": "Class that the expert gave the object",
    "expert": "Who said it",
    "at": "When it was said, ISO 8601",
}
NOT_IN_XML = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{FFFE}\x{FFFF}]"  # XML 1.0, section 2.2
MAX_VOTABLE_ROWS = 250_000  # astropy takes 13 s and 0.1 GB for every 100,000 rows of 30 columns


def write_parquet(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a Parquet file with the fields' and the schema's metadata; return the number of rows.

    Each batch is one row group, so feed some ten thousand rows at a time.
    """
    n_rows = 0
    with placed(path) as part, pyarrow.parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        for batch in checked(batches, schema):
            writer.write_batch(batch)
            n_rows += batch.num_rows
    return n_rows


def write_csv(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a CSV file (UTF-8, one header line, null empty, text in quotes); return the number of rows.

    CSV has no place for units and descriptions: the other formats carry them. Lists and binary columns are refused.
    """
    plain = plain_schema(schema)
    n_rows = 0
    with placed(path) as part, pyarrow.csv.CSVWriter(part, plain) as writer:
        for batch in checked(batches, schema):
            writer.write_batch(to_plain(batch, plain))
            n_rows += batch.num_rows
    return n_rows


def write_votable(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a VOTable (TABLEDATA, UTF-8, ids as ``long``); return the number of rows.

    For a selection: astropy builds the document in memory, so more than `MAX_VOTABLE_ROWS` rows are refused. Nulls are
    empty cells; units, UCDs and descriptions are kept, and the schema's metadata are INFO elements.
    """
    from astropy.io.votable.exceptions import W50
    from astropy.io.votable.tree import Info, VOTableFile
    from astropy.table import Table

    plain = plain_schema(schema)
    parts: list[pa.RecordBatch] = []
    n_rows = 0
    for batch in checked(batches, schema):
        n_rows += batch.num_rows
        if n_rows > MAX_VOTABLE_ROWS:
            raise ValueError(f"a VOTable may have {MAX_VOTABLE_ROWS} rows; select fewer, or write Parquet or FITS")
        parts.append(to_plain(batch, plain))
    rows = _speakable(pa.Table.from_batches(parts, schema=plain))
    columns = [astropy_column(rows[field.name].combine_chunks(), field) for field in plain]
    with warnings.catch_warnings():
        # A user's unit may be none that the standard knows ("nanomaggies"): it is kept as it is spelled.
        warnings.simplefilter("ignore", W50)
        document = VOTableFile.from_table(Table(columns, names=plain.names, copy=False))
    for key, value in facts_of(schema).items():
        document.get_first_table().infos.append(Info(name=key, value=value))
    with placed(path) as part:
        document.to_xml(str(part))
    return n_rows


def write_labels(path: Path, votes: pa.Table) -> int:
    """Write votes (object_id, label, expert, at) in the format of the path's ending; return their number.

    Raises
    ------
    ValueError
        The ending is none of .csv, .parquet, .vot and .xml.
    """
    writers = {".csv": write_csv, ".parquet": write_parquet, ".vot": write_votable, ".xml": write_votable}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"{path} is of no kind that labels are written as; these are: {' '.join(writers)}")
    notes = {name: {b"description": text.encode()} for name, text in LABEL_COLUMNS.items()}
    fields = [votes.schema.field(name).with_metadata(note) for name, note in notes.items()]
    described = votes.select(list(LABEL_COLUMNS)).cast(pa.schema(fields))
    return write(path, described.schema, described.to_batches())


def _speakable(rows: pa.Table) -> pa.Table:
    """Texts without what XML cannot hold, control characters say: each becomes a question mark."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_string(field.type):
            cleaned = pc.replace_substring_regex(rows.column(place), pattern=NOT_IN_XML, replacement="?")
            rows = rows.set_column(place, field, cleaned)
    return rows


def astropy_column(array: pa.Array, field: pa.Field) -> Any:
    """Return the masked astropy column of an Arrow array, with unit, description and UCD."""
    from astropy.table import MaskedColumn
    from astropy.units import Unit

    mask = array.is_null().to_numpy(zero_copy_only=False)
    fill: Any = "" if pa.types.is_string(field.type) else pa.scalar(0).cast(field.type)
    values = pc.fill_null(array, fill).to_numpy(zero_copy_only=False)
    if pa.types.is_string(field.type):
        values = values.astype(str)
    unit = Unit(note(field, "unit"), parse_strict="silent") if note(field, "unit") else None
    ucd = {"ucd": note(field, "ucd")} if note(field, "ucd") else {}
    return MaskedColumn(values, mask=mask, name=field.name, unit=unit, description=note(field, "description"), meta=ucd)
