"""What is planted in a simulated survey: peculiar galaxies, and what telescope and pipeline do to a picture.

An astrophysical oddity takes a share of its host's light and keeps the total in every band, so that neither
brightness nor color gives it away. An artefact adds light to the frame or takes a band away.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64

from peculiar.sky.galaxies import PIXEL_ARCSEC, Cloud, Flux, Light, Sersic, Target, dimmed, place, split

# Strengths are drawn log-uniformly from low to high. The low ends were chosen to vanish in the noise of HSC wide,
# the high ends to be seen at a glance (pictures looked at); what a strength is stands at each function.
ASTROPHYSICAL = {
    "merger": (0.003, 0.45),
    "tidal_arm": (0.003, 0.45),
    "ring": (0.003, 0.45),
    "lensed_arc": (0.003, 0.3),
    "blue_knots": (0.003, 0.4),
}
ARTEFACTS = {
    "satellite_trail": (0.1, 60.0),
    "bleed": (0.01, 100.0),
    "colored_halo": (0.05, 60.0),
    "background_step": (0.05, 30.0),
    "missing_band": (0.01, 1.0),
}

Pattern = Float64[np.ndarray, "bands size size"]
Sigma = Float64[np.ndarray, " bands"]  # of the sky, a band
Grid = Float64[np.ndarray, "size size"]

REACH = 0.42  # of the frame's side: how far from its center oddities of the object go
SATURATION = 400.0  # survey units a pixel: the core of a star of i = 17.5 in HSC wide


@dataclass(frozen=True)
class Stain:
    """What an artefact does to a cutout: add `light` before the noise, then keep only the pixels of `kept`."""

    light: Pattern
    kept: Bool[np.ndarray, "bands size size"]


def plant(target: Target, planted_class: str, strength: float, *, rng: np.random.Generator, size: int) -> Target:
    """The target with an astrophysical oddity that took the share `strength` of its flux in i.

    The oddity has its own color and so takes other shares in g and r, at most nine tenths; what it takes, the body
    loses: the total flux is the same in every band.

    Raises
    ------
    KeyError
        For a class that is not in `ASTROPHYSICAL`.
    """
    part, rest = split(target.flux, strength, bluer_by(planted_class))
    drawn = lights_of(target, planted_class, part, rng=rng, size=size)
    return replace(target, lights=(*dimmed(target.lights, rest / target.flux), *drawn))


def bluer_by(planted_class: str) -> tuple[float, float]:
    """Magnitudes by which an oddity's g-r and r-i lie below its host's."""
    return _DRAWN[planted_class][1]


def lights_of(target: Target, planted_class: str, flux: Flux, *, rng: np.random.Generator, size: int) -> list[Light]:
    """The lights of an oddity of this flux around a target, within a frame of `size` pixels."""
    return _DRAWN[planted_class][0](rng, target, flux, REACH * size)


def stain(planted_class: str, strength: float, *, sky_sigma: Sigma, rng: np.random.Generator, size: int) -> Stain:
    """What an artefact of this class and strength does to a cutout with this sky noise.

    Raises
    ------
    KeyError
        For a class that is not in `ARTEFACTS`.
    """
    bands = len(sky_sigma)
    if planted_class == "missing_band":
        return Stain(np.zeros((bands, size, size)), _missing_band(rng, strength, size, bands))
    light = _STAINED[planted_class](rng, strength, size, bands) * sky_sigma[:, None, None]
    return Stain(np.minimum(light, SATURATION), np.ones((bands, size, size), bool))


def _merger(rng: np.random.Generator, target: Target, flux: Flux, reach: float) -> list[Light]:
    """A companion with a fan of torn-off stars behind it and a bridge to the host. Strength: share of i flux."""
    body = _pixels(target)
    distance = float(np.clip(rng.uniform(1.8, 3.5) * body, 7.0, 0.6 * reach))
    angle = rng.uniform(0.0, 2.0 * np.pi)
    companion = Sersic(
        flux * 0.55,
        float(rng.choice([1.0, 2.5])),
        target.radius_arcsec * rng.uniform(0.3, 0.7),
        rng.uniform(0.4, 1.0),
        rng.uniform(0.0, np.pi),
        distance * np.cos(angle),
        distance * np.sin(angle),
    )
    step, turn = np.linspace(0.0, 1.0, 40), rng.choice([-1.0, 1.0])
    bridge = _curve(flux * 0.13, distance * step, angle + turn * 0.5 * np.sin(np.pi * step), 1.0 + 0 * step, 1.0)
    far = np.minimum(distance + (reach - distance) * rng.uniform(0.3, 0.8) * step, reach)
    fan = _curve(flux * 0.32, far, angle - turn * 1.6 * step, np.exp(-1.5 * step), rng.uniform(1.2, 2.2))
    return [companion, bridge, fan]


def _tidal_arm(rng: np.random.Generator, target: Target, flux: Flux, reach: float) -> list[Light]:
    """A long tail that unwinds from the body, often with a shorter one opposite. Strength: share of i flux."""
    body, step = _pixels(target), np.linspace(0.0, 1.0, 80)
    start, turn = rng.uniform(0.0, 2.0 * np.pi), rng.choice([-1.0, 1.0]) * rng.uniform(1.0, 2.6)
    end = min(reach, body * rng.uniform(4.0, 7.0) + 8.0)
    blur = rng.uniform(0.9, 1.8)
    tail = _curve(flux, body + (end - body) * step, start + turn * step**0.8, np.exp(-1.2 * step), blur)
    if rng.random() < 0.5:
        return [tail]
    short = body + 0.6 * (end - body) * step
    counter = _curve(flux * 0.35, short, start + np.pi + turn * step**0.8, np.exp(-1.5 * step), blur)
    return [replace(tail, flux=flux * 0.65), counter]


def _ring(rng: np.random.Generator, target: Target, flux: Flux, reach: float) -> list[Light]:
    """A ring of young stars around the body, of uneven brightness. Strength: share of i flux."""
    radius = float(np.clip(_pixels(target) * rng.uniform(2.6, 4.2), 11.0, 0.75 * reach))
    theta = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
    phase, lopsided = rng.uniform(0.0, 2.0 * np.pi, 2), rng.uniform(0.0, 0.5)
    weights = 1.0 + lopsided * np.cos(theta - phase[0]) + 0.25 * np.cos(5.0 * theta - phase[1])
    x, y = place(np.full(120, radius), theta, target, tilt=max(target.axis_ratio, 0.55))
    return [Cloud(flux, x, y, weights / weights.sum(), blur=rng.uniform(0.5, 1.1))]


def _lensed_arc(rng: np.random.Generator, target: Target, flux: Flux, reach: float) -> list[Light]:
    """A thin blue arc around the body and its counter-image, opposite and nearer. Strength: share of i flux."""
    radius = float(np.clip(rng.uniform(1.2, 2.8) / PIXEL_ARCSEC, 0.0, 0.8 * reach))  # Einstein radius, galaxy scale
    middle, half = rng.uniform(0.0, 2.0 * np.pi), 0.5 * np.deg2rad(rng.uniform(60.0, 160.0))
    theta = np.linspace(-half, half, 60)
    arc = _curve(flux * 0.85, np.full(60, radius), middle + theta, np.cos(0.45 * np.pi * theta / half), 0.5)
    x, y = 0.75 * radius * np.cos(middle + np.pi), 0.75 * radius * np.sin(middle + np.pi)
    return [arc, Cloud(flux * 0.15, np.array([x]), np.array([y]), np.ones(1), blur=0.6)]


def _blue_knots(rng: np.random.Generator, target: Target, flux: Flux, reach: float) -> list[Light]:
    """A few giant star-forming knots in the body. Strength: share of i flux."""
    n_knots = int(rng.integers(2, 8))
    radius = np.minimum(np.maximum(_pixels(target), 4.5) * rng.uniform(1.0, 2.8, n_knots), reach)
    x, y = place(radius, rng.uniform(0.0, 2.0 * np.pi, n_knots), target, tilt=max(target.axis_ratio, 0.6))
    weights = rng.gamma(2.0, 1.0, n_knots) + 0.2
    return [Cloud(flux, x, y, weights / weights.sum(), blur=0.5)]


def _second_nucleus(rng: np.random.Generator, target: Target, flux: Flux, reach: float) -> list[Light]:
    """Another bright point within the body, of nearly its color. Strength: share of i flux."""
    distance, angle = _pixels(target) * rng.uniform(0.6, 1.3), rng.uniform(0.0, 2.0 * np.pi)
    x, y = min(distance, reach) * np.cos(angle), min(distance, reach) * np.sin(angle)
    return [Cloud(flux, np.array([x]), np.array([y]), np.ones(1), blur=0.4)]


def _satellite_trail(rng: np.random.Generator, strength: float, size: int, bands: int) -> Pattern:
    """A straight line through the frame, left by one exposure. Strength: brightness of its ridge in sky sigma."""
    x, y = _grid(size)
    angle, offset = rng.uniform(0.0, np.pi), rng.uniform(-0.35, 0.35) * size
    distance = x * np.cos(angle) + y * np.sin(angle) - offset
    return _tinted(rng, strength * np.exp(-0.5 * (distance / rng.uniform(1.5, 3.0)) ** 2), bands, rest=0.08)


def _bleed(rng: np.random.Generator, strength: float, size: int, bands: int) -> Pattern:
    """A saturated star with its bleeding column and a colored halo. Strength: the column's brightness in sky sigma."""
    x, y = _grid(size)
    side = rng.choice([-1.0, 1.0])
    star_x, star_y = side * rng.uniform(0.22, 0.5) * size, rng.uniform(-0.5, 0.5) * size
    distance = np.hypot(x - star_x, y - star_y)
    column = np.exp(-0.5 * ((x - star_x) / rng.uniform(0.8, 2.0)) ** 4) * np.exp(-np.abs(y - star_y) / (0.7 * size))
    core = 60.0 / (1.0 + (distance / 3.0) ** 2) ** 2  # the wings of an HSC star: power -4, a little over the seeing
    halo = 0.5 / (1.0 + (distance / (0.25 * size)) ** 4)
    light = core + _tinted(rng, column, bands, rest=0.3) + _tinted(rng, halo, bands, rest=0.25)
    return np.asarray(strength * light, np.float64)


