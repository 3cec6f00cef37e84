"""Write what leaves the atlas: the catalog, the selection, the paper's figures, and a report."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from peculiar import products
from peculiar.checkpoint import TrainingFolder
from peculiar.ranking import Ranking
from peculiar.run import Run, Track, at_least, begin, finish, home_of, quiet, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from peculiar.io.exports import ReleaseBatch
    from peculiar.io.product_pages import Written

log = logging.getLogger(__name__)
IMAGES_AT_ONCE = 256
N_SAMPLES = 36
N_COMPARED = 200_000  # objects that figures and rank correlations are made of, at most: a sample by hash
ROW_RANGES = ((-np.inf, -1.0), (-0.5, 0.5), (1.0, 2.0), (3.0, np.inf))  # sigma; after Storey-Fisher 2021, Fig. 2
N_EXAMPLES = 6


@dataclass(frozen=True, kw_only=True)
class ReleaseConfig:
    """What `release` can be told."""

    ranking: Annotated[str, "name of the ranking to release"] = "main"
    select_by: Annotated[str, "score that the selection is made by"] = "score_disc_sigma"
    threshold: Annotated[float, "objects above this are selected"] = 3.0
    n_top: Annotated[int, "and so many first of the order that is shown first"] = 100
    is_full_catalog: Annotated[bool, "write all objects in every format, not the selection alone"] = True
    is_one_a_group: Annotated[bool, "of each group list the first alone; peculiar group makes them"] = False
    is_hdf5: Annotated[bool, "write images, reconstructions and residuals of the selection as HDF5"] = True
    where: Annotated[str, "only objects that pass this filter are listed, such as 'is_masked = 0'; empty: all"] = ""
    formats: products.Formats = ("parquet", "fits", "votable", "csv")
    title: products.Title = ""
    creators: products.Creators = ""
    license: products.License = ""
    doi: products.Doi = ""
    version: products.Version = ""

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 0, "n_top")
        products.check(self)


def release(
    folder: Path, config: ReleaseConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `release/<name>` of the atlas in `folder`.

    `catalog.*` holds all objects, `selection.*` those that were selected, in the order first shown; the files that end
    in `_released_names` have the columns of the original's catalog; `selection.hdf5` its layout with the images.
    `report.html` shows them; `index.html` says what each file is, `croissant.json` says it to machines, `SHA256SUMS`
    lets both check them. What does not pass `where` is in neither catalog nor selection, and the report says how many
    that are; `rank` is the place among all. Everything is written anew each time, and each file is put in place whole.
    """
    products.check_installed(config.formats)
    ranking = Ranking(folder, config.ranking)
    home = home_of(folder, "release", name)
    order = ranking.order()
    order = order[products.passing(ranking, config.where)[order]]
    is_selected = ranking.column(config.select_by) > config.threshold
    reads = {f"rankings/{config.ranking}": ranking.run.identity}
    is_selected[order[: config.n_top]] = True
    selected = order[is_selected[order]]
    n_selected = len(selected)
    if config.is_one_a_group:
        selected = products.one_a_group(ranking, selected)
    run = begin(home, "release", config, inputs={"tables": ranking.versions}, reads=reads, replace=replace)
    if config.is_one_a_group:
        log.info("one a group: %d of %d selected are left out", n_selected - len(selected), n_selected)
    tables = _write_tables(ranking, home, config, selected, order, track)
    if config.is_hdf5:
        _write_images(ranking, home, selected, config, track)
    pictures = _write_figures(ranking, home, order, track)
    counts = {
        "n_selected": len(selected),
        "n_left_out": n_selected - len(selected),
        "n_excluded": len(ranking) - len(order),
    }
    _write_report(ranking, home, config, order, pictures, counts)
    _describe(ranking, home, config, tables, counts, track)
    report = (home / "report.html").relative_to(folder).as_posix()
    return finish(home, run, **counts, n_objects=len(order), report=report)


def _selected_by(config: ReleaseConfig) -> str:
    return f"{config.select_by} > {config.threshold:g} or first {config.n_top}"


def _write_tables(
    ranking: Ranking, home: Path, config: ReleaseConfig, selected: np.ndarray, order: np.ndarray, track: Track
) -> "list[Written]":
    """The selection, and the catalog of all that are listed, in every format and in the original's columns."""
    parts = {}
    if config.is_full_catalog:
        parts["catalog"] = (order, f"all objects with {config.where}" if config.where else "all objects")
    parts["selection"] = (selected, f"objects with {_selected_by(config)}" + ", one a group" * config.is_one_a_group)
    return [
        products.write_table(
            ranking,
            home,
            stem,
            places,
            formats=config.formats,
            description=description,
            schema=products.described_schema(ranking),
            has_released_names=True,
            facts=products.hats_facts(config),
            track=track,
        )
        for stem, (places, description) in parts.items()
    ]


