"""What interest is learnt from and predicted for: a feature set and the scores of a ranking, by object."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from peculiar.feature_set import FeatureSet, take_vectors
from peculiar.ranking import Ranking
from peculiar.survey import first_few, located, placed

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.scoring.interest import Acquisition
    from peculiar.scoring.neighbors import Scale

log = logging.getLogger(__name__)
BORING = ("normal", "nominal", "artefact", "artifact", "none", "no", "false", "0")  # classes of no interest unless told
Model = Literal["gaussian-process", "logistic", "forest"]
SCAN_ROWS = 16_384
N_TREES = 200
BASE_RATE = 0.05  # of interest among all objects, where nobody looked; what was labelled was chosen, and is no sample
N_PRESUMED, PRESUMED_WEIGHT = 100, 0.3  # objects at random, and what each counts for beside a label
ENOUGH_LABELS = 1_000  # as many say themselves what the survey is like


def ids_of(table: "pa.Table", path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ids of a table's rows, int64, and which rows have one.

    Raises
    ------
    ValueError
        There is no column of ids, or it cannot hold them.
    """
    from peculiar.io.catalogs import ID_NAMES
    from peculiar.io.ids import find_column, ids_and_presence

    id_name = find_column(table.column_names, ID_NAMES)
    if id_name is None:
        raise ValueError(f"{path} has no column object_id; it has {', '.join(table.column_names)}")
    return ids_and_presence(table[id_name], id_name)


def classes_of(column: "pa.ChunkedArray") -> list[str]:
    """What a column of classes says, without blanks around it, 1.0 as 1; empty where it says nothing."""
    said = []
    for each in column.to_pylist():
        text = "" if each is None or each != each else str(each).strip()
        said.append(re.sub(r"^(-?[0-9]+)\.0+$", r"\1", text))
    return said


def liked(classes: set[str], like: tuple[str, ...], unlike: tuple[str, ...], path: Path) -> set[str]:
    """Those of the classes that are of interest: what is liked, or all that is not unliked, whatever the case.

    Raises
    ------
    ValueError
        A class is named that nobody gave, or on both sides.
    """
    by_case = {each.casefold(): each for each in sorted(classes)}
    named = {side: {each.strip().casefold() for each in given} for side, given in (("like", like), ("unlike", unlike))}
    for side, given in named.items():
        absent = sorted(given - set(by_case) - {each.casefold() for each in BORING})
        if absent:
            raise ValueError(
                f"{side} names {', '.join(absent)}, and the classes in {path} are {', '.join(sorted(classes))}"
            )
    if both := named["like"] & named["unlike"]:
        raise ValueError(f"like and unlike both name {', '.join(sorted(both))}; leave one of them")
    no = named["unlike"] or {each.casefold() for each in BORING}
    return {each for each in classes if (each.casefold() in named["like"] if like else each.casefold() not in no)}