def _colored_halo(rng: np.random.Generator, strength: float, size: int, bands: int) -> Pattern:
    """The edge of a ghost or of a bright star's scattered light, in one band. Strength: its surface, sky sigma."""
    x, y = _grid(size)
    radius, angle = rng.uniform(0.5, 2.5) * size, rng.uniform(0.0, 2.0 * np.pi)
    center = radius + rng.uniform(-0.3, 0.25) * size  # the edge crosses the frame
    distance = np.hypot(x - center * np.cos(angle), y - center * np.sin(angle))
    inside = 0.5 * (1.0 + np.tanh((radius - distance) / rng.uniform(1.0, 8.0)))
    fading = 0.6 + 0.4 * np.clip((distance - radius) / (0.5 * size) + 1.0, 0.0, 1.0)
    return _tinted(rng, strength * inside * fading, bands, rest=0.04)


def _background_step(rng: np.random.Generator, strength: float, size: int, bands: int) -> Pattern:
    """Sky that jumps at an edge of a chip or a coadd's patch. Strength: the jump in sky sigma of the first band."""
    x, y = _grid(size)
    angle = rng.choice([0.0, 0.5, 1.0, 1.5]) * np.pi
    beyond = x * np.cos(angle) + y * np.sin(angle) > rng.uniform(-0.35, 0.35) * size
    return _tinted(rng, strength * beyond, bands, rest=rng.uniform(0.0, 1.0))


