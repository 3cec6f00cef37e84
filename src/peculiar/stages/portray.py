"""Draw what characterizing found: maps, galleries, histograms, what the autoencoders keep; one page of all of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from peculiar.feature_set import FeatureSet, feature_sets
from peculiar.ranking import Ranking
from peculiar.run import Run, Track, at_least, begin, finish, home_of, quiet, read_run, save_figure
from peculiar.survey import Table

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from peculiar.io.pages import Picture

COMPARED = ("pixels", "residual-pixels", "image", "residual")  # Storey-Fisher 2021, Fig. 6
N_DECODED = 1_000  # objects that an autoencoder is judged on
N_IN_BOX = 9
MOST_LABELS, N_OF_LABEL = 8, 10  # labels in the figure, the commonest first, and objects of each
JUDGED_BY = ("score_disc", "score_anom")  # what `map` tells the quality of a map by


@dataclass(frozen=True, kw_only=True)
class PortrayConfig:
    """What `portray` can be told."""

    ranking: Annotated[str, "name of the ranking that is shown"] = "main"
    by: Annotated[str, "order of the galleries, and the images of the map; empty: the first shown"] = ""
    color: Annotated[str, "column that the maps are colored by; the paper's is score_disc"] = "score_disc"
    map: Annotated[str, "map that is looked into; empty: residual, or the first there is"] = ""
    labels: Annotated[Path, "table of object_id and label, to show what people said on the map"] = Path()
    n_shown: Annotated[int, "objects in a gallery"] = 25
    seed: Annotated[int, "seed of the members that are shown of a box"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "n_shown")


@dataclass(frozen=True)
class _Map:
    """A finished map, its objects in the ranking's order; places are NaN for those that it does not have."""

    places: "np.ndarray"
    quality: dict[str, float | None]


def portray(
    folder: Path, config: PortrayConfig, *, name: str = "main", replace: bool = True, track: Track = quiet
) -> Run:
    """Fill `portraits/<name>`: figures of all complete maps, feature sets and scores, and `portraits.html`.

    Figures are PNG and PDF, light and (NAME-dark) dark. What the atlas does not have is not there: no map, no Fig. 6.

    Raises
    ------
    KeyError
        A column to order or to color by is not in the ranking, or there is no such map; then nothing is begun.
    """
    ranking = Ranking(folder, config.ranking)
    if not config.by:
        config = replaced(config, by=ranking.first_shown)
    color, by = ranking.column(config.color), ranking.column(config.by)
    home = home_of(folder, "portraits", name)
    maps = {each: _read_map(folder, ranking, each) for each in _map_names(folder)}
    if config.map and config.map not in maps:
        raise KeyError(f"no map {config.map!r}; there are {', '.join(maps) or 'none'}")
    said = _read_labels(config.labels, ranking) if config.labels != Path() else {}
    reads = {f"rankings/{config.ranking}": ranking.run.identity}
    run = begin(home, "portray", config, inputs={"tables": ranking.versions}, reads=reads, replace=replace)
    pictures: list[Picture] = []
    with track("drawing", None) as advance:
        for section in (
            _galleries(ranking, by, config),
            _compared_maps(maps, color, config),
            _one_map(ranking, maps, color, by, config),
            _labelled(ranking, maps, said, config),
            _autoencoders(folder, ranking, config),
            _histograms(ranking),
        ):
            for stem, heading, draw in section:
                pictures.append(_drawn(home, stem, heading, draw))
                advance(1)
    page = _write_page(home, ranking, maps, pictures)
    return finish(home, run, page=page.relative_to(folder).as_posix(), n_figures=len(pictures))


Drawing = tuple[str, str, "Callable[[bool], Figure]"]  # file name, heading, what draws it, perhaps dark already


