"""Train self-supervised features on the survey's own images: what is alike under turning, zoom and noise."""

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from peculiar.checkpoint import TrainingFolder, file_digest
from peculiar.run import Run, Track, at_least, begin, finish, home_of, positive, quiet, read_run
from peculiar.survey import ShuffledImages, Survey

if TYPE_CHECKING:
    from peculiar.engine import Machine
    from peculiar.networks.contrastive import ContrastiveTraining

log = logging.getLogger(__name__)
NAME = "self-supervised"
LEAST_IMAGES = 32  # fewer cannot be told apart by anything general
N_COMPONENTS_SAMPLE = 10_000  # images that the features' principal components are frozen on
READ_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class TrainFeaturesConfig:
    """What `train-features` can be told."""

    width: Annotated[int, "channels of the first layer"] = 24
    side: Annotated[int, "pixels that images are brought to, a multiple of 8"] = 64
    n_features: Annotated[int, "length of the features of each look, frame and center, at most 8 times the width"] = 128
    n_steps: Annotated[int, "updates; give a larger number to train on"] = field(default=800, compare=False)
    batch_size: Annotated[int, "images a batch, each seen twice"] = 192
    learning_rate: Annotated[float, "Adam's rate"] = 1e-3
    temperature: Annotated[float, "how sharply the loss tells views apart; Chen et al. 2020, Eq. 1"] = 0.2
    zoom: Annotated[tuple[float, ...], "least and largest part of an image's side that a view shows"] = (0.35, 1.0)
    gain: Annotated[float, "deviation of a view's log brightness"] = 0.15
    tint: Annotated[float, "deviation of the log brightness of a view's channels"] = 0.03
    noise: Annotated[float, "largest deviation of the noise added to a view, of white"] = 0.03
    save_every: Annotated[int, "steps between checkpoints"] = field(default=200, compare=False)
    seed: Annotated[int, "seed of first weights, order and views"] = 0
    device: Annotated[str, "auto, cpu, cuda or mps"] = field(default="auto", compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "width", "n_features", "n_steps", "save_every")
        positive(self, "learning_rate", "temperature")
        at_least(self, 0, "gain", "tint", "noise")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, as an image is told from others, got {self.batch_size}")
        if self.side < 16 or self.side % 8:
            raise ValueError(f"side must be a multiple of 8, 16 or more, got {self.side}")
        if self.n_features > 8 * self.width:
            raise ValueError(f"n_features must be at most 8 times the width, {8 * self.width}, got {self.n_features}")
        if len(self.zoom) != 2 or not 0 < self.zoom[0] <= self.zoom[1] <= 1:
            raise ValueError(f"zoom must be two numbers, ascending, above 0 and to 1, got {self.zoom}")


PRESETS = {
    # For a GPU and a hundred thousand images; no paper's, ours.
    "paper": TrainFeaturesConfig(width=64, side=96, n_steps=20_000, batch_size=512, save_every=1_000),
    "small": TrainFeaturesConfig(),
}


def train_features(
    folder: Path, config: TrainFeaturesConfig, *, name: str = NAME, replace: bool = False, track: Track = quiet
) -> Run:
    """Train `networks/<name>` of the atlas in `folder`, or go on where it stopped.

    Two views of a galaxy, turned by any angle, perhaps mirrored, a little shifted, zoomed, brightened, tinted and made
    noisy, are to be told from all others (SimCLR, Chen et al. 2020). At the end the features' principal components
    are frozen on a sample. METHOD.md sect. 8.

    Raises
    ------
    ValueError
        There are too few images.
    Diverged
        A loss was no number; the last good checkpoint stands.
    """
    from peculiar import engine

    engine.tune()
    survey = Survey(folder / "survey" / "table.lance")
    if len(survey) < LEAST_IMAGES:
        raise ValueError(f"features are learnt from {LEAST_IMAGES} images or more, and {survey.path} has {len(survey)}")
    home, machine = home_of(folder, "networks", name), engine.machine(config.device)
    training, form = _prepare(survey, config, machine)
    inputs = {"survey": survey.version, "n_objects": len(survey)}
    ingested = read_run(folder / "survey")
    reads = {"survey": ingested.identity} if ingested else {}
    run = begin(home, "train-features", config, inputs=inputs, reads=reads, replace=replace)
    log.info("views of %d objects, %s", len(survey), machine)
    reached = engine.train_in(
        home,
        training,
        {"encoder": training.average},
        {"encoder": form},
        n_steps=config.n_steps,
        save_every=config.save_every,
        description="training features",
        track=track,
    )
    if run.outputs.get("step") != reached["step"]:  # once: those of a larger survey would be others
        _freeze_components(survey, training, machine, config.seed, track)
        kept = TrainingFolder(home)
        kept.save(reached["step"], training.tensors(), {"encoder": training.average}, {"encoder": form})
        reached["digest"] = file_digest(kept.checkpoint_path())
    return finish(home, run, **reached, machine=str(machine))


def _prepare(
    survey: Survey, config: TrainFeaturesConfig, machine: "Machine"
) -> "tuple[ContrastiveTraining, dict[str, Any]]":
    """The network with its first weights, and the numbers that rebuild it."""
    import torch

    from peculiar.networks.contrastive import ContrastiveEncoder, ContrastiveTraining, Views

    low, high = config.zoom
    form: dict[str, Any] = {
        "channels": survey.form.channels,
        "width": config.width,
        "side": config.side,
        "n_features": config.n_features,
        "zoom": (low, high),
    }
    torch.manual_seed(config.seed)
    encoder = ContrastiveEncoder(**form)
    machine.place(encoder)
    images = ShuffledImages(survey, config.batch_size, config.seed)
    training = ContrastiveTraining(
        encoder,
        partial(machine.training_batch, images, is_augmented=False),
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        seed=config.seed,
        precision=machine.precision,
        views=Views(zoom=(low, high), gain=config.gain, tint=config.tint, noise=config.noise),
    )
    return training, form


def _freeze_components(
    survey: Survey, training: "ContrastiveTraining", machine: "Machine", seed: int, track: Track
) -> None:
    """The principal components of the averaged encoder's features, of objects drawn by the hash of their ids."""
    import torch

    sample, parts = survey.sample(N_COMPONENTS_SAMPLE, seed=seed), []
    with track("freezing components", len(sample)) as advance, torch.no_grad():
        for start in range(0, len(sample), READ_ROWS):
            images = machine.tensor(survey.images(sample[start : start + READ_ROWS]))
            with machine.precision():
                parts.append(training.average.learnt(images))
            advance(len(images))
        training.average.freeze_components(torch.cat(parts, dim=1))
