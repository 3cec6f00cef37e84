"""The columns of one set of objects, read from many tables and joined by `object_id`: each by one name."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peculiar.run import Run, home_of, read_run
from peculiar.survey import Table, located, missing_objects, placed

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.catalog.filters import Filter

log = logging.getLogger(__name__)
NOT_NUMBERS = ("image", "flux", "latent", "source")
PLACES, GROUPS = ("map_x", "map_y"), ("cluster",)  # columns of maps and of clusters that carry their name
INTEREST = ("interest", "interest_std")
LABEL = ("label", "label_probability", "label_n_votes", "label_agreement")
GROUP = ("group_id", "group_size", "group_rank", "is_representative")
MASK = ("is_masked", "n_masks")
CLASSIFICATION = (
    *("classification_n_votes", "classification_n_interesting", "classification_interesting"),
    *("classification_lower", "classification_upper"),
)
# Columns that carry the folder's name where it is another than main.
OWN_NAMES = {"learn": INTEREST, "label": LABEL, "group": GROUP, "mask": MASK, "classify": CLASSIFICATION}
AS_THEY_ARE = ("relate", "join", "derive", "crossmatch", "lines")  # stages whose columns have names of their own
RANKED = ("relate", "join", "learn", "map", "cluster")  # stages whose tables are of rankings alone
HINT = "hint_artefact"  # the same in all clusters of a ranking
PARENTS = (
    *("rankings", "interest", "labels", "groups", "maps", "clusters"),
    *("derived", "masks", "crossmatches", "classifications", "spectra"),
)
SCAN_ROWS = 65_536
EXACT = 2.0**53  # beyond it not every integer is a float64
MANY = 2_000  # objects of one question from which rows are looked up by number
# What a catalog that is no ranking is ordered by: the first that it has; else by id.
CATALOG_ORDER = ("score_disc_sigma", "score_anom_sigma")
SURVEY = "survey"


@dataclass(frozen=True, eq=False)
class _Part:
    """A table that is read beside the others: its columns by the names that they have here."""

    table: Table
    names: dict[str, str]
    is_complete: bool = True  # whether it has every object

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Its ids, ascending, the row of each, and the version that they are of."""
        version, ids = self.table.version, self.table.object_ids()
        order = np.argsort(ids, kind="stable")
        return ids[order], order, version

    def take_many(self, object_ids: np.ndarray, columns: list[str], *, is_complete: bool) -> "pa.Table":
        """As `Table.take`, by row numbers that are looked up once: 16 bytes an object for what is asked many times."""
        import pyarrow as pa

        ids, order, version = self._sorted
        dataset = self.table.open()
        if not len(ids) or dataset.version != version:
            return self.table.take(object_ids, columns, is_complete=is_complete)
        place, is_there = located(ids, object_ids)
        if is_complete and not is_there.all():
            raise missing_objects(object_ids[~is_there], self.table.path)
        wanted, row = np.unique(order[place[is_there]], return_inverse=True)
        found = dataset.take(wanted, columns=list(dict.fromkeys(["object_id", *columns])))
        back = np.zeros(len(object_ids), np.int64)
        back[is_there] = row
        rows = found.take(pa.array(back, mask=~is_there))
        if not np.array_equal(rows["object_id"].drop_null().to_numpy(), object_ids[is_there]):
            raise ValueError(f"{self.table.path} changed while it was read; run the same command again")
        return rows.select(columns)


