"""Prove what every order, feature set and model of interest is worth, where the truth is known. METHOD.md sect. 8."""

import csv
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from peculiar.checkpoint import file_digest
from peculiar.feature_set import FeatureSet
from peculiar.judging import (
    BASELINES,
    BATCH,
    N_NEAREST,
    Metrics,
    Truth,
    by_class,
    correlations,
    judge,
    judge_experts,
    judge_sets,
    orders_of,
    read,
    subsets_of,
)
from peculiar.learning import spread_of
from peculiar.ranking import Ranking
from peculiar.run import Run, Track, at_least, atomic, begin, finish, home_of, quiet, read_run, save_figure, write_json
from peculiar.survey import hash_id

if TYPE_CHECKING:
    from peculiar.io.pages import Cell, Section

log = logging.getLogger(__name__)
FEW = 100  # odd objects; fewer are an example
SHOWN_TOP = 5  # percent of the objects that completeness counts in
N_TOP = 200  # objects that what all labels teach is counted in


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
        at_least(self, 0, "n_bootstrap", "n_labels")
        if self.n_experts < 1 or any(each < 1 for each in self.n_top):
            raise ValueError(f"n_experts and n_top must be at least 1, got {self.n_experts} and {self.n_top}")


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
    ranking, home = Ranking(folder, config.ranking), home_of(folder, "bench", name)
    truth = read(config.truth, ranking.object_ids, column=config.column, like=config.like)
    orders = orders_of(ranking, truth.object_id, split=config.split, seed=config.seed)
    drawn: dict[str, Any] = {"n_bootstrap": config.n_bootstrap, "seed": config.seed, "track": track}
    judged = judge(orders, subsets_of(truth, orders, split=config.split), n_tops=config.n_top, **drawn)
    counts, ranks = by_class(orders, truth), correlations(orders)
    sets = judge_sets(folder, truth, n_top=config.n_labels or N_TOP, **drawn)
    experts = _ask_experts(ranking, truth, config, track)
    # Only now: what cannot be judged leaves the result of before as it is.
    reads = ranking.made_of("rankings", "interest") | {f"features/{each}": _identity(folder, each) for each in sets}
    inputs = {"tables": ranking.versions, "truth": file_digest(config.truth)}
    run = begin(home, "bench", config, inputs=inputs, reads=reads, replace=replace)
    _write_table(home / "bench.csv", judged)
    written = {"by_class": counts, "rank_correlation": ranks, "feature_sets": sets}
    found = {kind: {each: counts.tolist() for each, counts in by.items()} for kind, by in experts.items()}
    write_json(home / "bench.json", {**written, "experts": found})
    first_shown = ranking.first_shown
    _draw(home, judged, orders, counts, experts, truth, first_shown)
    _write_page(home, judged, counts, ranks, sets, experts, truth, first_shown)
    kinds = {kind: judged["kind", kind] for kind in truth.kinds}
    return finish(
        home,
        run,
        n_objects=len(truth.object_id),
        n_odd=int(truth.is_odd.sum()),
        first_shown=first_shown,
        kinds={kind: {each: by[each] for each in (first_shown, *BASELINES)} for kind, by in kinds.items()},
        by_class=counts[first_shown],
        page=(home / "bench.html").relative_to(folder).as_posix(),
    )


def _identity(folder: Path, features: str) -> str:
    return FeatureSet(folder, features).run.identity


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


def _ask_experts(ranking: Ranking, truth: Truth, config: BenchConfig, track: Track) -> dict[str, dict[str, np.ndarray]]:
    if not config.n_labels:
        return {}
    if read_run(home_of(ranking.folder, "features", config.features)) is None:
        log.warning("there are no features/%s, and so no made experts; see peculiar features", config.features)
        return {}
    told = {each: getattr(config, each) for each in ("features", "n_labels", "n_experts", "seed")}
    return judge_experts(ranking, truth, track=track, **told)


# What is shown.


