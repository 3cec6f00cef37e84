"""Find the counterparts of objects in another table, or in SIMBAD, NED and VizieR, by position."""

import logging
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from peculiar.joined import PARENTS, SURVEY, Joined
from peculiar.ranking import columns_of
from peculiar.run import Run, Track, begin, finish, home_of, quiet, read_run, read_started, save_figure
from peculiar.survey import Table, hashed

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.catalog.columns import Column
    from peculiar.catalog.crossmatch import Matches
    from peculiar.io.answers import Answers
    from peculiar.io.services import Asker
    from peculiar.io.sky_tables import SkyTable

N_SHIFTED = 50_000  # objects, drawn at random, whose shifted positions measure what chance matches in a table
ANSWERS = "answers"  # what a service said, in the stage's folder
SEED = 0  # of that sample: the same objects each time, so that what was answered is used again
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CrossmatchConfig:
    """What `crossmatch` can be told."""

    table: Annotated[
        Path, "the others: CSV, FITS, VOTable, ECSV or Parquet, or an atlas's folder; ICRS or FK5 J2000, degrees"
    ] = Path()
    service: Annotated[str, "or who is asked: simbad, ned, or vizier:TABLE, as vizier:II/246/out"] = ""
    radius_arcsec: Annotated[float, "counterparts are at most so far away"] = 2.0
    columns: Annotated[tuple[str, ...], "columns of the others to bring in"] = ()
    ra_column: Annotated[str, "the table's column of right ascension; empty: as it is usually called"] = ""
    dec_column: Annotated[str, "the table's column of declination; empty: as it is usually called"] = ""
    of: Annotated[str, "whose counterparts: survey, catalogs/NAME (imported) or rankings/NAME"] = SURVEY
    where: Annotated[str, "only of objects that pass this filter, as 'score_joint > 3'; empty: of all"] = ""
    n_tries: Annotated[int, "how often a service is asked for what fails"] = field(default=5, compare=False)
    timeout_seconds: Annotated[float, "seconds without a byte after which a service has failed"] = field(
        default=120.0, compare=False
    )
    pause_seconds: Annotated[float, "between requests to a service; doubled after each failure"] = field(
        default=1.0, compare=False
    )

    def __post_init__(self) -> None:
        """Check the ranges, and that others are named; names are checked where they are looked up."""
        if not 0 < self.radius_arcsec <= 3_600:
            raise ValueError(f"radius_arcsec must be above 0 and at most 3600, got {self.radius_arcsec}")
        if self.service and self.table != Path():
            raise ValueError(f"either a table or a service can be named, got {self.table} and {self.service!r}")
        if self.service and (self.ra_column or self.dec_column):
            raise ValueError("ra_column and dec_column are a table's; a service knows its own")
        if not 1 <= self.n_tries <= 20:
            raise ValueError(f"n_tries must be 1 to 20, got {self.n_tries}")
        if not (self.timeout_seconds > 0 and self.pause_seconds >= 0):
            times = f"{self.timeout_seconds} and {self.pause_seconds}"
            raise ValueError(f"timeout_seconds must be above 0, pause_seconds not below, got {times}")


