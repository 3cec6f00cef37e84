"""Find groups of objects that are alike, and say of each what it looks like and what sets it apart."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from peculiar.checkpoint import load_tensors, save_tensors
from peculiar.feature_set import FeatureSet
from peculiar.ranking import Ranking
from peculiar.run import Run, Track, begin, finish, home_of, quiet, read_run, refuse_made_anew, save_figure, write_json
from peculiar.survey import Table, hashed, located

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from peculiar.io.pages import Section
    from peculiar.maps.clusters import Clusters
    from peculiar.scoring.hints import ScoreLine

log = logging.getLogger(__name__)
COMMIT_ROWS = 16_384  # objects a commit: their images are read for the hint
READ_ROWS = 512  # images at once: some 10 MB
N_TYPICAL = 9
N_FINDINGS = 5
MOST_SHOWN = 40  # clusters with a picture on the page; cards.json has all
SHOWN_SCORE = "score_disc_sigma"
PERCENTILES = (5, 50, 95)
_EXPLAINED = (
    "Scores are medians, with percentiles 5 and 95. The typical members are those deepest inside. Each column is "
    "compared between the members and all other objects of the sample: the effect is the chance that a member's value "
    "is above another object's (0.5: no difference), with medians of numbers and shares of the rest; p is corrected "
    "for all columns and clusters (Benjamini-Hochberg).\n\nhint_artefact is a hint, no verdict: toward 1 members "
    "look odd by telescope and pipeline, toward 0 by the sky."
)
FOUND = ("score_", "interest", "map_x_", "map_y_", "cluster_", "hint_")
NOT_COMPARED = ("object_id", "release_index", "source")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """What `cluster` can be told."""

    of: Annotated[str, "vectors to find clusters in: features/NAME or maps/NAME"]
    ranking: Annotated[str, "ranking whose scores, measures and catalog columns the cards compare"] = "main"
    min_size: Annotated[int, "objects, among those fitted, that make a cluster"] = 50
    min_samples: Annotated[int, "neighbors that density is measured by; more leave more objects in no cluster"] = 10
    is_fine: Annotated[bool, "many small clusters, instead of the few that last longest"] = False
    n_objects: Annotated[int, "objects, taken at random, that clusters are found in; the others join them"] = 20_000
    seed: Annotated[int, "seed of the sample"] = 0

    def __post_init__(self) -> None:
        """Check the ranges and the table's name."""
        kind, _, name = self.of.partition("/")
        if kind not in ("features", "maps") or not name or "/" in name:
            raise ValueError(f"of must be features/NAME or maps/NAME, got {self.of!r}")
        for field, least in (("min_size", 2), ("min_samples", 1), ("n_objects", self.min_size)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} must be {least} or more, got {getattr(self, field)}")


def cluster(folder: Path, config: ClusterConfig, *, name: str, replace: bool = False, track: Track = quiet) -> Run:
    """Fill `clusters/<name>` of the atlas in `folder`: what is missing of it.

    `table.lance` holds object_id, cluster (0 the largest, -1 none), strength, and hint_artefact, a hint from 0 to 1
    whether an object is odd by telescope and pipeline rather than by the sky. Clusters are found once, in a sample
    that `fitted.safetensors` keeps; all other objects, those that come later too, join them and move nothing.
    `cards.json` says of every cluster what it looks like and what sets it apart, by its members in the sample, and
    `clusters.html` shows it. Objects that the ranking does not have are in no card, and have a hint by the image alone.

    Raises
    ------
    FileNotFoundError
        The vectors or the ranking are not complete.
    ValueError
        The vectors or the scores were made anew since the clusters were found.
    """
    vectors, ranking = _vectors(folder, config.of), Ranking(folder, config.ranking)
    home = home_of(folder, "clusters", name)
    reads = {config.of: vectors.identity, ranking.scored_in: ranking.scored.identity}
    message = (
        f"{config.of} or rankings/{config.ranking} was made anew since {home} was; "
        "cluster again with --replace, or under another --name"
    )
    refuse_made_anew(home, reads, message, replace=replace)
    inputs = {config.of: vectors.table.version, "ranking": ranking.base.version}
    run = begin(home, "cluster", config, inputs=inputs, reads=reads, replace=replace)
    fit = _fit(vectors, ranking, config, home, track)
    table = _assign_missing(vectors, ranking, fit, home, track)
    cards = _cards(ranking, config, fit, table, track)
    if not cards:
        log.warning(_none_found(config, len(fit.object_id)))
    write_json(home / "cards.json", cards)
    _write_page(home, ranking, config, fit, table, cards, track)
    return finish(
        home,
        run,
        n_objects=len(table),
        n_fitted=len(fit.object_id),
        n_clusters=fit.clusters.n_clusters,
        n_in_none=len(table) - sum(card["n_objects"] for card in cards),
        page=(home / "clusters.html").relative_to(folder).as_posix(),
    )


