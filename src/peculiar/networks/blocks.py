"""What the networks share: strided convolutions, their first weights, sizes that are no multiple of 16, residuals.

Shapes: n images, width channels of the widest image layer, side = padded size / 16.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

KERNEL, STRIDE, N_LAYERS = 5, 2, 4  # Storey-Fisher 2021, sect. 3.1
MULTIPLE = STRIDE**N_LAYERS
SLOPE = 0.2  # of the leaky ReLU; Storey-Fisher 2021, sect. 3.1
N_HALVINGS = 3  # of residual blocks: 8 x 8 places are left of 64 x 64
TURNS = 4  # quarter turns
N_SYMMETRIES = 2 * TURNS  # of the square: each turn as it is and mirrored
THIN = 16  # below so many channels of an image, transposed convolutions leave vector units idle


def padded_size(size: int) -> int:
    """The next multiple of 16: what four halvings need."""
    return -(-size // MULTIPLE) * MULTIPLE


def _margins(size: int) -> tuple[int, int]:
    extra = padded_size(size) - size
    return extra // 2, extra - extra // 2


def pad(images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n channels padded padded"]:
    """Images with reflected margins up to the next multiple of 16; unchanged where they fit."""
    before, after = _margins(images.shape[-1])
    if before == after == 0:
        return images
    return functional.pad(images, (before, after, before, after), mode="reflect")


def crop(images: Float[Tensor, "n channels padded padded"], size: int) -> Float[Tensor, "n channels size size"]:
    """The original pixels of a padded image."""
    before, _ = _margins(size)
    return images[..., before : before + size, before : before + size]


def fold(gradient: Float[Tensor, "n channels padded padded"], size: int) -> Float[Tensor, "n channels size size"]:
    """The adjoint of `pad`: what falls on a reflected margin is added to the pixel it was copied from."""
    before, after = _margins(size)
    for dim in (-2, -1):
        inner = gradient.narrow(dim, before, size)
        if before:
            low = gradient.narrow(dim, 0, before).flip(dim)
            inner = inner + _placed(low, dim, 1, size)
        if after:
            high = gradient.narrow(dim, before + size, after).flip(dim)
            inner = inner + _placed(high, dim, size - 1 - after, size)
        gradient = inner
    return gradient


def _placed(part: Tensor, dim: int, start: int, size: int) -> Tensor:
    margins = (start, size - start - part.shape[dim])
    return functional.pad(part, margins if dim == -1 else (0, 0, *margins))


class _Down(nn.Conv2d):
    """A 5x5 convolution that halves the image."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, KERNEL, STRIDE, padding=KERNEL // 2)
        _initialize(self, n_in * KERNEL**2, n_out * KERNEL**2 / STRIDE**2, 4.0)

    def forward(self, images: Tensor) -> Tensor:
        """The halved image; where its own gradient is wanted, in the form whose gradient is quick."""
        if self.in_channels >= THIN or not images.requires_grad:
            return super().forward(images)
        return functional.conv2d(_to_blocks(images), _of_blocks(self.weight), self.bias, padding=1)


