import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from torch import nn

from peculiar.networks.blocks import (
    ResizeConvolution,
    Trunk,
    crop,
    dense,
    down,
    fold,
    n_features,
    pad,
    padded_size,
    up,
)

SIZES = st.integers(32, 70)


@settings(max_examples=20, deadline=None)
@given(size=SIZES, channels=st.integers(1, 3))
def test_padding_goes_to_the_next_multiple_of_16_and_cropping_undoes_it(size, channels):
    images = torch.rand(2, channels, size, size)
    padded = pad(images)
    assert padded.shape == (2, channels, padded_size(size), padded_size(size))
    assert padded.shape[-1] % 16 == 0
    assert 0 <= padded.shape[-1] - size < 16
    assert torch.equal(crop(padded, size), images)


def test_margins_are_reflections_without_the_edge():
    size = 37  # 5 before, 6 after
    image = torch.rand(1, 1, size, size)
    expected = np.pad(image[0, 0].numpy(), (5, 6), mode="reflect")
    assert_array_equal(pad(image)[0, 0].numpy(), expected)


@settings(max_examples=25, deadline=None)
@given(size=SIZES, seed=st.integers(0, 100))
def test_fold_is_the_adjoint_of_pad(size, seed):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 2, size, size, generator=random, dtype=torch.float64)
    y = torch.randn(1, 2, padded_size(size), padded_size(size), generator=random, dtype=torch.float64)
    assert torch.isclose((pad(x) * y).sum(), (x * fold(y, size)).sum(), rtol=1e-12)


@pytest.mark.parametrize("size", [32, 37, 40, 52, 96])
def test_fold_is_the_gradient_of_pad(size):
    x = torch.rand(2, 1, size, size, dtype=torch.float64, requires_grad=True)
    y = torch.rand(2, 1, padded_size(size), padded_size(size), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((pad(x) * y).sum(), x)
    torch.testing.assert_close(fold(y, size), gradient)


@pytest.mark.parametrize(
    ("layer", "deviation"),
    [
        (down(64, 128), math.sqrt(4 / (64 * 25 + 128 * 25 / 4))),
        (up(128, 64), math.sqrt(4 / (128 * 25 / 4 + 64 * 25))),
        (dense(2304, 64), math.sqrt(2 / (2304 + 64))),
    ],
)
def test_first_weights_are_uniform_with_the_papers_deviation_and_biases_zero(layer, deviation):
    weight = layer.weight.detach()
    assert weight.std().item() == pytest.approx(deviation, rel=0.01)
    assert weight.abs().max().item() == pytest.approx(math.sqrt(3) * deviation, rel=0.001)
    assert weight.mean().abs().item() < 0.05 * deviation
    assert not layer.bias.any()


def test_a_dense_layer_may_have_no_bias():
    assert dense(3, 4, bias=False).bias is None


def test_layers_halve_and_double():
    images = torch.rand(1, 2, 32, 32)
    assert down(2, 3)(images).shape == (1, 3, 16, 16)
    assert up(2, 3)(images).shape == (1, 3, 64, 64)
    assert ResizeConvolution(2, 3)(images).shape == (1, 3, 64, 64)
    assert isinstance(ResizeConvolution(2, 3)[0], nn.Upsample)


@pytest.mark.parametrize("size", [32, 44, 96])
def test_features_are_as_many_as_promised_and_after_the_activation(size):
    trunk = Trunk(3, 2)
    images = torch.rand(2, 3, size, size)
    assert trunk(images, 0.2).flatten(1).shape == (2, n_features(size, 2))
    assert trunk(images, 0.0).min() == 0
    assert trunk(images, 0.2).min() < 0


def test_the_papers_features_are_18432():
    assert n_features(96, 64) == 18_432
