"""One training loop, and what one iteration of each network is.

Everything random is drawn from (seed, step), and the weights, moments and averages are all the state there is: training
that goes on from a checkpoint takes the identical trajectory.
"""

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from peculiar.networks.encoder import Encoder
from peculiar.networks.gan import Critic, Generator, critic_loss, generator_loss

Metrics = dict[str, float]
Averaged = TypeVar("Averaged", bound=nn.Module)
AVERAGE_DECAY = 0.99  # a step, of features and detectors
Precision = Callable[[], AbstractContextManager[object]]
Draw = Callable[[int], Tensor]  # the number of a batch -> images (n, channels, size, size) on the device
AnomalyLoss = Callable[[Tensor, Tensor], Tensor]  # images, latent -> loss of every image


class Training(Protocol):
    """One network, or a pair, on its way: it takes steps, and its whole state can be saved and restored."""

    def step(self, number: int) -> dict[str, Tensor]:
        """Update once; return scalars to follow, still on the device."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All state, by name."""
        ...

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up the state that `tensors` gave."""
        ...


class Diverged(ArithmeticError):
    """A loss is no number; caught to keep the last good checkpoint and say so."""


def train(
    training: Training,
    *,
    first_step: int,
    n_steps: int,
    record_every: int,
    save_every: int,
    record: Callable[[int, Metrics], None],
    save: Callable[[int], None],
    advance: Callable[[int], None],
) -> None:
    """Take steps `first_step` .. `n_steps` - 1; record mean metrics, and save, every so often and at the end.

    `advance` is told of every step.

    Raises
    ------
    Diverged
        A metric is NaN or infinite, or a weight is; nothing is saved then.
    """
    gathered: list[dict[str, Tensor]] = []
    for number in range(first_step, n_steps):
        gathered.append(training.step(number))
        advance(1)
        done = number + 1
        is_saving = done % save_every == 0 or done == n_steps
        if done % record_every == 0 or is_saving:
            metrics = {name: torch.stack([each[name] for each in gathered]).mean().item() for name in gathered[0]}
            gathered.clear()
            bad = {name: value for name, value in metrics.items() if not math.isfinite(value)}
            if bad:
                raise _diverged(done, str(bad))
            record(done, metrics)
        if is_saving:
            unfit = [name for name, tensor in training.tensors().items() if not torch.isfinite(tensor).all()]
            if unfit:
                raise _diverged(done, f"{unfit[0]} is not finite")
            save(done)


def _diverged(step: int, what: str) -> Diverged:
    return Diverged(
        f"training diverged at step {step}: {what}; the checkpoint before it stands: score with it, or train again "
        "under another name at a lower learning rate"
    )


class GanTraining:
    """Critic updates, then one generator update, an iteration. METHOD.md sect. 2.

    Parameters
    ----------
    draw
        Gives the numbered batch of real images.
    n_critic
        Critic updates an iteration; 5 in the paper.
    penalty_every
        Apply the gradient penalty at every so-manieth critic update, so many times as strong ("lazy", Karras 2020).
    average_decay
        Decay an iteration of the averaged generator that samples and scores are made with; 0 for none.
    """

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        draw: Draw,
        *,
        learning_rate: float,
        n_critic: int,
        batch_size: int,
        penalty_every: int,
        average_decay: float,
        seed: int,
        precision: Precision,
    ) -> None:
        self.generator, self.critic, self.draw = generator, critic, draw
        self.average = copy.deepcopy(generator).requires_grad_(False).eval()
        self.n_critic, self.batch_size, self.penalty_every = n_critic, batch_size, penalty_every
        self.average_decay, self.seed, self.precision = average_decay, seed, precision
        self.device = next(critic.parameters()).device
        self.last_penalty = torch.zeros((), device=self.device)
        self.optimizers = {
            "generator": _adam(generator, learning_rate, (0.5, 0.9)),
            "critic": _adam(critic, learning_rate, (0.5, 0.9)),
        }

    def step(self, number: int) -> dict[str, Tensor]:
        """One iteration: `n_critic` critic updates, one of the generator, the average moved on."""
        random = torch.Generator().manual_seed(mixed_seed(self.seed, number))
        self.generator.train()
        for update in range(number * self.n_critic, (number + 1) * self.n_critic):
            critic_metrics = self._update_critic(update, random)
        with self.precision():
            self.critic.requires_grad_(False)
            loss = generator_loss(self.critic, self.generator(self._latent(random)))
            loss.backward()
            self.critic.requires_grad_(True)
        _take_step(self.optimizers["generator"])
        move_average(self.average, self.generator, number, decay=self.average_decay)
        return {**critic_metrics, "generator_loss": loss.detach()}

    def _update_critic(self, update: int, random: torch.Generator) -> dict[str, Tensor]:
        is_penalized = update % self.penalty_every == 0
        mixing = torch.rand(self.batch_size, generator=random).to(self.device) if is_penalized else None
        real = self.draw(update)
        with self.precision():
            with torch.no_grad():
                generated = self.generator(self._latent(random))
            loss, distance, penalty = critic_loss(
                self.critic, real, generated, mixing, penalty_weight=10.0 * self.penalty_every
            )
            loss.backward()
        _take_step(self.optimizers["critic"])
        if is_penalized:
            self.last_penalty = penalty
        return {"critic_loss": loss.detach(), "wasserstein": distance, "penalty": self.last_penalty}

    def _latent(self, random: torch.Generator) -> Tensor:
        return torch.randn(self.batch_size, self.generator.n_latent, generator=random).to(self.device)

    def tensors(self) -> dict[str, Tensor]:
        """Both networks, the average, and Adam's moments."""
        networks = {"generator": self.generator, "critic": self.critic, "average": self.average}
        return {**state_of(networks, self.optimizers), "last_penalty": self.last_penalty}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `tensors`."""
        self.last_penalty = tensors["last_penalty"].to(self.device)
        networks = {"generator": self.generator, "critic": self.critic, "average": self.average}
        restore_state(networks, self.optimizers, tensors)


class EncoderTraining:
    """The encoder learns to give the latent of least anomaly loss; the others are frozen. METHOD.md sect. 3."""

    def __init__(
        self, encoder: Encoder, loss: AnomalyLoss, draw: Draw, *, learning_rate: float, precision: Precision
    ) -> None:
        self.encoder, self.loss, self.draw, self.precision = encoder, loss, draw, precision
        self.optimizers = {"encoder": _adam(encoder, learning_rate, (0.4, 0.9))}

    def step(self, number: int) -> dict[str, Tensor]:
        """One update on one batch; the loss is the mean over its images."""
        images = self.draw(number)
        with self.precision():
            loss = self.loss(images, self.encoder(images)).mean()
            loss.backward()
        _take_step(self.optimizers["encoder"])
        return {"encoder_loss": loss.detach()}

    def tensors(self) -> dict[str, Tensor]:
        """The encoder and Adam's moments."""
        return state_of({"encoder": self.encoder}, self.optimizers)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `tensors`."""
        restore_state({"encoder": self.encoder}, self.optimizers, tensors)


class AveragedTraining(Generic[Averaged]):
    """Networks that learn together by Adam; the average of one of them over the last steps is what is kept.

    The rate is constant, so that training can always go on; the average does what a falling rate would.
    """

    def __init__(self, averaged: Averaged, networks: dict[str, nn.Module], learning_rate: float) -> None:
        self.averaged, self.networks = averaged, networks
        self.average: Averaged = copy.deepcopy(averaged).requires_grad_(False).eval()
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), learning_rate, fused=True)
            for name, network in networks.items()
        }

    def update(self, loss: Tensor, number: int) -> None:
        """Take step `number` down a loss's slope, and the average after it."""
        loss.backward()
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        move_average(self.average, self.averaged, number, decay=AVERAGE_DECAY)

    def tensors(self) -> dict[str, Tensor]:
        """All networks, and Adam's moments."""
        return state_of({**self.networks, "average": self.average}, self.optimizers)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `tensors`."""
        restore_state({**self.networks, "average": self.average}, self.optimizers, tensors)


def state_of(networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Weights of networks, and the moments of the Adam that trains them, by name."""
    return _network_tensors(networks) | _moment_tensors(optimizers, networks)