@dataclass(frozen=True)
class _Asked:
    """The objects whose counterparts are sought: all that have a position and pass the filter."""

    objects: Joined
    ra: np.ndarray
    dec: np.ndarray
    is_asked: np.ndarray
    reads: dict[str, str]

    @property
    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Of those alone."""
        return self.ra[self.is_asked], self.dec[self.is_asked]

    def shifted(self, most: int, radius_arcsec: float) -> tuple[np.ndarray, np.ndarray]:
        """Positions shifted off a sample of them; see `peculiar.catalog.crossmatch.shifted`."""
        from peculiar.catalog.crossmatch import shifted

        ra, dec = self.positions
        order = np.argsort(hashed(self.objects.object_ids[self.is_asked], SEED), kind="stable")[:most]
        return shifted(ra[order], dec[order], radius_arcsec)


@dataclass(frozen=True)
class _Found:
    """What was found for them, row by row, and at the shifted positions; `columns` are null where there is nothing."""

    matches: "Matches"
    columns: "pa.Table"
    shifted: "Matches"
    counts: dict[str, Any]


def folder_name(config: CrossmatchConfig) -> str:
    """What the folder is called that a cross-match fills where it is not told: as the service, or the table."""
    name = config.service or config.table.name.partition(".")[0]
    return re.sub("[^A-Za-z0-9_-]+", "_", name).strip("_")[:100] or "table"


def crossmatch(
    folder: Path, config: CrossmatchConfig, *, name: str = "", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `crossmatches/<name>` of the atlas in `folder`, anew for all objects.

    `table.lance` has a row for every object of `of`. Its columns, where PREFIX is the folder's name with underscores
    for hyphens: PREFIX_n_within, PREFIX_separation_arcsec, PREFIX_is_mutual (no object is nearer to that counterpart),
    and PREFIX_COLUMN for each of `columns`; from a service PREFIX_known_as, PREFIX_known_type (not from VizieR) and
    is_known_PREFIX besides. All are null for objects without a position, and those that do not pass `where`.

    `Run.outputs`: `n_matched`; `n_with_several` within the radius; `n_mutual`; `chance_fraction`, with its error: the
    part of positions shifted off the objects that have a counterpart too; `n_false`: how many of the matched are
    expected to be so by chance. `separations.png` shows both.

    A table is read twice, in batches. What a service answers is kept in `answers/`: after a kill, or with objects that
    came since, only what is missing is asked for; `replace` asks for all anew. The services' protocols are those of
    their manuals and of astroquery; no real one was asked when this was written.

    Raises
    ------
    FileNotFoundError
        The objects are not complete, or there is no such table.
    ValueError
        No object has a position; those of the table are no degrees; the folder is of another table; a name is taken.
    ConnectionError, PermissionError
        A service does not answer, or refuses to.
    """
    name = name or folder_name(config)
    home = home_of(folder, "crossmatches", name)
    asked = _asked(folder, config, f"crossmatches/{name}")
    prefix = re.sub("[^A-Za-z0-9_]+", "_", name)
    columns, brought = _columns(config, prefix), _brought(config, prefix)
    names = [*(each.name for each in columns.values()), *brought.values()]
    others, inputs = _open(config)
    _refuse(home, inputs, asked.objects, names, replace=replace)
    run = begin(home, "crossmatch", config, inputs=inputs, reads=asked.reads, replace=replace)
    found = _by_service(home, config, asked, track) if others is None else _by_table(config, others, asked, track)
    Table(home / "table.lance").overwrite([_filled(asked, found, columns, brought)])
    return _finish(home, run, config, asked, found)


def _asked(folder: Path, config: CrossmatchConfig, own: str) -> _Asked:
    objects = columns_of(folder, config.of)
    lacking = [each for each in ("ra", "dec") if each not in objects.schema.names]
    if lacking:
        raise ValueError(f"{config.of} has no column {', '.join(lacking)}; it has: {', '.join(objects.schema.names)}")
    ra, dec = objects.column("ra"), objects.column("dec")
    is_asked = np.isfinite(ra) & np.isfinite(dec)
    if not is_asked.any():
        raise ValueError(f"no object of {config.of} has a position, ra and dec, to be matched by")
    reads = {config.of: objects.run.identity}
    if config.where:
        is_asked &= objects.select(config.where)
        if not is_asked.any():
            raise ValueError(f"no object with a position passes the filter {config.where!r}; take another")
        reads |= _read_by(config.where, folder, objects, own)
    return _Asked(objects, ra, dec, is_asked, reads)


