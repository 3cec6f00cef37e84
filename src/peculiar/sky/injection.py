"""Plant oddities in copies of a survey's own images, to learn which of them are found.

A stored image has been stretched; light is added to what it was before, as far as that is known: levels are taken for
a sinh of `STRETCH`, which is near to the asinh that surveys are shown with. Shapes, colors and patterns are those of
`peculiar.sky.oddities`. The planted light brings no photon noise of its own.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from peculiar.sky.galaxies import PIXEL_ARCSEC, Target
from peculiar.sky.oddities import ASTROPHYSICAL, INJECTED, Pattern, Sigma, bluer_by, lights_of, stain
from peculiar.sky.simulate import paint

STRETCH = 3.0  # a level v, from 0 to 1, stands for the light sinh(STRETCH v) / sinh(STRETCH)
APERTURE = 0.25  # of the frame's side: what lies nearer to the center is the host
LEAST_SIDE = 32  # pixels of a frame that can be painted
SMOOTHING = 0.01  # of the frame's side: what the host's own light is told from its noise by
SIGNIFICANT = 2.0  # deviations of the noise that light begins at
LEAST_SIGMA = 0.5 / 255 * STRETCH / np.sinh(STRETCH)  # half a level of a black sky
MOST_TAKEN = 0.9  # of a host's light in a band
BACKGROUND_PERCENT = 30.0  # of a frame's pixels lie below its sky's level, nearly, whatever else is in it


@dataclass(frozen=True)
class Host:
    """What stands in the middle of an image, measured on the light before the stretch."""

    light: Pattern  # its own, without the sky and nearly without noise
    noise: Sigma  # of the sky, a pixel
    radius: float  # half-light, pixels
    axis_ratio: float
    angle: float  # radians from x to y

    @property
    def flux(self) -> Sigma:
        """Sum over the pixels, by channel."""
        total: Sigma = self.light.sum(axis=(1, 2))
        return total


@dataclass(frozen=True)
class Planted:
    """A copy of an image with an oddity, and what was planted."""

    image: UInt8[np.ndarray, "size size channels"]
    snr: float  # of what has changed, over the sky's noise, if its shape were known: sqrt(sum (change / noise)^2)
    radius: float  # mean distance of the planted light from the center, pixels at 96; NaN for an artefact


def kind_of(planted_class: str) -> str:
    """astrophysical or artefact."""
    if planted_class not in INJECTED:
        raise KeyError(f"no oddity {planted_class!r}; there are {', '.join(INJECTED)}")
    return "astrophysical" if planted_class in ASTROPHYSICAL or planted_class == "second_nucleus" else "artefact"


def host_of(image: UInt8[np.ndarray, "size size channels"]) -> Host | None:
    """The host in the middle of an image; None where there is no light."""
    from scipy.ndimage import gaussian_filter, median_filter

    light = unstretched(image)
    size = light.shape[1]
    sky = np.percentile(light, BACKGROUND_PERCENT, axis=(1, 2))
    excess = light - sky[:, None, None]
    rough = light - median_filter(light, (1, 3, 3))
    noise = np.maximum(1.4826 * np.median(np.abs(rough), axis=(1, 2)), LEAST_SIGMA)
    smooth = gaussian_filter(excess, (0, SMOOTHING * size, SMOOTHING * size))
    x, y = _offsets(size)
    distance = np.hypot(x, y)
    reach = APERTURE * size
    fading = np.clip((1.25 * reach - distance) / (0.25 * reach), 0.0, 1.0)
    is_lit = smooth.mean(axis=0) > SIGNIFICANT * noise.mean() / np.sqrt(len(noise))
    own = np.maximum(smooth, 0.0) * is_lit * fading
    gray = own.sum(axis=0)
    if not (own.sum(axis=(1, 2)) > 0).all():
        return None
    order = np.argsort(distance, axis=None)
    inside = np.cumsum(gray.ravel()[order]) / gray.sum()
    radius = float(distance.ravel()[order][np.searchsorted(inside, 0.5)])
    ratio, angle = _ellipse(gray, x, y)
    return Host(own, noise, max(radius, 1.0), ratio, angle)


def plant_in(
    image: UInt8[np.ndarray, "size size channels"],
    planted_class: str,
    strength: float,
    *,
    rng: np.random.Generator,
    scale: float = 1.0,
    seeing: float = 3.5,
) -> Planted | None:
    """A copy of an image with an oddity; None where there is no host for it.

    Parameters
    ----------
    image
        As stored; the channels from the reddest to the bluest, as pictures are.
    planted_class
        One of `INJECTED`.
    strength
        Of an astrophysical oddity: the share of the host's light in the reddest channel, which the host loses. Of an
        artefact: as its function in `peculiar.sky.oddities` says, in deviations of the image's own noise; of a missing
        band: the share of the frame.
    scale
        Of an astrophysical oddity: how much larger it is than is usual for a host of this size.
    seeing
        Full width at half maximum of a point in the survey's images, pixels.

    Raises
    ------
    KeyError
        There is no such class.
    """
    kind, host = kind_of(planted_class), host_of(image)
    if host is None:
        return None
    light, size, radius = unstretched(image), len(image), float("nan")
    if kind == "astrophysical":
        pattern = _pattern(planted_class, host, size, rng=rng, scale=scale, seeing=seeing)
        taken = _shares(planted_class, strength, len(light))[:, None, None]
        change = taken * (host.flux[:, None, None] * pattern - host.light)
        radius = float((pattern * np.hypot(*_offsets(size))).sum() / pattern.sum()) * 96 / size
    else:
        even = size + size % 2
        mark = stain(planted_class, strength, sky_sigma=host.noise, rng=rng, size=even)
        kept = mark.kept[:, :size, :size]
        change = np.where(kept, mark.light[:, :size, :size], -light)
    changed = stretched(light + change, rng=rng)
    seen = unstretched(changed) - light  # what saturates or is rounded away does not count
    snr = float(np.sqrt(((seen / host.noise[:, None, None]) ** 2).sum()))
    return Planted(changed, snr, radius)


def unstretched(image: UInt8[np.ndarray, "size size channels"]) -> Pattern:
    """Light of stored levels, channels first, from 0 to 1."""
    light: Pattern = np.sinh(STRETCH * np.moveaxis(image, -1, 0).astype(np.float64) / 255) / np.sinh(STRETCH)
    return light


def stretched(light: Pattern, *, rng: np.random.Generator | None = None) -> UInt8[np.ndarray, "size size channels"]:
    """Undo `unstretched`: stored levels of light, which saturates at 1.

    With `rng` a level between two becomes one of them by chance: added light of less than half a level would be lost.
    """
    levels = 255 * np.arcsinh(np.clip(light, 0.0, 1.0) * np.sinh(STRETCH)) / STRETCH
    levels = np.rint(levels) if rng is None else np.floor(levels.round(6) + rng.random(levels.shape))
    return np.ascontiguousarray(np.moveaxis(levels.astype(np.uint8), 0, -1))


def _pattern(
    planted_class: str, host: Host, size: int, *, rng: np.random.Generator, scale: float, seeing: float
) -> Float64[np.ndarray, "size size"]:
    """Where an oddity's light falls; it sums to one, but for what falls out of the frame."""
    target = Target((), False, host.radius * scale * PIXEL_ARCSEC, host.axis_ratio, host.angle)
    lights = lights_of(target, planted_class, np.ones(3), rng=rng, size=size)
    side = max(LEAST_SIDE, size + size % 2)
    whole = paint(lights, size=side, seeing_arcsec=np.full(3, seeing * PIXEL_ARCSEC))[0]
    first = side // 2 - size // 2
    part: Float64[np.ndarray, "size size"] = np.maximum(whole[first : first + size, first : first + size], 0.0)
    return part


def _shares(planted_class: str, strength: float, n_channels: int) -> Sigma:
    """The share of the host's light in each channel, from the reddest to the bluest: g, r and i, and between them."""
    g_r, r_i = bluer_by(planted_class)
    excess = np.interp(np.linspace(0.0, 2.0, n_channels), [0.0, 1.0, 2.0], [0.0, r_i, r_i + g_r])
    return np.asarray(np.minimum(strength * 10.0 ** (0.4 * excess), MOST_TAKEN), np.float64)


def _ellipse(gray: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Axis ratio and angle of the second moments of light about the center."""
    xx, yy, xy = ((gray * each).sum() / gray.sum() for each in (x * x, y * y, x * y))
    spread = np.hypot((xx - yy) / 2, xy)
    smallest, largest = max((xx + yy) / 2 - spread, 1e-9), max((xx + yy) / 2 + spread, 1e-9)
    return float(np.sqrt(smallest / largest)), float(0.5 * np.arctan2(2 * xy, xx - yy))


def _offsets(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets x, y of each pixel from the one that lights are painted around."""
    line = np.arange(size) - float(size // 2)
    x, y = np.meshgrid(line, line)
    return x, y
