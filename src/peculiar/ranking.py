"""A finished ranking opened for reading: scores, measures and catalog joined by `object_id`, and reconstructions."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.checkpoint import load_pinned
from peculiar.run import Run, home_of, read_run
from peculiar.survey import Survey, Table, pixels, placed

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.catalog.filters import Filter


log = logging.getLogger(__name__)
FIRST_SHOWN = ("score_joint", "score_anom_conditional")  # the first of these that there is; METHOD.md sect. 8
# What score_joint joins: what the generator cannot make, as a whole and in its pixels; a frame unlike all others; a
# center unlike those of its like.
JOINED = (
    *("score_anom_conditional", "score_gen_conditional"),
    *("score_neighbors_frame", "score_neighbors_center_conditional"),
)
RELATIONS = ("rankings/neighbors-frame", "rankings/neighbors-center")
NOT_NUMBERS = ("image", "flux", "latent", "source")
PLACES, GROUPS = ("map_x", "map_y"), ("cluster",)  # columns of maps and of clusters that carry their name
INTEREST = ("interest", "interest_std")
LABEL = ("label", "label_probability", "label_n_votes", "label_agreement")
GROUP = ("group_id", "group_size", "group_rank", "is_representative")
# Columns that carry the folder's name where it is another than main.
OWN_NAMES = {"learn": INTEREST, "label": LABEL, "group": GROUP}
HINT = "hint_artefact"  # the same in all clusters of a ranking
MAKE_AT_ONCE = 256  # reconstructions made before they are handed on
SCAN_ROWS = 65_536
TYPICAL_PERCENTILE = 50.0  # of score_anom: an object up to it is called typical


@dataclass(frozen=True, eq=False)
class _Joined:
    """A table that is read beside the others: its columns by the names that they have here."""

    table: Table
    names: dict[str, str]
    is_complete: bool = True  # whether it has every ranked object


class Ranking:
    """`rankings/<name>` of the atlas in `folder`, with the scores and the survey that it was made of.

    Raises
    ------
    FileNotFoundError
        It is not complete.
    """

    def __init__(self, folder: Path, name: str = "main") -> None:
        self.folder, self.home = folder, home_of(folder, "rankings", name)
        run = read_run(self.home)
        if run is None:
            raise FileNotFoundError(f'rankings/{name} is not complete in {folder}; run "peculiar run {folder}" first')
        if run.stage != "rank":
            raise ValueError(
                f"rankings/{name} holds other scores, made by {run.stage}; its columns are in every ranking"
            )
        self.run: Run = run
        self.scored_in = f"scores/{run.config['scores']}"
        scores = folder / self.scored_in
        scored = read_run(scores)
        if scored is None:
            raise FileNotFoundError(f'{scores} is not complete; run "peculiar score {folder}" first')
        self.scored: Run = scored
        self.survey = Survey(folder / "survey" / "table.lance")
        self.facts, self.relative = Table(scores / "table.lance"), Table(self.home / "table.lance")
        self.kept = Table(self.home / "reconstructions.lance")

    @property
    def weights(self) -> dict[str, float]:
        """The weights that every product names."""
        return {name: self.run.outputs[name] for name in ("reconstruction_weight", "combination_weight")}

    def __len__(self) -> int:
        return len(self.relative)

    @cached_property
    def _joined(self) -> list[_Joined]:
        """All tables that columns are read from: scores before measures, what later stages made, the catalog."""
        parents = ("rankings", "interest", "labels", "groups", "maps", "clusters")
        others = [self._other(home) for parent in parents for home in self._finished(parent)]
        mine = [_whole(self.relative), _whole(self.facts), *(each for each in others if each), _whole(self.survey)]
        taken: set[str] = set()
        for joined in mine:
            for name in [name for name in joined.names if name in taken]:
                del joined.names[name]
            taken |= set(joined.names)
        return mine

    def _finished(self, parent: str) -> list[Path]:
        return sorted(path.parent for path in (self.folder / parent).glob("*/run.json"))

    def _other(self, home: Path) -> _Joined | None:
        """What a later stage made, if it belongs to this ranking; objects may be missing there."""
        run = read_run(home)
        if run is None or run.stage not in ("relate", "join", "learn", "label", "group", "map", "cluster"):
            return None
        if run.stage == "group" and run.config["of"] != f"rankings/{self.home.name}":
            return None
        if run.config.get("ranking", self.home.name) != self.home.name:
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
        if run.stage in ("relate", "join"):
            names = {each: each for each in table.schema.names}
        return _Joined(table, names, is_complete=False)

    @property
    def versions(self) -> dict[str, int]:
        """Lance's versions of all tables that columns are read from, by their places: what a product is made of."""
        return {each.table.path.relative_to(self.folder).as_posix(): each.table.version for each in self._joined}

    def version_of(self, column: str) -> int:
        """Lance's version of the table that a column is read from; 0 where there is no such column."""
        held = self._held(column)
        return 0 if held is None else held.table.version

    def _held(self, column: str) -> _Joined | None:
        """The table that a column is read from, None where there is none."""
        return next((each for each in self._joined if column in each.names), None)

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
        for joined in self._joined:
            schema = joined.table.schema
            fields |= {ours: schema.field(theirs).with_name(ours) for ours, theirs in joined.names.items()}
        names = [*first, *(name for name in fields if name not in (*first, "image", "flux", "latent"))]
        return pa.schema([fields[name] for name in names])

    def rows(self, object_ids: np.ndarray) -> "pa.Table":
        """All columns but pixels and latents of these objects, in the order asked for."""
        import pyarrow as pa

        schema = self.schema
        columns: dict[str, pa.ChunkedArray] = {}
        for joined in self._joined:
            names = {ours: theirs for ours, theirs in joined.names.items() if ours in schema.names}
            taken = joined.table.take(object_ids, list(names.values()), is_complete=joined.is_complete)
            columns |= {ours: taken[theirs] for ours, theirs in names.items()}
        return pa.table([columns[name] for name in schema.names], schema=schema)

    def column(self, name: str) -> np.ndarray:
        """One numeric column over all ranked objects, float64, in the order of `object_ids`."""
        joined = self._held(name)
        if joined is None or name in NOT_NUMBERS:
            raise KeyError(f"no number {name!r} to order by; there are {', '.join(self.numbers)}")
        table = joined.table
        values = table.column(joined.names[name])
        if values.dtype.kind not in "iufb":
            raise KeyError(f"{name} holds no numbers to order by; these do: {', '.join(self.numbers)}")
        if table is self.relative:
            return values.astype(np.float64)
        ids = table.object_ids()
        if not len(ids):  # all labels may have been taken back
            return np.full(len(self), np.nan)
        place, is_there = placed(ids, self.object_ids)
        return np.where(is_there, values.astype(np.float64)[place], np.nan)

    def texts(self, name: str) -> "pa.Array":
        """One column of texts over all ranked objects, null where there is none, in the order of `object_ids`."""
        import pyarrow as pa

        joined = self._held(name)
        if joined is None or name in self.numbers:
            raise KeyError(f"no text {name!r}; there are {', '.join(self.text_columns)}")
        theirs = joined.names[name]
        batches = list(joined.table.scan(["object_id", theirs], batch_size=SCAN_ROWS))
        read = pa.Table.from_batches(batches, joined.table.schema.empty_table().select(["object_id", theirs]).schema)
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
        """Ids of all ranked objects, int64, in the table's order."""
        return self.relative.object_ids()

    @property
    def first_shown(self) -> str:
        """The score that objects are ordered by where none is asked for."""
        return next(each for each in FIRST_SHOWN if each in self.schema.names)

    def percentiles(self, row: dict[str, Any], values: np.ndarray) -> dict[str, tuple[float, float]]:
        """Value and percentile of each score of a row: of the reference; of all `values` for the first shown."""
        first = self.first_shown
        mine = np.nan if row[first] is None else float(row[first])
        found = {first: (mine, 100 * float((values < mine).mean()) if np.isfinite(mine) else np.nan)}
        for name, percentile in row.items():
            score = name.removesuffix("_percentile")
            if score != name and score in row and percentile is not None and row[score] is not None:
                found[score] = (float(row[score]), float(percentile))
        return found

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
        return self.column(name) if name in self.numbers else self.texts(name)

    def group_ids(self, name: str = "group_id") -> np.ndarray:
        """The groups of all ranked objects, int64 to the last digit, 0 in none, in the order of `object_ids`.

        Raises
        ------
        KeyError
            Nothing was grouped under this name.
        """
        joined = self._held(name)
        if joined is None:
            raise KeyError(f'no {name} of this ranking; run "peculiar group {self.folder}" first')
        theirs = joined.names[name]
        scanned = joined.table.scan([theirs], batch_size=SCAN_ROWS)
        ids = np.concatenate([batch[theirs].fill_null(0).to_numpy() for batch in scanned])
        place, is_there = placed(joined.table.object_ids(), self.object_ids)
        return np.where(is_there, ids[place], 0)

    def typical(self) -> np.ndarray:
        """Ids of the typical objects: the half of the reference with the lowest score_anom, and what is like it."""
        return self.object_ids[self.column("score_anom_percentile") <= TYPICAL_PERCENTILE]

    @cached_property
    def orders(self) -> list[str]:
        """Every score, raw and conditional, that objects can be ordered by."""
        from peculiar.scoring.scores import FORMS

        raw = [each for each in self.schema.names if each.startswith("score_") and not each.endswith(FORMS)]
        return [each for name in raw for each in (name, f"{name}_conditional") if each in self.schema.names]

    def order(self, by: str = "", *, descending: bool = True) -> np.ndarray:
        """Places of `object_ids`, the largest value first, or the smallest; NaN last, equal values by id."""
        if by == "object_id":
            ascending = np.argsort(self.object_ids, kind="stable")
            return ascending[::-1] if descending else ascending
        values = self.column(by or self.first_shown)
        keys = np.where(np.isnan(values), np.inf, -values if descending else values)
        return np.lexsort((self.object_ids, keys))

    def reconstructions(self, object_ids: np.ndarray) -> np.ndarray:
        """What the generator makes of the objects' latents, uint8 (n, height, width, channels): kept, or made now.

        Raises
        ------
        ValueError
            They must be made, and the generator is not the file that the scores were made with.
        """
        result = np.empty((len(object_ids), *self.survey.form.shape), np.uint8)
        is_kept = np.isin(object_ids, self.kept.object_ids())
        if is_kept.any():
            column = self.kept.take(object_ids[is_kept], ["reconstruction"])["reconstruction"]
            result[is_kept] = pixels(column, np.uint8, self.survey.form.shape)
        if not is_kept.all():
            result[~is_kept] = np.concatenate([images for _, images in _in_parts(self._make, object_ids[~is_kept])])
        return result

    @cached_property
    def _make(self) -> Callable[[np.ndarray], np.ndarray]:
        """The generator, opened once for many questions."""
        return _reconstructions_by(self.folder, self.scored, self.facts, "auto")

    def residuals(self, object_ids: np.ndarray) -> np.ndarray:
        """Absolute differences of images and reconstructions, uint8 (n, height, width, channels)."""
        images = self.survey.images(object_ids).astype(np.int16)
        return np.abs(images - self.reconstructions(object_ids)).astype(np.uint8)