def _read_by(where: str, folder: Path, objects: Joined, own: str) -> dict[str, str]:
    """The folders that a filter's columns are read from; its own is none, or it would be stale at once."""
    read = set(objects.parse(where).columns) - {"object_id"}
    found = {}
    for place, identity in objects.made_of(*PARENTS).items():
        ending = Path(place).name  # columns may carry the folder's name
        there = {
            f"{each}{end}"
            for each in Table(folder / place / "table.lance").schema.names
            for end in ("", f"_{ending}", f"-{ending}")
        }
        if place != own and read & there:
            found[place] = identity
    return found


def _columns(config: CrossmatchConfig, prefix: str) -> "dict[str, Column]":
    """The columns that every cross-match has, by what is in them."""
    from peculiar.catalog.columns import Column

    who = config.service or config.table.name
    near = f"Counterpart in {who} within {config.radius_arcsec:g} arcsec"
    said = {
        "n_within": ("int64", "", "meta.number", "how many there are"),
        "separation_arcsec": ("double", "arcsec", "pos.angDistance", "how far the nearest is"),
        "is_mutual": ("bool", "", "meta.code", "no other object is nearer to it"),
    }
    if config.service:
        said["is_known"] = ("bool", "", "meta.code", "whether there is one")
        said["known_as"] = ("string", "", "meta.id", "name of the nearest")
    if config.service and not config.service.startswith("vizier:"):
        said["known_type"] = ("string", "", "src.class", "type of the nearest, as the service writes it")
    names = {key: f"is_known_{prefix}" if key == "is_known" else f"{prefix}_{key}" for key in said}
    return {
        key: Column(names[key], dtype, unit, ucd, f"{near}: {text}") for key, (dtype, unit, ucd, text) in said.items()
    }


def _brought(config: CrossmatchConfig, prefix: str) -> dict[str, str]:
    """What the others' columns are called here."""
    return {each: f"{prefix}_{re.sub('[^A-Za-z0-9_]', '_', each)}" for each in config.columns}


def _open(config: CrossmatchConfig) -> "tuple[SkyTable | None, dict[str, Any]]":
    """The table, None where a service is asked, and what it is known again by; before a folder is made."""
    from peculiar.checkpoint import file_digest
    from peculiar.io.services import MAX_RADIUS, find_service
    from peculiar.io.sky_tables import open_sky_table, sky_table

    if config.service:
        find_service(config.service)
        if config.radius_arcsec > MAX_RADIUS:
            raise ValueError(f"radius_arcsec of a service must be at most {MAX_RADIUS:g}, got {config.radius_arcsec}")
        return None, {}
    wanted: Any = {"ra": config.ra_column, "dec": config.dec_column, "columns": config.columns}
    if config.table == Path():
        raise FileNotFoundError("no table to match with; give --table FILE, or --service simbad, ned or vizier:TABLE")
    if not config.table.is_dir():
        return open_sky_table(config.table, **wanted), {"table": file_digest(config.table)}
    home = next((each for each in (config.table / SURVEY, config.table) if read_run(each) is not None), None)
    if home is None or not (home / "table.lance").is_dir():
        raise FileNotFoundError(
            f"{config.table} is no atlas with a finished survey; give one, its catalogs/NAME, or a file"
        )
    table = Table(home / "table.lance")

    def read(columns: Any) -> Any:
        return table.scan(columns, batch_size=65_536)

    return sky_table(str(home), table.schema, len(table), read, **wanted), {"table": f"{home}, version {table.version}"}


def _refuse(home: Path, inputs: dict[str, Any], objects: Joined, names: list[str], *, replace: bool) -> None:
    """Stop where the folder is of another table, or names are not free."""
    before = read_run(home) or read_started(home)
    if before is not None and not replace and before.inputs != inputs:
        raise ValueError(
            f"{home} is of another table, or another version of it; give another --name to keep both, or --replace"
        )
    own = Table(home / "table.lance")
    mine = own.schema.names if own.exists() else []
    taken = [each for each in names if names.count(each) > 1 or (each in objects.schema.names and each not in mine)]
    if taken:
        raise ValueError(f"there is a column {', '.join(dict.fromkeys(taken))} already; give another --name")


