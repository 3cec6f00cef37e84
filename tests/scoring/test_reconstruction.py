import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peculiar.networks.gan import Critic, Generator
from peculiar.scoring.reconstruction import anomaly_terms, combine, find_latents, in_batches

OPTIONS = {"reconstruction_weight": 0.3, "n_steps": 10, "learning_rate": 0.03}


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    generator = Generator(size=32, channels=1, width=2, n_latent=4).eval().requires_grad_(False)
    critic = Critic(size=32, channels=1, width=2).eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter *= 3  # images that depend on the latent
    return generator, critic


def losses(networks, images, latent, weight=0.3):
    generator, critic = networks
    with torch.no_grad():
        return combine(*anomaly_terms(images, critic.features(images), generator(latent), critic.features), weight)


def found(networks, images, start, **options):
    generator, critic = networks
    return find_latents(images, critic.features(images), start, generator, critic.features, **(OPTIONS | options))


def made(n, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 32, 32, generator=random), torch.randn(n, 4, generator=random)


def test_terms_are_sums_of_absolute_differences():
    images, generated = torch.rand(3, 2, 32, 32), torch.rand(3, 2, 32, 32)

    def features(x):
        return 2 * x.flatten(1)[:, :5]

    gen, disc = anomaly_terms(images, features(images), generated, features)
    np.testing.assert_allclose(gen, np.abs(images.numpy() - generated.numpy()).sum(axis=(1, 2, 3)), rtol=1e-5)
    difference = (images - generated).numpy().reshape(3, -1)[:, :5]
    np.testing.assert_allclose(disc, 2 * np.abs(difference).sum(axis=1), rtol=1e-5)
    torch.testing.assert_close(combine(gen, disc, 0.3), 0.7 * gen + 0.3 * disc)


def test_the_best_latent_is_never_worse_than_the_start_or_any_step(networks):
    images, start = made(12)
    best = losses(networks, images, found(networks, images, start))
    assert (best <= losses(networks, images, start) + 1e-4).all()
    assert (best < losses(networks, images, start) - 0.01).any()
    for n_steps in range(10):
        fewer = losses(networks, images, found(networks, images, start, n_steps=n_steps))
        assert (best <= fewer + 1e-4).all()


def test_a_rate_far_too_large_leaves_the_start(networks):
    generator, _ = networks
    start = made(5)[1]
    with torch.no_grad():
        images = generator(start)  # the start is the answer
    assert torch.equal(found(networks, images, start, learning_rate=50.0), start)


def test_without_steps_the_start_is_kept(networks):
    images, start = made(5)
    assert torch.equal(found(networks, images, start, n_steps=0), start)


def test_the_start_and_the_networks_are_left_as_they_were(networks):
    images, start = made(5)
    kept, before = start.clone(), [each.clone() for network in networks for each in network.parameters()]
    found(networks, images, start)
    assert torch.equal(start, kept)
    after = [each for network in networks for each in network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(each.grad is None for each in after)


def test_the_known_optimum_of_a_linear_generator_is_found():
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(64, 3))
    truth = torch.tensor([[0.5, -0.3, 0.2], [-0.1, 0.4, 0.6]])

    def generator(latent):
        return (latent @ basis.T).view(-1, 1, 8, 8)

    best = find_latents(
        generator(truth),
        generator(truth).flatten(1),
        torch.zeros(2, 3),
        generator,
        lambda x: x.flatten(1),
        reconstruction_weight=0.3,
        n_steps=800,
        learning_rate=0.003,
    )
    torch.testing.assert_close(best, truth, atol=0.005, rtol=0)


def test_the_weight_decides_what_is_minimized():
    # Pixels pull the latent to 1; features, from below 0, to -1.
    images = torch.ones(1, 1, 1, 1)

    def generator(latent):
        return latent.view(-1, 1, 1, 1)

    def features(x):
        return x.flatten(1).abs()  # the same for 1 and -1

    def best(weight, start):
        return find_latents(
            images,
            features(images),
            torch.full((1, 1), start),
            generator,
            features,
            reconstruction_weight=weight,
            n_steps=400,
            learning_rate=0.01,
        ).item()

    assert best(0.0, -0.5) == pytest.approx(1, abs=0.02)
    assert best(1.0, -0.5) == pytest.approx(-1, abs=0.02)


def test_a_latent_depends_on_its_image_alone(networks):
    images, start = made(40)

    def find(*parts):
        return (found(networks, *parts),)

    (whole,) = in_batches(find, images, start)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    (shuffled,) = in_batches(find, images[order], start[order])
    few = order[:7]
    (part,) = in_batches(find, images[few], start[few])
    reference = losses(networks, images, whole)
    torch.testing.assert_close(losses(networks, images[order], shuffled), reference[order], rtol=1e-4, atol=0)
    torch.testing.assert_close(losses(networks, images[few], part), reference[few], rtol=1e-4, atol=0)
    torch.testing.assert_close(part, whole[few], rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 75), batch_size=st.integers(1, 40))
def test_batches_are_all_of_one_size_and_copies_are_trimmed(n, batch_size):
    values, sizes = torch.arange(float(n)), []

    def double(first, second):
        sizes.append(len(first))
        return 2 * first, second.sum(1)

    doubled, sums = in_batches(double, values, torch.stack([values, values], dim=1), batch_size=batch_size)
    assert set(sizes) == {batch_size}
    assert len(sizes) == -(-n // batch_size)
    assert torch.equal(doubled, 2 * values)
    assert torch.equal(sums, 2 * values)
