import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from peculiar.networks.blocks import resized
from peculiar.networks.contrastive import (
    LOOKS,
    ContrastiveEncoder,
    ContrastiveTraining,
    Views,
    contrastive_loss,
)

STILL = Views(zoom=(1.0, 1.0), shift=0.0, gain=0.0, tint=0.0, noise=0.0)


def encoder(**options):
    torch.manual_seed(5)
    return ContrastiveEncoder(**({"channels": 3, "width": 4, "side": 16, "n_features": 6} | options)).eval()


def frozen(network, n=200):
    images = torch.rand(n, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        network.freeze_components(network.learnt(images))
    return network, images


# --- the loss


def test_the_loss_is_chens_equation_1_term_by_term():
    random = np.random.default_rng(0)
    views = random.normal(size=(8, 5))
    unit = views / np.linalg.norm(views, axis=1, keepdims=True)
    partner, temperature, terms = [4, 5, 6, 7, 0, 1, 2, 3], 0.3, []
    for i in range(8):
        likeness = [math.exp(float(unit[i] @ unit[k]) / temperature) for k in range(8)]
        terms.append(-math.log(likeness[partner[i]] / sum(likeness[k] for k in range(8) if k != i)))
    loss = contrastive_loss(torch.tensor(views[:4]), torch.tensor(views[4:]), temperature)
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_views_that_agree_and_differ_from_all_others_cost_nothing():
    far = torch.eye(4) * 7.0
    assert contrastive_loss(far, far, 0.05).item() == pytest.approx(0.0, abs=1e-6)
    assert contrastive_loss(torch.ones(4, 4), torch.ones(4, 4), 0.2).item() == pytest.approx(math.log(7))


# --- views


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_a_view_is_the_image_turned_about_its_center(shift):
    """A spot right of the center stays as far from it, wherever it is turned to."""
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 16, 24] = 1.0
    views = Views(zoom=(1.0, 1.0), shift=shift, gain=0.0, tint=0.0, noise=0.0).of(
        image.repeat(64, 1, 1, 1), 33, torch.Generator().manual_seed(0)
    )
    y, x = np.mgrid[:33, :33] - 16.0
    angles, radii = [], []
    for view in views[:, 0].numpy():
        at_x, at_y = (view * x).sum() / view.sum(), (view * y).sum() / view.sum()
        angles.append(math.atan2(at_y, at_x))
        radii.append(math.hypot(at_x, at_y))
    if shift:
        assert np.ptp(radii) > 2
    else:
        assert np.allclose(radii, 8, atol=0.6)
    assert np.histogram(angles, 4, (-math.pi, math.pi))[0].min() > 5


def test_a_zoomed_view_shows_the_inner_part_larger():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 16:48, 16:48] = 1.0
    (view,) = Views(zoom=(0.5, 0.5), shift=0.0, gain=0.0, tint=0.0, noise=0.0).of(image, 64, torch.Generator())
    assert view.mean() > 0.9  # the inner half, turned: some corners are beyond


def test_brightness_tint_and_noise_are_those_asked_for():
    images = torch.full((3000, 3, 8, 8), 0.3)
    bright = Views(zoom=(1.0, 1.0), shift=0.0, gain=0.1, tint=0.02, noise=0.0).of(images, 8, torch.Generator())
    logs = torch.log(bright.mean((2, 3)) / 0.3)
    assert logs.mean(1).std().item() == pytest.approx(math.hypot(0.1, 0.02 / math.sqrt(3)), rel=0.1)
    assert (logs - logs.mean(1, keepdim=True)).std().item() == pytest.approx(0.02 * math.sqrt(2 / 3), rel=0.1)
    noisy = Views(zoom=(1.0, 1.0), shift=0.0, gain=0.0, tint=0.0, noise=0.06).of(images, 8, torch.Generator())
    assert (noisy - 0.3).flatten(1).std(1).mean().item() == pytest.approx(0.03, rel=0.1)
    assert bright.min() >= 0
    assert noisy.max() <= 1