@dataclass(frozen=True)
class _Vectors:
    """A table with vectors, and how they are read."""

    table: Table
    identity: str
    columns: tuple[str, ...]
    read: "Callable[[pa.RecordBatch | pa.Table], np.ndarray]"


@dataclass(frozen=True)
class _Fit:
    """What clusters were found in, by ascending id, what was found, and the line that the hint's excess is above."""

    object_id: "np.ndarray"
    vectors: "np.ndarray"
    clusters: "Clusters"
    line: "ScoreLine"


def _vectors(folder: Path, of: str) -> _Vectors:
    import numpy as np

    from peculiar.feature_set import vectors_of

    kind, _, name = of.partition("/")
    if kind == "features":
        features = FeatureSet(folder, name)

        def lists(rows: "pa.RecordBatch | pa.Table") -> np.ndarray:
            return vectors_of(rows["vector"])

        return _Vectors(features.table, features.run.identity, ("vector",), lists)
    made = read_run(folder / of)
    if made is None:
        raise FileNotFoundError(f'{of} is not complete in {folder}; run "peculiar map" first')

    def places(rows: "pa.RecordBatch | pa.Table") -> np.ndarray:
        return np.stack([rows[each].to_numpy() for each in ("map_x", "map_y")], axis=1)

    return _Vectors(Table(folder / of / "table.lance"), made.identity, ("map_x", "map_y"), places)


def _fit(vectors: _Vectors, ranking: Ranking, config: ClusterConfig, home: Path, track: Track) -> _Fit:
    """What was found the first time, read again; found now, if this is the first time."""
    import numpy as np
    import torch

    from peculiar.maps import clusters as science
    from peculiar.scoring.hints import ScoreLine

    path = home / "fitted.safetensors"
    if not path.exists():
        # By hash and ascending: clusters do not depend on the order that objects were ingested in.
        wanted = np.sort(vectors.table.sample(config.n_objects, seed=config.seed))
        found = vectors.read(vectors.table.take(wanted, vectors.columns)).reshape(len(wanted), -1)
        with track("finding clusters", None):
            made = science.cluster(
                found, min_size=config.min_size, min_samples=config.min_samples, is_fine=config.is_fine
            )
        scores = ranking.facts.take(wanted, ["score_gen", "score_disc"], is_complete=False)
        line = ScoreLine.of(*_scores(scores))
        columns = {"object_id": wanted, "vector": found, "cluster": made.label, "strength": made.strength}
        tensors = {name: torch.tensor(values) for name, values in columns.items()}
        save_tensors(path, tensors, metadata={"line": asdict(line)})
    loaded, metadata = load_tensors(path)
    object_id, found, label, strength = (
        loaded[each].numpy() for each in ("object_id", "vector", "cluster", "strength")
    )
    return _Fit(object_id, found, science.Clusters(label, strength), ScoreLine(**metadata["line"]))


def _scores(rows: "pa.Table") -> "Iterator[np.ndarray]":
    """score_gen and score_disc; NaN where there is none."""
    import numpy as np

    for name in ("score_gen", "score_disc"):
        yield rows[name].to_numpy().astype(np.float64)


