import math
from contextlib import nullcontext

import pytest
import torch

from peculiar.networks.encoder import Encoder
from peculiar.networks.gan import Critic, Generator, critic_loss
from peculiar.networks.training import Diverged, EncoderTraining, GanTraining, train
from peculiar.scoring.reconstruction import anomaly_terms, combine

BATCH = 6


def draw(number):
    """Other images for every number, the same ones for the same."""
    return torch.rand(BATCH, 1, 32, 32, generator=torch.Generator().manual_seed(number))


def gan_training(*, draw=draw, **options):
    torch.manual_seed(3)
    generator = Generator(size=32, channels=1, width=2, n_latent=4, batch_norm=True)
    critic = Critic(size=32, channels=1, width=2)
    placed(generator, critic)
    defaults = {
        "learning_rate": 1e-3,
        "n_critic": 2,
        "batch_size": BATCH,
        "penalty_every": 1,
        "average_decay": 0.9,
        "seed": 0,
        "precision": nullcontext,
    }
    return GanTraining(generator, critic, draw, **(defaults | options))


def encoder_training():
    torch.manual_seed(4)
    generator, critic = Generator(size=32, channels=1, width=2, n_latent=4), Critic(size=32, channels=1, width=2)
    generator.requires_grad_(False)
    critic.requires_grad_(False)

    def loss(images, latent):
        return combine(*anomaly_terms(images, critic.features(images), generator(latent), critic.features), 0.3)

    encoder = Encoder(size=32, channels=1, width=2, n_latent=4)
    placed(encoder)
    return EncoderTraining(encoder, loss, draw, learning_rate=1e-3, precision=nullcontext)


def placed(*networks):
    """Weights in the order that `engine.machine` puts them in: moments must follow it."""
    for network in networks:
        network.to(memory_format=torch.channels_last)


class Log:
    """What the loop asked for."""

    def __init__(self):
        self.recorded, self.saved, self.advanced = [], [], 0

    def run(self, training, *, first_step=0, n_steps=6, record_every=2, save_every=3):
        train(
            training,
            first_step=first_step,
            n_steps=n_steps,
            record_every=record_every,
            save_every=save_every,
            record=lambda step, metrics: self.recorded.append((step, metrics)),
            save=self.saved.append,
            advance=self.advance,
        )
        return self

    def advance(self, n):
        self.advanced += n


def same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def frozen(training):
    """The state as a file holds it: in the plain order."""
    return {name: tensor.detach().contiguous().clone() for name, tensor in training.tensors().items()}


# --- the loop


def test_metrics_are_recorded_and_states_saved_every_so_often_and_at_the_end():
    log = Log().run(gan_training(), n_steps=7)
    assert log.saved == [3, 6, 7]
    assert [step for step, _ in log.recorded] == [2, 3, 4, 6, 7]
    assert log.advanced == 7
    assert set(log.recorded[0][1]) == {"critic_loss", "wasserstein", "penalty", "generator_loss"}


def test_recorded_metrics_are_means_over_the_steps_since_the_last():
    log = Log().run(gan_training(), n_steps=4, record_every=4, save_every=4)
    each = Log().run(gan_training(), n_steps=4, record_every=1, save_every=4)
    for name, value in log.recorded[0][1].items():
        assert value == pytest.approx(sum(metrics[name] for _, metrics in each.recorded) / 4, rel=1e-5, abs=1e-7)


def test_no_step_is_taken_where_enough_were():
    log = Log().run(gan_training(), first_step=6, n_steps=6)
    assert (log.saved, log.recorded, log.advanced) == ([], [], 0)


def test_a_loss_that_is_no_number_stops_training_and_nothing_is_saved():
    def poisoned(number):
        return draw(number) * (math.nan if number >= 8 else 1.0)  # in the fifth iteration

    log = Log()
    with pytest.raises(Diverged, match=r"diverged at step 6: .*critic_loss"):
        log.run(gan_training(draw=poisoned))
    assert log.saved == [3]
    assert all(math.isfinite(value) for _, metrics in log.recorded for value in metrics.values())


def test_a_weight_that_is_no_number_stops_training_and_nothing_is_saved():
    training, log = encoder_training(), Log()
    step = training.step

    def spoiling(number):
        metrics = step(number)
        if number == 5:
            with torch.no_grad():
                next(training.encoder.parameters()).view(-1)[0] = math.inf
        return metrics

    training.step = spoiling
    with pytest.raises(Diverged, match=r"diverged at step 6: encoder\..* is not finite"):
        log.run(training)
    assert log.saved == [3]


