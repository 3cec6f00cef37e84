"""What leaves an atlas: one table in many formats, a page that explains it, and digests to check it by."""

import importlib.util
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import numpy as np

from peculiar.joined import Joined
from peculiar.ranking import Ranking
from peculiar.run import Track, quiet

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.io.croissant import Credit
    from peculiar.io.pages import Cell
    from peculiar.io.product_pages import Written

log = logging.getLogger(__name__)
SUFFIXES = {"parquet": ".parquet", "fits": ".fits", "votable": ".vot", "csv": ".csv", "hats": "_hats"}
FORMATS = tuple(SUFFIXES)
ROWS_AT_ONCE = 65_536  # of a look-up, and of a row group of Parquet
DOI = re.compile(r"10\.\d{4,9}/\S+")  # Crossref's own pattern of modern DOIs
VERSION = re.compile(r"\d+(\.\d+){0,2}")

# Options that the stages which write products have in common.
Formats = Annotated[tuple[str, ...], f"formats to write, of {', '.join(FORMATS)}"]
Title = Annotated[str, "title of the product, for its page and description"]
Creators = Annotated[str, "who made it; names with ; between them"]
License = Annotated[str, "license: an SPDX name such as CC-BY-4.0, or an address"]
Doi = Annotated[str, "DOI, where one was given: 10.5281/zenodo.1234"]
Version = Annotated[str, "version of the data: 1.0.0"]


class Credited(Protocol):
    """A config that says what is credited."""

    @property
    def formats(self) -> tuple[str, ...]:  # noqa: D102
        ...

    @property
    def title(self) -> str:  # noqa: D102
        ...

    @property
    def creators(self) -> str:  # noqa: D102
        ...

    @property
    def license(self) -> str:  # noqa: D102
        ...

    @property
    def doi(self) -> str:  # noqa: D102
        ...

    @property
    def version(self) -> str:  # noqa: D102
        ...


def check(config: Credited) -> None:
    """Check the options that products have in common.

    Raises
    ------
    ValueError
        A format is not known, or DOI or version are not written as they must be.
    """
    if unknown := [each for each in config.formats if each not in FORMATS]:
        raise ValueError(f"formats must be of {', '.join(FORMATS)}, got {unknown[0]!r}")
    if not config.formats:
        raise ValueError(f"formats must be one at least of {', '.join(FORMATS)}, got none")
    if config.doi and not DOI.fullmatch(config.doi):
        raise ValueError(f"doi must be the bare DOI, such as 10.5281/zenodo.1234, got {config.doi!r}")
    if config.version and not VERSION.fullmatch(config.version):
        raise ValueError(f"version must be numbers, such as 1.0.0, got {config.version!r}")


def check_installed(formats: Sequence[str]) -> None:
    """Raise ImportError before any work where a format needs a package that is not installed."""
    if "hats" in formats and importlib.util.find_spec("cdshealpix") is None:
        others = ",".join(each for each in formats if each != "hats") or "parquet"
        raise ImportError(f"HATS needs cdshealpix: pip install cdshealpix, or do without it: --formats {others}")


def passing(objects: Joined, where: str) -> np.ndarray:
    """Which objects pass a filter, bool; all where it is empty.

    Raises
    ------
    ValueError
        It is no filter, or nothing passes it.
    """
    is_listed = objects.select(where) if where else np.ones(len(objects), bool)
    if not is_listed.any():
        raise ValueError(
            f"no object of {objects.place} passes {where!r}; give another filter"
            if where
            else f"{objects.place} has no object to write"
        )
    return is_listed


def one_a_group(objects: Joined, places: np.ndarray) -> np.ndarray:
    """The first of each group among places in order, so that no galaxy is lost; what is in no group stays."""
    group_id = objects.group_ids()[places]
    is_first = np.zeros(len(places), bool)
    is_first[np.unique(group_id, return_index=True)[1]] = True
    return places[is_first | (group_id == 0)]


def described_schema(objects: Joined, columns: Sequence[str] = ()) -> "pa.Schema":
    """Columns of a product with units, UCDs and descriptions: all, or object_id and those named.

    A ranking has `rank` too, the place in the order first shown.

    Raises
    ------
    KeyError
        A column is not there.
    """
    import pyarrow as pa

    from peculiar.catalog.columns import describe_schema

    own = [pa.field("rank", pa.int64())] if isinstance(objects, Ranking) else []
    schema = describe_schema(pa.schema([*own, *objects.schema]), **objects.weights)
    if unknown := [each for each in columns if each not in schema.names]:
        raise KeyError(f"no column {', '.join(unknown)} in {objects.place}; there are {', '.join(schema.names)}")
    names = list(dict.fromkeys(["object_id", *columns])) if columns else schema.names
    return pa.schema([schema.field(name) for name in names], metadata=schema.metadata)


