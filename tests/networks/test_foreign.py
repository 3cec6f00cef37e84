import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.nn import functional

from peculiar.networks.blocks import symmetries
from peculiar.networks.contrastive import Views
from peculiar.networks.foreign import N_HIGHEST, SEEN, UNSEEN, Detector, DetectorTraining, ForeignLight, detection_loss
from peculiar.sky.injection import STRETCH, stretched, unstretched

STILL = Views(zoom=(1.0, 1.0), shift=0.0, gain=0.0, tint=0.0, noise=0.0)


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def skies(n=64, channels=3, side=32, noise=0.02, level=0.2):
    """Flat images with noise."""
    return level + noise * torch.randn(n, channels, side, side, generator=random(3))


def detector(**options):
    torch.manual_seed(5)
    return Detector(**({"channels": 3, "width": 4, "side": 32} | options)).eval()


# --- what is planted


def test_light_is_unstretched_as_where_oddities_are_injected():
    image = np.arange(0, 255, dtype=np.uint8).reshape(1, 255, 1).repeat(3, axis=2)
    light = ForeignLight(stretch=STRETCH)
    levels = torch.from_numpy(np.moveaxis(image, -1, 0).astype(np.float64) / 255)
    np.testing.assert_allclose(light.unstretched(levels).numpy(), unstretched(image), rtol=1e-12)
    torch.testing.assert_close(light.stretched(light.unstretched(levels)), levels)
    np.testing.assert_array_equal(stretched(light.unstretched(levels).numpy()), image)


def test_the_noise_is_measured_whatever_lies_smoothly_under_it():
    light = ForeignLight()
    levels = torch.linspace(0.2, 0.4, 64).expand(20, 3, 64, 64)
    made = levels + 0.01 * torch.randn(20, 3, 64, 64, generator=random())
    assert light._noise(made).mean().item() == pytest.approx(0.01, rel=0.03)
    assert light._noise(torch.zeros(1, 1, 16, 16)).item() == pytest.approx(0.5 / 255 * 3 / math.sinh(3))


def test_the_signal_to_noise_of_a_place_is_that_of_its_pixels(monkeypatch):
    """Light that is added evenly in all pixels and channels by k deviations has k sqrt(64 x 3) in a place of 8 x 8."""
    monkeypatch.setattr(ForeignLight, "masks", lambda self, n, side, random, device: torch.ones(n, 1, side, side))
    even = ForeignLight(kinds=(1.0, 1.0), color=0.0, one_channel=0.0, snr=(3.0, 3.0))
    views = skies()
    planted, snr = even.planted(views, random())
    assert snr.shape == (64, 4, 4)
    assert snr.mean().item() == pytest.approx(3 * math.sqrt(64 * 3), rel=0.05)
    assert (planted > views).all()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_foreign_light_changes_something_but_leaves_the_rest(channels):
    views = skies(200, channels)
    planted, snr = ForeignLight().planted(views, random())
    assert planted.shape == views.shape
    assert (planted.min() >= 0, planted.max() <= 1) == (True, True)
    changed = (planted - views).abs().amax((1, 2, 3))
    assert (changed > 1e-3).float().mean() > 0.8
    unseen = (snr <= UNSEEN).float().mean().item()
    assert 0.3 < unseen < 0.95
    assert 0.05 < (snr >= SEEN).float().mean().item() < 0.6
    deepest = functional.avg_pool2d((planted - views).abs().amax(1, keepdim=True), 8)[:, 0]
    assert deepest[snr <= UNSEEN].max() < 0.05


def test_masks_are_stripes_and_patches_of_every_reach():
    masks = ForeignLight().masks(400, 32, random(), torch.device("cpu"))
    assert (masks.min() >= 0, masks.max() <= 1) == (True, True)
    covered = (masks > 0.5).float().mean((1, 2, 3))
    assert (covered < 0.02).float().mean() > 0.1
    assert (covered > 0.3).float().mean() > 0.02


def test_the_same_seed_plants_the_same():
    views, light = skies(8), ForeignLight()
    torch.testing.assert_close(light.planted(views, random(4)), light.planted(views, random(4)), rtol=0, atol=0)
    assert not torch.equal(light.planted(views, random(4))[0], light.planted(views, random(5))[0])


def test_what_saturates_does_not_count_as_signal():
    white = torch.ones(32, 3, 32, 32)
    planted, snr = ForeignLight(kinds=(1.0, 1.0)).planted(white, random())
    torch.testing.assert_close(planted, white)
    assert snr.max() < 1e-3