def _missing_band(
    rng: np.random.Generator, strength: float, size: int, bands: int
) -> Bool[np.ndarray, "bands size size"]:
    """One band is zero from an edge of the frame on. Strength: the share of the frame that lacks it, rounded up."""
    kept = np.ones((bands, size, size), bool)
    band, n_rows = int(rng.integers(bands)), int(np.ceil(strength * size))
    kept[band, :n_rows] = False
    kept[band] = np.rot90(kept[band], int(rng.integers(4)))
    return kept


def _tinted(rng: np.random.Generator, pattern: Grid, bands: int, *, rest: float) -> Pattern:
    """A pattern at full strength in one band, chosen at random, and up to `rest` of it in the two others."""
    tint = rng.uniform(0.0, rest, bands)
    tint[rng.integers(bands)] = 1.0
    return np.asarray(tint[:, None, None] * pattern, np.float64)


def _curve(flux: Flux, radius: np.ndarray, theta: np.ndarray, weights: np.ndarray, blur: float) -> Cloud:
    return Cloud(flux, radius * np.cos(theta), radius * np.sin(theta), weights / weights.sum(), blur=blur)


def _pixels(target: Target) -> float:
    """Half-light radius of the host in pixels; never less than the seeing's."""
    return max(target.radius_arcsec / PIXEL_ARCSEC, 2.0)


def _grid(size: int) -> tuple[Grid, Grid]:
    """Offsets x, y of each pixel from the frame's center."""
    line = np.arange(size) - 0.5 * size
    x, y = np.meshgrid(line, line)
    return x, y


# What draws each class, and by how many magnitudes its g-r and r-i lie below the host's.
_DRAWN: dict[str, tuple[Callable[[np.random.Generator, Target, Flux, float], list[Light]], tuple[float, float]]] = {
    "merger": (_merger, (0.05, 0.02)),
    "tidal_arm": (_tidal_arm, (0.15, 0.05)),
    "ring": (_ring, (0.4, 0.15)),
    "lensed_arc": (_lensed_arc, (0.9, 0.4)),
    "blue_knots": (_blue_knots, (0.7, 0.35)),
    "second_nucleus": (_second_nucleus, (0.05, 0.02)),
}
INJECTED = (*_DRAWN, *ARTEFACTS)  # `plan_survey` leaves out the second nucleus, so that made surveys stay as they were
_STAINED: dict[str, Callable[[np.random.Generator, float, int, int], Pattern]] = {
    "satellite_trail": _satellite_trail,
    "bleed": _bleed,
    "colored_halo": _colored_halo,
    "background_step": _background_step,
}
