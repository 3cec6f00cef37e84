import pytest
import torch

from peculiar.networks.encoder import Encoder


def n_parameters(network):
    return sum(each.numel() for each in network.parameters())


def test_the_papers_encoder_has_its_number_of_parameters():
    assert n_parameters(Encoder()) == 6_665_984


@pytest.mark.parametrize("size", [32, 44, 96])
@pytest.mark.parametrize("channels", [1, 5])
def test_a_latent_comes_of_any_size_and_channels(size, channels):
    encoder = Encoder(size=size, channels=channels, width=2, n_latent=7)
    assert encoder(torch.rand(3, channels, size, size)).shape == (3, 7)


def test_latents_are_linear_at_the_end_without_bounds():
    encoder = Encoder(size=32, width=2, n_latent=4)
    images = torch.rand(2, 3, 32, 32)
    before = encoder(images)
    with torch.no_grad():
        encoder.head.weight *= 1e4
    torch.testing.assert_close(encoder(images), 1e4 * before, rtol=1e-4, atol=1e-2)
    assert encoder(images).abs().max() > 10


def test_a_latent_depends_on_its_image_alone():
    encoder = Encoder(size=32, width=2, n_latent=4).eval()
    images = torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(encoder(images)[2:3], encoder(images[2:3]), rtol=1e-5, atol=1e-6)