def _assign_missing(vectors: _Vectors, ranking: Ranking, fit: _Fit, home: Path, track: Track) -> Table:
    """Append every object that is in no row yet: the fitted as they were found, the others as they join them."""
    import numpy as np
    import pyarrow as pa

    from peculiar.maps.clusters import Fitted
    from peculiar.scoring.hints import artefact_hint

    types = {"cluster": pa.int32(), "strength": pa.float32(), "hint_artefact": pa.float32()}
    schema, table = pa.schema({"object_id": pa.int64(), **types}), Table(home / "table.lance")
    fitted = Fitted(fit.vectors, fit.clusters)
    with track("assigning", len(vectors.table)) as advance:
        advance(len(table))

        def rows() -> "Iterator[pa.RecordBatch]":
            for batch in vectors.table.scan(["object_id", *vectors.columns], batch_size=READ_ROWS, but_not=table):
                object_id = batch["object_id"].to_numpy().astype(np.int64)
                row, is_fitted = located(fit.object_id, object_id)
                is_new = ~is_fitted
                label, strength = fit.clusters.label[row], fit.clusters.strength[row]
                if is_new.any():
                    joined = fitted.assign(vectors.read(batch)[is_new])
                    label[is_new], strength[is_new] = joined.label, joined.strength
                scores = ranking.facts.take(object_id, ["score_gen", "score_disc"], is_complete=False)
                hint = artefact_hint(ranking.survey.images(object_id), fit.line.excess(*_scores(scores)))
                columns = (object_id, label, strength, hint)
                yield pa.record_batch([pa.array(each) for each in columns], schema=schema)
                advance(len(object_id))

        table.append_in_commits(rows(), schema, n_rows=COMMIT_ROWS)
    return table


def _cards(ranking: Ranking, config: ClusterConfig, fit: _Fit, table: Table, track: Track) -> list[dict[str, Any]]:
    """What is to be said of every cluster, the largest of the sample first."""
    import numpy as np

    from peculiar.maps.clusters import enrichment

    is_ranked = np.isin(fit.object_id, ranking.object_ids)
    object_id, label = fit.object_id[is_ranked], fit.clusters.label[is_ranked]
    rows = ranking.rows(object_id)
    hint = table.take(object_id, ["hint_artefact"])["hint_artefact"].to_numpy()
    size = np.bincount(table.column("cluster").astype(np.int64) + 1, minlength=fit.clusters.n_clusters + 1)[1:]
    with track("comparing clusters", None):
        found = enrichment(_compared_columns(rows), label)
    cards: list[dict[str, Any]] = []
    for number in range(fit.clusters.n_clusters):
        mine = np.flatnonzero(label == number)
        # By hash where many are as strong: neighbors in id are neighbors on the sky.
        strongest = np.lexsort((hashed(object_id[mine], config.seed), -fit.clusters.strength[is_ranked][mine]))[
            :N_TYPICAL
        ]
        scores = {name: rows[name].to_numpy()[mine].astype(np.float64) for name in (ranking.first_shown, SHOWN_SCORE)}
        cards.append(
            {
                "cluster": number,
                "n_objects": int(size[number]),
                "n_compared": len(mine),
                "scores": {name: _percentiles(values) for name, values in scores.items()},
                "hint_artefact": float(hint[mine].mean()) if len(mine) else None,
                "typical": [str(each) for each in object_id[mine][strongest]],
                "sets_apart": [asdict(each) for each in found.get(number, [])[:N_FINDINGS]],
            }
        )
    return cards


def _compared_columns(rows: "pa.Table") -> "dict[str, np.ndarray]":
    """Columns of the catalog and measures of the image: numbers, booleans and texts, but ids and what we found."""
    import pyarrow as pa

    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    names = [
        field.name
        for field in rows.schema
        if field.name not in NOT_COMPARED
        and not field.name.startswith(FOUND)
        and any(is_kind(field.type) for is_kind in kinds)
    ]
    return {name: rows[name].to_numpy() for name in names}


def _percentiles(values: "np.ndarray") -> dict[str, float]:
    """The values' percentiles 5, 50 and 95, NaN left out; nothing where there is nothing else."""
    import numpy as np

    finite = values[np.isfinite(values)]
    return {f"p{each}": float(np.percentile(finite, each)) for each in PERCENTILES} if len(finite) else {}


