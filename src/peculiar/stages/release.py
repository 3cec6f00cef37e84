"""Write what leaves the atlas: the catalog, the selection, the paper's figures, and a report."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from peculiar.checkpoint import TrainingFolder
from peculiar.ranking import Ranking
from peculiar.run import Run, Track, begin, finish, home_of, quiet, save_figure

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

    from peculiar.io.exports import ReleaseBatch

log = logging.getLogger(__name__)
ROWS_AT_ONCE = 8_192
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

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.n_top < 0:
            raise ValueError(f"n_top must not be negative, got {self.n_top}")


def release(
    folder: Path, config: ReleaseConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `release/<name>` of the atlas in `folder`.

    `catalog.*` holds all objects, `selection.*` those that were selected, in the order first shown; the files that end
    in `_released_names` have the columns of the original's catalog; `selection.hdf5` its layout with the images.
    Everything is written anew each time, and each file is put in place whole.
    """
    ranking = Ranking(folder, config.ranking)
    home = home_of(folder, "release", name)
    order = ranking.order()
    is_selected = ranking.column(config.select_by) > config.threshold
    reads = {f"rankings/{config.ranking}": ranking.run.identity}
    is_selected[order[: config.n_top]] = True
    selected = order[is_selected[order]]
    n_selected = len(selected)
    if config.is_one_a_group:
        selected = _one_a_group(ranking, selected)
    run = begin(home, "release", config, inputs={"tables": ranking.versions}, reads=reads, replace=replace)
    if config.is_one_a_group:
        log.info("one a group: %d of %d selected are left out", n_selected - len(selected), n_selected)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    _write_tables(ranking, home, "selection", selected, rank, track)
    if config.is_full_catalog:
        _write_tables(ranking, home, "catalog", order, rank, track)
    if config.is_hdf5:
        _write_images(ranking, home, selected, config, track)
    pictures = _write_figures(ranking, home, config, track)
    _write_report(ranking, home, config, pictures, len(selected), n_selected - len(selected))
    report = (home / "report.html").relative_to(folder).as_posix()
    counts = {"n_selected": len(selected), "n_left_out": n_selected - len(selected)}
    return finish(home, run, **counts, n_objects=len(order), report=report)


def _one_a_group(ranking: Ranking, selected: np.ndarray) -> np.ndarray:
    """The first of each group among the selected, so that no galaxy is lost; what is in no group stays."""
    group_id = ranking.group_ids()[selected]
    is_first = np.zeros(len(selected), bool)
    is_first[np.unique(group_id, return_index=True)[1]] = True
    return selected[is_first | (group_id == 0)]


