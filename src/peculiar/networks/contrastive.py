"""Self-supervised features: one galaxy seen twice must look alike, two galaxies must not. SimCLR, Chen et al. 2020.

What the two views of a galaxy differ in is what the features forget: how it is turned, where exactly it lies, its
zoom, a little of its brightness, color and noise. METHOD.md sect. 8 measured that such features carry what people call
odd better than features learnt on photographs.

Shapes: n images, side pixels of a view, width channels at a view's full size.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from peculiar.networks.blocks import N_HALVINGS, N_SYMMETRIES, residual_layers, resized, symmetries
from peculiar.networks.training import AveragedTraining, Draw, Precision, mixed_seed

N_PROJECTED = 64  # numbers that views are compared by in the loss; not kept
LEAST_SPREAD = 1e-6  # of the largest variance: below is rounding
LOOKS = ("frame", "center")  # what features are made of, in this order: most of the image, and its middle


class ContrastiveEncoder(nn.Module):
    """A small residual network (He et al. 2016): an image of any size and channels to a few numbers.

    What it has learnt of a view is the mean over the last layer's places, 8 `width` numbers, most of them much alike.
    An image is looked at twice, most of its frame and the middle of it (`LOOKS`), each averaged over the eight
    symmetries of the square, so that nothing depends on how an object is turned. Of each look the features are
    `n_features` principal components of equal spread, brought to length sqrt(`n_features`): what counts is the
    direction, as in the loss. The components are those of a sample, frozen by `freeze_components`.

    Parameters
    ----------
    channels
        Of the images.
    width
        Channels of the first layer, at the full size of a view.
    side
        Pixels of a view, a multiple of 8.
    n_features
        Length of the features of a look, at most 8 `width`.
    zoom
        Least and largest part of the image's side that the views showed; the looks lie a quarter from either end.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 24,
        side: int = 64,
        n_features: int = 128,
        zoom: tuple[float, float] = (0.35, 1.0),
    ) -> None:
        super().__init__()
        self.side, self.n_learnt, self.n_components = side, width * 2**N_HALVINGS, n_features
        self.n_features = n_features * len(LOOKS)
        low, high = zoom
        self.looks = (low + 0.75 * (high - low), low + 0.25 * (high - low))
        self.stem, self.blocks = residual_layers(channels, width)
        self.register_buffer("center", torch.zeros(len(LOOKS), self.n_learnt))
        self.register_buffer("components", torch.zeros(len(LOOKS), self.n_learnt, n_features))

    def forward(self, views: Float[Tensor, "n channels side side"]) -> Float[Tensor, "n n_learnt"]:
        """What is learnt of views, as they lie."""
        learnt: Tensor = self.blocks(self.stem(views * 2 - 1)).float().mean((2, 3))
        return learnt

    def learnt(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "looks n n_learnt"]:
        """What is learnt of whole images in each look, the mean over the eight symmetries of the square."""
        return torch.stack([self._learnt_in(images, zoom) for zoom in self.looks])

    def _learnt_in(self, images: Tensor, zoom: float) -> Tensor:
        margin = round(images.shape[-1] * (1 - zoom) / 2)
        inner = images[..., margin : images.shape[-1] - margin, margin : images.shape[-1] - margin]
        views = resized(inner, self.side)
        total = torch.zeros(len(images), self.n_learnt, device=images.device)
        for turned, _ in symmetries(views):
            total += self(turned)
        return total / N_SYMMETRIES

    def features(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n n_features"]:
        """Features of whole images: those of each look, one after the other, each of length sqrt(n_components)."""
        offsets = self.learnt(images) - self.get_buffer("center")[:, None]
        components = functional.normalize(offsets @ self.get_buffer("components"), dim=2)
        return components.movedim(0, 1).flatten(1) * math.sqrt(self.n_components)

    @torch.no_grad()
    def freeze_components(self, learnt: Float[Tensor, "looks n n_learnt"]) -> None:
        """Take center and principal components of equal spread, look by look, from what is learnt of a sample.

        A direction in which the sample has no spread counts for nothing.
        """
        for look, sample in enumerate(learnt.double()):
            spread, directions = torch.linalg.eigh(torch.cov(sample.T))
            largest = spread[-1].clamp(min=torch.finfo(torch.float32).tiny)
            scale = torch.where(spread > LEAST_SPREAD * largest, spread, torch.inf).rsqrt()
            self.get_buffer("center")[look] = sample.mean(0)
            self.get_buffer("components")[look] = (directions * scale).flip(1)[:, : self.n_components]


@dataclass(frozen=True, kw_only=True)
class Views:
    """How two views of one galaxy may differ; each range is what a galaxy allows and stays itself."""

    zoom: tuple[float, float] = (0.35, 1.0)  # part of the image's side that is seen
    shift: float = 0.05  # of the image's side, at most
    gain: float = 0.15  # deviation of the log brightness
    tint: float = 0.03  # deviation of the log brightness of each channel
    noise: float = 0.03  # deviation of the noise added, at most

    def of(self, images: Float[Tensor, "n channels size size"], side: int, random: torch.Generator) -> Tensor:
        """One view of every image, of `side` pixels: turned, perhaps mirrored, shifted, zoomed, brightened, noisy."""
        n, channels = images.shape[:2]

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(n, generator=random)

        angle, zoom = uniform(0, 2 * math.pi), uniform(*self.zoom)
        mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
        cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
        shift_x, shift_y = uniform(-self.shift, self.shift) * 2, uniform(-self.shift, self.shift) * 2
        rows = torch.stack([cos * mirror, -sin, shift_x, sin * mirror, cos, shift_y], dim=1).view(n, 2, 3)
        small = resized(images, side)  # smoothed: the images' own noise would tell them apart
        grid = functional.affine_grid(rows.to(images.device), list(small.shape), align_corners=False)
        seen = functional.grid_sample(small, grid, padding_mode="reflection", align_corners=False)
        scale = self.gain * torch.randn(n, 1, 1, 1, generator=random)
        scale = torch.exp(scale + self.tint * torch.randn(n, channels, 1, 1, generator=random))
        noise = uniform(0, self.noise).view(n, 1, 1, 1).to(images.device)
        grain = torch.randn(seen.shape, generator=random).to(images.device)
        view = (seen * scale.to(images.device) + noise * grain).clamp(0, 1)
        return view.contiguous(memory_format=torch.channels_last)


def contrastive_loss(
    first: Float[Tensor, "n d"], second: Float[Tensor, "n d"], temperature: float
) -> Float[Tensor, ""]:
    """NT-Xent: how hard it is to tell the other view of an image among all views of the batch. Chen 2020, Eq. 1."""
    both = functional.normalize(torch.cat([first, second]).float(), dim=1)
    likeness = both @ both.T / temperature
    likeness = likeness.masked_fill(torch.eye(len(both), dtype=torch.bool, device=both.device), -torch.inf)
    n = len(first)
    partner = torch.arange(2 * n, device=both.device).roll(n)
    return functional.cross_entropy(likeness, partner)


class ContrastiveTraining(AveragedTraining[ContrastiveEncoder]):
    """The encoder and a projection learn together; the encoder's average is kept."""

    def __init__(
        self,
        encoder: ContrastiveEncoder,
        draw: Draw,
        *,
        temperature: float,
        learning_rate: float,
        seed: int,
        precision: Precision,
        views: Views,
    ) -> None:
        self.encoder, self.draw, self.views = encoder, draw, views
        self.temperature, self.seed, self.precision = temperature, seed, precision
        device, n = next(encoder.parameters()).device, encoder.n_learnt
        self.projection = nn.Sequential(nn.Linear(n, n), nn.ReLU(), nn.Linear(n, N_PROJECTED)).to(device)
        super().__init__(encoder, {"encoder": encoder, "projection": self.projection}, learning_rate)

    def step(self, number: int) -> dict[str, Tensor]:
        """One update on two views of one batch."""
        random = torch.Generator().manual_seed(mixed_seed(self.seed, number))
        images, side = self.draw(number), self.encoder.side
        views = torch.cat([self.views.of(images, side, random), self.views.of(images, side, random)])
        self.encoder.train()
        with self.precision():
            first, second = self.projection(self.encoder(views)).chunk(2)  # (n, N_PROJECTED) each
        loss = contrastive_loss(first, second, self.temperature)
        self.update(loss, number)
        return {"contrastive_loss": loss.detach()}
