"""Compare GAN recipes on the images of an atlas: Frechet distance on pixel PCA against minutes of training.

    python benchmarks/trials.py ATLAS SECONDS [recipe ...]

Every recipe trains for so many seconds of its own clock. Prints a line a checkpoint; sample grids land in
ATLAS/trials/.
"""

import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

from peculiar import engine

engine.tune()

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch.nn import functional  # noqa: E402

from peculiar.networks.training import GanTraining  # noqa: E402
from peculiar.scoring.measures import fit_pixel_pca  # noqa: E402
from peculiar.sky.pixels import to_stored  # noqa: E402
from peculiar.stages.train_gan import TrainGanConfig, _prepare  # noqa: E402
from peculiar.survey import Survey, hashed  # noqa: E402

BASE = TrainGanConfig(upsampling="transposed", batch_norm=True, penalty_every=1)  # what the preset was at first
R1_EVERY = 4  # critic updates, as the lazy penalty
RECIPES = {
    "small": {},
    "resize": {"upsampling": "resize"},
    "no-norm": {"batch_norm": False},
    "lazy": {"penalty_every": 4},
    "critic-5": {"n_critic": 5},
    "fast": {"learning_rate": 4e-4},
    "resize-lazy": {"upsampling": "resize", "penalty_every": 4},
    "resize-no-norm": {"upsampling": "resize", "batch_norm": False},
    "resize-lazy-no-norm": {"upsampling": "resize", "penalty_every": 4, "batch_norm": False},
    "resize-lazy-fast": {"upsampling": "resize", "penalty_every": 4, "learning_rate": 4e-4},
    "r1-1": {"upsampling": "resize", "batch_norm": False, "penalty_every": R1_EVERY},
    "r1-10": {"upsampling": "resize", "batch_norm": False, "penalty_every": R1_EVERY},
    "resize-lazy-16": {"upsampling": "resize", "penalty_every": 4, "batch_size": 16},
}


class R1Training(GanTraining):
    """Logistic losses, and R1 instead of the gradient penalty (Mescheder et al. 2018): gamma / 2 |grad D(real)|^2."""

    gamma = 1.0

    def step(self, number: int) -> dict[str, torch.Tensor]:
        random = torch.Generator().manual_seed(number)
        for update in range(number * self.n_critic, (number + 1) * self.n_critic):
            real = self.draw(update)
            with self.precision():
                with torch.no_grad():
                    generated = self.generator(self._latent(random))
                realness = self.critic(torch.cat([real, generated]))
                of_real, of_made = realness[: len(real)], realness[len(real) :]
                loss = functional.softplus(-of_real).mean() + functional.softplus(of_made).mean()
                if update % R1_EVERY == 0:
                    slope = self.critic.input_gradient(real).square().flatten(1).sum(1).mean()
                    loss = loss + R1_EVERY * self.gamma / 2 * slope
                loss.backward()
            self._advance("critic")
        with self.precision():
            self.critic.requires_grad_(False)
            functional.softplus(-self.critic(self.generator(self._latent(random)))).mean().backward()
            self.critic.requires_grad_(True)
        self._advance("generator")
        self._move_average(number)
        return {"wasserstein": (of_real.mean() - of_made.mean()).detach()}

    def _advance(self, which: str) -> None:
        self.optimizers[which].step()
        self.optimizers[which].zero_grad(set_to_none=True)


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Frechet distance of two Gaussians fitted to vectors (n, d)."""
    covariances = [np.cov(each, rowvar=False) for each in (first, second)]
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1])
    cross = np.sqrt(np.maximum(eigenvalues.real, 0)).sum()
    return float(((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(sum(covariances)) - 2 * cross)


def samples(training: GanTraining, n_images: int) -> np.ndarray:
    random = torch.Generator().manual_seed(1)
    latent = torch.randn(n_images, training.generator.n_latent, generator=random)
    with torch.no_grad(), training.precision():
        return np.concatenate([to_stored(training.average(part).numpy()) for part in latent.split(64)])


def trial(atlas: Path, name: str, seconds: float, real: np.ndarray) -> None:
    survey, machine = Survey(atlas / "survey" / "table.lance"), engine.machine()
    training, _ = _prepare(survey, dataclasses.replace(BASE, **RECIPES[name]), machine)
    if name.startswith("r1-"):
        training.__class__ = R1Training
        training.gamma = float(name.removeprefix("r1-"))
    pca = fit_pixel_pca(real)
    project = lambda images: (images.reshape(len(images), -1) / 255.0 - pca.mean) @ pca.components.T  # noqa: E731
    spent, step, marks = 0.0, 0, [seconds / 4, seconds / 2, seconds]
    while marks:
        started = time.perf_counter()
        metrics = training.step(step)
        spent, step = spent + time.perf_counter() - started, step + 1
        if spent >= marks[0]:
            marks.pop(0)
            made = samples(training, 1000)
            distance = frechet(project(real), project(made))
            rows = (
                made[:40].reshape(4, 10, *made.shape[1:]).swapaxes(1, 2).reshape(4 * made.shape[1], -1, made.shape[3])
            )
            (atlas / "trials").mkdir(exist_ok=True)
            Image.fromarray(rows).save(atlas / "trials" / f"{name}-{step:06d}.png")
            print(
                f"{name:16s} {spent:6.0f} s  step {step:6d}  Frechet {distance:8.3f}  "
                f"Wasserstein {metrics['wasserstein'].item():8.2f}",
                flush=True,
            )


def main() -> None:
    torch.manual_seed(0)
    atlas, seconds = Path(sys.argv[1]), float(sys.argv[2])
    survey = Survey(atlas / "survey" / "table.lance")
    ids = survey.object_ids()
    real = survey.images(ids[np.argsort(hashed(ids, 1))[:1000]])
    for name in sys.argv[3:] or RECIPES:
        trial(atlas, name, seconds, real)


if __name__ == "__main__":
    main()