def restore_state(
    networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    """Take up what `state_of` gave."""
    _restore_networks(networks, tensors)
    _restore_moments(optimizers, networks, tensors)


def _adam(network: nn.Module, learning_rate: float, betas: tuple[float, float]) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), learning_rate, betas, fused=True)


def _take_step(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def move_average(average: nn.Module, live: nn.Module, number: int, *, decay: float) -> None:
    """Move averaged weights toward those of step `number`; buffers are the newest."""
    # A short memory at first, so that the average does not remember the random start.
    decay = min(decay, (1 + number) / (10 + number))
    for averaged, newest in zip(average.parameters(), live.parameters(), strict=True):
        averaged.lerp_(newest, 1 - decay)
    for kept, buffer in zip(average.buffers(), live.buffers(), strict=True):
        kept.copy_(buffer)


def mixed_seed(seed: int, number: int) -> int:
    """One seed of two numbers; an odd multiplier keeps neighboring runs apart (Knuth's 64-bit constant)."""
    return (seed * 6364136223846793005 + number) % 2**63


def _network_tensors(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{which}.{name}": tensor
        for which, network in networks.items()
        for name, tensor in network.state_dict().items()
    }


def _restore_networks(networks: Mapping[str, nn.Module], tensors: dict[str, Tensor]) -> None:
    for which, network in networks.items():
        prefix = f"{which}."
        state = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        network.load_state_dict(state)


def _moment_tensors(
    optimizers: Mapping[str, torch.optim.Optimizer], networks: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    found = {}
    for which, optimizer in optimizers.items():
        for name, parameter in networks[which].named_parameters():
            for key, tensor in optimizer.state[parameter].items():
                found[f"adam.{which}.{name}/{key}"] = tensor
    return found


def _restore_moments(
    optimizers: Mapping[str, torch.optim.Optimizer], networks: Mapping[str, nn.Module], tensors: dict[str, Tensor]
) -> None:
    for which, optimizer in optimizers.items():
        for name, parameter in networks[which].named_parameters():
            prefix = f"adam.{which}.{name}/"
            optimizer.state[parameter] = {
                key.removeprefix(prefix): _laid_out_as(parameter, tensor)
                for key, tensor in tensors.items()
                if key.startswith(prefix)
            }


def _laid_out_as(parameter: nn.Parameter, tensor: Tensor) -> Tensor:
    """A moment in the memory order of its parameter: the fused Adam walks both as they lie."""
    return torch.empty_like(parameter).detach().copy_(tensor) if tensor.ndim else tensor.clone()