# --- the loss


def test_the_loss_is_the_cross_entropy_of_the_places_that_are_asked():
    clean, planted = torch.tensor([[[0.3, -1.0]]]), torch.tensor([[[2.0, -0.5, 7.0]]])
    snr = torch.tensor([[[SEEN + 1, UNSEEN - 1, (SEEN + UNSEEN) / 2]]])
    untouched = np.mean([math.log1p(math.exp(0.3)), math.log1p(math.exp(-1.0))])
    asked = np.mean([math.log1p(math.exp(-2.0)), math.log1p(math.exp(-0.5))])
    assert detection_loss(clean, planted, snr).item() == pytest.approx(untouched + asked, rel=1e-6)
    nothing_asked = detection_loss(clean, planted, torch.full_like(snr, (SEEN + UNSEEN) / 2))
    assert nothing_asked.item() == pytest.approx(untouched, rel=1e-6)


# --- the network


def test_every_symmetry_is_turned_back_to_the_image():
    image = torch.arange(48.0).view(1, 3, 4, 4)
    turned = list(symmetries(image))
    assert len({tuple(each.flatten().tolist()) for each, _ in turned}) == 8
    for each, back in turned:
        assert torch.equal(back(each), image)


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (45, 1), (100, 5)])
def test_any_size_and_channels_make_a_score_that_does_not_depend_on_how_an_object_is_turned(size, channels):
    network = detector(channels=channels)
    images = torch.rand(6, channels, size, size, generator=random())
    with torch.no_grad():
        features, score = network.detected(images)
        assert (features.shape, score.shape) == ((6, network.n_features), (6,))
        for turned in (images.rot90(1, (-2, -1)), images.flip(-1), images.flip(-2)):
            torch.testing.assert_close(network.detected(turned), (features, score), rtol=1e-3, atol=1e-3)
    assert score.std() > 0


def test_the_score_is_the_odds_of_the_surest_places():
    network = detector()
    images = torch.rand(3, 3, 32, 32, generator=random())
    with torch.no_grad():
        logits, _ = network.places(images)
        _, score = network.detected(images)
    highest = np.sort(logits.flatten(1).numpy(), axis=1)[:, -N_HIGHEST:]
    np.testing.assert_allclose(np.log(score.numpy()), highest.mean(axis=1), rtol=1e-4)
    assert logits.shape == (3, 4, 4)


def test_odds_are_numbers_above_zero_however_sure_the_network_is():
    network = detector()
    for bias in (-1e4, 1e4):
        torch.nn.init.constant_(network.judge.bias, bias)
        with torch.no_grad():
            _, score = network.detected(torch.rand(2, 3, 32, 32))
        assert torch.isfinite(score.square()).all()
        assert (score > 0).all()


# --- training


def training(images):
    torch.manual_seed(2)
    network = Detector(channels=3, width=8, side=32)
    network.to(memory_format=torch.channels_last)
    return DetectorTraining(
        network,
        lambda number: images,
        learning_rate=3e-3,
        seed=1,
        precision=nullcontext,
        views=STILL,
        light=ForeignLight(),
    )


def test_it_learns_to_find_light_of_a_shape_that_was_never_planted():
    """A cross, on skies that it has not seen: the place is found, and the score is above that of every plain sky."""
    made = training(skies(48))
    losses = [made.step(number)["detection_loss"].item() for number in range(80)]
    assert np.mean(losses[-10:]) < 0.7 * losses[0]
    plain = 0.2 + 0.02 * torch.randn(24, 3, 32, 32, generator=random(11))
    crossed = plain.clone()
    crossed[:, :, 19:21, 16:24] += 0.15
    crossed[:, :, 16:24, 19:21] += 0.15
    with torch.no_grad():
        logits, _ = made.detector.eval().places(crossed)
        _, odd = made.detector.detected(crossed)
        _, usual = made.detector.detected(plain)
    assert (odd[:, None] > usual).float().mean() > 0.95
    assert (logits.flatten(1).argmax(1) == 2 * 4 + 2).float().mean() > 0.8


def test_training_that_goes_on_takes_the_same_steps():
    images = skies(12)
    whole, first, second = training(images), training(images), training(images)
    for number in range(4):
        whole.step(number)
    for number in range(2):
        first.step(number)
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()})
    for number in (2, 3):
        second.step(number)
    expected = whole.tensors()
    assert second.tensors().keys() == expected.keys()
    assert [name for name, tensor in second.tensors().items() if not torch.equal(tensor, expected[name])] == []