class _Up(nn.ConvTranspose2d):
    """A 5x5 transposed convolution that doubles the image."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, KERNEL, STRIDE, padding=KERNEL // 2, output_padding=1)
        _initialize(self, n_in * KERNEL**2 / STRIDE**2, n_out * KERNEL**2, 4.0)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """The doubled image."""
        return transposed(x, self.weight, self.bias)


def down(n_in: int, n_out: int) -> nn.Conv2d:
    """A 5x5 convolution that halves the image."""
    return _Down(n_in, n_out)


def up(n_in: int, n_out: int) -> nn.ConvTranspose2d:
    """A 5x5 transposed convolution that doubles the image."""
    return _Up(n_in, n_out)


def transposed(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The 5x5 transposed convolution that doubles an image: `down` backwards.

    oneDNN computes one to 3 channels at a tenth of the processor's rate. There, the 2x2 pixels that come of a place
    are made as channels of an ordinary 3x3 convolution (Shi et al. 2016): the same sums, in a quarter of the time.
    """
    if weight.shape[1] >= THIN:
        return functional.conv_transpose2d(x, weight, bias, STRIDE, KERNEL // 2, output_padding=1)
    kernel = _of_blocks(weight).flip(2, 3).transpose(0, 1)
    return _from_blocks(functional.conv2d(x, kernel, None if bias is None else bias.repeat(STRIDE**2), padding=1))


def _to_blocks(images: Tensor) -> Tensor:
    """Blocks of 2x2 pixels as channels of one, (n, 4 channels, size / 2, size / 2); one copy if channels are last."""
    n, channels, size, _ = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(n, size // STRIDE, STRIDE, size // STRIDE, STRIDE, channels)
    half = rows.transpose(2, 3).reshape(n, size // STRIDE, size // STRIDE, STRIDE**2 * channels)
    return half.permute(0, 3, 1, 2)


def _from_blocks(x: Tensor) -> Tensor:
    """Undo `_to_blocks`."""
    n, channels, half, _ = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, half, half, STRIDE, STRIDE, channels // STRIDE**2)
    whole = rows.transpose(2, 3).reshape(n, half * STRIDE, half * STRIDE, channels // STRIDE**2)
    return whole.permute(0, 3, 1, 2)


def _of_blocks(weight: Tensor) -> Tensor:
    """The 3x3 kernel that does to blocks of 2x2 pixels what a 5x5 kernel of stride 2 does to pixels."""
    n_out, n_in = weight.shape[:2]
    even = functional.pad(weight, (0, 1, 0, 1)).reshape(n_out, n_in, 3, STRIDE, 3, STRIDE)
    return even.permute(0, 3, 5, 1, 2, 4).reshape(n_out, STRIDE**2 * n_in, 3, 3)


class ResizeConvolution(nn.Sequential):
    """Nearest-neighbor doubling, then a 3x3 convolution: no checkerboard (Odena et al. 2016)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        convolution = nn.Conv2d(n_in, n_out, 3, padding=1)
        _initialize(convolution, n_in * 9, n_out * 9, 4.0)
        super().__init__(nn.Upsample(scale_factor=2, mode="nearest"), convolution)


def dense(n_in: int, n_out: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer with the paper's first weights."""
    layer = nn.Linear(n_in, n_out, bias=bias)
    _initialize(layer, n_in, n_out, 2.0)
    return layer


def _initialize(layer: nn.Module, fan_in: float, fan_out: float, gain: float) -> None:
    """Uniform weights of deviation sqrt(gain / (fan_in + fan_out)), zero biases. METHOD.md sect. 2."""
    limit = math.sqrt(3.0) * math.sqrt(gain / (fan_in + fan_out))
    weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
    nn.init.uniform_(weight, -limit, limit)
    if bias is not None:
        nn.init.zeros_(bias)


class Trunk(nn.Module):
    """Four convolutions, each halving the image and doubling the channels. The critic's and the encoder's."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = [channels, *(width * 2**layer for layer in range(N_LAYERS))]
        self.layers = nn.ModuleList(down(a, b) for a, b in pairwise(widths))

    def forward(self, images: Tensor, slope: float) -> Tensor:
        """Features after the last activation: leaky ReLU of `slope`, ReLU for 0."""
        x = pad(images)
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), slope, inplace=True)
        return x  # (n, 8 width, side, side)


def n_features(size: int, width: int) -> int:
    """Length of the trunk's output: 18,432 for the paper's 96 pixels and width 64."""
    return width * 2 ** (N_LAYERS - 1) * (padded_size(size) // MULTIPLE) ** 2


def residual_layers(channels: int, width: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The stem, `width` channels at full size, and the blocks after it: 8 `width` channels, an eighth of the size."""
    widths = [width * 2**block for block in range(N_HALVINGS + 1)]
    first = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    stem = nn.Sequential(first, nn.BatchNorm2d(width), nn.ReLU())
    return stem, nn.Sequential(*(ResidualBlock(a, b) for a, b in pairwise(widths)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions that halve the image, beside a mean over 2x2 pixels (He et al. 2019, ResNet-D)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Half the size, n_out channels."""
        return functional.relu(self.body(x) + self.shortcut(x))


def resized(images: Float[Tensor, "n channels size size"], side: int) -> Float[Tensor, "n channels side side"]:
    """Images at `side` pixels, smoothed first where that is fewer."""
    if images.shape[-1] == side:
        return images
    return functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def symmetries(images: Float[Tensor, "n channels side side"]) -> Iterator[tuple[Tensor, Callable[[Tensor], Tensor]]]:
    """Images under the eight symmetries of the square, each with what turns a map (..., m, m) of it back."""
    for is_mirrored in (False, True):
        mirrored = images.flip(-1) if is_mirrored else images
        for turns in range(TURNS):

            def back(found: Tensor, turns: int = turns, is_mirrored: bool = is_mirrored) -> Tensor:
                upright = found.rot90(-turns, (-2, -1))
                return upright.flip(-1) if is_mirrored else upright

            yield mirrored.rot90(turns, (-2, -1)).contiguous(memory_format=torch.channels_last), back
