"""Orders, feature sets and made experts against what objects truly are. METHOD.md sect. 8."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from peculiar.checkpoint import file_digest
from peculiar.feature_set import FeatureSet, feature_sets
from peculiar.learning import BORING, Evidence, Model, found_by_expert, ids_of, liked, read_truth
from peculiar.ranking import Ranking
from peculiar.run import Track, home_of, read_run
from peculiar.survey import placed

log = logging.getLogger(__name__)
BASELINES = ("random", "brightness", "radius", "score_pca")
CLASS_COLUMNS = ("planted_class", "label", "class")  # of a truth, the first that there is, where none is named
KIND_COLUMN = "planted_kind"
SPREADS = ("planted_snr", "planted_strength", "planted_radius")  # of a truth: what completeness is shown against
UNNAMED_KIND = "odd"  # of odd objects that no kind is said of
MAX_CLASSES = 30
N_NEAREST = 10
N_JUDGED = 20_000  # objects that feature sets are judged on, odd ones first
BATCH = 20  # objects between two trainings of a made expert's model
THIRDS = ("low", "middle", "high")
Metrics = dict[str, float]


@dataclass(frozen=True)
class Truth:
    """What the judged objects are: an odd one has a kind, a normal one none; what is neither is not judged."""

    object_id: np.ndarray
    name: np.ndarray  # class
    kind: np.ndarray  # what is judged together; "" of what is not odd
    is_normal: np.ndarray  # nothing special
    spread: dict[str, np.ndarray]  # numbers of `SPREADS`; NaN where there is none

    @property
    def is_odd(self) -> np.ndarray:
        """Of any kind."""
        return np.asarray(self.kind != "")

    @property
    def kinds(self) -> list[str]:
        """What is judged apart."""
        return sorted(set(self.kind) - {""})

    @property
    def classes(self) -> list[str]:
        """Classes of odd objects, the most frequent, by name."""
        names, counts = np.unique(self.name[self.is_odd], return_counts=True)
        return sorted(names[np.argsort(-counts, kind="stable")[:MAX_CLASSES]].tolist())


def read(path: Path, ranked: np.ndarray, *, column: str = "", like: tuple[str, ...] = ()) -> Truth:
    """What a table says the ranked objects are; those that it does not know are left out, which the log says.

    Raises
    ------
    ValueError
        The table knows none of the objects, calls none odd, or none normal.
    """
    from peculiar.io.ids import find_column
    from peculiar.io.tables import read_table

    table = read_table(path)
    found = column or find_column(table.column_names, CLASS_COLUMNS)
    if found is None:
        there = ", ".join(table.column_names)
        raise ValueError(f"{path} has none of {', '.join(CLASS_COLUMNS)}; name its column of classes, of {there}")
    said, is_known = read_truth(table, path, found, ranked)
    if n_unknown := int((~is_known).sum()):
        log.warning("%s says nothing of %d of %d objects, which are left out", path, n_unknown, len(ranked))
    object_id, said = ranked[is_known], said[is_known]
    odd = liked(set(said.tolist()) - {""}, like, (), path)
    if len(odd) > MAX_CLASSES:
        log.warning("%s has %d classes in %s; the %d most frequent are shown", path, len(odd), found, MAX_CLASSES)
    is_odd = np.isin(said, sorted(odd))
    is_normal = ~is_odd & np.array([not each or each.casefold() in BORING for each in said.tolist()], bool)
    kind = np.full(len(said), UNNAMED_KIND, dtype=object)
    if KIND_COLUMN in table.column_names:
        kinds, _ = read_truth(table, path, KIND_COLUMN, object_id)
        kind = np.where(kinds == "", UNNAMED_KIND, kinds)
    kind = np.where(is_odd, kind, "").astype(str)
    if not is_odd.any():
        raise ValueError(f"nothing in {path} is odd; its column {found} has no class but normal and the like")
    if not is_normal.any():
        raise ValueError(f"no object in {path} is normal; give rows with an empty {found} too")
    ids, has_id = ids_of(table, path)
    row = np.flatnonzero(has_id)[placed(ids[has_id], object_id)[0]]
    numbers = {each: table[each].to_numpy(zero_copy_only=False) for each in SPREADS if each in table.column_names}
    spread = {each: values[row].astype(np.float64) for each, values in numbers.items() if values.dtype.kind in "if"}
    spread = {key: np.where(is_odd, values, np.nan) for key, values in spread.items()}
    return Truth(object_id, said, kind, is_normal, spread)


def orders_of(ranking: Ranking, object_id: np.ndarray, *, split: tuple[str, ...], seed: int) -> dict[str, np.ndarray]:
    """Every order's values of these objects, the baselines last, and the columns that are split by.

    Interest is NaN of objects whose labels it was learnt from: it would be judged by what it was told.
    """
    row, _ = placed(ranking.object_ids, object_id)
    values = {each: ranking.column(each)[row] for each in ranking.orders if each not in BASELINES}
    for name in (each for each in ranking.schema.names if _is_learnt(each)):
        labelled = _labelled(ranking.folder, name)
        if labelled is not None:
            values[name] = np.where(np.isin(object_id, labelled), np.nan, ranking.column(name)[row])
    values["random"] = np.random.default_rng(seed % 2**64).random(len(object_id))
    return values | {each: ranking.column(each)[row] for each in dict.fromkeys((*BASELINES[1:], *split))}


def _is_learnt(order: str) -> bool:
    return order == "interest" or order.startswith("interest-")


def _labelled(folder: Path, column: str) -> np.ndarray | None:
    """Ids that a column of interest was learnt from; None where the labels are no longer there."""
    from peculiar.io.tables import read_table

    learnt = read_run(home_of(folder, "interest", column.removeprefix("interest").removeprefix("-") or "main"))
    path = Path(learnt.config["labels"]) if learnt else Path()
    if learnt is None or not path.is_file() or file_digest(path) != learnt.inputs["labels"]:
        log.warning("%s is not judged, as the labels that it was learnt from, %s, are gone or changed", column, path)
        return None
    ids, has_id = ids_of(read_table(path), path)
    return ids[has_id]


def subsets_of(
    truth: Truth, orders: Mapping[str, np.ndarray], *, split: tuple[str, ...]
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """By axis and name, which objects are judged and which of them are odd: kinds, classes, thirds of columns."""
    found = {}
    for kind in truth.kinds:
        is_one = truth.kind == kind
        found["kind", kind] = truth.is_normal | is_one, is_one
    for name in truth.classes if len(truth.classes) > 1 else ():
        is_one = truth.is_odd & (truth.name == name)
        found["class", name] = truth.is_normal | is_one, is_one
    for column in split:
        values = orders[column]
        usable = np.isfinite(values)
        ends = np.quantile(values[usable], [1 / 3, 2 / 3]) if usable.any() else np.zeros(2)
        third = np.digitize(values, ends)
        for place, name in enumerate(THIRDS):
            for kind in truth.kinds:
                is_one = usable & (third == place)
                found[column, f"{name}, {kind}"] = (
                    is_one & (truth.is_normal | (truth.kind == kind)),
                    is_one & (truth.kind == kind),
                )
    return found


def judge(
    orders: Mapping[str, np.ndarray],
    subsets: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]],
    *,
    n_tops: tuple[int, ...],
    n_bootstrap: int,
    seed: int,
    track: Track,
) -> dict[tuple[str, str], dict[str, Metrics]]:
    """Metrics by subset and order; n and n_odd among them. A subset without anything odd, or normal, is left out."""
    from peculiar.scoring.evaluation import evaluate

    found: dict[tuple[str, str], dict[str, Metrics]] = {}
    with track("judging orders", len(subsets) * len(orders)) as advance:
        for subset, (is_judged, is_odd) in subsets.items():
            for order, values in orders.items():
                advance(1)
                rows = is_judged & np.isfinite(values) if _is_learnt(order) else is_judged
                n_judged, n_odd = int(rows.sum()), int(is_odd[rows].sum())
                if not 0 < n_odd < n_judged:
                    continue
                metrics = evaluate(
                    values[rows],
                    is_odd[rows],
                    n_tops=n_tops,
                    n_bootstrap=n_bootstrap,
                    seed=seed,
                )
                found.setdefault(subset, {})[order] = {"n": n_judged, "n_odd": n_odd, **metrics}
    return found


def by_class(orders: Mapping[str, np.ndarray], truth: Truth) -> dict[str, dict[str, dict[str, int | str]]]:
    """How many of each class stand in the top 1 % and 5 % of all objects, by order."""
    from peculiar.scoring.evaluation import PERCENTS, descending

    found: dict[str, dict[str, dict[str, int | str]]] = {}
    for order, values in orders.items():
        rows = np.flatnonzero(np.isfinite(values)) if _is_learnt(order) else np.arange(len(values))
        places = rows[descending(values[rows])]
        tops = {percent: places[: max(1, round(len(rows) * percent / 100))] for percent in PERCENTS}
        found[order] = {}
        for name in truth.classes:
            is_named = truth.is_odd & (truth.name == name)
            is_one = is_named & np.isin(np.arange(len(values)), rows)
            counts: dict[str, int | str] = {"kind": str(truth.kind[is_named][0]), "there": int(is_one.sum())}
            found[order][name] = counts | {
                f"top_{percent}_percent": int(is_one[top].sum()) for percent, top in tops.items()
            }
    return found


def correlations(orders: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Spearman's of every order with brightness and radius: what it would rank without looking."""
    from peculiar.scoring.evaluation import rank_correlation

    against = ("brightness", "radius")
    return {
        order: {each: rank_correlation(values, orders[each]) for each in against} for order, values in orders.items()
    }


