"""A detector of foreign light: it learns from the survey's own images, in which light is planted that is not theirs.

What is planted is no kind of oddity that anyone has thought of: random smooth fields make stripes and patches of every
width, reach and color, of light that is added, taken away, or another galaxy's. Whoever can say where a survey's image
has been tampered with knows what its images are usually like, place by place. Anomaly detectors that learn from made-up
anomalies: Li et al. 2021 (CutPaste), Zavrtanik et al. 2021 (DRAEM).

Shapes: n views of `side` pixels; places are an eighth of that a side.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from peculiar.networks.blocks import N_HALVINGS, N_SYMMETRIES, residual_layers, resized, symmetries
from peculiar.networks.contrastive import Views
from peculiar.networks.training import AveragedTraining, Draw, Precision, mixed_seed

PLACE = 2**N_HALVINGS  # pixels of a view that a place is wide and high
N_HIGHEST = 4  # places whose mean logit is an image's score
MOST_SURE = 40.0  # logit: its odds are a number still, and a square of it is
UNSEEN, SEEN = (
    4.0,
    12.0,
)  # signal to noise of a place: below there is nothing to find, above there is; between not asked
N_WAVES = 10  # that a random field is the sum of
HALF_LEVEL = 0.5 / 255  # what images are stored to
NORMAL_MAD = 1.4826  # standard deviations a median absolute deviation, of normal noise


class Detector(nn.Module):
    """A small residual network that says, place by place, how surely light there is foreign to the survey.

    A place is judged by what the network sees around it, some 45 pixels, and by the mean over the view.

    Parameters
    ----------
    channels
        Of the images.
    width
        Channels of the first layer, at the full size of a view.
    side
        Pixels of a view, a multiple of 8.
    """

    def __init__(self, *, channels: int = 3, width: int = 24, side: int = 64) -> None:
        super().__init__()
        self.side, self.n_features = side, width * 2**N_HALVINGS
        self.stem, self.blocks = residual_layers(channels, width)
        half = self.n_features // 2
        self.here, self.around = nn.Conv2d(self.n_features, half, 1), nn.Linear(self.n_features, half)
        self.judge = nn.Conv2d(half, 1, 1)

    def forward(
        self, views: Float[Tensor, "n channels side side"]
    ) -> tuple[Float[Tensor, "n places places"], Float[Tensor, "n n_features places places"]]:
        """Logits that each place's light is foreign, and the responses that they are made of."""
        responses = self.blocks(self.stem(views * 2 - 1))
        around = self.around(responses.mean((2, 3)))[:, :, None, None]
        logits: Tensor = self.judge(functional.relu(self.here(responses) + around))
        return logits[:, 0].float(), responses.float()

    def places(
        self, images: Float[Tensor, "n channels size size"]
    ) -> tuple[Float[Tensor, "n places places"], Float[Tensor, "n n_features"]]:
        """Logits of whole images' places, and each response's highest, means over the square's eight symmetries."""
        logits = responses = torch.zeros((), device=images.device)
        for turned, back in symmetries(resized(images, self.side)):
            here, seen = self(turned)
            logits, responses = logits + back(here), responses + seen.amax((2, 3))
        return logits / N_SYMMETRIES, responses / N_SYMMETRIES

    def detected(
        self, images: Float[Tensor, "n channels size size"]
    ) -> tuple[Float[Tensor, "n n_features"], Float[Tensor, " n"]]:
        """Each response's highest, as features, and the odds that light is foreign, the score.

        The odds are the geometric mean over the `N_HIGHEST` surest places: above 0, and their logarithm is a logit.
        """
        logits, responses = self.places(images)
        highest = logits.flatten(1).topk(min(N_HIGHEST, logits[0].numel()), dim=1).values
        return responses, highest.mean(dim=1).clamp(-MOST_SURE, MOST_SURE).exp()