def write_table(
    objects: Joined,
    home: Path,
    stem: str,
    places: np.ndarray,
    *,
    formats: Sequence[str],
    description: str,
    schema: "pa.Schema",
    has_released_names: bool = False,
    facts: Mapping[str, str] | None = None,
    track: Track = quiet,
) -> "Written":
    """Write objects, given by place in the order to write, as `stem` in every format, each file put in place whole.

    The columns are looked up once, into Parquet; the other formats are written from that. A format that cannot be is
    left out, which the log and `Written.left_out` say: VOTable of too many rows, HATS without positions.

    Parameters
    ----------
    schema
        Of `described_schema`.
    has_released_names
        Write `stem`_released_names too, FITS and CSV in the columns of Storey-Fisher et al. 2021.
    facts
        More properties for HATS.
    """
    from peculiar.io.exports import write_csv, write_fits, write_parquet, write_votable
    from peculiar.io.hats import write_hats
    from peculiar.io.product_pages import Written

    left_out = _not_possible(objects, places, schema, formats)
    for each, why in left_out.items():
        log.warning("%s is not written as %s: %s", stem, each, why)
        _remove(home / f"{stem}{SUFFIXES[each]}")  # of a run before
    written = {each: f"{stem}{SUFFIXES[each]}" for each in formats if each not in left_out}
    whole = home / (f"{stem}.parquet" if "parquet" in written else f".{stem}.parquet")
    writers = {"fits": write_fits, "votable": write_votable, "csv": write_csv}
    n_not_in_hats = 0
    with track(f"writing {stem}", len(written) + 2 * has_released_names) as advance:
        try:
            write_parquet(whole, schema, _looked_up(objects, places, schema))
            advance(int("parquet" in written))
            for each in (each for each in writers if each in written):
                writers[each](home / written[each], schema, _read(whole, schema))
                advance(1)
            if "hats" in written:
                found = write_hats(home / written["hats"], schema, lambda: _read(whole, schema), name=stem, facts=facts)
                n_not_in_hats = found.n_without_position
                advance(1)
            if has_released_names:
                empty = _released_names(schema.empty_table()).schema
                for suffix, write in ((".fits", write_fits), (".csv", write_csv)):
                    write(home / f"{stem}_released_names{suffix}", empty, _released(whole, schema))
                    advance(1)
        finally:
            if "parquet" not in written:
                whole.unlink(missing_ok=True)
    return Written(
        stem=stem,
        description=description,
        schema=schema,
        n_rows=len(places),
        files=written,
        left_out=left_out,
        n_not_in_hats=n_not_in_hats,
    )


def _not_possible(objects: Joined, places: np.ndarray, schema: "pa.Schema", formats: Sequence[str]) -> dict[str, str]:
    """Why formats cannot be written."""
    from peculiar.io.exports import MAX_VOTABLE_ROWS

    why: dict[str, str] = {}
    if "votable" in formats and len(places) > MAX_VOTABLE_ROWS:
        why["votable"] = f"it would have more than {MAX_VOTABLE_ROWS:,} rows"
    if "hats" in formats:
        if missing := [each for each in ("ra", "dec") if each not in schema.names]:
            why["hats"] = f"it is parted by position, and there is no column {', '.join(missing)}"
        elif not (np.isfinite(objects.column("ra")[places]) & np.isfinite(objects.column("dec")[places])).any():
            why["hats"] = "it is parted by position, and no object has one"
    return why


def _looked_up(objects: Joined, places: np.ndarray, schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
    """Rows of objects, given by place, with their rank where there is one."""
    import pyarrow as pa

    rank = np.empty(0, np.int64)
    if "rank" in schema.names and isinstance(objects, Ranking):
        rank = np.empty(len(objects), np.int64)
        rank[objects.order()] = np.arange(1, len(objects) + 1)
    for start in range(0, len(places), ROWS_AT_ONCE):
        part = places[start : start + ROWS_AT_ONCE]
        rows = objects.rows(objects.object_ids[part])
        if len(rank):
            rows = rows.add_column(0, "rank", pa.array(rank[part]))
        yield from rows.select(schema.names).cast(schema).combine_chunks().to_batches()


def _read(path: Path, schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            yield batch.cast(schema)


def _released_names(table: "pa.Table", first_index: int = 0) -> "pa.Table":
    from peculiar.catalog.columns import to_released

    return to_released(table, first_index=first_index)


def _released(path: Path, schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
    """Rows in the released columns."""
    import pyarrow as pa

    first = 0
    for batch in _read(path, schema):
        yield from _released_names(pa.Table.from_batches([batch]), first).to_batches()
        first += batch.num_rows


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def credit_of(config: Credited) -> "Credit":
    """What a config credits, the creators apart."""
    from peculiar.io.croissant import Credit

    creators = tuple(each.strip() for each in config.creators.split(";") if each.strip())
    return Credit(title=config.title, creators=creators, license=config.license, doi=config.doi, version=config.version)


def hats_facts(config: Credited) -> dict[str, str]:
    """The same as properties of a HATS catalog."""
    return {
        "obs_title": config.title,
        "hats_creator": config.creators,
        "hats_copyright": config.license,
        "bib_reference": config.doi,
        "hats_data_semver": config.version,
    }


def provenance_of(objects: Joined) -> "dict[str, Cell]":
    """What a product is made of: the folder's identity, the networks' digests and weights, packages' versions."""
    found: dict[str, Cell] = {"made of": objects.place, "its identity": objects.run.identity}
    if isinstance(objects, Ranking):
        found["reference"] = objects.run.outputs["reference"]
        networks = objects.scored.outputs["networks"]
        found |= {f"digest of {which}": objects.scored.inputs[which] for which in networks}
        found["scored on"] = objects.scored.outputs["machine"]
        found |= {each.replace("_", " "): value for each, value in objects.weights.items()}
        return found | objects.scored.packages
    return found | objects.run.packages