def _galleries(ranking: Ranking, by: "np.ndarray", config: PortrayConfig) -> "Iterator[Drawing]":
    from peculiar.figures.galleries import choose_extremes, figure_gallery

    anomalies, nominals = choose_extremes(by, config.n_shown)
    for stem, kind, rows in (("anomalies", "most", anomalies), ("nominals", "least", nominals)):
        ids = ranking.object_ids[rows]
        captions = [f"{each}\n{value:.2f}" for each, value in zip(ids, by[rows], strict=True)]
        heading = f"The {len(ids)} {kind} anomalous by {config.by}"

        def draw(_: bool, ids: "np.ndarray" = ids, captions: list[str] = captions, heading: str = heading) -> "Figure":
            return figure_gallery(ranking.survey.images(ids), captions, heading)

        yield stem, heading, draw


def _compared_maps(maps: dict[str, _Map], color: "np.ndarray", config: PortrayConfig) -> "Iterator[Drawing]":
    from peculiar.figures.maps import figure_maps_compared

    there = [each for each in COMPARED if each in maps]
    if len(there) < 2:
        return
    qualities = {each: value for each in there if (value := maps[each].quality.get(config.color)) is not None}
    heading = f"The same objects laid out by {', '.join(there)}"
    places = {each: maps[each].places for each in there}

    def draw(is_dark: bool) -> "Figure":
        return figure_maps_compared(places, color, name=config.color, qualities=qualities or None, is_dark=is_dark)

    yield "maps", heading, draw


def _one_map(
    ranking: Ranking, maps: dict[str, _Map], color: "np.ndarray", by: "np.ndarray", config: PortrayConfig
) -> "Iterator[Drawing]":
    import numpy as np

    from peculiar.figures.maps import choose_map_images, figure_map_boxes, figure_map_images
    from peculiar.maps.placing import find_boxes, is_in_box

    name = _shown_map(maps, config)
    if not name:
        return
    places = maps[name].places
    boxes = find_boxes(places, color)
    random = np.random.default_rng(config.seed % 2**64)
    members = [np.flatnonzero(is_in_box(places, box)) for box in boxes]
    chosen = [random.permutation(each)[:N_IN_BOX] for each in members]

    def with_boxes(_: bool) -> "Figure":
        images = [ranking.survey.images(ranking.object_ids[each]) for each in chosen]
        return figure_map_boxes(places, boxes, images, values=color, name=config.color)

    def with_images(is_dark: bool) -> "Figure":
        rows = choose_map_images(places, by)
        images = ranking.survey.images(ranking.object_ids[rows])
        title = f"{name}: in each place the first by {config.by}"
        return figure_map_images(places, rows, images, title=title, is_dark=is_dark)

    yield "boxes", f"Places on the map {name}, and members of each", with_boxes
    yield "map-images", f"The map {name}, drawn with its images", with_images


def _shown_map(maps: dict[str, _Map], config: PortrayConfig) -> str:
    return config.map or ("residual" if "residual" in maps else next(iter(maps), ""))


def _read_labels(path: Path, ranking: Ranking) -> dict[int, str]:
    """What most votes say of each object that is ranked, by id; of equal ones the first in the alphabet."""
    from collections import Counter, defaultdict

    from peculiar.io.ids import find_column
    from peculiar.io.tables import read_table
    from peculiar.learning import classes_of, ids_of

    table = read_table(path, text_columns=("label",))
    column = find_column(table.column_names, ["label"])
    if column is None:
        raise ValueError(f"{path} has no column label; it has {', '.join(table.column_names)}")
    ids, has_id = ids_of(table, path)
    votes: dict[int, Counter[str]] = defaultdict(Counter)
    known = set(ranking.object_ids.tolist())
    for object_id, is_one, label in zip(ids.tolist(), has_id.tolist(), classes_of(table[column]), strict=True):
        if is_one and label and object_id in known:
            votes[object_id][label] += 1
    if not votes:
        raise ValueError(f"{path} has no label of a ranked object; check its ids")
    return {object_id: max(sorted(said), key=said.__getitem__) for object_id, said in votes.items()}