def _write_page(
    home: Path,
    ranking: Ranking,
    config: ClusterConfig,
    fit: _Fit,
    table: Table,
    cards: list[dict[str, Any]],
    track: Track,
) -> None:
    """`clusters.html`, and the pictures that it shows in `figures/`."""
    from peculiar.io.pages import Facts, Picture, Section, Text, write_page

    figures = home / "figures"
    figures.mkdir(exist_ok=True)
    n_in = sum(card["n_objects"] for card in cards)
    facts = {"objects": len(table), "clusters": len(cards), "in a cluster": n_in, "in none": len(table) - n_in}
    sections: list[Section] = [Facts(items=facts, heading="In short"), Text(body=_EXPLAINED)]
    if config.of.startswith("maps/") and len(fit.object_id):
        _draw_map(figures / "map.png", fit)
        caption = "The objects that clusters were found in; numbers at the medians. Gray: in no cluster."
        sections.append(Picture(path=figures / "map.png", alt="map of clusters", heading="On the map", caption=caption))
    with track("drawing clusters", min(len(cards), MOST_SHOWN)) as advance:
        for card in cards[:MOST_SHOWN]:
            path = figures / f"cluster-{card['cluster']}.png"
            _draw_card(path, ranking, card)
            sections += _card_sections(path, card)
            advance(1)
    if not cards:
        sections.append(Text(body=_none_found(config, len(fit.object_id))))
    if len(cards) > MOST_SHOWN:
        sections.append(Text(body=f"{len(cards) - MOST_SHOWN} smaller clusters are in cards.json only."))
    provenance = {**asdict(config), "reference of the scores": ranking.run.outputs["reference"]}
    title = f"{ranking.folder.resolve().name}: clusters of {config.of}"
    write_page(home / "clusters.html", title, sections, subtitle="Objects that are alike", provenance=provenance)


def _none_found(config: ClusterConfig, n_fitted: int) -> str:
    return (
        f"No group of {config.min_size} or more objects is denser than its surroundings, among the {n_fitted:,} that "
        "clusters were sought in; a smaller --min-size or --min-samples finds smaller ones."
    )


def _card_sections(path: Path, card: dict[str, Any]) -> "list[Section]":
    """A cluster's picture, and its findings as a table that can be copied."""
    from peculiar.io.pages import Picture, Table

    heading = f"Cluster {card['cluster']}"
    ids = ", ".join(card["typical"])
    alt = f"nine typical members of cluster {card['cluster']}"
    picture = Picture(path=path, alt=alt, heading=heading, caption=f"Typical members: {ids}")
    columns = ["column", "members", "others", "effect (AUROC)", "corrected p", "test", "without a value"]
    keys = ("column", "members", "others", "effect", "p_corrected", "test", "n_missing")
    rows = [[f"{row[key]:.1e}" if key == "p_corrected" else row[key] for key in keys] for row in card["sets_apart"]]
    return [picture, Table(columns=columns, rows=rows)] if rows else [picture]


def _draw_map(path: Path, fit: _Fit) -> None:
    from peculiar.figures.clusters import figure_clusters_on_map

    save_figure(figure_clusters_on_map(fit.vectors, fit.clusters.label), path)


def _draw_card(path: Path, ranking: Ranking, card: dict[str, Any]) -> None:
    import numpy as np

    from peculiar.figures.clusters import figure_cluster_card

    facts = {"objects": f"{card['n_objects']:,}"}
    facts |= {name: _range(values) for name, values in card["scores"].items()}
    facts["hint_artefact, mean"] = "none" if card["hint_artefact"] is None else f"{card['hint_artefact']:.2f}"
    findings = [
        (row["column"], row["effect"], f"{row['members']:.3g}, others {row['others']:.3g}")
        for row in card["sets_apart"]
    ]
    images = ranking.survey.images(np.array([int(each) for each in card["typical"]], np.int64))
    save_figure(figure_cluster_card(images, f"Cluster {card['cluster']}", facts, findings), path)


def _range(values: dict[str, float]) -> str:
    if not values:
        return "none"
    low, middle, high = (round(values[f"p{each}"], 2) + 0.0 for each in PERCENTILES)  # + 0.0: no -0.00
    return f"{middle:.2f}  ({low:.2f} to {high:.2f})"
