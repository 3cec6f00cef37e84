import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from peculiar.networks.gan import Critic
from peculiar.scoring.attribution import at_pixels, attribute, largest_shares
from peculiar.scoring.reconstruction import anomaly_terms, in_batches


def critic(size, channels=3, width=2):
    torch.manual_seed(0)
    return Critic(size=size, channels=channels, width=width).eval().requires_grad_(False)


@pytest.mark.parametrize("size", [32, 41])
def test_the_parts_of_a_score_sum_to_it(size):
    network = critic(size)
    images, generated = torch.rand(3, 3, size, size), torch.rand(3, 3, size, size)
    found = attribute(images, network.features(images), generated, network.features)
    gen, disc = anomaly_terms(images, network.features(images), generated, network.features)
    side = -(-size // 16)
    assert found.pixels.shape == (3, size, size)
    assert found.bands.shape == (3, 3)
    assert found.places.shape == (3, side, side)
    assert found.channels.shape == (3, 16)
    torch.testing.assert_close(found.pixels.sum((1, 2)), gen)
    torch.testing.assert_close(found.bands.sum(1), gen)
    torch.testing.assert_close(found.places.sum((1, 2)), disc)
    torch.testing.assert_close(found.channels.sum(1), disc)


def test_what_float32_can_hold_is_summed_exactly():
    random = torch.Generator().manual_seed(1)
    levels = [torch.randint(0, 257, (2, 3, 32, 32), generator=random) / 256 for _ in range(2)]
    network = torch.nn.AvgPool2d(16)
    found = attribute(levels[0], network(levels[0]), levels[1], network)
    gen = (levels[0] - levels[1]).abs().sum((1, 2, 3))
    assert (found.pixels.sum((1, 2)) == gen).all()
    assert (found.bands.sum(1) == gen).all()
    assert (found.places.sum((1, 2)) == found.channels.sum(1)).all()


def test_a_change_of_one_pixel_in_one_band_is_found_there():
    images = torch.full((1, 3, 32, 32), 0.5)
    generated = images.clone()
    generated[0, 1, 7, 30] = 0.25
    found = attribute(images, images, generated, lambda x: x)
    assert found.pixels[0, 7, 30] == found.pixels.sum() == 0.25
    assert found.bands[0].tolist() == [0, 0.25, 0]


@pytest.mark.parametrize(("size", "before"), [(96, 0), (88, 4), (33, 7)])
def test_the_map_of_places_is_brightest_where_the_critic_was_shown_a_change(size, before):
    network = critic(size, channels=1)
    for layer in network.trunk.layers:
        layer.weight.fill_(0.01)  # so that a place answers to a pixel the more, the nearer its center
    inner = range(1, -(-size // 16) - 1)
    for row, column in [(row, column) for row in inner for column in inner]:
        at = 16 * row - before, 16 * column - before  # the center of a place, in pixels of the image
        images = torch.full((1, 1, size, size), 0.5)
        changed = images.clone()
        changed[(0, 0, *at)] += 0.5
        found = attribute(images, network.features(images), changed, network.features)
        shown = at_pixels(found.places[0].numpy(), size)
        assert shown.shape == (size, size)
        assert shown[at] == shown.max()
        assert np.abs(np.argwhere(shown == shown.max()).mean(axis=0) - at).max() <= 0.5


def test_places_of_another_size_are_refused():
    with pytest.raises(ValueError, match="6 places a side belong to images of 81 to 96 pixels, got size 100"):
        at_pixels(np.zeros((6, 6)), 100)


def test_attributions_can_be_made_in_batches():
    network = critic(32)
    images, generated = torch.rand(5, 3, 32, 32), torch.rand(5, 3, 32, 32)

    def parts(x, y):
        return attribute(x, network.features(x), y, network.features)

    whole = parts(images, generated)
    for joined, each in zip(in_batches(parts, images, generated, batch_size=2), whole, strict=True):
        torch.testing.assert_close(joined, each)


@given(arrays.arrays(np.float64, st.integers(0, 30), elements=st.floats(0, 1e6)), st.integers(1, 12))
def test_the_largest_shares_are_the_largest_parts_of_the_whole(contributions, n_largest):
    found = largest_shares(contributions, n_largest)
    shares = [share for _, share in found]
    assert len(found) == min(n_largest, len(contributions))
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1 + 1e-9
    if n_largest >= len(contributions) and contributions.sum() > 0:
        assert sum(shares) == pytest.approx(1)
    for index, share in found:
        assert share * contributions.sum() == pytest.approx(contributions[index])


def test_equal_contributions_are_named_by_index_and_nothing_has_no_share():
    assert largest_shares(np.array([1.0, 3.0, 3.0, 1.0]), 3) == [(1, 0.375), (2, 0.375), (0, 0.125)]
    assert largest_shares(np.zeros(3), 2) == [(0, 0.0), (1, 0.0)]