# Feature sets.


def judge_sets(
    folder: Path, truth: Truth, *, n_top: int, n_bootstrap: int, seed: int, track: Track
) -> dict[str, dict[str, Any]]:
    """Of every feature set: what its neighbor distance finds, whether classes lie together, what all labels teach."""
    names, found = feature_sets(folder), {}
    is_first = truth.is_odd | truth.is_normal
    random = np.random.default_rng(seed % 2**64)
    order = np.flatnonzero(is_first)[random.permutation(int(is_first.sum()))]
    chosen = order[np.argsort(~truth.is_odd[order], kind="stable")][:N_JUDGED]
    with track("judging feature sets", len(names)) as advance:
        for name in names:
            opened = FeatureSet(folder, name)
            has = np.isin(truth.object_id[chosen], opened.table.object_ids())
            vectors = opened.take(truth.object_id[chosen[has]])
            usable = np.isfinite(vectors).all(axis=1)
            rows = chosen[has][usable]
            if truth.is_odd[rows].any() and truth.is_normal[rows].sum() > N_NEAREST:
                found[name] = _judge_set(vectors[usable], truth.kind[rows], truth.name[rows], n_top, n_bootstrap, seed)
            advance(1)
    return found


def _judge_set(
    vectors: np.ndarray, kind: np.ndarray, name: np.ndarray, n_top: int, n_bootstrap: int, seed: int
) -> dict[str, Any]:
    from peculiar.scoring.evaluation import average_precision, evaluate
    from peculiar.scoring.neighbors import Scale, mean_distance, nearest

    rows = Scale.of([vectors]).standardized(vectors)
    distance = mean_distance(rows, rows, N_NEAREST, own_rows=np.arange(len(rows)))
    found: dict[str, Any] = {"n_features": rows.shape[1], "kinds": {}}
    for each in sorted(set(kind) - {""}):
        is_judged = (kind == "") | (kind == each)
        is_odd = kind[is_judged] == each
        metrics = evaluate(distance[is_judged], is_odd, n_bootstrap=n_bootstrap, seed=seed)
        found["kinds"][each] = {"n_odd": int(is_odd.sum()), **metrics}
        learnt = _learnt_from_all(rows[is_judged], is_odd, seed)
        if learnt is not None:
            n_first = min(n_top, len(learnt))
            found["kinds"][each] |= {
                "learnt_average_precision": average_precision(learnt, is_odd),
                "learnt_found": int(is_odd[np.argsort(-learnt, kind="stable")[:n_first]].sum()),
                "learnt_among": n_first,
            }
    odd = rows[kind != ""]
    if len(odd) > N_NEAREST and len(set(name[kind != ""])) > 1:
        own = name[kind != ""]
        among, _ = nearest(odd, odd, N_NEAREST, own_rows=np.arange(len(odd)))
        found["own_class"] = float((own[among] == own[:, None]).mean())
        counts = np.array([(own == each).sum() for each in own])
        found["own_class_by_chance"] = float(((counts - 1) / (len(own) - 1)).mean())
    return found


