"""Say what each score means beside the others': freeze a reference, compare every object with it. METHOD.md sect. 8."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from peculiar.ranking import reconstruct
from peculiar.reference import (
    compare,
    covariate_names,
    covariates_of,
    freeze,
    read_reference,
    refuse_unknown_columns,
)
from peculiar.run import Run, Track, at_least, begin, finish, home_of, quiet, read_run, refuse_made_anew
from peculiar.survey import Survey, Table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

RECONSTRUCTION_ROWS = 1_024
SELECTED_SIGMA = 3.0  # Storey-Fisher 2021, sect. 4: score_disc_sigma above this


@dataclass(frozen=True, kw_only=True)
class RankConfig:
    """What `rank` can be told."""

    scores: Annotated[str, "name of the scores to rank"] = "main"
    combination_weight: Annotated[float, "lambda_anom of score_anom; may differ from the latents' own"] = 0.3
    condition_on: Annotated[
        tuple[str, ...],
        "catalog columns to condition on; empty: measures of the image (light, size, noise, surroundings)",
    ] = ()
    n_reconstructions: Annotated[int, "reconstructions to keep, besides the selected sample's"] = field(
        default=20_000, compare=False
    )
    seed: Annotated[int, "seed of the reference sample"] = 0
    device: Annotated[str, "auto, cpu, cuda or mps"] = field(default="auto", compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.combination_weight <= 1:
            raise ValueError(f"combination_weight must be from 0 to 1, got {self.combination_weight}")
        at_least(self, 0, "n_reconstructions")


def rank(folder: Path, config: RankConfig, *, name: str = "main", replace: bool = False, track: Track = quiet) -> Run:
    """Fill `rankings/<name>` of the atlas in `folder`: what is missing of it.

    The reference, all objects scored when it is made, is frozen in `reference.json` and `reference.parquet`; objects
    that come later are compared with the same one. `table.lance` holds score_anom and every score's relative forms;
    `reconstructions.lance` the reconstructions of the selected and of the first shown, uint8.
    """
    survey = Survey(folder / "survey" / "table.lance")
    facts = Table(home_of(folder, "scores", config.scores) / "table.lance")
    scored = read_run(home_of(folder, "scores", config.scores))
    if scored is None:
        raise FileNotFoundError(f'scores/{config.scores} is not complete in {folder}; run "peculiar score" first')
    home = home_of(folder, "rankings", name)
    message = f"{home} ranks scores that were replaced since; rank again with --replace, or another --name"
    reads = {f"scores/{config.scores}": scored.identity}
    refuse_made_anew(home, reads, message, replace=replace)
    refuse_unknown_columns(survey, config.condition_on)
    run = begin(home, "rank", config, inputs={"scores": facts.version}, reads=reads, replace=replace)
    if not (home / "reference.json").exists():
        with track("freezing the reference", None):
            _freeze(facts, survey, config, home)
    digest = _compare(facts, survey, config, home, track)
    _keep_reconstructions(folder, facts, scored, config, home, track)
    return finish(
        home,
        run,
        reference=digest,
        n_objects=len(facts),
        reconstruction_weight=scored.config["reconstruction_weight"],
        combination_weight=config.combination_weight,
    )


def _scores_of(rows: "pa.RecordBatch | pa.Table", combination_weight: float) -> "dict[str, np.ndarray]":
    """The three raw scores of rows with score_gen and score_disc."""
    import numpy as np

    from peculiar.scoring.scores import score_anom

    gen, disc = (rows[name].to_numpy().astype(np.float64) for name in ("score_gen", "score_disc"))
    return {"score_gen": gen, "score_disc": disc, "score_anom": score_anom(gen, disc, combination_weight)}


def _freeze(facts: Table, survey: Survey, config: RankConfig, home: Path) -> None:
    import pyarrow as pa

    from peculiar.scoring.conditional import N_REFERENCE
    from peculiar.scoring.measures import COVARIATES

    sample = facts.take(
        facts.sample(N_REFERENCE, seed=config.seed), ["object_id", "score_gen", "score_disc", *COVARIATES]
    )
    everything = pa.table({name: facts.column(name) for name in ("score_gen", "score_disc")})
    freeze(
        home,
        _scores_of(everything, config.combination_weight),
        {"object_id": sample["object_id"].to_numpy(), **_scores_of(sample, config.combination_weight)},
        covariates_of(sample, survey, config.condition_on),
        {"combination_weight": config.combination_weight, "covariates": covariate_names(config.condition_on)},
    )


def _compare(facts: Table, survey: Survey, config: RankConfig, home: Path, track: Track) -> str:
    """Relate every object to the reference; its digest."""
    import numpy as np

    from peculiar.scoring.measures import COVARIATES

    def batches(done: Table) -> "Iterator[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]":
        needed = ["object_id", "score_gen", "score_disc", *COVARIATES]
        for batch in facts.scan(needed, batch_size=8_192, but_not=done):
            object_id = batch["object_id"].to_numpy().astype(np.int64)
            scores = _scores_of(batch, config.combination_weight)
            yield object_id, scores, covariates_of(batch, survey, config.condition_on)

    reference = read_reference(home)
    weight = f"{config.combination_weight:g}".encode()
    metadata = {b"combination_weight": weight}
    compare(home, reference, batches, len(facts), raw=("score_anom",), metadata=metadata, track=track)
    return reference.digest


def _keep_reconstructions(
    folder: Path, facts: Table, scored: Run, config: RankConfig, home: Path, track: Track
) -> None:
    """Make, from their latents, the reconstructions of the selected objects and of the first shown."""
    import numpy as np
    import pyarrow as pa

    table, kept = Table(home / "table.lance"), Table(home / "reconstructions.lance")
    object_id = table.object_ids()
    first = np.argsort(-np.nan_to_num(table.column("score_anom_conditional"), nan=-np.inf), kind="stable")
    is_wanted = table.column("score_disc_sigma") > SELECTED_SIGMA
    is_wanted[first[: config.n_reconstructions]] = True
    wanted = object_id[is_wanted & ~np.isin(object_id, kept.object_ids())]
    n_bytes = int(np.prod(Survey(folder / "survey" / "table.lance").form.shape))
    schema = pa.schema([("object_id", pa.int64()), ("reconstruction", pa.binary(n_bytes))])
    with track("keeping reconstructions", len(wanted)) as advance:

        def rows() -> Iterator[pa.RecordBatch]:
            for part, images in reconstruct(folder, scored, facts, wanted, config.device):
                packed = pa.array([image.tobytes() for image in images], schema.field("reconstruction").type)
                yield pa.record_batch([pa.array(part), packed], schema=schema)
                advance(len(part))

        kept.append_in_commits(rows(), schema, n_rows=RECONSTRUCTION_ROWS)
