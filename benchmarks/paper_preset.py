"""The paper's preset against the same written plainly: float32, eager, PyTorch's defaults. In one process, in turns.

    python benchmarks/paper_preset.py [ROUNDS] [--one-thread]

A training iteration is five critic updates and one of the generator; scoring is the encoder's start, ten latent steps
and the terms at the best one; both of 32 images, 96x96x3. Ours are the stages' own classes on a survey of noise; the
plain ones are below, and share nothing with ours but the pinned threads and the kept memory of `engine.tune`, which
help them too. Time does not depend on the pixels, so networks that took one step will do. On a machine that others
use, --one-thread takes one thread's processor time: two that wait for each other tell more of the others than of us.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from peculiar import engine

engine.tune()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from environment import machine_line  # noqa: E402
from peculiar.survey import ImageForm, Survey  # noqa: E402

N_IMAGES, SIZE, N_LATENT, N_STEPS, WEIGHT, RATE = 32, 96, 128, 10, 0.3, 0.03
REQUIRED = {"training iteration": (2.4, 3.3), "scoring": (2.1, 2.8)}


class PlainGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(N_LATENT, 512 * 6 * 6)
        widths = [512, 256, 128, 64, 3]
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 5, 2, padding=2, output_padding=1) for a, b in pairwise(widths)
        )

    def forward(self, latent: Tensor) -> Tensor:
        x = self.project(latent).view(-1, 512, 6, 6)
        for layer in self.layers:
            x = layer(functional.relu(x))
        return torch.sigmoid(x)


class PlainCritic(nn.Module):
    """The critic with one output; with more of them and slope 0, the encoder."""

    def __init__(self, n_out: int = 1, slope: float = 0.2) -> None:
        super().__init__()
        self.slope = slope
        widths = [3, 64, 128, 256, 512]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 5, 2, padding=2) for a, b in pairwise(widths))
        self.head = nn.Linear(512 * 6 * 6, n_out)

    def features(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), self.slope)
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Plain:
    """WGAN-GP and the search for a latent as a tutorial has them."""

    def __init__(self) -> None:
        self.generator, self.critic, self.encoder = PlainGenerator(), PlainCritic(), PlainCritic(N_LATENT, 0.0)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), 1e-4, (0.5, 0.9)) for network in (self.generator, self.critic)
        ]
        self.images = torch.rand(N_IMAGES, 3, SIZE, SIZE)

    def iteration(self) -> None:
        generator, critic = self.generator.requires_grad_(True), self.critic.requires_grad_(True)
        for_generator, for_critic = self.optimizers
        for _ in range(5):
            with torch.no_grad():
                generated = generator(torch.randn(N_IMAGES, N_LATENT))
            mixing = torch.rand(N_IMAGES, 1, 1, 1)
            between = torch.lerp(self.images, generated, mixing).requires_grad_(True)
            (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            penalty = (gradient.flatten(1).norm(dim=1) - 1.0).square().mean()
            loss = critic(generated).mean() - critic(self.images).mean() + 10.0 * penalty
            for_critic.zero_grad()
            loss.backward()
            for_critic.step()
        critic.requires_grad_(False)
        loss = -critic(generator(torch.randn(N_IMAGES, N_LATENT))).mean()
        for_generator.zero_grad()
        loss.backward()
        for_generator.step()

    def scoring(self) -> tuple[Tensor, Tensor]:
        """The terms where they are least, which float32 need not compute again."""
        generator, critic = self.generator.requires_grad_(False), self.critic.requires_grad_(False)
        with torch.no_grad():
            latent = self.encoder(self.images)
            image_features = critic.features(self.images)
        latent.requires_grad_(True)
        optimizer = torch.optim.Adam([latent], RATE, (0.4, 0.9))
        least = torch.full((N_IMAGES,), torch.inf)
        best_gen, best_disc = torch.zeros(N_IMAGES), torch.zeros(N_IMAGES)
        for step in range(N_STEPS + 1):
            is_last = step == N_STEPS
            with torch.set_grad_enabled(not is_last):
                generated = generator(latent)
                gen = (self.images - generated).abs().sum((1, 2, 3))
                disc = (image_features - critic.features(generated)).abs().sum(1)
                loss = (1 - WEIGHT) * gen + WEIGHT * disc
            is_better = loss.detach() < least
            least = torch.where(is_better, loss.detach(), least)
            best_gen, best_disc = torch.where(is_better, gen, best_gen), torch.where(is_better, disc, best_disc)
            if not is_last:
                optimizer.zero_grad()
                loss.sum().backward()
                optimizer.step()
        return best_gen.detach(), best_disc.detach()


class Ours:
    """The stages' own classes, on an atlas of noise whose networks took one step."""

    def __init__(self, folder: Path) -> None:
        from peculiar.checkpoint import TrainingFolder
        from peculiar.stages.score import ScoreConfig, _Scorer
        from peculiar.stages.train_encoder import PRESETS as ENCODER_PRESETS
        from peculiar.stages.train_encoder import TrainEncoderConfig, train_encoder
        from peculiar.stages.train_gan import PRESETS, TrainGanConfig, _prepare, train_gan

        survey = survey_of_noise(folder)
        short = {"n_steps": 1, "save_every": 1}
        train_gan(folder, TrainGanConfig(**vars(PRESETS["paper"]) | short))
        train_encoder(folder, TrainEncoderConfig(**vars(ENCODER_PRESETS["paper"]) | short))
        machine = engine.machine()
        self.training, _ = _prepare(survey, PRESETS["paper"], machine)
        self.step = 0
        paths = {which: TrainingFolder(folder / "networks" / which).checkpoint_path() for which in ("gan", "encoder")}
        config = ScoreConfig(n_latent_steps=N_STEPS, latent_rate=RATE, reconstruction_weight=WEIGHT)
        (folder / "scores").mkdir()
        self.scorer = _Scorer(survey, config, paths, machine, folder / "scores")
        self.object_id = survey.object_ids()[:N_IMAGES]
        self.images = survey.images(self.object_id)

    def iteration(self) -> None:
        self.training.step(self.step)
        self.step += 1

    def scoring(self) -> tuple[np.ndarray, ...]:
        return self.scorer.reconstruct(self.object_id, self.images, WEIGHT)