# --- the network


def test_the_presets_network_has_the_number_of_parameters_that_the_docs_say():
    assert sum(each.numel() for each in ContrastiveEncoder().parameters()) == 680_088


@pytest.mark.parametrize("size", [32, 45, 64, 100])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_size_and_channels_make_features_of_one_length(size, channels):
    network = encoder(channels=channels)
    images = torch.rand(40, channels, size, size)
    with torch.no_grad():
        network.freeze_components(network.learnt(images))
        features = network.features(images)
    assert features.shape == (40, 12)
    assert network.n_features == 12
    for look in features.split(6, dim=1):
        torch.testing.assert_close(look.norm(dim=1), torch.full((40,), math.sqrt(6)))


def test_features_do_not_depend_on_how_an_object_is_turned():
    network, images = frozen(encoder())
    with torch.no_grad():
        first = network.features(images)
        for turned in (images.rot90(1, (-2, -1)), images.rot90(3, (-2, -1)), images.flip(-1), images.flip(-2)):
            torch.testing.assert_close(network.features(turned), first, rtol=1e-3, atol=1e-3)
    assert (first[0] - first[1]).norm() > 0.1


def test_components_of_the_sample_are_uncorrelated_and_of_equal_spread():
    network, images = frozen(encoder())
    with torch.no_grad():
        components = (network.learnt(images) - network.center[:, None]) @ network.components
    for look in components:
        torch.testing.assert_close(torch.cov(look.T), torch.eye(6), rtol=1e-3, atol=1e-3)


def test_directions_without_spread_count_for_nothing():
    network = encoder()
    learnt = torch.zeros(len(LOOKS), 50, network.n_learnt)
    learnt[:, :, 3] = torch.linspace(0, 1, 50)
    network.freeze_components(learnt)
    assert torch.isfinite(network.components).all()
    assert (network.components.abs() > 0).any(2).sum(1).tolist() == [1, 1]


def test_the_center_does_not_see_what_lies_at_the_edge():
    network, images = frozen(encoder(zoom=(0.4, 1.0)))
    changed = images.clone()
    changed[..., :6] = 1.0
    changed[..., -6:] = 1.0
    with torch.no_grad():
        frame, center = (network.features(changed) - network.features(images)).split(6, dim=1)
    assert network.looks == pytest.approx((0.85, 0.55))
    assert LOOKS == ("frame", "center")
    assert center.abs().max() == 0
    assert frame.norm(dim=1).min() > 0.1


def test_an_image_of_a_views_size_is_not_touched():
    images = torch.rand(1, 3, 16, 16)
    assert resized(images, 16) is images
    assert resized(torch.full((1, 1, 50, 50), 0.4), 16).allclose(torch.tensor(0.4))


# --- training

PATTERNS = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(9)).round()


def training():
    torch.manual_seed(2)
    network = ContrastiveEncoder(channels=3, width=4, side=16, n_features=6)
    network.to(memory_format=torch.channels_last)
    return ContrastiveTraining(
        network,
        lambda number: PATTERNS,
        temperature=0.2,
        learning_rate=3e-3,
        seed=1,
        precision=nullcontext,
        views=STILL,
    )


def test_training_tells_patterns_apart_however_they_are_turned():
    made = training()
    losses = [made.step(number)["contrastive_loss"].item() for number in range(60)]
    assert losses[0] > 2.0
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_training_that_goes_on_takes_the_same_steps():
    whole, first = training(), training()
    for number in range(4):
        whole.step(number)
    for number in range(2):
        first.step(number)
    second = training()
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()})
    for number in (2, 3):
        second.step(number)
    expected = whole.tensors()
    assert second.tensors().keys() == expected.keys()
    for name, tensor in second.tensors().items():
        assert torch.equal(tensor, expected[name]), name
