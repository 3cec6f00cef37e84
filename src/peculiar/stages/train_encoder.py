"""Train the encoder that guesses latents, against the frozen generator and critic. METHOD.md sect. 3."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from peculiar.checkpoint import TrainingFolder, file_digest, load_network
from peculiar.run import Run, Track, at_least, begin, finish, home_of, positive, quiet
from peculiar.survey import ShuffledImages, Survey

if TYPE_CHECKING:
    from torch import Tensor

    from peculiar.engine import Machine
    from peculiar.networks.training import EncoderTraining


@dataclass(frozen=True, kw_only=True)
class TrainEncoderConfig:
    """What `train-encoder` can be told."""

    gan: Annotated[str, "name of the networks to encode for"] = "gan"
    checkpoint: Annotated[int, "step of their checkpoint; 0 for the newest"] = 0
    width: Annotated[int, "channels of the first layer; the paper's encoder has 64"] = 32
    n_steps: Annotated[int, "updates; give a larger number to train on"] = field(default=500, compare=False)
    batch_size: Annotated[int, "images a batch"] = 32
    learning_rate: Annotated[float, "Adam's rate"] = 5e-4
    reconstruction_weight: Annotated[float, "lambda_anom of the loss, Eq. 6"] = 0.3
    is_augmented: Annotated[bool, "show every image under the eight symmetries of the square"] = True
    save_every: Annotated[int, "steps between checkpoints"] = field(default=250, compare=False)
    seed: Annotated[int, "seed of first weights and order"] = 0
    device: Annotated[str, "auto, cpu, cuda or mps"] = field(default="auto", compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "width", "n_steps", "batch_size", "save_every")
        positive(self, "learning_rate")
        if not 0 <= self.reconstruction_weight <= 1:
            raise ValueError(f"reconstruction_weight must be from 0 to 1, got {self.reconstruction_weight}")


PRESETS = {
    # METHOD.md sect. 3; the rate is ours, as the output is linear.
    "paper": TrainEncoderConfig(width=64, n_steps=5000, learning_rate=1e-4, is_augmented=False),
    "small": TrainEncoderConfig(),
}


def train_encoder(
    folder: Path, config: TrainEncoderConfig, *, name: str = "encoder", replace: bool = False, track: Track = quiet
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
    gan = TrainingFolder(home_of(folder, "networks", config.gan)).checkpoint_path(config.checkpoint)
    home = home_of(folder, "networks", name)
    inputs = {"survey": survey.version, "n_objects": len(survey), "gan": file_digest(gan)}
    machine = engine.machine(config.device)
    training, form = _prepare(survey, gan, config, machine)
    run = begin(home, "train-encoder", config, inputs=inputs, replace=replace)
    reached = engine.train_in(
        home,
        training,
        {"encoder": training.encoder},
        {"encoder": form},
        n_steps=config.n_steps,
        save_every=config.save_every,
        description="training encoder",
        track=track,
    )
    return finish(home, run, **reached, machine=str(machine))


def _prepare(
    survey: Survey, gan: Path, config: TrainEncoderConfig, machine: "Machine"
) -> "tuple[EncoderTraining, dict[str, int]]":
    import torch

    from peculiar.networks.encoder import Encoder
    from peculiar.networks.gan import Critic, Generator
    from peculiar.networks.training import EncoderTraining
    from peculiar.scoring.reconstruction import anomaly_terms, combine

    generator, critic = load_network(gan, "generator", Generator), load_network(gan, "critic", Critic)
    form = {
        "size": survey.form.size,
        "channels": survey.form.channels,
        "width": config.width,
        "n_latent": generator.n_latent,
    }
    torch.manual_seed(config.seed)
    encoder = Encoder(**form)
    for network in (generator, critic, encoder):
        machine.place(network)
    generator, critic = machine.frozen(generator), machine.frozen(critic)

    def loss(images: "Tensor", latent: "Tensor") -> "Tensor":
        terms = anomaly_terms(images, critic.features(images), generator(latent), critic.features)
        return combine(*terms, weight=config.reconstruction_weight)

    images = ShuffledImages(survey, config.batch_size, config.seed)
    training = EncoderTraining(
        encoder,
        loss,
        partial(machine.training_batch, images, is_augmented=config.is_augmented),
        learning_rate=config.learning_rate,
        precision=machine.precision,
    )
    return training, form
