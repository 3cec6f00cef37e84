"""Say what the scores of other tables mean beside the others': forests, autoencoders, neighbors. METHOD.md sect. 8."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from peculiar.reference import (
    compare,
    covariate_names,
    covariates_of,
    freeze,
    read_reference,
    refuse_unknown_columns,
)
from peculiar.run import Run, Track, begin, finish, home_of, quiet, read_run, refuse_made_anew
from peculiar.survey import Survey, Table

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


RELATED = ("features", "forests", "neighbors")  # folders whose tables can hold scores


@dataclass(frozen=True, kw_only=True)
class RelateConfig:
    """What `relate` can be told."""

    of: Annotated[str, "table with scores: features/NAME, forests/NAME or neighbors/NAME"]
    scores: Annotated[str, "name of the scores whose image measures objects are alike by"] = "main"
    condition_on: Annotated[tuple[str, ...], "catalog columns to condition on; empty: measures of the image"] = ()
    seed: Annotated[int, "seed of the reference sample"] = 0

    def __post_init__(self) -> None:
        """Check the table's name."""
        kind, _, name = self.of.partition("/")
        if kind not in RELATED or not name or "/" in name:
            raise ValueError(f"of must be {', '.join(f'{each}/NAME' for each in RELATED)}, got {self.of!r}")


def relate(folder: Path, config: RelateConfig, *, name: str, replace: bool = False, track: Track = quiet) -> Run:
    """Fill `rankings/<name>` of the atlas in `folder` with every form of another table's scores.

    The scores are called after the table, as `score_forest_NAME`, and under another name than the usual one after that
    too, as `score_forest_NAME-OTHER`, so that several stand side by side; raw and relative forms are those of `rank`,
    against a reference that is frozen the first time.

    Raises
    ------
    FileNotFoundError
        The table is not complete.
    ValueError
        The table has no score, or was made anew since.
    """
    home, source = home_of(folder, "rankings", name), folder / config.of
    made = read_run(source)
    if made is None:
        raise FileNotFoundError(f"{config.of} is not complete in {folder}; `peculiar status` says what is")
    survey, table = Survey(folder / "survey" / "table.lance"), Table(source / "table.lance")
    named = _named(table, config.of, name)
    _refuse_taken(folder, name, named)
    refuse_unknown_columns(survey, config.condition_on)
    scored = read_run(home_of(folder, "scores", config.scores))
    if scored is None:
        raise FileNotFoundError(f'scores/{config.scores} is not complete in {folder}; run "peculiar score" first')
    measures = Table(folder / "scores" / config.scores / "table.lance")
    message = f"{config.of} was made anew since {home} was; relate it again with --replace, or another --name"
    scored_ids = np.sort(measures.object_ids())
    if not np.isin(table.object_ids(), scored_ids).any():
        raise ValueError(f'no object of {config.of} is in scores/{config.scores}; run "peculiar score" first')
    reads = {config.of: made.identity}
    refuse_made_anew(home, reads, message, replace=replace)
    run = begin(home, "relate", config, inputs={config.of: table.version}, reads=reads, replace=replace)
    if not (home / "reference.json").exists():
        with track("freezing the reference", None):
            _freeze(table, scored_ids, measures, survey, config, named, home)
    reference = read_reference(home)

    import pyarrow as pa

    def batches(done: Table) -> "Iterator[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]":
        for batch in table.scan(["object_id", *named], batch_size=8_192, but_not=done):
            batch = batch.filter(pa.array(np.isin(batch["object_id"].to_numpy(), scored_ids)))
            covariates = covariates_of(_measures(measures, batch), survey, config.condition_on)
            yield batch["object_id"].to_numpy(), _scores_of(batch, named), covariates

    compare(home, reference, batches, len(table), raw=tuple(named.values()), metadata={}, track=track)
    n_objects = len(Table(home / "table.lance"))
    if n_objects < len(table):
        log.warning("%d objects of %s are not scored yet and wait", len(table) - n_objects, config.of)
    return finish(home, run, reference=reference.digest, n_objects=n_objects)


def _named(table: Table, of: str, name: str) -> dict[str, str]:
    """Our names of the table's scores: they end in its own, and in this relation's where that is another than usual."""
    from peculiar.scoring.scores import FORMS

    ending = of.partition("/")[2] if name == of.replace("/", "-") else f"{of.partition('/')[2]}-{name}"
    if f"_{ending}".endswith(FORMS):
        raise ValueError(f"columns that end in {ending!r} would pass for forms of another score; take another --name")
    named = {each: f"{each}_{ending}" for each in table.schema.names if each.startswith("score_")}
    if not named:
        raise ValueError(f"{of} has no score to relate; it has {', '.join(table.schema.names)}")
    return named


def _refuse_taken(folder: Path, name: str, named: dict[str, str]) -> None:
    for path in sorted((folder / "rankings").glob("*/run.json")):
        other = path.parent
        taken = set(named.values()) & set(Table(other / "table.lance").schema.names) if other.name != name else set()
        if taken:
            raise ValueError(f"rankings/{other.name} has a column {min(taken)} already; take another --name")


def _scores_of(rows: "pa.RecordBatch | pa.Table", named: dict[str, str]) -> "dict[str, np.ndarray]":
    return {ours: rows[theirs].to_numpy().astype(np.float64) for theirs, ours in named.items()}


def _measures(measures: Table, rows: "pa.RecordBatch | pa.Table") -> "pa.Table":
    from peculiar.scoring.measures import COVARIATES

    return measures.take(rows["object_id"].to_numpy(), ["object_id", *COVARIATES])


def _freeze(
    table: Table,
    scored_ids: np.ndarray,
    measures: Table,
    survey: Survey,
    config: RelateConfig,
    named: dict[str, str],
    home: Path,
) -> None:
    from peculiar.scoring.conditional import N_REFERENCE

    is_scored = np.isin(table.object_ids(), scored_ids)
    drawn = table.sample(len(table), seed=config.seed)
    sample = table.take(drawn[np.isin(drawn, scored_ids)][:N_REFERENCE], ["object_id", *named])
    everything = {ours: table.column(theirs)[is_scored] for theirs, ours in named.items()}
    freeze(
        home,
        everything,
        {"object_id": sample["object_id"].to_numpy(), **_scores_of(sample, named)},
        covariates_of(_measures(measures, sample), survey, config.condition_on),
        {"covariates": covariate_names(config.condition_on)},
    )
