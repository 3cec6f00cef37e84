"""Let a made expert label by the truth, batch after batch: what a hundred labels are worth. METHOD.md sect. 8."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from peculiar.learning import Evidence, Model, classes_of, ids_of, learn, liked
from peculiar.run import Run, Track, begin, finish, home_of, quiet, save_figure, write_json

if TYPE_CHECKING:
    import pyarrow as pa

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
        for name in ("n_labels", "batch_size", "n_seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
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
    is_interesting = _truth(read_table(config.truth), object_id, config)
    home = home_of(folder, "experts", name)
    run = begin(home, "simulate-expert", config, inputs={}, reads=evidence.reads, replace=replace)
    place = np.argsort(ranking.object_ids)
    values = ranking.column(order_name)[place][np.searchsorted(ranking.object_ids[place], object_id)]
    values = np.nan_to_num(values, nan=-np.inf)
    vectors, scores = evidence.vectors_of(object_id), evidence.scores_of(object_id)
    by_loop, by_order = [], []
    with track("labelling", config.n_seeds * config.n_labels) as advance:
        for seed in range(config.seed, config.seed + config.n_seeds):
            kept = np.sort(
                np.random.default_rng(seed % 2**64).permutation(len(object_id))[: -(-9 * len(object_id) // 10)]
            )
            looked = _look(vectors[kept], scores[kept], values[kept], is_interesting[kept], config, seed, advance)
            by_loop.append(np.cumsum(is_interesting[kept][looked]))
            first = np.argsort(-values[kept], kind="stable")[: len(looked)]
            by_order.append(np.cumsum(is_interesting[kept][first]))
    found = {"learnt": np.stack(by_loop), order_name: np.stack(by_order)}
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
        found=[[each, *(_spread(counts[:, n - 1]) for n in looked_at)] for each, counts in found.items()],
        figure=(home / "found.png").relative_to(folder).as_posix(),
    )


def _truth(table: "pa.Table", object_id: np.ndarray, config: SimulateExpertConfig) -> np.ndarray:
    if config.column not in table.column_names:
        raise ValueError(f"{config.truth} has no column {config.column}; it has {', '.join(table.column_names)}")
    ids, has_id = ids_of(table, config.truth)
    said = np.array(classes_of(table[config.column]))
    if not np.isin(object_id, ids[has_id]).any():
        raise ValueError(f"{config.truth} says nothing of the objects of this atlas; give its own truth")
    wanted = liked(set(said.tolist()) - {""}, config.like, (), config.truth)
    is_interesting = np.isin(object_id, ids[has_id & np.isin(said, sorted(wanted))])
    if not is_interesting.any():
        raise ValueError(f"no object of this atlas has a {config.column} of interest in {config.truth}")
    return is_interesting


def _look(
    vectors: np.ndarray,
    scores: np.ndarray,
    values: np.ndarray,
    is_interesting: np.ndarray,
    config: SimulateExpertConfig,
    seed: int,
    advance: object,
) -> np.ndarray:
    """Rows in the order that they are looked at in."""
    from peculiar.scoring.interest import acquisition

    random = np.random.default_rng([seed % 2**64, 1])
    n_labels = min(config.n_labels, len(values))
    looked = np.argsort(-values, kind="stable")[: min(config.batch_size, n_labels)]
    while True:
        advance(len(looked) if len(looked) <= config.batch_size else config.batch_size)  # type: ignore[operator]
        if len(looked) >= n_labels:
            return looked
        grades = is_interesting[looked].astype(np.float64)
        model = learn(config.model, vectors[looked], scores[looked], grades, seed=seed)
        mean, deviation = model.predict(vectors, scores)
        gain = acquisition(mean, deviation, float(np.nanmax(mean[looked])), config.acquisition)
        gain[looked] = -np.inf
        n_next = min(config.batch_size, n_labels - len(looked))
        n_control = round(config.control * n_next)
        chosen = np.argsort(-np.nan_to_num(gain, nan=-np.inf), kind="stable")[: n_next - n_control]
        others = np.setdiff1d(np.arange(len(values)), np.concatenate([looked, chosen]))
        looked = np.concatenate([looked, chosen, random.permutation(others)[:n_control]])


def _spread(counts: np.ndarray) -> str:
    return f"{counts.mean():.1f} ({counts.min()} to {counts.max()})"


def _draw(home: Path, found: dict[str, np.ndarray], n_interesting: int) -> None:
    from peculiar.figures.learning import figure_progress

    means = {each: counts.mean(axis=0) for each, counts in found.items()}
    save_figure(figure_progress(means, n_in_all=n_interesting), home / "found.png")
