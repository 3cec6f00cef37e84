"""A reference frozen on disk, and the relative forms of every object against it. METHOD.md sect. 8."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.run import Track, atomic, write_json
from peculiar.survey import Survey, Table

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.scoring.scores import Reference

COMMIT_ROWS = 65_536
Scores = dict[str, np.ndarray]  # every score's values by its column name


def covariate_names(condition_on: tuple[str, ...]) -> list[str]:
    """What objects are alike by, as the reference says it."""
    from peculiar.scoring.measures import COVARIATES

    return list(condition_on) or [f"log1p({name})" for name in COVARIATES]


def covariates_of(measures: "pa.RecordBatch | pa.Table", survey: Survey, condition_on: tuple[str, ...]) -> np.ndarray:
    """What objects are alike by: logarithms of the image measures, or the user's columns as they are.

    `measures` has the rows' object_id and the measures.
    """
    from peculiar.scoring.measures import COVARIATES

    if not condition_on:
        return np.stack([np.log1p(measures[name].to_numpy()) for name in COVARIATES], axis=1).astype(np.float64)
    catalog = survey.take(measures["object_id"].to_numpy(), condition_on)
    return np.stack([catalog[name].to_numpy().astype(np.float64) for name in condition_on], axis=1)


def refuse_unknown_columns(survey: Survey, condition_on: tuple[str, ...]) -> None:
    """Stop where objects are to be compared among those alike in a column that the survey does not have.

    Raises
    ------
    KeyError
        Names the columns that are not there, or hold no numbers, and those that are.
    """
    import pyarrow as pa

    absent = [column for column in condition_on if column not in survey.schema.names]
    if absent:
        raise KeyError(f"condition_on names no column of the survey: {absent}; there are {survey.schema.names}")
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    texts = [each for each in condition_on if not any(is_kind(survey.schema.field(each).type) for is_kind in kinds)]
    if texts:
        raise KeyError(f"condition_on names columns that hold no numbers: {texts}; name others")


def freeze(
    home: Path, everything: Scores, sample: Scores, sample_covariates: np.ndarray, said: Mapping[str, Any]
) -> None:
    """Write `reference.json` and `reference.parquet`, once; `sample` has the scores and the object_id of a sample."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from peculiar.scoring.scores import Reference

    reference = Reference.of(everything, sample, sample_covariates)
    near = reference.neighborhood
    columns = {
        "object_id": near.object_id,
        **{f"covariate_{place}": values for place, values in enumerate(near.covariates.T)},
        **{f"log_score_{place}": values for place, values in enumerate(near.log_scores.T)},
    }
    with atomic(home / "reference.parquet") as partial:
        pq.write_table(pa.table(columns), partial)
    write_json(
        home / "reference.json",
        {
            "digest": reference.digest,
            **said,
            "log_scores": list(reference.distributions),
            "distributions": {name: each.to_json() for name, each in reference.distributions.items()},
        },
    )


def read_reference(home: Path) -> "Reference":
    """The frozen reference.

    Raises
    ------
    ValueError
        Its numbers are not those that its digest was made of.
    """
    import pyarrow.parquet as pq

    from peculiar.scoring.conditional import Neighborhood
    from peculiar.scoring.scores import Distribution, Reference

    written = json.loads((home / "reference.json").read_text(encoding="utf-8"))
    rows = pq.read_table(home / "reference.parquet")

    def block(prefix: str) -> np.ndarray:
        return np.stack([rows[name].to_numpy() for name in rows.column_names if name.startswith(prefix)], axis=1)

    distributions = {name: Distribution.from_json(each) for name, each in written["distributions"].items()}
    near = Neighborhood(rows["object_id"].to_numpy(), block("covariate_"), block("log_score_"))
    reference = Reference(distributions, near)
    if reference.digest != written["digest"]:
        raise ValueError(
            f"the reference in {home} has digest {reference.digest}, and {written['digest']} was written; "
            "restore it, or rank again with --replace"
        )
    return reference


def compare(
    home: Path,
    reference: "Reference",
    facts: "Callable[[Table], Iterable[tuple[np.ndarray, Scores, np.ndarray]]]",
    n_objects: int,
    *,
    raw: tuple[str, ...],
    metadata: Mapping[bytes, bytes],
    track: Track,
) -> None:
    """Append to `home`'s table the relative forms of every object that has none.

    `facts` gives ids, scores and covariates, a batch at a time, of objects that are not in the table it is handed;
    the raw scores named in `raw` are written too, as no other table has them.
    """
    import pyarrow as pa

    from peculiar.scoring.scores import FORMS

    names = ["object_id", *raw, *(f"{name}{form}" for name in reference.distributions for form in FORMS)]
    schema = pa.schema(
        [(name, pa.int64() if name == "object_id" else pa.float64()) for name in names],
        metadata={**metadata, b"reference": reference.digest.encode()},
    )
    table = Table(home / "table.lance")
    with track("comparing with the reference", n_objects) as advance:
        advance(len(table))

        def rows() -> "Iterable[pa.RecordBatch]":
            for object_id, scores, covariates in facts(table):
                columns = {"object_id": object_id, **scores, **reference.relate(object_id, scores, covariates)}
                yield pa.record_batch([pa.array(columns[each]) for each in names], schema=schema)
                advance(len(object_id))

        table.append_in_commits(rows(), schema, n_rows=COMMIT_ROWS)
