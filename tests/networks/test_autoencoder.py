import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from peculiar.networks.autoencoder import Autoencoder, AutoencoderTraining, autoencoder_loss

BATCH = 6


def draw(number):
    """Other images for every number, the same ones for the same: a square of its own brightness each."""
    random = torch.Generator().manual_seed(number)
    images = torch.zeros(BATCH, 1, 32, 32)
    images[:, :, 8:24, 8:24] = torch.rand(BATCH, 1, 1, 1, generator=random)
    return images


def training(*, sparsity=0.0, learning_rate=1e-3, width=2):
    torch.manual_seed(3)
    autoencoder = Autoencoder(size=32, channels=1, width=width, n_features=4)
    autoencoder.to(memory_format=torch.channels_last)  # as `engine.machine` does: moments must follow it
    return AutoencoderTraining(autoencoder, draw, learning_rate=learning_rate, sparsity=sparsity, precision=nullcontext)


def test_the_papers_autoencoder_has_its_number_of_parameters():
    assert sum(each.numel() for each in Autoencoder().parameters()) == 7_072_579


def test_it_is_the_networks_that_the_paper_names():
    """The same weights in PyTorch's own layers, one after another."""
    ours = Autoencoder(size=96, channels=3, width=4, n_features=10)
    down = [nn.Conv2d(a, b, 5, 2, padding=2) for a, b in ((3, 4), (4, 8), (8, 16), (16, 32))]
    up = [nn.ConvTranspose2d(a, b, 5, 2, 2, output_padding=1) for a, b in ((4, 16), (16, 8), (8, 4), (4, 3))]
    encoder = [*(part for each in down for part in (each, nn.ReLU())), nn.Flatten(), nn.Linear(32 * 36, 10)]
    decoder = [nn.Linear(10, 4 * 36, bias=False), nn.Unflatten(1, (4, 6, 6))]
    decoder += [part for each in up for part in (each, nn.ReLU())][:-1]
    other = nn.Sequential(*encoder, *decoder)
    weights = zip(other.parameters(), ours.parameters(), strict=True)
    with torch.no_grad():
        for theirs, mine in weights:
            theirs.copy_(mine)
    images = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(ours.decode_standardized(ours.encode(images)), other(images), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours.encode(images), other[: len(encoder)](images), rtol=1e-4, atol=1e-6)


def test_it_works_in_units_of_the_training_images():
    images = torch.rand(50, 3, 32, 32) * torch.tensor([0.1, 0.2, 0.4])[:, None, None] + 0.3
    network = Autoencoder(size=32, channels=3, width=2, n_features=4)
    plain = copy.deepcopy(network)
    network.set_scale(images)
    given = network.standardized(images)
    torch.testing.assert_close(given.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(given.std((0, 2, 3)), torch.ones(3), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.encode(images), plain.encode(given))
    decoded = plain.decode_standardized(plain.encode(given)) * images.std((0, 2, 3))[:, None, None]
    torch.testing.assert_close(network(images), (decoded + images.mean((0, 2, 3))[:, None, None]).clamp(0, 1))


def test_a_black_channel_is_no_division_by_zero():
    network = Autoencoder(size=32, channels=1, width=2, n_features=4)
    network.set_scale(torch.zeros(4, 1, 32, 32))
    assert torch.isfinite(network(torch.zeros(2, 1, 32, 32))).all()


def test_nearly_black_images_are_told_apart():
    """Residuals are: from a sigmoid all would come back as black."""
    spots = torch.zeros(16, 1, 32, 32)
    for place in range(16):
        spots[place, 0, 4 + 6 * (place // 4) : 8 + 6 * (place // 4), 4 + 6 * (place % 4) : 8 + 6 * (place % 4)] = 0.05
    torch.manual_seed(1)
    network = Autoencoder(size=32, channels=1, width=8, n_features=8)
    network.to(memory_format=torch.channels_last)
    network.set_scale(spots)
    told = {"learning_rate": 3e-3, "sparsity": 0.0, "precision": nullcontext}
    training = AutoencoderTraining(network, lambda number: spots, **told)
    for number in range(150):
        training.step(number)
    decoded = network(spots).flatten(1)
    assert (torch.cdist(decoded, spots.flatten(1)).argmin(1) == torch.arange(16)).all()


@settings(max_examples=12, deadline=None)
@given(size=st.integers(32, 80), channels=st.integers(1, 5), n_features=st.integers(1, 9))
def test_any_size_and_channels_come_back_between_0_and_1(size, channels, n_features):
    autoencoder = Autoencoder(size=size, channels=channels, width=2, n_features=n_features)
    images = torch.rand(2, channels, size, size)
    features = autoencoder.encode(images)
    decoded = autoencoder.decode(features)
    assert features.shape == (2, n_features)
    assert decoded.shape == images.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    torch.testing.assert_close(autoencoder(images), decoded)


def test_features_are_linear_at_the_end_without_bounds():
    autoencoder = Autoencoder(size=32, width=2, n_features=4)
    images = torch.rand(2, 3, 32, 32)
    before = autoencoder.encode(images)
    with torch.no_grad():
        autoencoder.head.weight *= 1e4
    torch.testing.assert_close(autoencoder.encode(images), 1e4 * before, rtol=1e-4, atol=1e-2)


# --- loss and training


def test_the_loss_is_the_mean_square_and_the_mean_absolute_feature():
    images, decoded = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)
    features = torch.tensor([[1.0, -3.0], [0.0, 4.0]])
    assert autoencoder_loss(images, decoded, features).item() == pytest.approx(0.25)
    assert autoencoder_loss(images, decoded, features, 0.1).item() == pytest.approx(0.25 + 0.1 * 2.0)


def test_it_learns_to_give_its_images_back():
    trained = training(learning_rate=3e-3, width=8)
    first = trained.step(0)["autoencoder_loss"].item()
    for number in range(1, 150):
        last = trained.step(number)["autoencoder_loss"].item()
    assert last < 0.02 * first
    images = draw(1_000)  # others; and better than the best image that is the same for all
    assert ((trained.autoencoder(images) - images) ** 2).mean() < 0.5 * images.var(dim=0, correction=0).mean()


def test_sparsity_makes_features_small():
    dense, sparse = training(), training(sparsity=1.0)
    for number in range(40):
        dense.step(number)
        sparse.step(number)
    images = draw(1_000)
    assert sparse.autoencoder.encode(images).abs().mean() < 0.5 * dense.autoencoder.encode(images).abs().mean()


def test_training_that_is_restored_goes_on_to_the_same_weights():
    whole, first = training(), training()
    for number in range(6):
        whole.step(number)
    for number in range(3):
        first.step(number)
    second = training()
    second.step(17)  # what stands there is overwritten
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()})
    for number in range(3, 6):
        second.step(number)
    expected, found = whole.tensors(), second.tensors()
    assert expected.keys() == found.keys()
    assert any(name.startswith("adam.autoencoder.") for name in found)
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