def _by_table(config: CrossmatchConfig, others: "SkyTable", asked: _Asked, track: Track) -> _Found:
    """Go through the table for the matches, and once more for the columns."""
    import pyarrow as pa

    from peculiar.catalog.crossmatch import Counterparts

    ours = Counterparts(*asked.positions, config.radius_arcsec)
    chance = Counterparts(*asked.shifted(N_SHIFTED, config.radius_arcsec), config.radius_arcsec)
    box = np.array([[np.inf, np.inf], [-np.inf, -np.inf]])
    with track("matching positions", others.n_rows) as advance:
        for ra, dec in others.positions():
            ours.look_at(ra, dec)
            chance.look_at(ra, dec)
            if np.isfinite(ra + dec).any():
                box[0] = np.minimum(box[0], [np.nanmin(ra), np.nanmin(dec)])
                box[1] = np.maximum(box[1], [np.nanmax(ra), np.nanmax(dec)])
            advance(len(ra))
    matches = ours.matches()
    if not matches.is_matched.any():
        _say_apart(config, asked, box)
    rows = np.unique(matches.row[matches.is_matched])
    place = np.where(matches.is_matched, np.searchsorted(rows, matches.row), 0)
    columns = others.rows(rows).take(pa.array(place, mask=~matches.is_matched))
    columns = columns.rename_columns([f"_{each}" for each in columns.column_names])
    counts = {"n_rows": ours.n_rows, "n_rows_without_position": ours.n_rows_without_position}
    return _Found(matches, columns, chance.matches(), counts)


def _say_apart(config: CrossmatchConfig, asked: _Asked, box: np.ndarray) -> None:
    """Where nothing matched, say where both are; and refuse what are radians by all appearance."""
    ra, dec = asked.positions
    (left, low), (right, high) = box
    if not np.isfinite(box).all():
        log.warning("no counterpart: the table has no row with a position")
        return
    said = f"ra {left:.4g} to {right:.4g}, dec {low:.4g} to {high:.4g}"
    if left >= 0 and right <= 2 * np.pi and max(-low, high) <= np.pi / 2:
        is_there = (ra <= right + 1) & (dec >= low - 1) & (dec <= high + 1)
        if not is_there.any():
            raise ValueError(
                f"{config.table} looks as if its positions were radians ({said}), and no object is there; give degrees "
                "in a mended table, with --replace"
            )
    log.warning(
        "no counterpart: the table covers %s; the objects ra %.4g to %.4g, dec %.4g to %.4g",
        *(said, ra.min(), ra.max(), dec.min(), dec.max()),
    )


def _by_service(home: Path, config: CrossmatchConfig, asked: _Asked, track: Track) -> _Found:
    """Ask a service for what is not answered yet, a request at a time, each kept; then go through all answers."""
    from peculiar.io.answers import Answers
    from peculiar.io.services import Asker, find_service

    service = find_service(config.service)
    shifted = asked.shifted(service.n_chance, config.radius_arcsec)
    # The address is left out: a mirror says the same.
    answers = Answers(home / ANSWERS, f"{config.service} {config.radius_arcsec} {config.columns}")
    ra, dec = (np.concatenate([ours, moved]) for ours, moved in zip(asked.positions, shifted, strict=True))
    patience: Any = {"n_tries": config.n_tries, "timeout_seconds": config.timeout_seconds}
    with (
        Asker(service, config.radius_arcsec, config.columns, **patience, pause_seconds=config.pause_seconds) as asker,
        track(f"asking {service.host}", len(ra)) as advance,
    ):
        n_requests = _ask_missing(asker, answers, ra, dec, advance)
    matches, columns = _of_answers(answers, *asked.positions)
    chance, _ = _of_answers(answers, *shifted)
    return _Found(matches, columns, chance, {"n_requests": n_requests})