class Joined:
    """The objects of the survey or of an imported catalog, with all columns that stages made of them.

    A `Ranking` is one with scores.

    Parameters
    ----------
    folder
        The atlas's.
    place
        "survey", or "catalogs/NAME".

    Raises
    ------
    FileNotFoundError
        It is not complete.
    """

    def __init__(self, folder: Path, place: str = SURVEY) -> None:
        self.folder, self.place = folder, place
        self.home = folder / place if place == SURVEY else home_of(folder, *place.split("/", 1))
        run = read_run(self.home)
        if run is None:
            what = "ingest" if place == SURVEY else "import-release"
            raise FileNotFoundError(f'{place} is not complete in {folder}; run "peculiar {what}" first')
        self.run: Run = run
        self.base = Table(self.home / "table.lance")

    @property
    def weights(self) -> dict[str, float]:
        """The weights that every product names; none are known of what was not scored here."""
        return {}

    @property
    def _own(self) -> "list[Table]":
        """The tables that have every object, the first before the others."""
        return [self.base]

    def __len__(self) -> int:
        return len(self.base)

    @cached_property
    def _parts(self) -> list[_Part]:
        """All tables that columns are read from: scores before measures, what later stages made, the catalog."""
        others = [self._other(home) for parent in PARENTS for home in self._finished(parent)]
        *first, last = [_whole(each) for each in self._own]
        ids = [] if first else [_Part(self.base, {"object_id": "object_id"})]  # others' ids are not all
        mine = [*ids, *first, *(each for each in others if each), last]
        taken: set[str] = set()
        for part in mine:
            for name in [name for name in part.names if name in taken]:
                del part.names[name]
            taken |= set(part.names)
        return mine

    def names_but_of(self, place: str) -> set[str]:
        """Names of the columns of every table but those in one folder, by its place in the atlas."""
        others = (each for each in self._parts if each.table.path.parent != self.folder / place)
        return {name for each in others for name in each.names}

    def _finished(self, parent: str) -> list[Path]:
        return sorted(path.parent for path in (self.folder / parent).glob("*/run.json"))

    def _is_mine(self, run: Run) -> bool:
        """Whether a later stage's table is of these objects."""
        if run.stage in RANKED:
            return False
        return run.config.get("of", SURVEY) == self.place

    def _other(self, home: Path) -> _Part | None:
        """What a later stage made, if it belongs to these objects; objects may be missing there."""
        run = read_run(home)
        if run is None or run.stage not in (*OWN_NAMES, *AS_THEY_ARE, "map", "cluster") or not self._is_mine(run):
            return None
        for place, identity in run.reads.items():
            source = read_run(self.folder / place)
            if source is not None and source.identity != identity:
                where = home.relative_to(self.folder)
                log.warning(
                    "%s is stale, as %s was made anew since, and is left out; %s it again", where, place, run.stage
                )
                return None
        table = Table(home / "table.lance")
        named = {"map": PLACES, "cluster": GROUPS}.get(run.stage, ())
        names = {f"{each}_{home.name}": each for each in named}
        if run.stage == "cluster":
            names[HINT] = HINT
        if run.stage in OWN_NAMES:
            # A hyphen: with an underscore, one of name "std" would be another's deviation.
            own = OWN_NAMES[run.stage]
            names = {each if home.name == "main" else f"{each}-{home.name}": each for each in own}
        if run.stage in AS_THEY_ARE:
            names = {each: each for each in table.schema.names}
        return _Part(table, names, is_complete=False)

    @property
    def versions(self) -> dict[str, int]:
        """Lance's versions of all tables that columns are read from, by their places: what a product is made of."""
        return {each.table.path.relative_to(self.folder).as_posix(): each.table.version for each in self._parts}

    def version_of(self, column: str) -> int:
        """Lance's version of the table that a column is read from; 0 where there is no such column."""
        held = self._held(column)
        return 0 if held is None else held.table.version

    def _held(self, column: str) -> _Part | None:
        """The table that a column is read from, None where there is none."""
        return next((each for each in self._parts if column in each.names), None)

    def made_of(self, *parents: str) -> dict[str, str]:
        """Identities, by place, of the folders below these (rankings, interest ...) that columns are read from."""
        places = [Path(each).parent for each in self.versions]
        runs = {each.as_posix(): read_run(self.folder / each) for each in places if each.parts[0] in parents}
        return {place: run.identity for place, run in runs.items() if run is not None}

    @cached_property
    def schema(self) -> "pa.Schema":
        """Columns of `rows`: ids and position, scores, measures, labels, maps, clusters, then the catalog's own."""
        import pyarrow as pa

        first = ("object_id", "source", "ra", "dec")
        fields: dict[str, pa.Field] = {}
        for part in self._parts:
            schema = part.table.schema
            fields |= {ours: schema.field(theirs).with_name(ours) for ours, theirs in part.names.items()}
        leading = [each for each in first if each in fields]
        names = [*leading, *(name for name in fields if name not in (*first, "image", "flux", "latent"))]
        return pa.schema([fields[name] for name in names])

    def rows(self, object_ids: np.ndarray) -> "pa.Table":
        """All columns but pixels and latents of these objects, in the order asked for."""
        import pyarrow as pa

        schema = self.schema
        columns: dict[str, pa.ChunkedArray] = {}
        for part in self._parts:
            names = {ours: theirs for ours, theirs in part.names.items() if ours in schema.names}
            take = part.take_many if len(object_ids) >= MANY else part.table.take
            taken = take(object_ids, list(names.values()), is_complete=part.is_complete)
            columns |= {ours: taken[theirs] for ours, theirs in names.items()}
        return pa.table([columns[name] for name in schema.names], schema=schema)

    def column(self, name: str) -> np.ndarray:
        """One numeric column over all objects, float64, in the order of `object_ids`."""
        part = self._held(name)
        if part is None or name in NOT_NUMBERS:
            raise KeyError(f"no number {name!r} to order by; there are {', '.join(self.numbers)}")
        table = part.table
        values = table.column(part.names[name])
        if values.dtype.kind not in "iufb":
            raise KeyError(f"{name} holds no numbers to order by; these do: {', '.join(self.numbers)}")
        if table is self.base:
            return values.astype(np.float64)
        ids = table.object_ids()
        if not len(ids):  # all labels may have been taken back
            return np.full(len(self), np.nan)
        place, is_there = placed(ids, self.object_ids)
        return np.where(is_there, values.astype(np.float64)[place], np.nan)

    def texts(self, name: str) -> "pa.Array":
        """One column of texts over all objects, null where there is none, in the order of `object_ids`."""
        import pyarrow as pa

        part = self._held(name)
        if part is None or name in self.numbers:
            raise KeyError(f"no text {name!r}; there are {', '.join(self.text_columns)}")
        theirs = part.names[name]
        batches = list(part.table.scan(["object_id", theirs], batch_size=SCAN_ROWS))
        read = pa.Table.from_batches(batches, part.table.schema.empty_table().select(["object_id", theirs]).schema)
        if not len(read):
            return pa.nulls(len(self.object_ids), pa.string())
        place, is_there = placed(read["object_id"].to_numpy(), self.object_ids)
        return read[theirs].cast(pa.string()).combine_chunks().take(pa.array(place, mask=~is_there))

    @cached_property
    def text_columns(self) -> list[str]:
        """Columns that hold texts."""
        import pyarrow as pa

        kinds = (pa.types.is_string, pa.types.is_large_string)
        return [each.name for each in self.schema if any(is_kind(each.type) for is_kind in kinds)]

    @cached_property
    def numbers(self) -> list[str]:
        """Columns that hold numbers, or true and false."""
        import pyarrow as pa

        kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        return [each.name for each in self.schema if any(is_kind(each.type) for is_kind in kinds)]

    @cached_property
    def object_ids(self) -> np.ndarray:
        """Ids of all objects, int64, in the table's order."""
        return self.base.object_ids()

    @property
    def first_shown(self) -> str:
        """The column that objects are ordered by where none is asked for: object_id where there is no score."""
        return next((each for each in CATALOG_ORDER if each in self.schema.names), "object_id")

    def select(self, where: str) -> np.ndarray:
        """Which of `object_ids` pass a filter over the columns, bool; see `parse_filter`.

        Raises
        ------
        ValueError
            It is no filter, saying what is wrong and at which character.
        """
        return self.parse(where)(self.values, len(self.object_ids))

    def parse(self, where: str) -> "Filter":
        """Understand a filter over the columns of numbers and of texts."""
        from peculiar.catalog.filters import Column, parse_filter

        texts = (Column(each, "text") for each in self.text_columns)
        return parse_filter(where, [*(Column(each, "number") for each in self.numbers), *texts])

    def values(self, name: str) -> "np.ndarray | pa.Array":
        """A column as a filter reads it: ids whole, numbers as float64, texts."""
        if is_id(name):
            return self.object_ids if name == "object_id" else self.group_ids(name)
        if name not in self.numbers:
            return self.texts(name)
        values = self.column(name)
        import pyarrow as pa

        if pa.types.is_integer(self.schema.field(name).type) and (np.abs(values) > EXACT).any():
            return self.group_ids(name)  # ids of other catalogs: to the last digit
        return values

    def group_ids(self, name: str = "group_id") -> np.ndarray:
        """The groups of all objects, int64 to the last digit, 0 in none, in the order of `object_ids`.

        Raises
        ------
        KeyError
            Nothing was grouped under this name.
        """
        part = self._held(name)
        if part is None:
            raise KeyError(f'no {name} of this ranking; run "peculiar group {self.folder}" first')
        theirs = part.names[name]
        scanned = part.table.scan([theirs], batch_size=SCAN_ROWS)
        ids = np.concatenate([batch[theirs].fill_null(0).to_numpy() for batch in scanned])
        place, is_there = placed(part.table.object_ids(), self.object_ids)
        return np.where(is_there, ids[place], 0)

    def order(self, by: str = "", *, descending: bool = True) -> np.ndarray:
        """Places of `object_ids`, the largest value first, or the smallest; NaN last, equal values by id."""
        by, is_asked = by or self.first_shown, bool(by)
        if by == "object_id":  # ids are no order of anomalies: the smallest first, but where the largest are asked for
            ascending = np.argsort(self.object_ids, kind="stable")
            return ascending[::-1] if descending and is_asked else ascending
        values = self.column(by)
        keys = np.where(np.isnan(values), np.inf, -values if descending else values)
        return np.lexsort((self.object_ids, keys))


