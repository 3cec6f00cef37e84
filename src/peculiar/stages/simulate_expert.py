"""Let a made expert label by the truth, batch after batch: what a hundred labels are worth. METHOD.md sect. 8."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from peculiar.learning import Evidence, Model, found_by_expert, liked, read_truth, spread_of
from peculiar.run import Run, Track, at_least, begin, finish, home_of, quiet, save_figure, write_json

SHOWN_AT = (50, 100, 200, 500)


@dataclass(frozen=True, kw_only=True)
class SimulateExpertConfig:
    """What `simulate-expert` can be told."""

    truth: Annotated[Path, "table of object_id and what it is, as simulate writes it"]
    column: Annotated[str, "its column of classes or kinds; empty where an object is nothing special"] = "planted_kind"
    like: Annotated[tuple[str, ...], "values of it that are of interest; empty: all but normal and the like"] = ()
    features: Annotated[str, "feature set that objects are alike in"] = "self-supervised"
    ranking: Annotated[str, "ranking whose scores are looked at beside"] = "main"
    by: Annotated[str, "order of the first batch, and the one to be compared with; empty: the first shown"] = ""
    model: Annotated[Model, "what learns"] = "gaussian-process"
    acquisition: Annotated[Literal["upper-bound", "expected-improvement", "uncertainty"], "what is asked for next"] = (
        "upper-bound"
    )
    n_labels: Annotated[int, "objects that are looked at in all"] = 200
    batch_size: Annotated[int, "objects between two trainings"] = 20
    control: Annotated[float, "part of a batch that is taken at random"] = 0.0
    n_seeds: Annotated[int, "repetitions, for the interval"] = 5
    seed: Annotated[int, "seed of the first of them"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "n_labels", "batch_size", "n_seeds")
        if not 0 <= self.control < 1:
            raise ValueError(f"control must be from 0 to below 1, got {self.control}")


def simulate_expert(
    folder: Path, config: SimulateExpertConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `experts/<name>`: how many of interest are found among the first looked at, by the loop and without.

    The first batch is the first of the order; every other is what the model that has seen all labels so far asks for.
    A seed leaves out a random tenth of all objects, so that repetitions differ: the interval is of that. `found.json`
    has the counts after every object, `found.png` the curve.

    Raises
    ------
    ValueError
        The truth says nothing of the objects, or none of them is of interest.
    """
    from peculiar.io.tables import read_table

    evidence = Evidence(folder, config.features, config.ranking)
    ranking = evidence.ranking
    order_name = config.by or ranking.first_shown
    object_id = np.intersect1d(ranking.object_ids, evidence.features.table.object_ids())
    said, _ = read_truth(read_table(config.truth), config.truth, config.column, object_id)
    wanted = liked(set(said.tolist()) - {""}, config.like, (), config.truth)
    is_interesting = np.isin(said, sorted(wanted))
    if not is_interesting.any():
        raise ValueError(f"no object of this atlas has a {config.column} of interest in {config.truth}")
    home = home_of(folder, "experts", name)
    run = begin(home, "simulate-expert", config, inputs={}, reads=evidence.reads, replace=replace)
    told = {each: getattr(config, each) for each in ("model", "acquisition", "n_labels", "batch_size", "control")}
    seeds = range(config.seed, config.seed + config.n_seeds)
    with track("labelling", config.n_seeds) as advance:
        by_loop, by_order = found_by_expert(evidence, object_id, is_interesting, order_name, seeds, advance, **told)
    found = {"learnt": by_loop, order_name: by_order}
    write_json(home / "found.json", {each: counts.tolist() for each, counts in found.items()})
    _draw(home, found, int(is_interesting.sum()))
    looked_at = sorted({each for each in SHOWN_AT if each < config.n_labels} | {config.n_labels})
    looked_at = [each for each in looked_at if each <= found["learnt"].shape[1]]
    return finish(
        home,
        run,
        n_objects=len(object_id),
        n_interesting=int(is_interesting.sum()),
        looked_at=looked_at,
        found=[[each, *(spread_of(counts[:, n - 1]) for n in looked_at)] for each, counts in found.items()],
        figure=(home / "found.png").relative_to(folder).as_posix(),
    )


def _draw(home: Path, found: dict[str, np.ndarray], n_interesting: int) -> None:
    from peculiar.figures.learning import figure_progress

    means = {each: counts.mean(axis=0) for each, counts in found.items()}
    save_figure(figure_progress(means, n_in_all=n_interesting), home / "found.png")