def read_truth(table: "pa.Table", path: Path, column: str, object_id: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a table, read from `path`, says these objects are, as text, empty where nothing; and whether it knows each.

    Raises
    ------
    ValueError
        It has no such column, or knows none of the objects.
    """
    if column not in table.column_names:
        raise ValueError(f"{path} has no column {column}; it has {', '.join(table.column_names)}")
    ids, has_id = ids_of(table, path)
    ids, said = ids[has_id], np.array(classes_of(table[column]))[has_id]
    order = np.argsort(ids, kind="stable")
    if not len(ids):
        raise ValueError(f"{path} names no object")
    ids, said = ids[order], said[order]
    is_other = (ids[1:] == ids[:-1]) & (said[1:] != said[:-1])
    if is_other.any():
        log.warning("%s says two things of object %s; what it says first counts", path, first_few(ids[1:][is_other]))
    row, is_known = located(ids, object_id)
    if not is_known.any():
        raise ValueError(f"{path} says nothing of the objects of this atlas; give its own truth")
    return np.where(is_known, said[row], ""), is_known


class Predictor(Protocol):
    """A model that has seen labels."""

    def predict(self, features: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected grade of every object, and its deviation."""
        ...


class Evidence:
    """`features/<features>` and the scores of `rankings/<ranking>`, for learning.

    Scores enter as normal deviations of their ranks among all ranked objects; 0, the median, where there is none.
    """

    def __init__(self, folder: Path, features: str, ranking: str) -> None:
        self.features, self.ranking = FeatureSet(folder, features), Ranking(folder, ranking)

    @cached_property
    def score_names(self) -> list[str]:
        """Scores that are looked at: the first shown. With more, few labels teach less (docs/experiments.md)."""
        return [self.ranking.first_shown]

    @property
    def reads(self) -> dict[str, str]:
        """Identities of the folders that all of it comes from, by place."""
        return {**self.ranking.made_of("rankings"), f"features/{self.features.name}": self.features.run.identity}

    @cached_property
    def _scale(self) -> "Scale":
        from peculiar.scoring.neighbors import Scale

        return Scale.of(vectors for _, vectors in self.features.scan(SCAN_ROWS))

    @cached_property
    def _scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids, ascending, and scores as normal deviations, float32 (n, k)."""
        from scipy.stats import rankdata

        from peculiar.scoring.interest import normal_scores

        ids = self.ranking.object_ids
        columns = np.zeros((len(ids), len(self.score_names)), np.float32)
        for place, name in enumerate(self.score_names):
            values = self.ranking.column(name)
            known = np.isfinite(values)
            if known.any():
                percent = 100 * (rankdata(values[known]) - 0.5) / known.sum()
                columns[known, place] = normal_scores(percent, int(known.sum()))
        order = np.argsort(ids)
        return ids[order], columns[order]

    def scores_of(self, object_ids: np.ndarray) -> np.ndarray:
        """Scores of these objects, float32 (n, k)."""
        ids, columns = self._scores
        row, is_ranked = located(ids, object_ids)
        return np.where(is_ranked[:, None], columns[row], np.float32(0))

    def vectors_of(self, object_ids: np.ndarray) -> np.ndarray:
        """Standardized features of these objects, float32 (n, d)."""
        return self._scale.standardized(take_vectors(self.features.table, object_ids))

    def presumed(self, but_not: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Features and scores of objects drawn at random from those that were not labelled; see `learn`."""
        n = n_presumed(len(self.features) - len(but_not))
        drawn = self.features.table.sample(n + len(but_not), seed=seed)
        drawn = drawn[~np.isin(drawn, but_not)][:n]
        vectors = self.vectors_of(drawn)
        is_usable = np.isfinite(vectors).all(axis=1)
        return vectors[is_usable], self.scores_of(drawn[is_usable])

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Ids, features and scores of all objects of the set, a block at a time."""
        for ids, vectors in self.features.scan(SCAN_ROWS):
            yield ids, self._scale.standardized(vectors), self.scores_of(ids)


def n_presumed(n_others: int) -> int:
    """How many of the objects that were not labelled are presumed: few enough that most are left to be judged."""
    return min(N_PRESUMED, n_others // 10)


def presumes(model: Model, n_labels: int) -> bool:
    """Whether a model needs objects at random beside its labels: many say themselves what the survey is like, and a
    Gaussian process has its prior."""
    return model != "gaussian-process" and n_labels < ENOUGH_LABELS


def learn(
    model: Model,
    features: np.ndarray,
    scores: np.ndarray,
    grades: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    presumed: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> Predictor:
    """A model of interest that has seen these labels; see `peculiar.scoring.interest` for what the arrays are.

    `presumed` are features and scores of objects at random, taken to be of interest at the base rate until somebody
    looks: what was labelled was chosen, and does not say what the survey is like. Not all need them: `presumes`.
    """
    from peculiar.scoring.interest import InterestModel

    weight = np.ones(len(grades)) if weight is None else weight
    if presumed is not None and presumes(model, len(grades)):
        n = len(presumed[0])
        features, scores = np.concatenate([features, presumed[0]]), np.concatenate([scores, presumed[1]])
        grades = np.concatenate([grades, np.full(n, BASE_RATE)])
        weight = np.concatenate([weight, np.full(n, PRESUMED_WEIGHT)])
    if model == "gaussian-process":
        return InterestModel.fit(features, scores, grades, weight=weight, seed=seed)
    rows = np.concatenate([features, scores], axis=1)
    if model == "logistic":
        return _Logistic(rows, grades, weight)
    return _Forest(rows, features, grades, weight, seed)


def gained(
    kind: "Acquisition",
    mean: np.ndarray,
    deviation: np.ndarray,
    scores: np.ndarray,
    *,
    best: float,
    has_found: bool,
    disagreement: np.ndarray | None = None,
) -> np.ndarray:
    """What is gained by asking for each object; see `peculiar.scoring.interest.acquisition`.

    Until something of interest is found the order is gone on with: labels that all say no would lead to its very end.
    """
    from peculiar.scoring.interest import acquisition

    if not has_found and kind in ("upper-bound", "expected-improvement"):
        return np.where(np.isfinite(mean), scores[:, 0], np.nan)
    return acquisition(mean, deviation, best, kind, disagreement)


def look_through(
    vectors: np.ndarray,
    scores: np.ndarray,
    values: np.ndarray,
    is_interesting: np.ndarray,
    *,
    model: Model,
    acquisition: Literal["upper-bound", "expected-improvement", "uncertainty"],
    n_labels: int,
    batch_size: int,
    control: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Rows in the order that an expert who knows the truth would look at them in, asked by a model after each batch.

    The first batch are those of the largest `values`; a part `control` of every other is drawn at random.
    """
    random = np.random.default_rng([seed % 2**64, 1])
    n_labels = min(n_labels, len(values))
    looked = np.argsort(-values, kind="stable")[: min(batch_size, n_labels)]
    while len(looked) < n_labels:
        grades = is_interesting[looked].astype(np.float64)
        others = random.permutation(np.setdiff1d(np.arange(len(values)), looked))
        others = others[: n_presumed(len(others))]
        presumed = vectors[others], scores[others]
        learnt = learn(model, vectors[looked], scores[looked], grades, presumed=presumed, seed=seed)
        mean, deviation = learnt.predict(vectors, scores)
        best, has_found = float(np.nanmax(mean[looked])), bool(grades.any())
        gain = gained(acquisition, mean, deviation, scores, best=best, has_found=has_found)
        gain[looked] = -np.inf
        n_next = min(batch_size, n_labels - len(looked))
        n_control = round(control * n_next)
        chosen = np.argsort(-np.nan_to_num(gain, nan=-np.inf), kind="stable")[: n_next - n_control]
        others = np.setdiff1d(np.arange(len(values)), np.concatenate([looked, chosen]))
        looked = np.concatenate([looked, chosen, random.permutation(others)[:n_control]])
    return looked


def found_by_expert(
    evidence: Evidence,
    object_id: np.ndarray,
    is_interesting: np.ndarray,
    order: str,
    seeds: Iterable[int],
    advance: Callable[[int], None],
    **told: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """How many of interest are found after each object looked at, by `look_through` and by the order alone.

    A seed leaves out a random tenth of all objects, so that repetitions differ. Both are int (n_seeds, n_labels).
    """
    row, _ = placed(evidence.ranking.object_ids, object_id)
    values = np.nan_to_num(evidence.ranking.column(order)[row], nan=-np.inf)
    vectors, scores = evidence.vectors_of(object_id), evidence.scores_of(object_id)
    by_loop, by_order = [], []
    for seed in seeds:
        shuffled = np.random.default_rng(seed % 2**64).permutation(len(object_id))
        kept = np.sort(shuffled[: -(-9 * len(object_id) // 10)])
        looked = look_through(vectors[kept], scores[kept], values[kept], is_interesting[kept], seed=seed, **told)
        by_loop.append(np.cumsum(is_interesting[kept][looked]))
        first = np.argsort(-values[kept], kind="stable")[: len(looked)]
        by_order.append(np.cumsum(is_interesting[kept][first]))
        advance(1)
    return np.stack(by_loop), np.stack(by_order)


def spread_of(counts: np.ndarray) -> str:
    """Mean of repetitions, and the smallest and the largest, as a table shows them."""
    return f"{counts.mean():.1f} ({counts.min()} to {counts.max()})"


class _Logistic:
    """Logistic regression, from scikit-learn."""

    def __init__(self, rows: np.ndarray, grades: np.ndarray, weight: np.ndarray) -> None:
        from sklearn.linear_model import LogisticRegression

        self.level = float(grades.mean())
        # A grade between 0 and 1 is that much of a yes, and the rest of a no.
        twice, is_yes = np.concatenate([rows, rows]), np.repeat([1, 0], len(rows))
        parts = np.concatenate([weight * grades, weight * (1 - grades)])
        counts = parts > 0
        # Features by the hundred and labels by the hundred: a strong prior.
        self.line = LogisticRegression(C=0.01, max_iter=2_000) if len(set(is_yes[counts])) > 1 else None
        if self.line is not None:
            self.line.fit(twice[counts], is_yes[counts], parts[counts])

    def predict(self, features: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.concatenate([features, scores], axis=1)
        chance = np.full(len(rows), np.nan)
        usable = np.isfinite(rows).all(axis=1)
        if usable.any():
            chance[usable] = self.level if self.line is None else self.line.predict_proba(rows[usable])[:, 1]
        return chance, np.sqrt(chance * (1 - chance))


class _Forest:
    """A random forest weighted by neighbors, from scikit-learn.

    Its grade is brought toward the mean far from all labels, in the spirit of Astronomaly's weighing (Lochner & Bassett
    2021): what nobody has looked at near is neither of interest nor not.
    """

    def __init__(
        self, rows: np.ndarray, features: np.ndarray, grades: np.ndarray, weight: np.ndarray, seed: int
    ) -> None:
        from sklearn.ensemble import RandomForestRegressor

        self.level, self.seen = float(grades.mean()), features.astype(np.float64)
        self.forest = RandomForestRegressor(N_TREES, min_samples_leaf=2, max_features="sqrt", random_state=seed % 2**32)
        self.forest.fit(rows, grades, weight)

    def predict(self, features: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from peculiar.scoring.interest import squares

        rows = np.concatenate([features, scores], axis=1)
        mean, deviation = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        usable = np.flatnonzero(np.isfinite(rows).all(axis=1))
        if len(usable):
            by_tree = np.stack([tree.predict(rows[usable]) for tree in self.forest.estimators_])
            nearest = np.sqrt(squares(features[usable].astype(np.float64), self.seen).min(axis=1))
            trust = np.exp(-nearest / max(float(np.median(nearest)), 1e-12))
            mean[usable] = self.level + trust * (by_tree.mean(axis=0) - self.level)
            deviation[usable] = by_tree.std(axis=0)
        return mean, deviation