def refuse_taken(objects: Joined, names: Iterable[str], *, but_of: str = "") -> None:
    """Refuse columns whose names others have, or stages give, or filters read as words.

    Parameters
    ----------
    objects
        Whose columns they are to stand beside.
    names
        Of the new columns.
    but_of
        Place of the folder that they are written to: what it holds already is no other's.

    Raises
    ------
    ValueError
        Naming those that are taken.
    """
    from peculiar.catalog.columns import COLUMNS

    theirs = objects.names_but_of(but_of)
    words = {"and", "or", "not", "in", "inside", "contains", "missing", "true", "false", "null", *NOT_NUMBERS}
    given = {each for own in OWN_NAMES.values() for each in own}
    free = {"ra", "dec", "label"} - theirs  # a survey's own, where it has them
    taken = [each for each in names if each in theirs | (words | given | set(COLUMNS)) - free]
    if taken:
        raise ValueError(f"a column is called {', '.join(dict.fromkeys(taken))} already, or may be; take another name")


def is_id(column: str) -> bool:
    """Whether a column holds ids, which a float64 would round: of objects, or of groups whatever the set's name."""
    return column == "object_id" or column.partition("-")[0] == "group_id"


def _whole(table: Table) -> _Part:
    return _Part(table, {name: name for name in table.schema.names})
