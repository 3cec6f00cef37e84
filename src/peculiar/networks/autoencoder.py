"""The autoencoder: an image or residual to a few numbers, its features, and back. Storey-Fisher 2021, sect. 3.3."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from peculiar.networks import blocks
from peculiar.networks.blocks import Trunk, crop, dense, padded_size, up
from peculiar.networks.training import Draw, Precision, restore_state, state_of

LEAST_SPREAD = 1 / 255  # a level of the stored images: a channel with less holds nothing


class Autoencoder(nn.Module):
    """Four convolutions and a dense layer to the features; a dense layer and four transposed convolutions back.

    7,072,579 parameters in the paper's form. Differs from the original, which takes 0-255 and ends in ReLU: a pixel
    that ends below zero there is never mended. Ours takes 0-1, works in units of the training images' own mean and
    deviation (`set_scale`), and has a linear end: residuals are nearly black, and a sigmoid that is driven down to them
    from 0.5 stays at 0, whatever it is shown (docs/experiments.md).

    Parameters
    ----------
    size, channels
        Of the images, any size from 32 pixels: the network works at the next multiple of 16 and crops.
    width
        Channels of the first convolution, and of the smallest image that is decoded from.
    n_features
        Length of the features.
    """

    def __init__(self, *, size: int = 96, channels: int = 3, width: int = 64, n_features: int = 64) -> None:
        super().__init__()
        self.size, self.side, self.n_features = size, padded_size(size) // blocks.MULTIPLE, n_features
        self.trunk = Trunk(channels, width)
        self.head = dense(blocks.n_features(size, width), n_features)
        self.project = dense(n_features, width * self.side**2, bias=False)
        widths = [width, 4 * width, 2 * width, width, channels]
        self.layers = nn.ModuleList(up(a, b) for a, b in pairwise(widths))
        self.register_buffer("level", torch.zeros(channels, 1, 1))
        self.register_buffer("spread", torch.ones(channels, 1, 1))

    @torch.no_grad()
    def set_scale(self, images: Float[Tensor, "n channels size size"]) -> None:
        """Take mean and deviation of each channel from a sample of what is to be encoded."""
        self.get_buffer("level").copy_(images.mean((0, 2, 3))[:, None, None])
        self.get_buffer("spread").copy_(images.std((0, 2, 3)).clamp(min=LEAST_SPREAD)[:, None, None])

    def standardized(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n channels size size"]:
        """(image - mean) / deviation of the training images."""
        return (images - self.get_buffer("level")) / self.get_buffer("spread")

    def encode(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n n_features"]:
        """Features, without bounds."""
        features: Tensor = self.head(self.trunk(self.standardized(images), 0.0).flatten(1))
        return features.float()

    def decode(self, features: Float[Tensor, "n n_features"]) -> Float[Tensor, "n channels size size"]:
        """Images, between 0 and 1."""
        return (self.decode_standardized(features) * self.get_buffer("spread") + self.get_buffer("level")).clamp(0, 1)

    def decode_standardized(self, features: Float[Tensor, "n n_features"]) -> Float[Tensor, "n channels size size"]:
        """Images as `standardized` has them, without bounds: what is trained."""
        x = self.project(features).view(len(features), -1, self.side, self.side)
        x = x.contiguous(memory_format=torch.channels_last)
        for place, layer in enumerate(self.layers):
            x = layer(functional.relu(x, inplace=True) if place else x)
        return crop(x.float(), self.size)

    def forward(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n channels size size"]:
        """What the features hold of the images, between 0 and 1."""
        return self.decode(self.encode(images))


def autoencoder_loss(
    images: Float[Tensor, "n channels size size"],
    decoded: Float[Tensor, "n channels size size"],
    features: Float[Tensor, "n n_features"],
    sparsity: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean squared difference of pixels, plus `sparsity` times the mean absolute feature.

    Of standardized images: 1 is what the mean level alone would give.
    """
    loss = functional.mse_loss(decoded, images)
    return loss + sparsity * features.abs().mean() if sparsity else loss


class AutoencoderTraining:
    """The autoencoder learns to give its images back. METHOD.md sect. 4."""

    def __init__(
        self, autoencoder: Autoencoder, draw: Draw, *, learning_rate: float, sparsity: float, precision: Precision
    ) -> None:
        self.autoencoder, self.draw, self.sparsity, self.precision = autoencoder, draw, sparsity, precision
        self.networks: dict[str, nn.Module] = {"autoencoder": autoencoder}
        self.optimizers = {"autoencoder": torch.optim.Adam(autoencoder.parameters(), learning_rate, fused=True)}

    def step(self, number: int) -> dict[str, Tensor]:
        """One update on one batch."""
        images = self.draw(number)
        with self.precision():
            features = self.autoencoder.encode(images)
            decoded = self.autoencoder.decode_standardized(features)
        loss = autoencoder_loss(self.autoencoder.standardized(images), decoded, features, self.sparsity)
        loss.backward()
        self.optimizers["autoencoder"].step()
        self.optimizers["autoencoder"].zero_grad(set_to_none=True)
        return {"autoencoder_loss": loss.detach()}

    def tensors(self) -> dict[str, Tensor]:
        """The autoencoder and Adam's moments."""
        return state_of(self.networks, self.optimizers)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `tensors`."""
        restore_state(self.networks, self.optimizers, tensors)
