"""Train the generator and the critic on the survey's images. METHOD.md sect. 2."""

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from peculiar.run import Run, Track, at_least, atomic, begin, finish, home_of, positive, quiet
from peculiar.survey import ShuffledImages, Survey

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from peculiar.engine import Machine
    from peculiar.networks.training import GanTraining

log = logging.getLogger(__name__)
N_SAMPLES = 40  # images in a sample grid
N_STRATA = 10  # quantile groups that --balance-by draws from


@dataclass(frozen=True, kw_only=True)
class TrainGanConfig:
    """What `train-gan` can be told."""

    width: Annotated[int, "channels of the widest image layer; the paper's networks have 64"] = 32
    n_latent: Annotated[int, "length of the latent vector"] = 128
    upsampling: Annotated[Literal["transposed", "resize"], "how the generator doubles its image"] = "resize"
    batch_norm: Annotated[bool, "normalize the generator's hidden layers"] = False
    n_steps: Annotated[int, "generator updates; give a larger number to train on"] = field(default=1200, compare=False)
    batch_size: Annotated[int, "images a batch"] = 32
    n_critic: Annotated[int, "critic updates a generator update"] = 2
    penalty_every: Annotated[int, "gradient penalty at every so many critic updates, so many times as strong"] = 4
    learning_rate: Annotated[float, "Adam's rate, both networks"] = 2e-4
    average_decay: Annotated[float, "decay of the averaged generator that is used afterwards; 0 for none"] = 0.995
    is_augmented: Annotated[bool, "show every image under the eight symmetries of the square"] = True
    balance_by: Annotated[str, "column whose ten quantile groups are shown equally often; empty for none"] = ""
    save_every: Annotated[int, "steps between checkpoints"] = field(default=300, compare=False)
    seed: Annotated[int, "seed of first weights, order and noise"] = 0
    device: Annotated[str, "auto, cpu, cuda or mps"] = field(default="auto", compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "width", "n_latent", "n_steps", "batch_size", "n_critic", "penalty_every", "save_every")
        positive(self, "learning_rate")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be from 0 to below 1, got {self.average_decay}")


PRESETS = {
    # Storey-Fisher 2021, sect. 3.1.
    "paper": TrainGanConfig(
        width=64,
        upsampling="transposed",
        n_steps=10_000,
        n_critic=5,
        penalty_every=1,
        learning_rate=1e-4,
        average_decay=0.0,
        is_augmented=False,
    ),
    # MEASURED.md, "Small networks", and docs/experiments.md.
    "small": TrainGanConfig(),
}


def train_gan(
    folder: Path, config: TrainGanConfig, *, name: str = "gan", replace: bool = False, track: Track = quiet
) -> Run:
    """Train `networks/<name>` of the atlas in `folder`, or go on where it stopped.

    Raises
    ------
    Diverged
        A loss was no number; the last good checkpoint stands.
    """
    from peculiar import engine

    engine.tune()
    survey = Survey(folder / "survey" / "table.lance")
    home = home_of(folder, "networks", name)
    inputs = {"survey": survey.version, "n_objects": len(survey)}
    machine = engine.machine(config.device)
    training, forms = _prepare(survey, config, machine)
    run = begin(home, "train-gan", config, inputs=inputs, replace=replace)
    log.info("%d images, %s", len(survey), machine)
    reached = engine.train_in(
        home,
        training,
        {"generator": training.average, "critic": training.critic},
        forms,
        n_steps=config.n_steps,
        save_every=config.save_every,
        description="training generator and critic",
        track=track,
        also=lambda step: _write_samples(training, home / "samples" / f"{step:08d}.png"),
    )
    return finish(home, run, **reached, machine=str(machine))


def _prepare(
    survey: Survey, config: TrainGanConfig, machine: "Machine"
) -> "tuple[GanTraining, dict[str, dict[str, Any]]]":
    """Networks with their first weights, and the numbers that rebuild them."""
    import torch

    from peculiar.networks.gan import Critic, Generator
    from peculiar.networks.training import GanTraining

    form = survey.form
    forms: dict[str, dict[str, Any]] = {
        "generator": {
            "size": form.size,
            "channels": form.channels,
            "width": config.width,
            "n_latent": config.n_latent,
            "upsampling": config.upsampling,
            "batch_norm": config.batch_norm,
        },
        "critic": {"size": form.size, "channels": form.channels, "width": config.width},
    }
    torch.manual_seed(config.seed)
    generator, critic = Generator(**forms["generator"]), Critic(**forms["critic"])
    for network in (generator, critic):
        machine.place(network)
    images = ShuffledImages(survey, config.batch_size, config.seed, _strata(survey, config.balance_by))
    training = GanTraining(
        generator,
        critic,
        partial(machine.training_batch, images, is_augmented=config.is_augmented),
        learning_rate=config.learning_rate,
        n_critic=config.n_critic,
        batch_size=config.batch_size,
        penalty_every=config.penalty_every,
        average_decay=config.average_decay,
        seed=config.seed,
        precision=machine.precision,
    )
    return training, forms


def _write_samples(training: "GanTraining", path: Path) -> None:
    """What the averaged generator makes of the same latents at every checkpoint."""
    import torch
    from PIL import Image

    from peculiar.figures import sample_grid
    from peculiar.sky.pixels import to_stored

    random = torch.Generator().manual_seed(training.seed)
    latent = torch.randn(N_SAMPLES, training.generator.n_latent, generator=random).to(training.device)
    with torch.no_grad():
        images: Tensor = training.average(latent)
    path.parent.mkdir(exist_ok=True)
    with atomic(path) as partial_path:
        Image.fromarray(sample_grid(to_stored(images.cpu().numpy()), n_columns=10)).save(partial_path)


def _strata(survey: Survey, column: str) -> "np.ndarray | None":
    """The quantile group of every row, by a catalog column; rows without a value are a group of their own."""
    import numpy as np

    if not column:
        return None
    if column not in survey.schema.names:
        raise KeyError(f"balance_by names no column of the survey: {column!r}; there are {survey.schema.names}")
    values = survey.column(column).astype(np.float64)
    edges = np.nanquantile(values, np.linspace(0, 1, N_STRATA + 1)[1:-1])
    return np.where(np.isnan(values), N_STRATA, np.searchsorted(edges, values))
