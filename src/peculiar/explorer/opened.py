"""A ranking held open for a page: objects are rows in the order of the ranking, and columns are kept in memory."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from peculiar.catalog.columns import describe_schema
from peculiar.feature_set import feature_sets
from peculiar.joined import is_id
from peculiar.ranking import Ranking
from peculiar.run import read_run
from peculiar.survey import hashed, located

if TYPE_CHECKING:
    import pyarrow as pa

KEPT_COLUMNS, KEPT_ORDERS = 48, 8  # 8 bytes an object each
MAX_CATEGORIES = 200  # texts of more kinds are no categories to color by
NO_CATEGORIES = ("source",)


@dataclass(frozen=True)
class ColumnInfo:
    """What the page is told of a column."""

    name: str
    kind: Literal["number", "category", "text"]
    unit: str
    description: str


@dataclass(frozen=True)
class MapInfo:
    """A map of the atlas: its columns of places, and what it lays out."""

    name: str
    x: str
    y: str
    of: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """A question for rows: sorted by a column, those alone that pass a filter, or a random sample of them."""

    by: str = ""
    descending: bool = True
    where: str = ""
    sample: int = 0
    seed: int = 0


class Opened:
    """`rankings/<ranking>` of the atlas in `folder`, read as it stands now; `fresh` opens it anew.

    Raises
    ------
    FileNotFoundError
        The ranking is not complete.
    """

    def __init__(self, folder: Path, ranking: str = "main") -> None:
        self.folder = folder
        self.ranking = Ranking(folder, ranking)
        self.object_ids = self.ranking.object_ids
        self._ascending = np.sort(self.object_ids)
        self.digest = self._digest()  # of what is opened, not of what comes later
        self.number: Callable[[str], np.ndarray] = lru_cache(KEPT_COLUMNS)(self.ranking.column)
        self.texts: Callable[[str], pa.Array] = lru_cache(KEPT_COLUMNS)(self.ranking.texts)
        self._sorted = lru_cache(KEPT_ORDERS)(self._sort)

    def __len__(self) -> int:
        return len(self.object_ids)

    @cached_property
    def survey_id(self) -> str:
        """The same as long as it is this survey, whatever comes to it."""
        ingested = read_run(self.folder / "survey")
        return hashlib.blake2b((ingested.identity if ingested else "").encode(), digest_size=8).hexdigest()

    def _digest(self) -> str:
        """Of the rows and their pixels: another one where objects came, or were scored anew."""
        scored = self.ranking.scored
        parts = (
            *(self.survey_id, self.ranking.survey.version),
            *(self.ranking.run.identity, self.ranking.base.version),
            *(scored.identity, scored.inputs.get("gan", "")),
        )
        return hashlib.blake2b("\n".join(map(str, parts)).encode(), digest_size=8).hexdigest()

    @cached_property
    def columns(self) -> list[ColumnInfo]:
        """All columns, as the ranking has them."""
        weights = self.ranking.weights
        found = []
        for field in describe_schema(self.ranking.schema, **weights):
            kind = self._kind(field.name)
            if kind is not None and field.name != "object_id":
                notes = {key: (field.metadata or {}).get(key, b"").decode() for key in (b"unit", b"description")}
                found.append(ColumnInfo(field.name, kind, notes[b"unit"], notes[b"description"]))
        return found

    def _kind(self, name: str) -> Literal["number", "category", "text"] | None:
        import pyarrow.compute as pc

        if name in self.ranking.numbers:
            return "number"
        if name not in self.ranking.text_columns:
            return None
        if name in NO_CATEGORIES or pc.count_distinct(self.texts(name)).as_py() > MAX_CATEGORIES:
            return "text"
        return "category"

    @cached_property
    def info_of(self) -> dict[str, ColumnInfo]:
        """Columns by name."""
        return {each.name: each for each in self.columns}

    @cached_property
    def maps(self) -> list[MapInfo]:
        """Maps that places are read from."""
        found = []
        for each in self.columns:
            name = each.name.removeprefix("map_x_")
            run = read_run(self.folder / "maps" / name) if name != each.name else None
            if run is not None:
                found.append(MapInfo(name, each.name, f"map_y_{name}", str(run.config.get("of", ""))))
        return found

    @cached_property
    def feature_sets(self) -> list[str]:
        """Complete feature sets, in which objects are alike."""
        return feature_sets(self.folder)

    def version_of(self, name: str) -> str:
        """Changes when the table does that a column is read from."""
        return hashlib.blake2b(
            f"{self.digest} {name} {self.ranking.version_of(name)}".encode(), digest_size=8
        ).hexdigest()

    def arrow(self, name: str) -> "pa.Table":
        """A column as the page draws it: numbers as float32, NaN where missing; texts and ids as texts.

        Raises
        ------
        KeyError
            There is none, or it is a text of too many kinds.
        """
        import pyarrow as pa

        if name == "object_id":
            return pa.table({name: pa.array(self.object_ids).cast(pa.string())})
        info = self.info_of.get(name)
        if info is None or info.kind == "text":
            raise KeyError(f"no column {name!r} to draw; there are {', '.join(self._drawn())}")
        if info.kind == "number":
            return pa.table({name: pa.array(self.number(name).astype(np.float32))})
        return pa.table({name: self.texts(name)})

    def _drawn(self) -> list[str]:
        return [each.name for each in self.columns if each.kind != "text"]

    def rows(self, order: Order) -> np.ndarray:
        """Rows in an order, uint32: those that pass, NaN last either way, equal values by id.

        Raises
        ------
        KeyError, ValueError
            There is no such number to sort by; the filter is none.
        """
        if order.sample < 0:
            raise ValueError(f"sample must be 0, for all, or more, got {order.sample}")
        rows = self._sorted(order.by or self.ranking.first_shown, order.descending)
        if order.where.strip():
            passed = self.ranking.parse(order.where)(self._column, len(self))
            rows = rows[passed[rows]]
        if 0 < order.sample < len(rows):
            drawn = np.argsort(hashed(self.object_ids[rows], order.seed), kind="stable")[: order.sample]
            rows = rows[np.sort(drawn)]
        return rows

    def _column(self, name: str) -> "np.ndarray | pa.Array":
        """A column as a filter reads it: the one that is kept, but ids whole."""
        if is_id(name):
            return self.ranking.values(name)
        return self.number(name) if name in self.ranking.numbers else self.texts(name)

    def _sort(self, by: str, descending: bool) -> np.ndarray:
        return self.ranking.order(by, descending=descending).astype(np.uint32)

    def known(self, object_ids: np.ndarray) -> np.ndarray:
        """Which of these ids are ranked, bool."""
        return located(self._ascending, object_ids)[1]

    def as_json(self) -> dict[str, object]:
        """What the page is told first, but for who asks."""
        form = self.ranking.survey.form
        return {
            "name": self.folder.resolve().name,
            "id": self.survey_id,
            "digest": self.digest,
            "n_objects": len(self),
            "image": {name: getattr(form, name) for name in ("size", "channels", "bands", "pixel_scale")},
            "first_shown": self.ranking.first_shown,
            "columns": [asdict(each) for each in self.columns],
            "maps": [asdict(each) for each in self.maps],
            "feature_sets": self.feature_sets,
        }
