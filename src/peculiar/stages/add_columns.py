"""Join the columns of a table to the survey."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from peculiar.joined import Joined
from peculiar.run import Run, Track, finish, quiet, read_run
from peculiar.survey import Survey

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AddColumnsConfig:
    """What `add-columns` can be told."""

    table: Annotated[Path, "CSV, FITS, VOTable, ECSV or Parquet"]
    id_column: Annotated[str, "column of ids; empty: object_id"] = ""
    file_column: Annotated[str, "column of file names; empty: file"] = ""


def add_columns(folder: Path, config: AddColumnsConfig, *, track: Track = quiet) -> Run:
    """Add a table's columns to `survey/`, matched by object_id or file name; objects without a row get nulls.

    Raises
    ------
    ValueError
        A column is there already, or no row belongs to any object.
    """
    import numpy as np
    import pyarrow as pa

    from peculiar.io.catalogs import index_catalog, match, read_catalog
    from peculiar.io.entries import Entry

    home = folder / "survey"
    run = read_run(home)
    if run is None:
        raise FileNotFoundError(f'the survey in {folder} is not complete; run "peculiar ingest" first')
    survey = Survey(home / "table.lance")
    names = {"id_column": config.id_column or None, "file_column": config.file_column or None}
    catalog = read_catalog(config.table, **names)
    added = [name for name in catalog.table.column_names if name not in ("object_id", "file", "ra", "dec")]
    known = Joined(folder).names_but_of("")
    there = [name for name in added if name in known]
    if there or not added:
        what = f"has {', '.join(there)} already" if there else "would get no new column"
        raise ValueError(f"the survey {what} from {config.table}; rename or leave out those columns")
    index = index_catalog(catalog.table)
    ids, rows = [], []
    with track("matching", len(survey)) as advance:
        for batch in survey.scan(["object_id", "source"], batch_size=4_096):
            pairs = zip(batch["source"].to_pylist(), batch["object_id"].to_pylist(), strict=True)
            entries = [Entry(source, "", object_id=object_id) for source, object_id in pairs]
            matched = match(index, entries).rows
            ids.append(batch["object_id"].to_numpy()[matched >= 0])
            rows.append(matched[matched >= 0])
            advance(batch.num_rows)
    object_id, chosen = np.concatenate(ids), np.concatenate(rows)
    if not len(object_id):
        raise ValueError(f"no row of {config.table} belongs to an object of the survey; check its ids or file names")
    joined = catalog.table.select(added).take(pa.array(chosen)).append_column("object_id", pa.array(object_id))
    survey.open().merge(joined, "object_id")
    n_left = catalog.table.num_rows - len(np.unique(chosen))
    log.info("%d objects matched; %d rows of the table belong to none", len(object_id), n_left)
    return finish(home, run, columns_added=[*run.outputs.get("columns_added", []), *added])
