"""Say how many planted oddities each order finds, where the truth is known."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from peculiar.ranking import Ranking
from peculiar.run import Run, Track, begin, finish, home_of, quiet, save_figure, write_json

if TYPE_CHECKING:
    import pyarrow as pa

BASELINES = ("brightness", "radius", "score_pca")
SHOWN_TOP = 5  # percent of the objects that the figure counts in


@dataclass(frozen=True, kw_only=True)
class RecoverConfig:
    """What `recover` can be told."""

    truth: Annotated[Path, "table of object_id, planted_class, planted_kind, planted_strength, as simulate writes it"]
    ranking: Annotated[str, "name of the ranking to judge"] = "main"
    n_bootstrap: Annotated[int, "bootstrap draws for the 95 % intervals; 0 for none"] = 200
    seed: Annotated[int, "seed of the bootstrap"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.n_bootstrap < 0:
            raise ValueError(f"n_bootstrap must not be negative, got {self.n_bootstrap}")


def recover(
    folder: Path, config: RecoverConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `recovery/<name>`: metrics of every order by kind of oddity, recall by class and strength, a page.

    The orders are all scores there are, raw and conditional, and the baselines that a network has to beat: brightness,
    light-weighted radius, pixel-PCA error. Each kind is judged among the normal objects, the other kind left out.

    Raises
    ------
    ValueError
        The truth has none of the ranking's objects, or nothing planted.
    """
    from peculiar.io.catalogs import read_catalog

    ranking = Ranking(folder, config.ranking)
    home, reads = home_of(folder, "recovery", name), {f"rankings/{config.ranking}": ranking.run.identity}
    planted_class, planted_kind, strength = _matched(read_catalog(config.truth).table, ranking.object_ids)
    run = begin(home, "recover", config, inputs={"ranking": ranking.relative.version}, reads=reads, replace=replace)
    orders = [order for order in ranking.orders if order not in BASELINES]
    scores = {order: ranking.column(order) for order in (*orders, *BASELINES)}
    metrics = _metrics(scores, planted_kind, config, track)
    by_class = _by_class(scores, planted_class, planted_kind)
    correlations = _correlations(scores)
    write_json(home / "recovery.json", {"metrics": metrics, "by_class": by_class, "rank_correlation": correlations})
    _draw(home, scores, planted_class, strength, ranking.first_shown)
    _write_page(home, metrics, by_class, correlations, ranking)
    return finish(
        home,
        run,
        n_objects=len(ranking),
        n_planted=int((planted_class != "").sum()),
        by_class=by_class[ranking.first_shown],
        first_shown=ranking.first_shown,
        page=(home / "recovery.html").relative_to(folder).as_posix(),
    )