# --- going on


@pytest.mark.parametrize("make", [gan_training, encoder_training])
def test_training_that_goes_on_takes_the_identical_trajectory(make):
    whole, first = make(), make()
    Log().run(whole, n_steps=6)
    Log().run(first, n_steps=3)
    second = make()
    second.restore(frozen(first))
    Log().run(second, first_step=3, n_steps=6)
    assert same(whole.tensors(), second.tensors())


def test_training_that_goes_on_records_the_same_metrics_also_between_lazy_penalties():
    def make():
        return gan_training(n_critic=1, penalty_every=4)

    whole, first, second = make(), make(), make()
    expected = Log().run(whole, n_steps=6, record_every=1).recorded
    Log().run(first, n_steps=3)
    second.restore(frozen(first))
    assert Log().run(second, first_step=3, n_steps=6, record_every=1).recorded == expected[3:]


@pytest.mark.parametrize("make", [gan_training, encoder_training])
def test_the_state_holds_weights_and_moments(make):
    training = make()
    training.step(0)
    state = frozen(training)
    assert any(name.startswith("adam.") and name.endswith("exp_avg_sq") for name in state)
    other = make()
    other.step(5)
    assert not same(other.tensors(), state)
    other.restore(state)
    assert same(other.tensors(), state)
    other.step(1)
    assert not same(other.tensors(), state)  # restored tensors are copies


def test_another_seed_takes_another_trajectory():
    one, other = gan_training(seed=0), gan_training(seed=1)
    for each in (one, other):
        each.step(0)
    assert not same(one.tensors(), other.tensors())


# --- one iteration of the networks


def test_an_iteration_draws_its_own_batches_for_every_critic_update():
    numbers = []

    def noting(number):
        numbers.append(number)
        return draw(number)

    training = gan_training(draw=noting, n_critic=5)
    training.step(0)
    training.step(1)
    assert numbers == list(range(10))


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_the_average_follows_the_generator(average_decay):
    training = gan_training(average_decay=average_decay)
    expected = [each.detach().clone() for each in training.generator.parameters()]
    for number in range(3):
        training.step(number)
        decay = min(average_decay, (1 + number) / (10 + number))
        live = list(training.generator.parameters())
        expected = [decay * a + (1 - decay) * b.detach() for a, b in zip(expected, live, strict=True)]
    for average, each in zip(training.average.parameters(), expected, strict=True):
        torch.testing.assert_close(average, each)
    for average, live in zip(training.average.buffers(), training.generator.buffers(), strict=True):
        assert torch.equal(average, live)
    assert not training.average.training


def test_a_lazy_penalty_comes_every_so_manieth_update_and_so_many_times_as_strong():
    training = gan_training(n_critic=1, penalty_every=3, learning_rate=1e-9)  # the critic stands still
    metrics = [training.step(number) for number in range(6)]
    penalties = [each["penalty"].item() for each in metrics]
    assert penalties[0] == penalties[1] == penalties[2] != penalties[3] == penalties[5]  # the last one is shown
    for number, (each, penalty) in enumerate(zip(metrics, penalties, strict=True)):
        applied = 30 * penalty if number % 3 == 0 else 0
        assert each["critic_loss"].item() == pytest.approx(applied - each["wasserstein"].item(), rel=1e-4)


def test_the_critic_learns_to_tell_and_the_generator_is_left_alone_by_it():
    training = gan_training(n_critic=10, average_decay=0.0)
    random = torch.Generator().manual_seed(0)
    before = [each.clone() for each in training.generator.parameters()]

    def distance():
        real = draw(99)
        with torch.no_grad():
            generated = training.generator(torch.randn(BATCH, 4, generator=torch.Generator().manual_seed(1)))
            return critic_loss(training.critic, real, generated, None)[1].item()

    first = distance()
    for update in range(40):
        training._update_critic(update, random)
    assert distance() > first + 0.1
    assert all(torch.equal(a, b) for a, b in zip(before, training.generator.parameters(), strict=True))


def test_the_encoder_learns_and_the_frozen_networks_stay():
    training = encoder_training()
    images = draw(0)
    training.draw = lambda number: images
    losses = [training.step(number)["encoder_loss"].item() for number in range(25)]
    assert losses[-1] < losses[0]