def survey_of_noise(folder: Path, n_images: int = 64) -> Survey:
    import pyarrow as pa

    images = np.random.default_rng(0).integers(0, 256, (n_images, SIZE, SIZE, 3), np.uint8)
    binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(SIZE * SIZE * 3), n_images, [None, pa.py_buffer(images)])
    object_id = pa.array(np.arange(n_images))
    metadata = ImageForm(size=SIZE, channels=3).to_metadata()
    schema = pa.schema([("object_id", pa.int64()), ("image", binary.type)], metadata=metadata)
    survey = Survey(folder / "survey" / "table.lance")
    survey.path.parent.mkdir(parents=True)
    survey.append([pa.record_batch([object_id, binary], schema=schema)], schema)
    return survey


def main() -> None:
    is_one_thread = "--one-thread" in sys.argv
    rounds = next((int(each) for each in sys.argv[1:] if each.isdigit()), 5)
    clock = time.thread_time if is_one_thread else time.perf_counter

    def seconds(function: Callable[[], object]) -> float:
        started = clock()
        function()
        return clock() - started

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        plain, ours = Plain(), Ours(Path(folder))
        if is_one_thread:
            torch.set_num_threads(1)
        print(machine_line(), f"; ours on {engine.machine()}", sep="")
        heading = f"median seconds of {rounds}"
        print(f"{heading:24s} {'plain':>8s} {'ours':>8s} {'ratio':>8s} {'needed':>8s} {'aim':>8s}")
        for name, run_plain, run_ours in (
            ("training iteration", plain.iteration, ours.iteration),
            ("scoring", plain.scoring, ours.scoring),
        ):
            seconds(run_plain), seconds(run_ours)
            times = np.array([(seconds(run_plain), seconds(run_ours)) for _ in range(rounds)])
            medians = np.median(times, axis=0)
            # The ratio of each round, as other work on the machine comes and goes.
            ratio = statistics.median(times[:, 0] / times[:, 1])
            required, aim = REQUIRED[name]
            print(f"{name:24s} {medians[0]:8.2f} {medians[1]:8.2f} {ratio:8.2f} {required:8.1f} {aim:8.1f}", flush=True)


if __name__ == "__main__":
    main()
