"""Generator and critic, and the Wasserstein losses that train them. Storey-Fisher 2021, sect. 3.1; Gulrajani 2017."""

from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from peculiar.networks.blocks import (
    MULTIPLE,
    N_LAYERS,
    SLOPE,
    ResizeConvolution,
    Trunk,
    crop,
    dense,
    fold,
    n_features,
    pad,
    padded_size,
    transposed,
    up,
)

PENALTY_WEIGHT = 10.0  # Gulrajani 2017, sect. 4
Upsampling = Literal["transposed", "resize"]


class Generator(nn.Module):
    """An image of every latent vector.

    Dense, then four doublings (256, 128, 64 channels and the image's own for width 64), ReLU between, sigmoid last.
    6,683,779 parameters in the paper's form. Differs from the original: symmetric padding, no noise inside, so that
    the same latent always gives the same image.

    Parameters
    ----------
    size, channels
        Of the images, any size from 32 pixels: the network works at the next multiple of 16 and crops.
    width
        Channels of the last hidden layer.
    n_latent
        Length of the latent.
    upsampling
        "transposed" as in the paper, or "resize" (nearest neighbor and 3x3 convolution).
    batch_norm
        Normalize hidden layers; in evaluation mode the result depends on the latent alone.
    """

    def __init__(
        self,
        *,
        size: int = 96,
        channels: int = 3,
        width: int = 64,
        n_latent: int = 128,
        upsampling: Upsampling = "transposed",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.size, self.side, self.n_latent = size, padded_size(size) // MULTIPLE, n_latent
        self.deepest = width * 2 ** (N_LAYERS - 1)
        self.project = dense(n_latent, self.deepest * self.side**2)
        widths = [*(width * 2**layer for layer in reversed(range(N_LAYERS))), channels]
        make = up if upsampling == "transposed" else ResizeConvolution
        self.layers = nn.ModuleList(make(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) if batch_norm else nn.Identity() for n in widths[:-1])

    def forward(self, latent: Float[Tensor, "n n_latent"]) -> Float[Tensor, "n channels size size"]:
        """Images between 0 and 1."""
        x = self.project(latent).view(-1, self.deepest, self.side, self.side)
        x = x.contiguous(memory_format=torch.channels_last)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = layer(functional.relu(norm(x), inplace=True))
        return crop(torch.sigmoid(x.float()), self.size)


class Critic(nn.Module):
    """How real an image looks, a number without bounds; the paper's discriminator.

    4,324,993 parameters in the paper's form. Nothing is normalized, so that each image is judged by itself.
    """

    def __init__(self, *, size: int = 96, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.trunk = Trunk(channels, width)
        self.head = dense(n_features(size, width), 1)

    def features(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n deepest side side"]:
        """`critic_features`: the last convolution after its activation, d(x) of Eq. 5."""
        return self.trunk(images, SLOPE)

    def forward(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, " n"]:
        """Realness of every image."""
        features = self.features(images)
        # Both in the order they lie in, channels last, so that no gradient is put into another.
        flat, weight = (each.permute(0, 2, 3, 1).flatten(1) for each in (features, self._head_map(features.shape)))
        return functional.linear(flat, weight, self.head.bias).squeeze(1).float()

    def _head_map(self, shape: torch.Size) -> Tensor:
        """The dense layer's weights at their places in features of this shape."""
        return self.head.weight.view(1, *shape[1:]).contiguous(memory_format=torch.channels_last)

    def input_gradient(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n channels size size"]:
        """The gradient of `forward` with respect to its input, differentiable in the weights.

        The critic is piecewise linear: between the kinks of its activations it is one matrix, and its gradient is
        the transposed matrices one after another. Written so, the gradient penalty needs one ordinary backward
        pass where automatic differentiation takes a second derivative through the whole network; the result is
        the same, as the activations' own second derivative is zero.
        """
        with torch.no_grad():
            activations = [pad(images)]
            for layer in self.trunk.layers:
                activations.append(functional.leaky_relu(layer(activations[-1]), SLOPE, inplace=True))
        x = activations[-1]
        gradient = self._head_map(x.shape).to(x.dtype).expand_as(x)
        for layer, x in zip(reversed(self.trunk.layers), reversed(activations), strict=False):
            # The product with 1 or 0.2 by the sign of x; torch.where is far slower for bfloat16.
            gradient = torch.ops.aten.leaky_relu_backward(gradient, x, SLOPE, True)
            gradient = transposed(gradient, layer.get_parameter("weight"))
        return fold(gradient.float(), images.shape[-1])


def critic_loss(
    critic: Critic,
    real: Float[Tensor, "n channels size size"],
    generated: Float[Tensor, "n channels size size"],
    mixing: Float[Tensor, " n"] | None,
    penalty_weight: float = PENALTY_WEIGHT,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Loss to minimize, the Wasserstein estimate E[D(real)] - E[D(generated)], and the gradient penalty.

    E[D(generated)] - E[D(real)] + 10 E[(|grad D(y)| - 1)^2] at y = real + mixing (generated - real), the norm over all
    inputs of an image. Gulrajani 2017, eq. 3; Eq. 4 of the paper has the penalty's sign wrong for a loss that is
    maximized. `mixing` is uniform between 0 and 1, one number an image; None leaves the penalty out.
    """
    realness = critic(torch.cat([real, generated]))
    distance = realness[: len(real)].mean() - realness[len(real) :].mean()
    if mixing is None:
        return -distance, distance.detach(), torch.zeros((), device=real.device)
    between = torch.lerp(real, generated, mixing.view(-1, 1, 1, 1))
    norm = critic.input_gradient(between).flatten(1).norm(dim=1)
    penalty = (norm - 1.0).square().mean()
    return penalty_weight * penalty - distance, distance.detach(), penalty.detach()


def generator_loss(critic: Critic, generated: Float[Tensor, "n channels size size"]) -> Float[Tensor, ""]:
    """-E[D(generated)]."""
    return -critic(generated).mean()