def _describe(
    ranking: Ranking,
    home: Path,
    config: ReleaseConfig,
    tables: "list[Written]",
    counts: dict[str, int],
    track: Track,
) -> None:
    """`index.html`, `croissant.json`, `SHA256SUMS`."""
    from peculiar.io.product_pages import describe_product

    listed = len(ranking) - counts["n_excluded"]
    atlas = ranking.folder.resolve().name
    describe_product(
        home,
        tables,
        name=f"{atlas}: data release",
        description=f"{counts['n_selected']:,} selected of {listed:,} objects of the atlas {atlas}, with their scores",
        credit=products.credit_of(config),
        facts={
            "objects": listed,
            **({f"not listed, as they do not pass {config.where}": counts["n_excluded"]} if config.where else {}),
            f"selected by {_selected_by(config)}": counts["n_selected"],
            "columns": len(tables[0].schema),
        },
        provenance=products.provenance_of(ranking),
        links={"The report: figures and what the scores rank": "report.html"},
        track=track,
    )


def _write_images(ranking: Ranking, home: Path, places: np.ndarray, config: ReleaseConfig, track: Track) -> None:
    """The selection in the layout of the original's HDF5 file."""
    from peculiar.io.exports import RELEASED_SCORES, ReleaseBatch, write_hdf5

    with track("writing images of the selection", len(places)) as advance:

        def batches() -> "Iterator[ReleaseBatch]":
            for start in range(0, len(places), IMAGES_AT_ONCE):
                ids = ranking.object_ids[places[start : start + IMAGES_AT_ONCE]]
                rows = ranking.rows(ids)
                scores = {name: rows[name].to_numpy() for name in RELEASED_SCORES.values()}
                yield ReleaseBatch(ids, scores, ranking.survey.images(ids), ranking.reconstructions(ids))
                advance(len(ids))

        selection = _selected_by(config) + ", one a group" * config.is_one_a_group
        write_hdf5(
            home / "selection.hdf5",
            batches(),
            image_shape=ranking.survey.form.shape,
            attributes={"selection": selection + (f", where {config.where}" if config.where else "")},
            **ranking.weights,
        )


def _write_figures(ranking: Ranking, home: Path, order: np.ndarray, track: Track) -> dict[str, str]:
    """The paper's figures of the objects that are listed; returns their file names and captions."""
    from peculiar.figures import figure_scores

    folder = home / "figures"
    folder.mkdir(exist_ok=True)
    listed = np.sort(order)
    ids = ranking.object_ids[listed]
    sigmas = [ranking.column(f"score_{each}_sigma")[listed] for each in ("gen", "disc", "anom")]
    makers: dict[str, Callable[[], Figure]] = {
        "top": lambda: _figure_top(ranking, order[:25]),
        "scores": lambda: figure_scores(*sigmas),
        "rows": lambda: _figure_rows(ranking, ids, sigmas[2]),
        "disagreement": lambda: _figure_disagreement(ranking, ids, {"score_disc": sigmas[1], "score_gen": sigmas[0]}),
        "samples": lambda: _figure_samples(ranking),
        "losses": lambda: _figure_losses(ranking),
    }
    captions = {
        "top": f"The first 25 by {ranking.first_shown}: image, reconstruction, residual.",
        "scores": "The three scores in sigma of the reference, and the critic's against the generator's (Fig. 3).",
        "rows": "Image, reconstruction and residual in ranges of score_anom_sigma (Fig. 2).",
        "disagreement": "What each score finds, and what one takes and the other misses (Fig. 4).",
        "samples": "Images of the survey beside what the generator draws (Fig. 1).",
        "losses": "The course of training.",
    }
    with track("drawing figures", len(makers)) as advance:
        for key, make in makers.items():
            save_figure(make(), folder / f"{key}.png")
            advance(1)
    return captions


def _figure_top(ranking: Ranking, order: np.ndarray) -> "Figure":
    from peculiar.figures import figure_top

    ids, values = ranking.object_ids[order], ranking.column(ranking.first_shown)[order]
    made, left = ranking.reconstructions(ids), ranking.residuals(ids)
    return figure_top(ranking.survey.images(ids), ids, values, made, left, value_name=ranking.first_shown)


def _figure_rows(ranking: Ranking, object_ids: np.ndarray, sigma: np.ndarray) -> "Figure":
    from peculiar.figures import figure_rows
    from peculiar.survey import hashed

    shuffled = np.argsort(hashed(object_ids, 2), kind="stable")
    places = [shuffled[(sigma[shuffled] >= low) & (sigma[shuffled] < high)][:N_EXAMPLES] for low, high in ROW_RANGES]
    chosen = np.concatenate(places)
    ids = object_ids[chosen]
    images = ranking.survey.images(ids), ranking.reconstructions(ids), ranking.residuals(ids)
    return figure_rows(*images, sigma[chosen], ROW_RANGES, object_ids=ids, n_examples=N_EXAMPLES)