def _draw(
    home: Path,
    judged: Mapping[tuple[str, str], dict[str, Metrics]],
    orders: Mapping[str, np.ndarray],
    counts: Mapping[str, Mapping[str, Mapping[str, int | str]]],
    experts: Mapping[str, Mapping[str, np.ndarray]],
    truth: Truth,
    first_shown: str,
) -> None:
    from peculiar.figures import figure_recovery
    from peculiar.figures.bench import figure_grid, figure_orders
    from peculiar.figures.learning import figure_progress
    from peculiar.scoring.evaluation import descending

    save_figure(figure_orders({kind: judged["kind", kind] for kind in truth.kinds}, BASELINES), home / "orders.png")
    names = list(next(iter(counts.values())))
    top = f"top_{SHOWN_TOP}_percent"
    part = [[int(by[name][top]) / max(1, int(by[name]["there"])) for name in names] for by in counts.values()]
    labels = [f"{name} ({counts[first_shown][name]['there']})" for name in names]
    title = f"Part of each class in the top {SHOWN_TOP} %"
    save_figure(figure_grid(np.array(part), list(counts), labels, title=title), home / "classes.png")
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
            {
                label: values[is_one]
                for label, values in against.items()
                if values is not None and np.isfinite(values[is_one]).any()
            },
            title=f"{kind}: in the top {SHOWN_TOP} %",
        )
        save_figure(figure, home / f"completeness-{_slug(kind)}.png")
    for kind, by_model in experts.items():
        means = {each: counts.mean(axis=0) for each, counts in by_model.items()}
        save_figure(
            figure_progress(means, n_in_all=int((truth.kind == kind).sum())), home / f"experts-{_slug(kind)}.png"
        )


def _within_class(truth: Truth) -> np.ndarray | None:
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
    counts: Mapping[str, Mapping[str, Mapping[str, int | str]]],
    ranks: Mapping[str, Mapping[str, float]],
    sets: Mapping[str, Mapping[str, Any]],
    experts: Mapping[str, Mapping[str, np.ndarray]],
    truth: Truth,
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
            rows=[[name, *counts.values()] for name, counts in counts[first_shown].items()],
            heading="By class",
            caption=f"Of the order that is shown first, {first_shown}.",
        ),
        Picture(path=home / "classes.png", alt="part of each class in the top 5 %, by order"),
    ]
    for kind in truth.kinds:
        alt = f"completeness of {kind} objects by class, strength, brightness and size"
        heading = f"Completeness, {kind}"
        caption = f"Part of the {kind} objects that stand in the top {SHOWN_TOP} % of all, with 68 % intervals."
        sections.append(
            Picture(path=home / f"completeness-{_slug(kind)}.png", alt=alt, heading=heading, caption=caption)
        )
        orders = judged["kind", kind]
        names = _named(next(iter(orders.values())))
        rows: list[list[Cell]] = [
            [order, int(values["n_odd"]), int(values["n"]), *(interval_of(values, each) for each in names)]
            for order, values in orders.items()
        ]
        caption = f"With 95 % bootstrap intervals; {', '.join(BASELINES)} need no network."
        columns = ["order", "odd", "of", *(each.replace("_", " ") for each in names)]
        sections.append(Table(columns=columns, rows=rows, heading=f"All orders, {kind}", caption=caption))
    sections += _split_sections(judged, first_shown)
    if sets:
        sections.append(_set_section(sets))
    for kind, by_model in experts.items():
        sections += _expert_sections(home, kind, by_model, int((truth.kind == kind).sum()), first_shown)
    ranked: list[list[Cell]] = [[order, *values.values()] for order, values in ranks.items()]
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
                rows.append([subset, *counts, *(interval_of(by[each], "auroc") for each in shown)])
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
                interval_of(by, "auroc"),
                interval_of(by, "average_precision"),
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
    rows = [[each, *(spread_of(counts[:, n - 1]) for n in shown)] for each, counts in by_model.items()]
    caption = (
        f"Found among the first looked at, of {n_odd}: the mean over made experts, the least and the most; each leaves "
        f"out a random tenth. {first_shown} needs no label; the others learn, {BATCH} at a time, all labels counted."
    )
    heading = f"Made experts who seek {kind}"
    return [
        Picture(path=home / f"experts-{_slug(kind)}.png", alt=f"found against looked at, {kind}", heading=heading),
        Table(columns=["order", *(f"first {n}" for n in shown)], rows=rows, caption=caption),
    ]


def _slug(kind: str) -> str:
    """A kind as a part of a file's name: whatever it holds, it is no path, and kinds that differ stay apart."""
    plain = re.sub("[^A-Za-z0-9_-]", "_", kind)[:40]
    return plain if plain == kind else f"{plain}-{hash_id(kind) % 10**6:06d}"


def interval_of(values: Mapping[str, float], name: str) -> str:
    """A metric, and its interval where there is one, as a table shows them."""
    if f"{name}_low" not in values:
        return f"{values[name]:.3f}"
    return f"{values[name]:.3f} ({values[f'{name}_low']:.3f} to {values[f'{name}_high']:.3f})"
