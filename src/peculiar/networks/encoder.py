"""The encoder: a first guess of an image's latent, made in one pass. Storey-Fisher 2021, sect. 3.2."""

from jaxtyping import Float
from torch import Tensor, nn

from peculiar.networks.blocks import Trunk, dense, n_features


class Encoder(nn.Module):
    """The critic's trunk with ReLU, then a dense layer to the latent.

    6,665,984 parameters in the paper's form. Differs from the original: the output is linear. The original squashes
    it by tanh(1e-7 x), so that |latent| < 1 although the generator was trained on a normal distribution.
    """

    def __init__(self, *, size: int = 96, channels: int = 3, width: int = 64, n_latent: int = 128) -> None:
        super().__init__()
        self.trunk = Trunk(channels, width)
        self.head = dense(n_features(size, width), n_latent)

    def forward(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n n_latent"]:
        """Latents to start from."""
        latent: Tensor = self.head(self.trunk(images, 0.0).flatten(1))
        return latent.float()