def _figure_disagreement(ranking: Ranking, object_ids: np.ndarray, sigmas: dict[str, np.ndarray]) -> "Figure":
    from peculiar.figures import choose_disagreement, figure_disagreement

    n_top = max(25, len(object_ids) // 100)
    panels = choose_disagreement(sigmas, n_top=n_top)
    return figure_disagreement(
        {name: (ranking.survey.images(object_ids[rows]), None) for name, rows in panels.items()}, n_across=2
    )


def _figure_samples(ranking: Ranking) -> "Figure":
    """Real images drawn by hash, and images of random latents."""
    from peculiar import engine

    engine.tune()
    from peculiar.checkpoint import load_network
    from peculiar.figures import figure_samples
    from peculiar.networks.gan import Generator

    path = ranking.folder / ranking.scored.outputs["networks"]["gan"]
    generator = load_network(path, "generator", Generator)
    machine = engine.machine()
    machine.place(generator)
    latent = np.random.default_rng(0).standard_normal((N_SAMPLES, generator.n_latent)).astype(np.float32)
    real = ranking.survey.images(ranking.facts.sample(N_SAMPLES, seed=3))
    return figure_samples(real, machine.reconstruct(generator, latent))


def _figure_losses(ranking: Ranking) -> "Figure":
    from peculiar.figures import figure_losses

    folder = TrainingFolder(home_of(ranking.folder, "networks", ranking.scored.config["gan"]))
    return figure_losses(folder.curves(), x="step")


def _correlations(ranking: Ranking, order: np.ndarray) -> list[list[str | float]]:
    """Every score's rank correlation with brightness and size: a score that ranks those finds bright and big things."""
    from peculiar.scoring.evaluation import rank_correlation
    from peculiar.scoring.scores import SCORES
    from peculiar.survey import hashed

    sample = order[np.argsort(hashed(ranking.object_ids[order], 4), kind="stable")[:N_COMPARED]]
    brightness, radius = (ranking.column(name)[sample] for name in ("brightness", "radius"))
    names = [*SCORES, *(f"{name}_conditional" for name in SCORES), "score_pca", "brightness", "radius"]
    rows: list[list[str | float]] = []
    for name in names:
        values = ranking.column(name)[sample]
        rows.append([name, rank_correlation(values, brightness), rank_correlation(values, radius)])
    return rows


def _write_report(
    ranking: Ranking,
    home: Path,
    config: ReleaseConfig,
    order: np.ndarray,
    captions: dict[str, str],
    counts: dict[str, int],
) -> None:
    from peculiar.io.pages import Facts, Picture, Section, Table, write_page
    from peculiar.io.product_pages import PAGE

    facts = {
        "objects": len(order),
        **({f"not listed, as they do not pass {config.where}": counts["n_excluded"]} if config.where else {}),
        f"selected by {_selected_by(config)}": counts["n_selected"],
        **({"left out, as others of their groups are listed": counts["n_left_out"]} if config.is_one_a_group else {}),
        "above 3 sigma in score_disc": int((ranking.column("score_disc_sigma")[order] > 3).sum()),
        **{name.replace("_", " "): value for name, value in ranking.weights.items()},
    }
    correlations = Table(
        heading="What the scores rank",
        columns=["order", "rank correlation with brightness", "with light-weighted radius"],
        rows=_correlations(ranking, order),
        caption="Spearman's. A score near 1 finds bright or big objects; the conditional forms compare each object "
        f"with those like it. The order first shown is {ranking.first_shown}; "
        "the last three rows are baselines without a network.",
    )
    headings = {"top": "The first 25", "scores": "Scores", "rows": "Reconstructions", "samples": "Generated images"}
    headings |= {"disagreement": "What scores agree on", "losses": "Training"}
    pictures = {
        key: Picture(path=home / "figures" / f"{key}.png", alt=text, heading=headings.get(key, key), caption=text)
        for key, text in captions.items()
    }
    others = [picture for key, picture in pictures.items() if key != "top"]
    suffixes = (".parquet", ".fits", ".csv", ".vot", ".hdf5")
    files = ", ".join(sorted(path.name for path in home.iterdir() if path.suffix in suffixes))
    sections: list[Section] = [Facts(items=facts, heading="In short"), pictures["top"], correlations, *others]
    write_page(
        home / "report.html",
        f"{ranking.folder.resolve().name}: the objects that do not fit",
        sections,
        subtitle=f"Files beside this page: {files}",
        provenance=products.provenance_of(ranking),
        links={"What each file is, its columns, how to read and check it": PAGE},
        links_label="With it",
    )