@dataclass(frozen=True, kw_only=True)
class ForeignLight:
    """What is planted: stripes and patches of a random field, seen through a window. Lengths are parts of the side.

    Stripes run along a contour of the field, patches fill what lies above one.
    """

    stretch: float = 3.0  # a level v stands for the light sinh(stretch v) / sinh(stretch)
    snr: tuple[float, float] = (0.7, 25.0)  # of a pixel where it is brightest, over the noise
    wave: tuple[float, float] = (0.08, 1.9)  # shortest wave of the field
    width: tuple[float, float] = (0.0125, 0.0625)  # deviation of a stripe's profile
    edge: tuple[float, float] = (0.008, 0.1)  # softness of a patch's
    window: tuple[float, float] = (0.04, 1.25)  # deviation of the Gaussian that it is seen through
    straight: float = 0.3  # part of the fields whose waves have nearly one direction
    color: float = 0.5  # deviation of the log brightness of each channel
    one_channel: float = 0.15  # part that falls on one channel alone
    kinds: tuple[float, float] = (
        0.7,
        0.85,
    )  # to here light is added, to here another galaxy's pasted; then it is taken

    def planted(
        self, views: Float[Tensor, "n channels side side"], random: torch.Generator
    ) -> tuple[Float[Tensor, "n channels side side"], Float[Tensor, "n places places"]]:
        """The views with foreign light in each, and its signal to noise in every place.

        What saturates, or falls below black, does not count as signal.
        """
        n, channels, side, _ = views.shape
        device = views.device
        light = self.unstretched(views)
        noise = self._noise(light)
        mask = self.masks(n, side, random, device)

        def each(values: Tensor) -> Tensor:
            return values.to(device).view(n, -1, 1, 1)

        alone = functional.one_hot(torch.randint(channels, (n,), generator=random), channels).float()
        is_alone = torch.rand(n, 1, generator=random) < self.one_channel
        falls_on = each(torch.where(is_alone, alone, 1.0))
        color = each(torch.exp(self.color * torch.randn(n, channels, generator=random))) * falls_on
        brightness = each(_log_uniform(n, self.snr, random)) * noise.mean(1, keepdim=True)
        taken, kind = each(torch.rand(n, generator=random)), each(torch.rand(n, generator=random))
        other = light.roll(1, 0).rot90(1, (-2, -1))
        add, paste = self.kinds
        replaced = torch.where(kind < paste, mask * (other - light), -mask * taken * light * falls_on)
        change = torch.where(kind < add, mask * brightness * color, replaced)
        planted = self.stretched(light + change)
        squares = ((self.unstretched(planted) - light) / noise).square().sum(1)
        snr = (functional.avg_pool2d(squares[:, None], PLACE)[:, 0] * PLACE**2).sqrt()
        return planted.contiguous(memory_format=torch.channels_last), snr

    def masks(self, n: int, side: int, random: torch.Generator, device: torch.device) -> Float[Tensor, "n 1 side side"]:
        """Where foreign light falls, from 0 to 1."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(n, *shape, generator=random)

        def length(low_high: tuple[float, float]) -> Tensor:
            return side * _log_uniform(n, low_high, random)[:, None, None].to(device)

        number = 2 * math.pi / (side * _log_uniform(n, self.wave, random))[:, None] * (0.3 + 0.7 * uniform(N_WAVES))
        direction = 2 * math.pi * uniform(N_WAVES)
        nearly_one = 2 * math.pi * uniform(1) + 0.08 * torch.randn(n, N_WAVES, generator=random)
        direction = torch.where(uniform(1) < self.straight, nearly_one, direction)
        number_x, number_y = (number * torch.cos(direction)).to(device), (number * torch.sin(direction)).to(device)
        line = torch.arange(side, device=device) - (side - 1) / 2
        y, x = torch.meshgrid(line, line, indexing="ij")
        phase = (2 * math.pi * uniform(N_WAVES)).to(device)
        angle = (number_x[..., None, None] * x + number_y[..., None, None] * y) + phase[..., None, None]
        scale = math.sqrt(2 / N_WAVES)  # the field's deviation is one
        field, sine = scale * torch.cos(angle).sum(1), torch.sin(angle)
        slope_x, slope_y = (torch.einsum("nk,nkyx->nyx", each, sine) for each in (number_x, number_y))
        slope = (scale * torch.sqrt(slope_x**2 + slope_y**2)).clamp(min=1e-4)  # the same, but for its sign
        level = (0.7 * torch.randn(n, generator=random))[:, None, None].to(device)
        stripe = torch.exp(-0.5 * ((field - level) / slope / length(self.width)) ** 2)
        patch = torch.sigmoid((field - level.abs() - 0.5) / slope / length(self.edge))
        is_stripe = (uniform(1, 1) < 0.5).to(device)
        reach, around = side / 2 * uniform().sqrt(), 2 * math.pi * uniform()
        center_x, center_y = ((reach * each(around))[:, None, None].to(device) for each in (torch.cos, torch.sin))
        window = torch.exp(-0.5 * ((x - center_x) ** 2 + (y - center_y) ** 2) / length(self.window) ** 2)
        return (torch.where(is_stripe, stripe, patch) * window)[:, None]

    def unstretched(self, levels: Tensor) -> Tensor:
        """Light of levels from 0 to 1, from 0 to 1."""
        return torch.sinh(self.stretch * levels) / math.sinh(self.stretch)

    def stretched(self, light: Tensor) -> Tensor:
        """Undo `unstretched`; what is below 0 or above 1 is cut."""
        return torch.asinh(light.clamp(0, 1) * math.sinh(self.stretch)) / self.stretch

    def _noise(self, light: Tensor) -> Float[Tensor, "n channels 1 1"]:
        """Deviation of the noise in each channel, from pixels against the mean around them; half a level at least."""
        around = functional.avg_pool2d(functional.pad(light, (1, 1, 1, 1), mode="reflect"), 3, 1)
        rough = (light - around).abs().flatten(2).median(2).values * NORMAL_MAD / math.sqrt(8 / 9)
        return rough.clamp(min=HALF_LEVEL * self.stretch / math.sinh(self.stretch))[..., None, None]


def _log_uniform(n: int, low_high: tuple[float, float], random: torch.Generator) -> Tensor:
    low, high = (math.log(each) for each in low_high)
    return torch.exp(low + (high - low) * torch.rand(n, generator=random))


def detection_loss(
    clean: Float[Tensor, "n places places"],
    planted: Float[Tensor, "n places places"],
    snr: Float[Tensor, "n places places"],
) -> Float[Tensor, ""]:
    """Cross-entropy of the places of untouched and of planted views; those that are neither seen nor unseen are out."""
    untouched = functional.binary_cross_entropy_with_logits(clean, torch.zeros_like(clean))
    is_asked = ((snr >= SEEN) | (snr <= UNSEEN)).float()
    each = functional.binary_cross_entropy_with_logits(planted, (snr >= SEEN).float(), reduction="none")
    return untouched + (each * is_asked).sum() / is_asked.sum().clamp(min=1)


class DetectorTraining(AveragedTraining[Detector]):
    """The detector learns on views and on the same with foreign light."""

    def __init__(
        self,
        detector: Detector,
        draw: Draw,
        *,
        learning_rate: float,
        seed: int,
        precision: Precision,
        views: Views,
        light: ForeignLight,
    ) -> None:
        self.detector, self.draw, self.views, self.light = detector, draw, views, light
        self.seed, self.precision = seed, precision
        super().__init__(detector, {"detector": detector}, learning_rate)

    def step(self, number: int) -> dict[str, Tensor]:
        """One update on one batch, as it is and with foreign light."""
        random = torch.Generator().manual_seed(mixed_seed(self.seed, number))
        with torch.no_grad():
            clean = self.views.of(self.draw(number), self.detector.side, random)
            planted, snr = self.light.planted(clean, random)
        self.detector.train()
        with self.precision():
            logits, _ = self.detector(torch.cat([clean, planted]))
        untouched, found = logits.chunk(2)
        loss = detection_loss(untouched, found, snr)
        self.update(loss, number)
        return {"detection_loss": loss.detach()}
