"""Find every object's latent, and from it the anomaly scores. METHOD.md sect. 3 and 8."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from peculiar.checkpoint import TrainingFolder, file_digest, load_network, load_tensors, save_tensors
from peculiar.run import (
    Run,
    Track,
    at_least,
    atomic,
    begin,
    finish,
    home_of,
    positive,
    quiet,
    read_run,
    read_started,
    save_figure,
)
from peculiar.survey import Survey, Table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from peculiar.engine import Machine
    from peculiar.scoring.measures import PixelPCA

log = logging.getLogger(__name__)
COMMIT_ROWS = 2048  # objects a commit: what a kill loses at most
N_SHOWN = 20  # objects that each weight of a sweep puts first
SCAN_ROWS = 128  # images at once: some tens of MB in every form they take


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What `score` can be told."""

    gan: Annotated[str, "name of the generator and critic"] = "gan"
    encoder: Annotated[str, "name of the encoder"] = "encoder"
    checkpoint: Annotated[int, "step of the generator and critic; 0 for the newest"] = 0
    start: Annotated[Literal["encoder", "random"], "where the search for a latent starts"] = "encoder"
    n_latent_steps: Annotated[int, "Adam steps from the start; the best one is kept"] = 10
    latent_rate: Annotated[float, "Adam's rate; the paper has 0.1, which is unstable"] = 0.03
    reconstruction_weight: Annotated[float, "lambda_anom that the latent is found with, Eq. 6"] = 0.3
    seed: Annotated[int, "seed of random starts and of the sample that the pixel PCA is found on"] = 0
    device: Annotated[str, "auto, cpu, cuda or mps"] = field(default="auto", compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.reconstruction_weight <= 1:
            raise ValueError(f"reconstruction_weight must be from 0 to 1, got {self.reconstruction_weight}")
        at_least(self, 0, "n_latent_steps")
        positive(self, "latent_rate")


def score(folder: Path, config: ScoreConfig, *, name: str = "main", replace: bool = False, track: Track = quiet) -> Run:
    """Fill `scores/<name>` of the atlas in `folder`: what is missing of it.

    `table.lance` holds facts, which no other object changes: object_id, latent, score_gen and score_disc there, the
    image measures and the pixel PCA's error. What is relative to other objects is the stage `rank`'s.

    Raises
    ------
    ValueError
        The table was made with other networks; scores of two networks must never stand in one table.
    """
    from peculiar import engine

    engine.tune()
    survey = Survey(folder / "survey" / "table.lance")
    home = home_of(folder, "scores", name)
    paths = _network_paths(folder, config)
    digests = {which: file_digest(path) for which, path in paths.items()}
    _refuse_other_networks(home, digests, replace)
    run = begin(home, "score", config, inputs={"survey": survey.version, **digests}, replace=replace)
    machine = engine.machine(config.device)
    scorer = _Scorer(survey, config, paths, machine, home)
    _score_missing(survey, home, scorer, track)
    places = {which: path.relative_to(folder).as_posix() for which, path in paths.items()}
    return finish(home, run, n_objects=len(survey), machine=str(machine), networks=places)


def _network_paths(folder: Path, config: ScoreConfig) -> dict[str, Path]:
    return {
        "gan": TrainingFolder(home_of(folder, "networks", config.gan)).checkpoint_path(config.checkpoint),
        "encoder": TrainingFolder(home_of(folder, "networks", config.encoder)).checkpoint_path(),
    }


def _refuse_other_networks(home: Path, digests: dict[str, str], replace: bool) -> None:
    before = read_run(home) or read_started(home)
    if before is None or replace:
        return
    pinned = {which: before.inputs[which] for which in digests}
    if pinned != digests:
        raise ValueError(
            f"{home} was scored with networks {pinned}, and they are now {digests}; "
            "score under another --name, or with --replace"
        )


class _Scorer:
    """The networks, and what they make of a batch of stored images."""

    def __init__(
        self, survey: Survey, config: ScoreConfig, paths: dict[str, Path], machine: "Machine", home: Path
    ) -> None:
        from peculiar.networks.encoder import Encoder
        from peculiar.networks.gan import Critic, Generator

        self.config, self.machine = config, machine
        self.generator: Generator = load_network(paths["gan"], "generator", Generator)
        self.critic: Critic = load_network(paths["gan"], "critic", Critic)
        self.encoder: Encoder = load_network(paths["encoder"], "encoder", Encoder)
        for network in (self.generator, self.critic, self.encoder):
            machine.place(network)
        self.quick_generator, self.quick_critic = machine.frozen(self.generator), machine.frozen(self.critic)
        self.pca = _pixel_pca(survey, home, config.seed)
        self.form = survey.form

    def reconstruct(
        self, object_id: "np.ndarray", images: "np.ndarray", weight: float
    ) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
        """The best latent of every image, float32 (n, n_latent), and there score_gen and score_disc.

        The search runs in the machine's precision; the scores are float32: facts that can be checked.
        """
        import torch

        from peculiar.scoring.reconstruction import anomaly_terms, find_latents, in_batches

        @torch.no_grad()
        def reconstruct(batch: torch.Tensor, *start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            with self.machine.precision():
                first = start[0] if start else self.encoder(batch)
            critic_features = self.critic.features(batch)
            latent = find_latents(
                batch,
                critic_features,
                first,
                self.quick_generator,
                self.quick_critic.features,
                reconstruction_weight=weight,
                n_steps=self.config.n_latent_steps,
                learning_rate=self.config.latent_rate,
                precision=self.machine.precision,
            )
            return latent, *anomaly_terms(batch, critic_features, self.generator(latent), self.critic.features)

        start = [torch.from_numpy(each).to(self.machine.device) for each in self._starts(object_id)]
        latent, gen, disc = in_batches(reconstruct, self.machine.tensor(images), *start)
        return latent.cpu().numpy(), gen.cpu().numpy(), disc.cpu().numpy()

    def _starts(self, object_id: "np.ndarray") -> "list[np.ndarray]":
        """Random starts, one an object whatever its company; none where the encoder gives them."""
        import numpy as np

        if self.config.start == "encoder":
            return []
        draws = [np.random.default_rng([self.config.seed % 2**64, int(each) % 2**64]) for each in object_id]
        return [np.stack([each.standard_normal(self.generator.n_latent, np.float32) for each in draws])]

    def schema(self) -> "pa.Schema":
        """Columns of the table of facts."""
        import pyarrow as pa

        from peculiar.scoring.measures import MEASURES

        numbers = ["score_gen", "score_disc", "score_pca", *MEASURES]
        latent = pa.list_(pa.float32(), self.generator.n_latent)
        fields = [("object_id", pa.int64()), ("latent", latent), *((each, pa.float32()) for each in numbers)]
        weight = f"{self.config.reconstruction_weight:g}".encode()
        return pa.schema(fields, metadata={b"reconstruction_weight": weight})

    def facts(self, object_id: "np.ndarray", images: "np.ndarray") -> "pa.RecordBatch":
        """The rows of a batch of objects."""
        import pyarrow as pa

        from peculiar.scoring.measures import measure

        latent, gen, disc = self.reconstruct(object_id, images, self.config.reconstruction_weight)
        columns: dict[str, Any] = {
            "object_id": pa.array(object_id),
            "latent": pa.FixedSizeListArray.from_arrays(pa.array(latent.reshape(-1)), latent.shape[1]),
            "score_gen": gen,
            "score_disc": disc,
            "score_pca": self.pca.score(images),
            **measure(images),
        }
        schema = self.schema()
        return pa.record_batch([pa.array(columns[each]) for each in schema.names], schema=schema)


def _pixel_pca(survey: Survey, home: Path, seed: int) -> "PixelPCA":
    """The components that were kept with the scores; found on a sample of the survey the first time."""
    from peculiar.scoring.measures import PixelPCA, fit_pixel_pca, n_pca_images

    path = home / "pixel_pca.safetensors"
    if not path.exists():
        import torch

        n_images = n_pca_images(survey.form.size**2 * survey.form.channels)
        pca = fit_pixel_pca(survey.images(survey.sample(n_images, seed=seed)))
        save_tensors(path, {"mean": torch.from_numpy(pca.mean), "components": torch.from_numpy(pca.components)})
    tensors, _ = load_tensors(path)
    return PixelPCA(tensors["mean"].numpy(), tensors["components"].numpy())


def _score_missing(survey: Survey, home: Path, scorer: _Scorer, track: Track) -> None:
    """Append the facts of every object that has none."""
    import numpy as np

    table = Table(home / "table.lance")
    with track("scoring", len(survey)) as advance:
        advance(len(table))

        def facts() -> "Iterator[pa.RecordBatch]":
            for batch in survey.scan(["object_id", "image"], batch_size=SCAN_ROWS, but_not=table):
                object_id = batch["object_id"].to_numpy().astype(np.int64)
                yield scorer.facts(object_id, survey.images_of(batch))
                advance(batch.num_rows)

        table.append_in_commits(facts(), scorer.schema(), n_rows=COMMIT_ROWS)


def sweep_weights(
    folder: Path, config: ScoreConfig, weights: tuple[float, ...], n_sample: int, *, name: str, track: Track = quiet
) -> Run:
    """Score a sample anew at each reconstruction weight, to see how much the choice matters. `sweeps/<name>`.

    `scores.parquet` holds score_gen and score_disc at every weight; the figure, overlap of the top 1 % and Spearman's
    rank correlations of score_anom, each at its own weight.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from peculiar import engine

    if len(weights) < 2 or not all(0 <= weight <= 1 for weight in weights):
        raise ValueError(f"a sweep needs two or more weights from 0 to 1, got {weights}")
    engine.tune()
    survey = Survey(folder / "survey" / "table.lance")
    home = home_of(folder, "sweeps", name)
    paths = _network_paths(folder, config)
    home.mkdir(parents=True, exist_ok=True)
    run = begin(home, "sweep", config, inputs={which: file_digest(path) for which, path in paths.items()}, replace=True)
    scorer = _Scorer(survey, config, paths, engine.machine(config.device), home_of(folder, "scores", name))
    object_id = survey.sample(n_sample, seed=config.seed)
    columns: dict[str, list[np.ndarray]] = {f"{term}_{weight:g}": [] for weight in weights for term in ("gen", "disc")}
    with track("scoring at each weight", len(weights) * len(object_id)) as advance:
        for start in range(0, len(object_id), SCAN_ROWS):
            part = object_id[start : start + SCAN_ROWS]
            images = survey.images(part)
            for weight in weights:
                _, gen, disc = scorer.reconstruct(part, images, weight)
                columns[f"gen_{weight:g}"].append(gen)
                columns[f"disc_{weight:g}"].append(disc)
                advance(len(part))
    table = pa.table({"object_id": object_id, **{key: np.concatenate(parts) for key, parts in columns.items()}})
    with atomic(home / "scores.parquet") as partial:
        pq.write_table(table, partial)
    page = _sweep_page(home, table, weights, survey)
    return finish(home, run, page=page.relative_to(folder).as_posix(), weights=list(weights), n_sample=len(object_id))


def _sweep_page(home: Path, table: "pa.Table", weights: tuple[float, ...], survey: Survey) -> Path:
    """The figure, the grids of what each weight puts first, and a page with both."""
    import numpy as np

    from peculiar.figures import figure_images, figure_weight_sweep
    from peculiar.io.pages import Picture, write_page
    from peculiar.scoring.evaluation import descending, rank_correlation
    from peculiar.scoring.scores import score_anom

    object_id = table["object_id"].to_numpy()
    scores = [score_anom(table[f"gen_{w:g}"].to_numpy(), table[f"disc_{w:g}"].to_numpy(), w) for w in weights]
    n_top = max(1, round(len(object_id) / 100))
    orders = [descending(each) for each in scores]
    tops = [order[:n_top] for order in orders]
    overlap = np.array([[len(np.intersect1d(a, b)) / n_top for b in tops] for a in tops])
    correlation = np.array([[rank_correlation(a, b) for b in scores] for a in scores])
    figures = {"weights": figure_weight_sweep(weights, overlap, correlation)}
    for weight, order in zip(weights, orders, strict=True):
        heading = f"The first {min(N_SHOWN, len(order))} by score_anom, reconstruction weight {weight:g}"
        figures[f"top-{weight:g}"] = figure_images(survey.images(object_id[order[:N_SHOWN]]), heading=heading)
    pictures = []
    for name, figure in figures.items():
        save_figure(figure, home / f"{name}.png")
        pictures.append(Picture(path=home / f"{name}.png", alt=name, heading=name.replace("top-", "First by weight ")))
    write_page(home / "sweep.html", f"Reconstruction weights, {len(object_id):,} objects", pictures)
    return home / "sweep.html"