def _matched(truth: "pa.Table", object_id: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class, kind and strength of what was planted in each object; empty and NaN where nothing was."""
    rows = {identity: row for row, identity in enumerate(truth["object_id"].to_pylist())}
    place = np.array([rows.get(int(each), -1) for each in object_id])
    if (place < 0).any():
        n_absent = int((place < 0).sum())
        raise ValueError(
            f"the truth knows nothing of {n_absent} of {len(place)} objects; give the table of this survey"
        )
    columns = [np.array([each or "" for each in truth[name].to_pylist()]) for name in ("planted_class", "planted_kind")]
    strength = truth["planted_strength"].to_numpy().astype(np.float64)
    planted_class, planted_kind = (column[place] for column in columns)
    if not (planted_class != "").any():
        raise ValueError("nothing was planted in these objects; simulate with --odd-fraction above 0")
    return planted_class, planted_kind, strength[place]


def _metrics(
    scores: dict[str, np.ndarray], planted_kind: np.ndarray, config: RecoverConfig, track: Track
) -> dict[str, dict[str, dict[str, float]]]:
    """AUROC, AP, recall and precision by kind and order."""
    from peculiar.scoring.evaluation import evaluate

    kinds = sorted(set(planted_kind) - {""})
    found: dict[str, dict[str, dict[str, float]]] = {}
    with track("judging orders", len(kinds) * len(scores)) as advance:
        for kind in kinds:
            is_judged = (planted_kind == "") | (planted_kind == kind)
            is_odd = planted_kind[is_judged] == kind
            found[kind] = {}
            for order, values in scores.items():
                found[kind][order] = evaluate(
                    values[is_judged], is_odd, n_bootstrap=config.n_bootstrap, seed=config.seed
                )
                advance(1)
    return found


def _by_class(
    scores: dict[str, np.ndarray], planted_class: np.ndarray, planted_kind: np.ndarray
) -> dict[str, dict[str, dict[str, int | str]]]:
    """How many of each class stand in the top 1 % and 5 % of all objects, by order."""
    from peculiar.scoring.evaluation import descending

    found: dict[str, dict[str, dict[str, int | str]]] = {}
    for order, values in scores.items():
        places = descending(values)
        tops = {percent: places[: max(1, round(len(values) * percent / 100))] for percent in (1, 5)}
        found[order] = {}
        for name in sorted(set(planted_class) - {""}):
            is_one = planted_class == name
            counts: dict[str, int | str] = {"kind": str(planted_kind[is_one][0]), "planted": int(is_one.sum())}
            found[order][name] = counts | {
                f"top_{percent}_percent": int(is_one[top].sum()) for percent, top in tops.items()
            }
    return found


def _correlations(scores: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    from peculiar.scoring.evaluation import rank_correlation

    return {
        order: {each: rank_correlation(values, scores[each]) for each in ("brightness", "radius")}
        for order, values in scores.items()
    }


def _draw(
    home: Path, scores: dict[str, np.ndarray], planted_class: np.ndarray, strength: np.ndarray, first_shown: str
) -> None:
    """Recall by class and against strength; strength as its rank within the class, as classes differ in unit."""
    from scipy.stats import rankdata

    from peculiar.figures import figure_recovery
    from peculiar.scoring.evaluation import descending

    is_planted = planted_class != ""
    relative = np.full(len(strength), np.nan)
    for name in set(planted_class) - {""}:
        mine = planted_class == name
        relative[mine] = (rankdata(strength[mine]) - 0.5) / mine.sum()
    n_top = max(1, round(len(strength) * SHOWN_TOP / 100))
    found = {}
    for order in dict.fromkeys((first_shown, "score_anom_conditional", *BASELINES)):
        is_found = np.zeros(len(strength), bool)
        is_found[descending(scores[order])[:n_top]] = True
        found[order] = is_found[is_planted]
    title = f"Planted oddities in the top {SHOWN_TOP} %"
    figure = figure_recovery(planted_class[is_planted].tolist(), found, relative[is_planted], title=title)
    figure.axes[1].set_xlabel("rank of the strength within its class")
    save_figure(figure, home / "recovery.png")


def _write_page(
    home: Path,
    metrics: dict[str, dict[str, dict[str, float]]],
    by_class: dict[str, dict[str, dict[str, int | str]]],
    correlations: dict[str, dict[str, float]],
    ranking: Ranking,
) -> None:
    from peculiar.io.pages import Picture, Section, Table, Text, write_page

    shown = by_class[ranking.first_shown]
    n_planted = sum(int(each["planted"]) for each in shown.values())
    small = " That is a small number: an example, not a measurement." if n_planted < 100 else ""
    rows = [[name, *counts.values()] for name, counts in shown.items()]
    sections: list[Section] = [
        Text(heading="What was planted", body=f"{n_planted} oddities among {len(ranking):,} objects.{small}"),
        Table(
            columns=["class", "kind", "planted", "in the top 1 %", "in the top 5 %"],
            rows=rows,
            heading="By class",
            caption=f"Of the order that is shown first, {ranking.first_shown}.",
        ),
        Picture(path=home / "recovery.png", alt="recall by class and strength"),
    ]
    for kind, orders in metrics.items():
        names = [name for name in next(iter(orders.values())) if not name.endswith(("_low", "_high"))]
        table = [[order, *(_interval(values, name) for name in names)] for order, values in orders.items()]
        heading = f"All orders on {kind} oddities"
        caption = "With 95 % bootstrap intervals. The last three are baselines without a network."
        sections.append(Table(columns=["order", *names], rows=table, heading=heading, caption=caption))
    ranked: list[list[str | float]] = [[order, *values.values()] for order, values in correlations.items()]
    columns = ["order", "rank correlation with brightness", "with radius"]
    sections.append(Table(columns=columns, rows=ranked, heading="What the orders rank"))
    write_page(home / "recovery.html", "Planted oddities, found again", sections)


def _interval(values: dict[str, float], name: str) -> str:
    if f"{name}_low" not in values:
        return f"{values[name]:.3f}"
    return f"{values[name]:.3f} ({values[f'{name}_low']:.3f} to {values[f'{name}_high']:.3f})"