def _batches(ranking: Ranking, places: np.ndarray, rank: np.ndarray, schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
    """Catalog rows of objects, given by place, with their rank."""
    import pyarrow as pa

    for start in range(0, len(places), ROWS_AT_ONCE):
        part = places[start : start + ROWS_AT_ONCE]
        rows = ranking.rows(ranking.object_ids[part]).add_column(0, "rank", pa.array(rank[part]))
        yield from rows.cast(schema).combine_chunks().to_batches()


def _write_tables(ranking: Ranking, home: Path, stem: str, places: np.ndarray, rank: np.ndarray, track: Track) -> None:
    """One catalog in every format, and in the original's column names."""
    import pyarrow as pa

    from peculiar.catalog.columns import describe_schema, to_released
    from peculiar.io.exports import MAX_VOTABLE_ROWS, write_csv, write_fits, write_parquet, write_votable

    plain = pa.schema([pa.field("rank", pa.int64()), *ranking.schema])
    schema = describe_schema(plain, **ranking.weights)
    empty = to_released(pa.Table.from_batches([], schema))

    def released() -> "Iterator[pa.RecordBatch]":
        first = 0
        for batch in _batches(ranking, places, rank, schema):
            yield from to_released(pa.Table.from_batches([batch]), first_index=first).cast(empty.schema).to_batches()
            first += batch.num_rows

    writers = {"parquet": write_parquet, "fits": write_fits, "csv": write_csv, "vot": write_votable}
    if len(places) > MAX_VOTABLE_ROWS:
        del writers["vot"]
    with track(f"writing {stem}", len(writers) + 2) as advance:
        for suffix, write in writers.items():
            write(home / f"{stem}.{suffix}", schema, _batches(ranking, places, rank, schema))
            advance(1)
        for suffix, write in (("fits", write_fits), ("csv", write_csv)):
            write(home / f"{stem}_released_names.{suffix}", empty.schema, released())
            advance(1)


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

        selection = f"{config.select_by} > {config.threshold:g} or first {config.n_top}"
        write_hdf5(
            home / "selection.hdf5",
            batches(),
            image_shape=ranking.survey.form.shape,
            attributes={"selection": selection + ", one a group" * config.is_one_a_group},
            **ranking.weights,
        )


def _write_figures(ranking: Ranking, home: Path, config: ReleaseConfig, track: Track) -> dict[str, str]:
    """The paper's figures of this atlas; returns their file names and captions."""
    from peculiar.figures import figure_scores

    folder = home / "figures"
    folder.mkdir(exist_ok=True)
    sigmas = [ranking.column(f"score_{each}_sigma") for each in ("gen", "disc", "anom")]
    makers: dict[str, Callable[[], Figure]] = {
        "top": lambda: _figure_top(ranking),
        "scores": lambda: figure_scores(*sigmas),
        "rows": lambda: _figure_rows(ranking, sigmas[2]),
        "disagreement": lambda: _figure_disagreement(ranking, {"score_disc": sigmas[1], "score_gen": sigmas[0]}),
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


def _figure_top(ranking: Ranking) -> "Figure":
    from peculiar.figures import figure_top

    order = ranking.order()[:25]
    ids, values = ranking.object_ids[order], ranking.column(ranking.first_shown)[order]
    made, left = ranking.reconstructions(ids), ranking.residuals(ids)
    return figure_top(ranking.survey.images(ids), ids, values, made, left, value_name=ranking.first_shown)


def _figure_rows(ranking: Ranking, sigma: np.ndarray) -> "Figure":
    from peculiar.figures import figure_rows
    from peculiar.survey import hashed

    shuffled = np.argsort(hashed(ranking.object_ids, 2), kind="stable")
    places = [shuffled[(sigma[shuffled] >= low) & (sigma[shuffled] < high)][:N_EXAMPLES] for low, high in ROW_RANGES]
    chosen = np.concatenate(places)
    ids = ranking.object_ids[chosen]
    images = ranking.survey.images(ids), ranking.reconstructions(ids), ranking.residuals(ids)
    return figure_rows(*images, sigma[chosen], ROW_RANGES, object_ids=ids, n_examples=N_EXAMPLES)


def _figure_disagreement(ranking: Ranking, sigmas: dict[str, np.ndarray]) -> "Figure":
    from peculiar.figures import choose_disagreement, figure_disagreement

    n_top = max(25, len(ranking) // 100)
    panels = choose_disagreement(sigmas, n_top=n_top)
    return figure_disagreement(
        {name: (ranking.survey.images(ranking.object_ids[rows]), None) for name, rows in panels.items()}, n_across=2
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


def _correlations(ranking: Ranking) -> list[list[str | float]]:
    """Every score's rank correlation with brightness and size: a score that ranks those finds bright and big things."""
    from peculiar.scoring.evaluation import rank_correlation
    from peculiar.scoring.scores import SCORES
    from peculiar.survey import hashed

    sample = np.argsort(hashed(ranking.object_ids, 4), kind="stable")[:N_COMPARED]
    brightness, radius = (ranking.column(name)[sample] for name in ("brightness", "radius"))
    names = [*SCORES, *(f"{name}_conditional" for name in SCORES), "score_pca", "brightness", "radius"]
    rows: list[list[str | float]] = []
    for name in names:
        values = ranking.column(name)[sample]
        rows.append([name, rank_correlation(values, brightness), rank_correlation(values, radius)])
    return rows


def _write_report(
    ranking: Ranking, home: Path, config: ReleaseConfig, captions: dict[str, str], n_selected: int, n_left_out: int
) -> None:
    from peculiar.io.pages import Facts, Picture, Section, Table, write_page

    facts = {
        "objects": len(ranking),
        f"selected by {config.select_by} > {config.threshold:g} or first {config.n_top}": n_selected,
        **({"left out, as others of their groups are listed": n_left_out} if config.is_one_a_group else {}),
        "above 3 sigma in score_disc": int((ranking.column("score_disc_sigma") > 3).sum()),
        **{name.replace("_", " "): value for name, value in ranking.weights.items()},
    }
    correlations = Table(
        heading="What the scores rank",
        columns=["order", "rank correlation with brightness", "with light-weighted radius"],
        rows=_correlations(ranking),
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
    provenance = {
        "reference": ranking.run.outputs["reference"],
        **{f"digest of {which}": ranking.scored.inputs[which] for which in ranking.scored.outputs["networks"]},
        "scored on": ranking.scored.outputs["machine"],
        **ranking.scored.packages,
    }
    files = ", ".join(
        sorted(path.name for path in home.iterdir() if path.suffix in (".parquet", ".fits", ".csv", ".vot", ".hdf5"))
    )
    sections: list[Section] = [Facts(items=facts, heading="In short"), pictures["top"], correlations, *others]
    write_page(
        home / "report.html",
        f"{ranking.folder.resolve().name}: the objects that do not fit",
        sections,
        subtitle=f"Files beside this page: {files}",
        provenance=provenance,
    )
