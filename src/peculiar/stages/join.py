"""Join scores that see different things into one order, score_joint. METHOD.md sect. 8."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from peculiar.ranking import JOINED, RELATIONS, Ranking
from peculiar.reference import compare, covariate_names, covariates_of, freeze, read_reference
from peculiar.run import Run, Track, begin, finish, home_of, quiet, read_run, refuse_made_anew, write_json
from peculiar.survey import Table

if TYPE_CHECKING:
    import pyarrow as pa


log = logging.getLogger(__name__)
AT_ONCE = 8_192


@dataclass(frozen=True, kw_only=True)
class JoinConfig:
    """What `join` can be told."""

    ranking: Annotated[str, "name of the ranking"] = "main"
    seed: Annotated[int, "seed of the reference sample"] = 0


def join(folder: Path, config: JoinConfig, *, name: str = "joint", replace: bool = False, track: Track = quiet) -> Run:
    """Fill `rankings/<name>` of the atlas in `folder` with score_joint and its relative forms.

    score_joint is the sum of -ln p over what is `JOINED`: the conditional score_anom and score_gen, the neighbor
    distance of the frame, the conditional one of its center, the detector's score and its conditional one. p is the
    part of the reference above an object (Fisher 1932): an object is far up if one of them finds it very odd, or
    several find it rather odd. The distributions that p is taken from are frozen in `joined.json`. Objects that lack
    one of them wait.

    Raises
    ------
    FileNotFoundError
        The ranking, or the relation of the neighbor distances to it, is not complete.
    ValueError
        One of them was made anew since, or what is there joins other scores.
    """
    from peculiar.scoring.scores import Distribution

    ranking, home = Ranking(folder, config.ranking), home_of(folder, "rankings", name)
    reads = {f"rankings/{config.ranking}": ranking.run.identity}
    for relation in RELATIONS:
        related = read_run(folder / relation)
        if related is None:
            stage, _, which = relation.partition("/")[2].partition("-")
            raise FileNotFoundError(f'{relation} is not complete; run "peculiar {stage} --name {which}" first')
        reads[relation] = related.identity
    message = f"what {home} joins was made anew since; join again with --replace, or under another --name"
    refuse_made_anew(home, reads, message, replace=replace)
    written = home / "joined.json"
    if written.exists() and not replace and (before := list(_read(written))) != list(JOINED):
        raise ValueError(
            f"{home} joins {', '.join(before)}, and now {', '.join(JOINED)} are joined; "
            "join again with --replace, or under another --name"
        )
    run = begin(home, "join", config, inputs={}, reads=reads, replace=replace)
    values = np.stack([ranking.column(each) for each in JOINED], axis=1)
    is_usable = np.isfinite(values).all(axis=1)
    object_id, values = ranking.object_ids[is_usable], values[is_usable]
    is_frozen = (home / "reference.json").exists()
    if not is_frozen:
        write_json(
            written, {each: Distribution.of(column).to_json() for each, column in zip(JOINED, values.T, strict=True)}
        )
    joint = _joint(home, values)
    if not is_frozen:
        with track("freezing the reference", None):
            _freeze(ranking, object_id, joint, config, home)
    table = Table(home / "table.lance")
    reference = read_reference(home)

    def batches(done: Table) -> "Iterator[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]":
        missing = np.flatnonzero(~np.isin(object_id, done.object_ids()))
        for start in range(0, len(missing), AT_ONCE):
            rows = missing[start : start + AT_ONCE]
            yield object_id[rows], {"score_joint": joint[rows]}, _covariates(ranking, object_id[rows])

    compare(home, reference, batches, len(object_id), raw=("score_joint",), metadata={}, track=track)
    n_without = len(ranking) - len(object_id)
    if n_without:
        log.warning("%d ranked objects have no neighbor distance yet and wait", n_without)
    return finish(home, run, reference=reference.digest, n_objects=len(table))


def _joint(home: Path, values: np.ndarray) -> np.ndarray:
    """score_joint of objects, from their values and the frozen distributions."""
    from peculiar.scoring.scores import Distribution, joint

    distributions: list[Distribution] = [Distribution.from_json(each) for each in _read(home / "joined.json").values()]
    return joint(distributions, values)


def _read(path: Path) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return written


def _covariates(ranking: Ranking, object_id: np.ndarray) -> np.ndarray:
    from peculiar.scoring.measures import COVARIATES

    rows: pa.Table = ranking.facts.take(object_id, ["object_id", *COVARIATES])
    return covariates_of(rows, ranking.survey, ())


def _freeze(ranking: Ranking, object_id: np.ndarray, joint: np.ndarray, config: JoinConfig, home: Path) -> None:
    from peculiar.scoring.conditional import N_REFERENCE
    from peculiar.survey import hashed

    sample = np.argsort(hashed(object_id, config.seed), kind="stable")[:N_REFERENCE]
    freeze(
        home,
        {"score_joint": joint},
        {"object_id": object_id[sample], "score_joint": joint[sample]},
        _covariates(ranking, object_id[sample]),
        {"covariates": covariate_names(())},
    )
