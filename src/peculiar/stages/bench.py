"""Prove what every order, feature set and model of interest is worth, where the truth is known. METHOD.md sect. 8."""

import csv
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import numpy as np

from peculiar.feature_set import FeatureSet, feature_sets
from peculiar.learning import BORING, Evidence, Model, found_by_expert, ids_of, liked, read_truth
from peculiar.ranking import Ranking
from peculiar.run import Run, Track, atomic, begin, finish, home_of, quiet, read_run, save_figure, write_json
from peculiar.survey import located

if TYPE_CHECKING:
    from peculiar.io.pages import Cell, Section

log = logging.getLogger(__name__)
BASELINES = ("random", "brightness", "radius", "score_pca")
CLASS_COLUMNS = ("planted_class", "label", "class")  # of a truth, the first that there is, where none is named
KIND_COLUMN = "planted_kind"
SPREADS = ("planted_snr", "planted_strength", "planted_radius")  # of a truth: what completeness is shown against
MAX_CLASSES = 30
FEW = 100  # odd objects; fewer are an example
SHOWN_TOP = 5  # percent of the objects that completeness counts in
N_NEAREST = 10
N_JUDGED = 20_000  # objects that feature sets are judged on, odd ones first
BATCH = 20  # objects between two trainings of a made expert's model
THIRDS = ("low", "middle", "high")
Metrics = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What `bench` can be told."""

    truth: Annotated[Path, "table of object_id and what it is; empty or normal: nothing special"]
    column: Annotated[str, "its column of classes; empty: planted_class, label or class"] = ""
    like: Annotated[tuple[str, ...], "classes that are odd; empty: all but normal and the like"] = ()
    ranking: Annotated[str, "name of the ranking to judge"] = "main"
    split: Annotated[tuple[str, ...], "columns whose thirds are judged apart, as brightness and size"] = (
        "brightness",
        "radius",
    )
    n_top: Annotated[tuple[int, ...], "numbers of first objects to count in, beside 1 % and 5 %"] = (50, 100, 200)
    n_bootstrap: Annotated[int, "bootstrap draws for the 95 % intervals; 0 for none"] = 200
    features: Annotated[str, "feature set that made experts' models learn in"] = "self-supervised"
    n_labels: Annotated[int, "objects that a made expert looks at; 0 for no experts"] = 200
    n_experts: Annotated[int, "made experts a model"] = 3
    seed: Annotated[int, "seed of the bootstrap, of the random order and of the experts"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("n_bootstrap", "n_labels"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.n_experts < 1 or any(each < 1 for each in self.n_top):
            raise ValueError(f"n_experts and n_top must be at least 1, got {self.n_experts} and {self.n_top}")


@dataclass(frozen=True)
class _Truth:
    """What the judged objects are; "" is nothing special, "?" is left out, as it is no kind of oddity."""

    object_id: np.ndarray
    name: np.ndarray  # class
    kind: np.ndarray  # what is judged together
    spread: dict[str, np.ndarray]  # numbers of `SPREADS`; NaN where there is none

    @property
    def is_normal(self) -> np.ndarray:
        return np.asarray(self.kind == "")

    @property
    def is_odd(self) -> np.ndarray:
        return np.asarray((self.kind != "") & (self.kind != "?"))

    @property
    def kinds(self) -> list[str]:
        return sorted(set(self.kind) - {"", "?"})


def bench(folder: Path, config: BenchConfig, *, name: str = "main", replace: bool = False, track: Track = quiet) -> Run:
    """Fill `bench/<name>`: every order against the truth, by kind, class, brightness and size; sets; made experts.

    The orders are all scores, raw and conditional, and what interest was learnt (its labels left out); and the
    baselines that a network has to beat: random, brightness, light-weighted radius, pixel-PCA error. Each kind is
    judged among the normal objects, other kinds left out. `bench.csv` has every metric of every order and subset with
    its interval, `bench.json` all else, `bench.html` the page.

    Raises
    ------
    ValueError
        The truth knows none of the ranking's objects, calls none odd, or none normal.
    """
    ranking = Ranking(folder, config.ranking)
    home, reads = home_of(folder, "bench", name), {f"rankings/{config.ranking}": ranking.run.identity}
    truth = _read(config, ranking.object_ids)
    run = begin(home, "bench", config, inputs={"tables": ranking.versions}, reads=reads, replace=replace)
    orders = _orders(ranking, truth.object_id, config)
    judged = _judge(orders, _subsets(truth, orders, config), config, track)
    _write_table(home / "bench.csv", judged)
    by_class = _by_class(orders, truth)
    correlations = _correlations(orders)
    sets = _judge_sets(folder, truth, config, track)
    experts = _judge_experts(folder, ranking, truth, config, track)
    written = {"by_class": by_class, "rank_correlation": correlations, "feature_sets": sets}
    found = {kind: {each: counts.tolist() for each, counts in by.items()} for kind, by in experts.items()}
    write_json(home / "bench.json", {**written, "experts": found})
    first_shown = ranking.first_shown
    _draw(home, judged, orders, by_class, experts, truth, first_shown)
    _write_page(home, judged, by_class, correlations, sets, experts, truth, first_shown)
    kinds = {kind: judged["kind", kind] for kind in truth.kinds}
    return finish(
        home,
        run,
        n_objects=len(truth.object_id),
        n_odd=int(truth.is_odd.sum()),
        first_shown=first_shown,
        kinds={kind: {each: by[each] for each in (first_shown, *BASELINES)} for kind, by in kinds.items()},
        by_class=by_class[first_shown],
        page=(home / "bench.html").relative_to(folder).as_posix(),
    )


def _read(config: BenchConfig, ranked: np.ndarray) -> _Truth:
    from peculiar.io.tables import read_table

    table = read_table(config.truth)
    column = config.column or next((each for each in CLASS_COLUMNS if each in table.column_names), CLASS_COLUMNS[0])
    said, is_known = read_truth(config.truth, column, ranked)
    if n_unknown := int((~is_known).sum()):
        log.warning("%s says nothing of %d of %d objects, which are left out", config.truth, n_unknown, len(ranked))
    object_id, said = ranked[is_known], said[is_known]
    odd = liked(set(said.tolist()) - {""}, config.like, (), config.truth)
    boring = {each for each in set(said.tolist()) if each.casefold() in BORING} | {""}
    if KIND_COLUMN in table.column_names:
        kind, _ = read_truth(config.truth, KIND_COLUMN, object_id)
    else:
        kind = np.full(len(said), "odd", dtype="U32")
    kind = np.select([np.isin(said, sorted(odd)), np.isin(said, sorted(boring))], [kind, ""], "?")
    if not np.isin(said, sorted(odd)).any():
        raise ValueError(f"nothing in {config.truth} is odd; its column {column} has no class but normal and the like")
    if not (kind == "").any():
        raise ValueError(f"no object in {config.truth} is normal; give rows with an empty {column} too")
    ids, has_id = ids_of(table, config.truth)
    order = np.argsort(ids[has_id], kind="stable")
    row = np.flatnonzero(has_id)[order[located(ids[has_id][order], object_id)[0]]]
    numbers = {each: table[each].to_numpy(zero_copy_only=False) for each in SPREADS if each in table.column_names}
    spread = {each: values[row].astype(np.float64) for each, values in numbers.items() if values.dtype.kind in "if"}
    is_odd = (kind != "") & (kind != "?")
    return _Truth(object_id, said, kind, {key: np.where(is_odd, values, np.nan) for key, values in spread.items()})


def _orders(ranking: Ranking, object_id: np.ndarray, config: BenchConfig) -> dict[str, np.ndarray]:
    """Every order's values of these objects, the baselines last, and the columns that are split by.

    Interest is NaN of objects whose labels it was learnt from: it would be judged by what it was told.
    """
    order = np.argsort(ranking.object_ids)
    row = order[np.searchsorted(ranking.object_ids[order], object_id)]
    values = {each: ranking.column(each)[row] for each in ranking.orders if each not in BASELINES}
    for name in (each for each in ranking.schema.names if _is_learnt(each)):
        labelled = _labelled(ranking.folder, name)
        if labelled is not None:
            values[name] = np.where(np.isin(object_id, labelled), np.nan, ranking.column(name)[row])
    values["random"] = np.random.default_rng(config.seed).random(len(object_id))
    return values | {each: ranking.column(each)[row] for each in dict.fromkeys((*BASELINES[1:], *config.split))}


def _is_learnt(order: str) -> bool:
    return order == "interest" or order.startswith("interest-")


def _labelled(folder: Path, column: str) -> np.ndarray | None:
    """Ids that a column of interest was learnt from; None where the labels are no longer there."""
    from peculiar.io.tables import read_table

    learnt = read_run(home_of(folder, "interest", column.removeprefix("interest").removeprefix("-") or "main"))
    path = Path(learnt.config["labels"]) if learnt else Path()
    if not path.is_file():
        log.warning("%s is not judged, as the labels that it was learnt from, %s, are gone", column, path)
        return None
    ids, has_id = ids_of(read_table(path), path)
    return ids[has_id]


def _subsets(
    truth: _Truth, orders: Mapping[str, np.ndarray], config: BenchConfig
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """By axis and name, which objects are judged and which of them are odd: kinds, classes, thirds of columns."""
    found = {}
    for kind in truth.kinds:
        is_one = truth.kind == kind
        found["kind", kind] = truth.is_normal | is_one, is_one
    names = sorted(set(truth.name[truth.is_odd]))
    if 1 < len(names) <= MAX_CLASSES:
        for name in names:
            is_one = truth.is_odd & (truth.name == name)
            found["class", name] = truth.is_normal | is_one, is_one
    for column in config.split:
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


def _judge(
    orders: Mapping[str, np.ndarray],
    subsets: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]],
    config: BenchConfig,
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
                    n_tops=config.n_top,
                    n_bootstrap=config.n_bootstrap,
                    seed=config.seed,
                )
                found.setdefault(subset, {})[order] = {"n": n_judged, "n_odd": n_odd, **metrics}
    return found


def _write_table(path: Path, judged: Mapping[tuple[str, str], dict[str, Metrics]]) -> None:
    """One row a subset, order and metric."""
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("by", "subset", "order", "n", "n_odd", "metric", "value", "low", "high"))
        for (axis, subset), by_order in judged.items():
            for order, metrics in by_order.items():
                for metric in _named(metrics):
                    ends = [metrics.get(f"{metric}_{end}", float("nan")) for end in ("low", "high")]
                    numbers = (f"{each:.6g}" for each in (metrics[metric], *ends))
                    writer.writerow((axis, subset, order, metrics["n"], metrics["n_odd"], metric, *numbers))


def _named(metrics: Metrics) -> list[str]:
    return [each for each in metrics if each not in ("n", "n_odd") and not each.endswith(("_low", "_high"))]


def _by_class(orders: Mapping[str, np.ndarray], truth: _Truth) -> dict[str, dict[str, dict[str, int | str]]]:
    """How many of each class stand in the top 1 % and 5 % of all objects, by order."""
    from peculiar.scoring.evaluation import PERCENTS, descending

    found: dict[str, dict[str, dict[str, int | str]]] = {}
    for order, values in orders.items():
        places = descending(values)
        tops = {percent: places[: max(1, round(len(values) * percent / 100))] for percent in PERCENTS}
        found[order] = {}
        for name in sorted(set(truth.name[truth.is_odd])):
            is_one = truth.is_odd & (truth.name == name)
            counts: dict[str, int | str] = {"kind": str(truth.kind[is_one][0]), "there": int(is_one.sum())}
            found[order][name] = counts | {
                f"top_{percent}_percent": int(is_one[top].sum()) for percent, top in tops.items()
            }
    return found


def _correlations(orders: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    from peculiar.scoring.evaluation import rank_correlation

    against = ("brightness", "radius")
    return {
        order: {each: rank_correlation(values, orders[each]) for each in against} for order, values in orders.items()
    }


# Feature sets.


def _judge_sets(folder: Path, truth: _Truth, config: BenchConfig, track: Track) -> dict[str, dict[str, Any]]:
    """Of every feature set: what its neighbor distance finds, whether classes lie together, what all labels teach."""
    names, found = feature_sets(folder), {}
    is_first = truth.is_odd | truth.is_normal
    random = np.random.default_rng(config.seed)
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
                found[name] = _judge_set(vectors[usable], truth.kind[rows], truth.name[rows], config)
            advance(1)
    return found


def _judge_set(vectors: np.ndarray, kind: np.ndarray, name: np.ndarray, config: BenchConfig) -> dict[str, Any]:
    from peculiar.scoring.evaluation import average_precision, evaluate
    from peculiar.scoring.neighbors import Scale, mean_distance, nearest

    rows = Scale.of([vectors]).standardized(vectors)
    distance = mean_distance(rows, rows, N_NEAREST, own_rows=np.arange(len(rows)))
    found: dict[str, Any] = {"n_features": rows.shape[1], "kinds": {}}
    for each in sorted(set(kind) - {""}):
        is_judged = (kind == "") | (kind == each)
        is_odd = kind[is_judged] == each
        metrics = evaluate(distance[is_judged], is_odd, n_bootstrap=config.n_bootstrap, seed=config.seed)
        found["kinds"][each] = {"n_odd": int(is_odd.sum()), **metrics}
        learnt = _learnt_from_all(rows[is_judged], is_odd, config.seed)
        if learnt is not None:
            n_top = min(config.n_labels or 200, len(learnt))
            found["kinds"][each] |= {
                "learnt_average_precision": average_precision(learnt, is_odd),
                "learnt_found": int(is_odd[np.argsort(-learnt, kind="stable")[:n_top]].sum()),
                "learnt_among": n_top,
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


def _judge_experts(
    folder: Path, ranking: Ranking, truth: _Truth, config: BenchConfig, track: Track
) -> dict[str, dict[str, np.ndarray]]:
    """By kind and model, how many are found after each object looked at, int (n_experts, n_labels)."""
    home = home_of(folder, "features", config.features)
    if not config.n_labels or read_run(home) is None:
        if config.n_labels:
            log.warning("there are no features/%s, and so no made experts; see peculiar features", config.features)
        return {}
    evidence = Evidence(folder, config.features, config.ranking)
    object_id = np.intersect1d(truth.object_id, evidence.features.table.object_ids())
    order = np.argsort(truth.object_id)
    row = order[np.searchsorted(truth.object_id[order], object_id)]
    seeds = range(config.seed, config.seed + config.n_experts)
    told = {"acquisition": "upper-bound", "n_labels": config.n_labels, "batch_size": BATCH}
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


# What is shown.


def _draw(
    home: Path,
    judged: Mapping[tuple[str, str], dict[str, Metrics]],
    orders: Mapping[str, np.ndarray],
    by_class: Mapping[str, Mapping[str, Mapping[str, int | str]]],
    experts: Mapping[str, Mapping[str, np.ndarray]],
    truth: _Truth,
    first_shown: str,
) -> None:
    from peculiar.figures import figure_recovery
    from peculiar.figures.bench import figure_grid, figure_orders
    from peculiar.figures.learning import figure_progress
    from peculiar.scoring.evaluation import descending

    save_figure(figure_orders({kind: judged["kind", kind] for kind in truth.kinds}, BASELINES), home / "orders.png")
    names = list(next(iter(by_class.values())))
    top = f"top_{SHOWN_TOP}_percent"
    part = [[int(by[name][top]) / int(by[name]["there"]) for name in names] for by in by_class.values()]
    labels = [f"{name} ({by_class[first_shown][name]['there']})" for name in names]
    title = f"Part of each class in the top {SHOWN_TOP} %"
    save_figure(figure_grid(np.array(part), list(by_class), labels, title=title), home / "classes.png")
    n_top = max(1, round(len(truth.object_id) * SHOWN_TOP / 100))
    found = {}
    shown = [each for each in dict.fromkeys((first_shown, "score_anom_conditional", *BASELINES[1:])) if each in orders]
    for order in shown:
        is_found = np.zeros(len(truth.object_id), bool)
        is_found[descending(orders[order])[:n_top]] = True
        found[order] = is_found
    against = {
        "signal-to-noise of what was planted": truth.spread.get("planted_snr"),
        "rank of the strength within its class": _within_class(truth),
        "radius of what was planted (pixels at 96)": truth.spread.get("planted_radius"),
        "brightness of the image": orders["brightness"],
        "radius of the image's light (pixels at 96)": orders["radius"],
    }
    for kind in truth.kinds:
        is_one = truth.kind == kind
        figure = figure_recovery(
            truth.name[is_one].tolist(),
            {order: is_found[is_one] for order, is_found in found.items()},
            {label: values[is_one] for label, values in against.items() if values is not None},
            title=f"{kind}: in the top {SHOWN_TOP} %",
        )
        save_figure(figure, home / f"completeness-{kind}.png")
    for kind, by_model in experts.items():
        means = {each: counts.mean(axis=0) for each, counts in by_model.items()}
        save_figure(figure_progress(means, n_in_all=int((truth.kind == kind).sum())), home / f"experts-{kind}.png")


def _within_class(truth: _Truth) -> np.ndarray | None:
    """Strength as its rank within the class, as classes differ in unit."""
    from scipy.stats import rankdata

    if "planted_strength" not in truth.spread:
        return None
    relative, strength = np.full(len(truth.name), np.nan), truth.spread["planted_strength"]
    for name in set(truth.name[truth.is_odd]):
        mine = truth.is_odd & (truth.name == name)
        relative[mine] = (rankdata(strength[mine]) - 0.5) / mine.sum()
    return relative


def _write_page(
    home: Path,
    judged: Mapping[tuple[str, str], dict[str, Metrics]],
    by_class: Mapping[str, Mapping[str, Mapping[str, int | str]]],
    correlations: Mapping[str, Mapping[str, float]],
    sets: Mapping[str, Mapping[str, Any]],
    experts: Mapping[str, Mapping[str, np.ndarray]],
    truth: _Truth,
    first_shown: str,
) -> None:
    from peculiar.io.pages import Picture, Table, Text, write_page

    n_odd = int(truth.is_odd.sum())
    small = " That is a small number: an example, not a measurement." if n_odd < FEW else ""
    body = f"{n_odd} odd objects among {len(truth.object_id):,}.{small}"
    sections: list[Section] = [
        Text(heading="The truth", body=body),
        Picture(path=home / "orders.png", alt="AUROC and average precision of every order, by kind"),
        Table(
            columns=["class", "kind", "there", "in the top 1 %", "in the top 5 %"],
            rows=[[name, *counts.values()] for name, counts in by_class[first_shown].items()],
            heading="By class",
            caption=f"Of the order that is shown first, {first_shown}.",
        ),
        Picture(path=home / "classes.png", alt="part of each class in the top 5 %, by order"),
    ]
    for kind in truth.kinds:
        alt = f"completeness of {kind} objects by class, strength, brightness and size"
        heading = f"Completeness, {kind}"
        caption = f"Part of the {kind} objects that stand in the top {SHOWN_TOP} % of all, with 68 % intervals."
        sections.append(Picture(path=home / f"completeness-{kind}.png", alt=alt, heading=heading, caption=caption))
        orders = judged["kind", kind]
        names = _named(next(iter(orders.values())))
        rows: list[list[Cell]] = [
            [order, *(_interval(values, each) for each in names)] for order, values in orders.items()
        ]
        caption = f"{_counted(orders)}, with 95 % bootstrap intervals; {', '.join(BASELINES)} need no network."
        columns = ["order", *(each.replace("_", " ") for each in names)]
        sections.append(Table(columns=columns, rows=rows, heading=f"All orders, {kind}", caption=caption))
    sections += _split_sections(judged, first_shown)
    if sets:
        sections.append(_set_section(sets))
    for kind, by_model in experts.items():
        sections += _expert_sections(home, kind, by_model, int((truth.kind == kind).sum()), first_shown)
    ranked: list[list[Cell]] = [[order, *values.values()] for order, values in correlations.items()]
    columns = ["order", "rank correlation with brightness", "with radius"]
    sections.append(Table(columns=columns, rows=ranked, heading="What the orders rank"))
    write_page(home / "bench.html", "What every score is worth", sections)


def _split_sections(judged: Mapping[tuple[str, str], dict[str, Metrics]], first_shown: str) -> "list[Section]":
    """AUROC in the thirds of each column, of the order that is shown first and of the baselines."""
    from peculiar.io.pages import Table

    sections: list[Section] = []
    shown = (first_shown, *BASELINES[1:])
    for column in dict.fromkeys(axis for axis, _ in judged if axis not in ("kind", "class")):
        rows: list[list[Cell]] = []
        for (axis, subset), by in judged.items():
            if axis == column:
                counts = [int(by[first_shown][each]) for each in ("n_odd", "n")]
                rows.append([subset, *counts, *(_interval(by[each], "auroc") for each in shown)])
        columns = ["third, kind", "odd", "of", *shown]
        caption = "AUROC, with 95 % bootstrap intervals; all orders and metrics are in bench.csv."
        sections.append(Table(columns=columns, rows=rows, heading=f"By {column}", caption=caption))
    return sections


def _set_section(sets: Mapping[str, Mapping[str, Any]]) -> "Section":
    from peculiar.io.pages import Table

    columns = ["feature set", "numbers", "odd ones", "AUROC", "average precision"]
    columns += ["learnt from all labels: average precision", "found among the first"]
    columns += ["own class among 10", "by chance"]
    rows: list[list[Cell]] = []
    for name, found in sets.items():
        for kind, by in found["kinds"].items():
            row: list[Cell] = [
                name,
                found["n_features"],
                kind,
                _interval(by, "auroc"),
                _interval(by, "average_precision"),
            ]
            row.append(by.get("learnt_average_precision"))
            row.append(f"{by['learnt_found']} in {by['learnt_among']}" if "learnt_found" in by else None)
            rows.append([*row, found.get("own_class"), found.get("own_class_by_chance")])
    caption = (
        f"AUROC and average precision of the mean distance to {N_NEAREST} neighbors. Learnt from all labels: by a "
        "logistic regression that sees four fifths of them at a time, more than an expert can give. Own class: of the "
        f"{N_NEAREST} nearest odd objects."
    )
    return Table(columns=columns, rows=rows, heading="Feature sets", caption=caption)


def _expert_sections(
    home: Path, kind: str, by_model: Mapping[str, np.ndarray], n_odd: int, first_shown: str
) -> "list[Section]":
    from peculiar.io.pages import Picture, Table

    n_labels = next(iter(by_model.values())).shape[1]
    shown = sorted({n for n in (20, 50, 100, 200, 500) if n <= n_labels} | {n_labels})
    rows = [[each, *(_spread(counts[:, n - 1]) for n in shown)] for each, counts in by_model.items()]
    caption = (
        f"Found among the first looked at, of {n_odd}: the mean over made experts, the least and the most; each leaves "
        f"out a random tenth. {first_shown} needs no label; the others learn, {BATCH} at a time, all labels counted."
    )
    heading = f"Made experts who seek {kind}"
    return [
        Picture(path=home / f"experts-{kind}.png", alt=f"found against looked at, {kind}", heading=heading),
        Table(columns=["order", *(f"first {n}" for n in shown)], rows=rows, caption=caption),
    ]


def _spread(counts: np.ndarray) -> str:
    return f"{counts.mean():.1f} ({counts.min()} to {counts.max()})"


def _counted(orders: Mapping[str, Metrics]) -> str:
    first = next(iter(orders.values()))
    return f"{int(first['n_odd'])} among {int(first['n']):,}"


def _interval(values: Mapping[str, float], name: str) -> str:
    if f"{name}_low" not in values:
        return f"{values[name]:.3f}"
    return f"{values[name]:.3f} ({values[f'{name}_low']:.3f} to {values[f'{name}_high']:.3f})"