def _labelled(
    ranking: Ranking, maps: dict[str, _Map], said: dict[int, str], config: PortrayConfig
) -> "Iterator[Drawing]":
    import numpy as np

    from peculiar.figures.galleries import figure_labels

    name = _shown_map(maps, config)
    if not said or not name:
        return
    labels = [said.get(each, "") for each in ranking.object_ids.tolist()]
    of_label = {label: np.array([each for each in said if said[each] == label]) for label in sorted(set(said.values()))}
    commonest = sorted(of_label, key=lambda label: (-len(of_label[label]), label))[:MOST_LABELS]

    def draw(_: bool) -> "Figure":
        images = {label: ranking.survey.images(of_label[label][:N_OF_LABEL]) for label in commonest}
        return figure_labels(maps[name].places, labels, images, map_name=f"the map {name}")

    yield "labels", f"What people said, on the map {name}", draw


def _autoencoders(folder: Path, ranking: Ranking, config: PortrayConfig) -> "Iterator[Drawing]":
    from peculiar.figures.quality import figure_decoded
    from peculiar.scoring.measures import measure

    for name in feature_sets(folder):
        features = FeatureSet(folder, name)
        if features.run.outputs["kind"] != "autoencoder":
            continue
        ids = features.table.sample(N_DECODED, seed=config.seed)
        is_residual = features.run.outputs["provenance"]["of"] == "residual"

        def draw(
            _: bool, ids: "np.ndarray" = ids, features: FeatureSet = features, is_residual: bool = is_residual
        ) -> "Figure":
            originals = ranking.residuals(ids) if is_residual else ranking.survey.images(ids)
            decoded = features.decoded(ids)
            sizes = measure(originals)["radius"], measure(decoded)["radius"]
            return figure_decoded(originals, decoded, sizes, name=f"autoencoder {features.name}")

        yield f"decoded-{name}", f"What the autoencoder {name} gives back", draw


def _histograms(ranking: Ranking) -> "Iterator[Drawing]":
    from peculiar.figures.galleries import figure_score_histograms

    columns = {each: ranking.column(each) for each in ranking.orders}
    yield "scores", "Every score", lambda _: figure_score_histograms(columns)


def _map_names(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in (folder / "maps").glob("*/run.json"))


def _read_map(folder: Path, ranking: Ranking, name: str) -> _Map:
    import numpy as np

    home = home_of(folder, "maps", name)
    run = read_run(home)
    rows = Table(home / "table.lance").take(ranking.object_ids, ["map_x", "map_y"], is_complete=False)
    columns = [rows[each].to_numpy(zero_copy_only=False).astype(np.float64) for each in ("map_x", "map_y")]
    return _Map(np.stack(columns, axis=1), run.outputs["quality"] if run else {})


def _drawn(home: Path, stem: str, heading: str, draw: "Callable[[bool], Figure]") -> "Picture":
    """Every figure as PNG and PDF, light and dark."""
    from peculiar.figures.style import darkened
    from peculiar.io.pages import Picture

    for ending, figure in (("", draw(False)), ("-dark", darkened(draw(True)))):
        for suffix in ("png", "pdf"):
            save_figure(figure, home / f"{stem}{ending}.{suffix}")
    return Picture(path=home / f"{stem}.png", alt=heading, heading=heading)


def _write_page(home: Path, ranking: Ranking, maps: dict[str, _Map], pictures: "list[Picture]") -> Path:
    from peculiar.io.pages import Section, Table, write_page

    sections: list[Section] = [*pictures]
    rows: list[list[Any]] = [[name, *map(each.quality.get, JUDGED_BY)] for name, each in maps.items()]
    if rows:
        caption = "Cross-validated R2 of the score's ranks, predicted from the nearest on the map; 1 is perfect."
        columns = ["map", *JUDGED_BY]
        sections.insert(2, Table(columns=columns, rows=rows, heading="What a place tells", caption=caption))
    path = home / "portraits.html"
    write_page(path, "Kinds of things", sections, subtitle=f"{len(ranking):,} objects", provenance=ranking.weights)
    return path