def _ask_missing(
    asker: "Asker", answers: "Answers", ra: np.ndarray, dec: np.ndarray, advance: Callable[[int], None]
) -> int:
    left_ra, left_dec = answers.missing(ra, dec)
    advance(len(ra) - len(left_ra))
    n_requests = 0
    for start in range(0, len(left_ra), asker.service.per_request):
        part = slice(start, start + asker.service.per_request)
        answers.keep(left_ra[part], left_dec[part], asker.ask(left_ra[part], left_dec[part]))
        n_requests += 1
        advance(len(left_ra[part]))
    return n_requests


def _of_answers(answers: "Answers", ra: np.ndarray, dec: np.ndarray) -> "tuple[Matches, pa.Table]":
    """Matches and columns of positions by what was answered."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from peculiar.catalog.crossmatch import Matches, matches_of_pairs

    places, inverse = np.unique(ra + 1j * dec, return_inverse=True)
    pairs = answers.pairs(places.real, places.imag).combine_chunks()
    number = pc.dictionary_encode(pairs["counterpart"].combine_chunks()).indices.to_numpy().astype(np.int64)
    separation = pairs["separation_arcsec"].to_numpy()
    once = matches_of_pairs(len(places), pairs["place"].to_numpy(), separation, number)
    matches = Matches(*(each[inverse] for each in astuple(once)))
    index = pa.array(matches.row, mask=~matches.is_matched)
    return matches, pairs.drop_columns(["place", "separation_arcsec", "counterpart"]).take(index)


def _filled(asked: _Asked, found: _Found, columns: "dict[str, Column]", brought: dict[str, str]) -> "pa.RecordBatch":
    """The rows of all objects, null for those that were not asked about."""
    import pyarrow as pa

    matches = found.matches
    values: dict[str, Any] = {
        "n_within": pa.array(matches.n_within),
        "separation_arcsec": pa.array(matches.separation_arcsec, from_pandas=True),
        "is_mutual": pa.array(matches.is_mutual, mask=~matches.is_matched),
        "is_known": pa.array(matches.is_matched),
    }
    fields = [pa.field("object_id", pa.int64())]
    arrays = [pa.array(asked.objects.object_ids)]
    index = pa.array(np.cumsum(asked.is_asked) - 1, mask=~asked.is_asked)
    for key, column in columns.items():
        array = values[key] if key in values else found.columns[key].combine_chunks()
        fields.append(pa.field(column.name, array.type, metadata=column.metadata()))
        arrays.append(array.take(index))
    for theirs, ours in brought.items():
        fields.append(found.columns.schema.field(f"_{theirs}").with_name(ours))
        arrays.append(found.columns[f"_{theirs}"].combine_chunks().take(index))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _finish(home: Path, run: Run, config: CrossmatchConfig, asked: _Asked, found: _Found) -> Run:
    """Draw, count, and declare complete."""
    from peculiar.catalog.crossmatch import chance_of
    from peculiar.figures.crossmatch import figure_separations

    matches, n_asked = found.matches, int(asked.is_asked.sum())
    chance, n_matched = chance_of(found.shifted.n_within), int(matches.is_matched.sum())
    figure = figure_separations(
        matches.separation_arcsec,
        found.shifted.separation_arcsec,
        radius_arcsec=config.radius_arcsec,
        n_objects=n_asked,
        n_shifted=chance.n_positions,
        name=config.service or config.table.name,
    )
    save_figure(figure, home / "separations.png")
    n_false = chance.n_false(n_asked, n_matched)
    return finish(
        *(home, run),
        n_objects=len(asked.objects),
        n_asked=n_asked,
        n_without_position=int((~np.isfinite(asked.ra + asked.dec)).sum()),
        n_matched=n_matched,
        n_with_several=int((matches.n_within > 1).sum()),
        n_mutual=int(matches.is_mutual.sum()),
        median_separation_arcsec=float(np.nanmedian(matches.separation_arcsec)) if n_matched else None,
        chance_fraction=chance.fraction,
        chance_fraction_error=chance.fraction_error,
        n_shifted=chance.n_positions,
        n_false=n_false if np.isfinite(n_false) else None,
        **found.counts,
    )