def is_id(column: str) -> bool:
    """Whether a column holds ids, which a float64 would round: of objects, or of groups whatever the set's name."""
    return column == "object_id" or column.partition("-")[0] == "group_id"


def _whole(table: Table) -> _Joined:
    return _Joined(table, {name: name for name in table.schema.names})


def reconstruct(
    folder: Path, scored: Run, facts: Table, object_ids: np.ndarray, device: str = "auto"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and reconstructions, a batch at a time, by the very generator that the scores were made with."""
    yield from _in_parts(_reconstructions_by(folder, scored, facts, device), object_ids)


def _in_parts(
    make: Callable[[np.ndarray], np.ndarray], object_ids: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(object_ids), MAKE_AT_ONCE):
        part = object_ids[start : start + MAKE_AT_ONCE]
        yield part, make(part)


def residuals_by(
    folder: Path, scored: Run, facts: Table, device: str = "auto"
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function of ids and their stored images that gives residuals, uint8 (n, height, width, channels).

    The generator is opened once, and is the very one that the scores were made with; nothing is read ahead or kept.
    """
    make = _reconstructions_by(folder, scored, facts, device)

    def residuals(object_ids: np.ndarray, images: np.ndarray) -> np.ndarray:
        return np.abs(images.astype(np.int16) - make(object_ids)).astype(np.uint8)

    return residuals


def _reconstructions_by(folder: Path, scored: Run, facts: Table, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function of ids that gives reconstructions, uint8 (n, height, width, channels), from stored latents."""
    from peculiar import engine

    engine.tune()
    from peculiar.networks.gan import Generator

    path = folder / scored.outputs["networks"]["gan"]
    generator = load_pinned(path, scored.inputs["gan"], "generator", Generator)
    machine = engine.machine(device)
    machine.place(generator)

    def make(object_ids: np.ndarray) -> np.ndarray:
        latent = facts.take(object_ids, ["latent"])["latent"].combine_chunks()
        flat = latent.flatten().to_numpy(zero_copy_only=False)
        return machine.reconstruct(generator, flat.reshape(len(object_ids), -1))

    return make