def _learnt_from_all(rows: np.ndarray, is_odd: np.ndarray, seed: int) -> np.ndarray | None:
    """Chances by a logistic regression that has seen all other labels, five-fold; None where too few are odd."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    if min(is_odd.sum(), (~is_odd).sum()) < 5:
        return None
    folds = StratifiedKFold(5, shuffle=True, random_state=seed % 2**32)
    line = LogisticRegression(C=0.01, max_iter=3_000)
    return np.asarray(cross_val_predict(line, rows, is_odd, cv=folds, method="predict_proba")[:, 1])


# Experts.


def judge_experts(
    ranking: Ranking, truth: Truth, *, features: str, n_labels: int, n_experts: int, seed: int, track: Track
) -> dict[str, dict[str, np.ndarray]]:
    """By kind and model, how many are found after each object looked at, int (n_experts, n_labels)."""
    evidence = Evidence(ranking.folder, features, ranking.home.name)
    object_id = np.intersect1d(truth.object_id, evidence.features.table.object_ids())
    row, _ = placed(truth.object_id, object_id)
    seeds = range(seed, seed + n_experts)
    told = {"acquisition": "upper-bound", "n_labels": n_labels, "batch_size": BATCH}
    found: dict[str, dict[str, np.ndarray]] = {}
    models = get_args(Model)
    with track("made experts", len(truth.kinds) * len(models) * len(seeds)) as advance:
        for kind in truth.kinds:
            is_odd = truth.kind[row] == kind
            if not is_odd.any():
                continue
            found[kind] = {}
            for model in models:
                by_loop, by_order = found_by_expert(
                    evidence, object_id, is_odd, ranking.first_shown, seeds, advance, model=model, **told
                )
                found[kind] |= {ranking.first_shown: by_order, model: by_loop}
    return found
