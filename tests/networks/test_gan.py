import pytest
import torch

from peculiar.networks.gan import Critic, Generator, critic_loss, generator_loss

SIZES = [32, 40, 52, 96]


def n_parameters(network):
    return sum(each.numel() for each in network.parameters())


def test_the_papers_networks_have_their_numbers_of_parameters():
    assert n_parameters(Generator()) == 6_683_779
    assert n_parameters(Critic()) == 4_324_993


# --- generator


@pytest.mark.parametrize("size", [32, 44, 96])
@pytest.mark.parametrize("channels", range(1, 9))
def test_images_have_the_surveys_shape_and_lie_between_0_and_1(size, channels):
    generator = Generator(size=size, channels=channels, width=2, n_latent=5)
    images = generator(20 * torch.randn(2, 5))
    assert images.shape == (2, channels, size, size)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_in_evaluation_the_same_latent_gives_the_same_image_whatever_the_batch(upsampling, batch_norm):
    torch.manual_seed(0)
    generator = Generator(size=32, width=4, n_latent=5, upsampling=upsampling, batch_norm=batch_norm)
    for _ in range(3):
        generator(torch.randn(16, 5))  # running statistics
    generator.eval()
    latent = torch.randn(6, 5)
    alone = torch.cat([generator(each[None]) for each in latent])
    torch.testing.assert_close(generator(latent), alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(generator(latent.flip(0)).flip(0), alone, rtol=1e-5, atol=1e-6)
    assert torch.equal(generator(latent), generator(latent))  # nothing random inside


def test_in_training_batch_normalization_looks_at_the_batch():
    generator = Generator(size=32, width=4, n_latent=5, batch_norm=True)
    latent = torch.randn(6, 5)
    assert not torch.allclose(generator(latent)[:3], generator(latent[:3]), atol=1e-6)


# --- the critic's gradient, written out


def critic_of(size, *, channels=3, width=3):
    """In float64, with biases: their part must not be missed."""
    torch.manual_seed(size)
    critic = Critic(size=size, channels=channels, width=width).double()
    for name, parameter in critic.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return critic


def exact(critic, images):
    """The gradient by automatic differentiation, differentiable again."""
    images = images.clone().requires_grad_(True)
    features = critic.trunk(images, 0.2).flatten(1)
    realness = critic.head(features).squeeze(1)  # not rounded to float32 as forward's is
    (gradient,) = torch.autograd.grad(realness.sum(), images, create_graph=True)
    return gradient


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_input_gradient_is_that_of_automatic_differentiation(size, channels):
    critic = critic_of(size, channels=channels)
    images = torch.rand(3, channels, size, size, dtype=torch.float64)
    found, expected = critic.input_gradient(images), exact(critic, images)
    assert found.shape == images.shape
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-7)
    assert expected.abs().max() > 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_the_penaltys_gradient_in_the_weights_is_that_of_double_backward(size):
    critic = critic_of(size)
    images = torch.rand(3, 3, size, size, dtype=torch.float64)
    gradients = []
    for input_gradient in (critic.input_gradient(images), exact(critic, images)):
        penalty = (input_gradient.double().flatten(1).norm(dim=1) - 1).square().mean()
        found = torch.autograd.grad(penalty, list(critic.parameters()), allow_unused=True)
        gradients.append(found)
    for (name, _), ours, theirs in zip(critic.named_parameters(), *gradients, strict=True):
        theirs = torch.zeros_like(critic.get_parameter(name)) if theirs is None else theirs
        ours = torch.zeros_like(theirs) if ours is None else ours
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6 * max(1.0, theirs.abs().max().item()), msg=name)
        if name.endswith("weight"):
            assert theirs.abs().max() > 0


def test_a_small_step_in_the_image_changes_realness_as_the_gradient_says():
    critic = critic_of(40)
    images = torch.rand(2, 3, 40, 40, dtype=torch.float64)
    step = 1e-6 * torch.randn_like(images)

    def realness(x):
        return critic.head(critic.features(x).flatten(1)).squeeze(1)

    expected = (critic.input_gradient(images).double() * step).flatten(1).sum(1)
    torch.testing.assert_close(realness(images + step) - realness(images), expected, rtol=1e-3, atol=1e-12)


# --- losses


def separable(n=16):
    """Bright images and dark ones."""
    return 0.6 + 0.4 * torch.rand(n, 1, 32, 32), 0.4 * torch.rand(n, 1, 32, 32)


def test_critic_loss_is_gulrajanis_equation_3():
    torch.manual_seed(0)
    critic = Critic(size=32, channels=1, width=2)
    (real, generated), mixing = separable(), torch.rand(16)
    loss, distance, penalty = critic_loss(critic, real, generated, mixing)
    between = (real + mixing.view(-1, 1, 1, 1) * (generated - real)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between)
    expected = ((gradient.flatten(1).square().sum(1).sqrt() - 1) ** 2).mean()
    torch.testing.assert_close(penalty, expected)
    torch.testing.assert_close(distance, critic(real).mean() - critic(generated).mean(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss, -distance + 10 * expected)
    torch.testing.assert_close(generator_loss(critic, generated), -critic(generated).mean())


def test_a_lazy_penalty_is_scaled_and_none_is_left_out():
    critic = Critic(size=32, channels=1, width=2)
    (real, generated), mixing = separable(), torch.rand(16)
    loss, distance, penalty = critic_loss(critic, real, generated, mixing, penalty_weight=40.0)
    torch.testing.assert_close(loss, 40 * penalty - distance)
    without, distance_again, none = critic_loss(critic, real, generated, None, penalty_weight=40.0)
    torch.testing.assert_close(without, -distance)
    torch.testing.assert_close(distance_again, distance)
    assert none == 0


def trained_critic(*, is_penalized, n_steps=60):
    """A critic after some steps on separable images: its distances, and the norms of its slope at the end."""
    torch.manual_seed(1)
    critic = Critic(size=32, channels=1, width=2)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3, (0.5, 0.9))
    (real, generated), distances = separable(), []
    for _ in range(n_steps):
        mixing = torch.rand(16)
        loss, distance, _ = critic_loss(critic, real, generated, mixing if is_penalized else None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        distances.append(distance.item())
    return distances, critic.input_gradient((real + generated) / 2).flatten(1).norm(dim=1)


def test_critic_steps_widen_the_distance_and_the_penalty_holds_the_slope_down():
    distances, slopes = trained_critic(is_penalized=True)
    free_distances, free_slopes = trained_critic(is_penalized=False)
    assert distances[-1] > distances[0] + 1
    assert free_distances[-1] > distances[-1]
    assert slopes.max() < 2
    assert free_slopes.min() > 2 * slopes.max()


def test_generator_steps_raise_realness_and_the_critic_stays():
    torch.manual_seed(2)
    generator, critic = Generator(size=32, channels=1, width=2, n_latent=4), Critic(size=32, channels=1, width=2)
    before = [each.clone() for each in critic.parameters()]
    optimizer = torch.optim.Adam(generator.parameters(), 1e-3)
    latent, losses = torch.randn(8, 4), []
    for _ in range(20):
        loss = generator_loss(critic, generator(latent))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(torch.equal(a, b) for a, b in zip(before, critic.parameters(), strict=True))
