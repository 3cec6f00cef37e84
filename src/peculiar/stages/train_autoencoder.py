"""Train the autoencoder of residuals, or of images, whose features are mapped and searched. METHOD.md sect. 4."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from peculiar.ranking import Ranking, residuals_by
from peculiar.run import Run, Track, at_least, begin, finish, home_of, positive, quiet, refuse_made_anew
from peculiar.survey import ShuffledImages, Survey, Table

if TYPE_CHECKING:
    import numpy as np

    from peculiar.engine import Machine
    from peculiar.networks.autoencoder import AutoencoderTraining

    Residuals = Callable[[np.ndarray, np.ndarray], np.ndarray]

log = logging.getLogger(__name__)
SELECTED_SIGMA = 3.0  # Storey-Fisher 2021, sect. 4: score_disc_sigma above this
N_SCALE_BATCHES = 8  # whose mean and deviation the network works in units of
N_SELECTED = 100  # fewer teach an autoencoder nothing but themselves


@dataclass(frozen=True, kw_only=True)
class TrainAutoencoderConfig:
    """What `train-autoencoder` can be told."""

    of: Annotated[Literal["residual", "image"], "what is encoded: residuals, or images as they are"] = "residual"
    ranking: Annotated[str, "name of the ranking whose residuals and selected sample are meant"] = "main"
    sample: Annotated[
        Literal["selected", "random", "all"], "objects to train on; selected: score_disc_sigma above 3"
    ] = "all"
    n_sample: Annotated[int, "objects of a random sample"] = 100_000
    n_features: Annotated[int, "length of the features"] = 64
    width: Annotated[int, "channels of the first layer; the paper's autoencoder has 64"] = 32
    sparsity: Annotated[float, "weight of the mean absolute feature in the loss; 0 for none"] = 0.0
    n_steps: Annotated[int, "updates; give a larger number to train on"] = field(default=1500, compare=False)
    batch_size: Annotated[int, "images a batch"] = 30
    learning_rate: Annotated[float, "Adam's rate"] = 1e-3
    is_augmented: Annotated[bool, "show every image under the eight symmetries of the square"] = True
    save_every: Annotated[int, "steps between checkpoints"] = field(default=500, compare=False)
    seed: Annotated[int, "seed of first weights, order and random sample"] = 0
    device: Annotated[str, "auto, cpu, cuda or mps"] = field(default="auto", compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "n_sample", "n_features", "width", "n_steps", "batch_size", "save_every")
        positive(self, "learning_rate")
        at_least(self, 0, "sparsity")


PRESETS = {
    # Storey-Fisher 2021, sect. 3.3 and Fig. 6.
    "paper": TrainAutoencoderConfig(sample="random", width=64, n_steps=30_000, is_augmented=False, save_every=2_000),
    "small": TrainAutoencoderConfig(),
}


def train_autoencoder(
    folder: Path,
    config: TrainAutoencoderConfig,
    *,
    name: str = "autoencoder-residual",
    replace: bool = False,
    track: Track = quiet,
) -> Run:
    """Train `networks/<name>` of the atlas in `folder`, or go on where it stopped.

    Residuals are made batch by batch from the stored latents, by the generator that the scores were made with: no
    file of them is written, and memory does not grow with the sample.

    Raises
    ------
    ValueError
        The sample is too small, or the scores were made anew since training began.
    Diverged
        A loss was no number; the last good checkpoint stands.
    """
    from peculiar import engine

    engine.tune()
    survey = Survey(folder / "survey" / "table.lance")
    is_ranked = config.of == "residual" or config.sample == "selected"
    ranking = Ranking(folder, config.ranking) if is_ranked else None
    home = home_of(folder, "networks", name)
    inputs: dict[str, Any] = {"survey": survey.version}
    residuals, reads = None, {}
    if ranking is not None and config.of == "residual":
        residuals = residuals_by(folder, ranking.scored, ranking.facts, config.device)
        inputs |= {"gan": ranking.scored.inputs["gan"]}
        reads = {ranking.scored_in: ranking.scored.identity}
        message = (
            f"{home} was trained on residuals of scores that were made anew since; "
            "train under another --name, or with --replace"
        )
        refuse_made_anew(home, reads, message, replace=replace)
    images = _SampledImages(survey, config, _sample(survey, ranking, config), residuals)
    machine = engine.machine(config.device)
    training, form = _prepare(images, config, machine)
    inputs |= {"n_objects": images.sizes[0]}
    run = begin(home, "train-autoencoder", config, inputs=inputs, reads=reads, replace=replace)
    log.info("%ss of %d objects, %s", config.of, images.sizes[0], machine)
    reached = engine.train_in(
        home,
        training,
        {"autoencoder": training.autoencoder},
        {"autoencoder": form},
        n_steps=config.n_steps,
        save_every=config.save_every,
        description="training autoencoder",
        track=track,
    )
    return finish(home, run, **reached, machine=str(machine))


def _sample(survey: Survey, ranking: Ranking | None, config: TrainAutoencoderConfig) -> "np.ndarray":
    """Ids of the objects to train on: of all those that have a residual, where residuals are asked for."""
    if config.sample == "selected" and ranking is not None:
        object_id: np.ndarray = ranking.object_ids[ranking.column("score_disc_sigma") > SELECTED_SIGMA]
        if len(object_id) < N_SELECTED:
            raise ValueError(
                f"only {len(object_id)} objects of {ranking.home} have score_disc_sigma above {SELECTED_SIGMA:g}, and "
                f'sample "selected" needs {N_SELECTED}; train with --sample all or random'
            )
        return object_id
    table: Table = survey if ranking is None else ranking.facts
    return table.sample(config.n_sample, seed=config.seed) if config.sample == "random" else table.object_ids()


class _SampledImages(ShuffledImages):
    """Shuffled batches of a sample's images, or of their residuals."""

    def __init__(
        self,
        survey: Survey,
        config: TrainAutoencoderConfig,
        object_ids: "np.ndarray",
        residuals: "Residuals | None",
    ) -> None:
        import numpy as np

        super().__init__(survey, config.batch_size, config.seed)
        rows = np.flatnonzero(np.isin(survey.object_ids(), object_ids))
        self.groups, self.sizes, self.residuals = [rows], [len(rows)], residuals

    def batch(self, number: int) -> "np.ndarray":
        """Batch `number`, uint8 (batch_size, height, width, channels)."""
        import numpy as np

        unique, inverse = np.unique(self.rows(number), return_inverse=True)
        found = self.dataset.take(unique.tolist(), columns=["object_id", "image"])
        images = self.survey.images_of(found)
        if self.residuals is not None:
            images = self.residuals(found["object_id"].to_numpy(), images)
        return images[inverse]


def _prepare(
    images: _SampledImages, config: TrainAutoencoderConfig, machine: "Machine"
) -> "tuple[AutoencoderTraining, dict[str, int]]":
    """The network with its first weights, and the numbers that rebuild it."""
    import torch

    from peculiar.networks.autoencoder import Autoencoder, AutoencoderTraining
    from peculiar.networks.blocks import padded_size

    size = images.survey.form.size
    if padded_size(size) != size:
        log.info("images of %d pixels are padded to %d by reflection, and cropped back", size, padded_size(size))
    form = {
        "size": size,
        "channels": images.survey.form.channels,
        "width": config.width,
        "n_features": config.n_features,
    }
    torch.manual_seed(config.seed)
    autoencoder = Autoencoder(**form)
    machine.place(autoencoder)
    autoencoder.set_scale(torch.cat([machine.tensor(images.batch(number)) for number in range(N_SCALE_BATCHES)]))
    training = AutoencoderTraining(
        autoencoder,
        partial(machine.training_batch, images, is_augmented=config.is_augmented),
        learning_rate=config.learning_rate,
        sparsity=config.sparsity,
        precision=machine.precision,
    )
    return training, form
