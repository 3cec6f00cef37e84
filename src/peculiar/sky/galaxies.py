"""What a simulated sky is made of: galaxies, stars and neighbors, as lights with a flux in g, r and i.

Positions are pixels from the center of the cutout, x to the right and y upwards; angles are radians from x to y.
The numbers describe the HSC wide survey at i = 20.0 to 20.5 (Storey-Fisher et al. 2021, sect. 2) closely enough
to look right and to train on; they are not a mock catalog, and no count or color from here is a measurement.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

Flux = Float64[np.ndarray, "3"]
Points = Float64[np.ndarray, " points"]

BANDS = ("HSC-G", "HSC-R", "HSC-I")
ZERO_POINT = 27.0  # HSC coadds, Aihara et al. 2019
PIXEL_ARCSEC = 0.168  # HSC coadds, Aihara et al. 2019

STAR_FRACTION = 0.25  # stars against galaxies at i = 20 and galactic latitude 40 to 60: one to three, roughly
RED_FRACTION = 0.45  # of galaxies at i = 20; the look of shared/data/hsc
RED_SEQUENCE = ((1.38, 0.16), (0.53, 0.08))  # mean and deviation of g-r and r-i: an old galaxy at redshift 0.3 to 0.5
BLUE_CLOUD = ((0.78, 0.20), (0.35, 0.09))  # the same for a star-forming one
M_DWARF_FRACTION = 0.6  # of stars at i = 20
RADIUS_ARCSEC = 0.70  # median half-light radius at i = 20.25 before the seeing
RADIUS_SCATTER = 0.40  # natural logarithm; two thirds lie in 0.47 to 1.04 arcsec
RADIUS_RANGE = (0.25, 1.6)  # arcsec; wider bodies would leave a frame of 16 arcsec with much of their light

NEIGHBOR_MAG = (16.5, 26.3)  # i; the faint end lies just under the noise
NEIGHBOR_DENSITY = 42.0  # galaxies and stars per square arcmin brighter than i = 25: deep counts, rounded
NEIGHBOR_SLOPE = 0.31  # of log10 counts against magnitude, i = 20 to 25


@dataclass(frozen=True)
class Sersic:
    """A smooth elliptical body."""

    flux: Flux
    index: float  # 1, 2.5 or 4 only: GalSim keeps one table an index
    radius_arcsec: float
    axis_ratio: float = 1.0
    angle: float = 0.0
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Cloud:
    """Many points that share a flux by weight, each blurred: a star, knots, an arm, a ring, a tail."""

    flux: Flux
    x: Points
    y: Points
    weights: Points  # sum to 1
    blur: float = 0.0  # pixels, standard deviation of a Gaussian


Light = Sersic | Cloud


@dataclass(frozen=True)
class Target:
    """The object in the middle of a cutout."""

    lights: tuple[Light, ...]
    is_star: bool
    radius_arcsec: float  # of the body before the seeing; 0 for a star
    axis_ratio: float
    angle: float

    @property
    def flux(self) -> Flux:
        """Sum over all lights, g, r, i."""
        total: Flux = np.stack([light.flux for light in self.lights]).sum(axis=0)
        return total


def band_flux(i_mag: float, g_r: float, r_i: float) -> Flux:
    """Flux in g, r, i at zero point 27 of an i magnitude and two colors."""
    mags = np.array([i_mag + r_i + g_r, i_mag + r_i, i_mag])
    return np.asarray(10.0 ** (0.4 * (ZERO_POINT - mags)), np.float64)


def split(flux: Flux, share: float, bluer: tuple[float, float] = (0.0, 0.0)) -> tuple[Flux, Flux]:
    """Part and rest of a flux, `share` of it in i going to the part; the two always sum to `flux`.

    `bluer` is how many magnitudes the part's g-r and r-i lie below those of the whole (negative: redder). No band
    gives more than nine tenths, so that the rest keeps light in every band and the part may come out less blue.
    """
    excess = np.array([bluer[0] + bluer[1], bluer[1], 0.0])
    part = flux * np.minimum(share * 10.0 ** (0.4 * excess), 0.9)
    return part, flux - part


def dimmed(lights: tuple[Light, ...], factor: Flux) -> tuple[Light, ...]:
    """The same lights, each multiplied band by band."""
    return tuple(replace(light, flux=light.flux * factor) for light in lights)


def place(radius: Points, theta: Points, target: Target, *, tilt: float) -> tuple[Points, Points]:
    """Offsets x, y of polar places in a disc that is squeezed to `tilt` along the target's minor axis."""
    along, across = radius * np.cos(theta), radius * np.sin(theta) * tilt
    cos, sin = np.cos(target.angle), np.sin(target.angle)
    return along * cos - across * sin, along * sin + across * cos


def draw_target(rng: np.random.Generator, *, star_fraction: float = STAR_FRACTION) -> Target:
    """A galaxy or star of i = 20.0 to 20.5; with `star_fraction` 0 the same galaxies, and stars made galaxies.

    The galaxy is drawn before it is decided whether it is a star, so that the decision does not change it.
    """
    i_mag = 20.0 + np.log10(1.0 + rng.random() * (10.0 ** (0.5 * NEIGHBOR_SLOPE) - 1.0)) / NEIGHBOR_SLOPE
    galaxy = _draw_galaxy(rng, i_mag)
    if rng.random() >= star_fraction:
        return galaxy
    return Target((_star(rng, i_mag, 0.0, 0.0),), True, 0.0, 1.0, 0.0)


def draw_neighbors(rng: np.random.Generator, size: int) -> list[Light]:
    """Other galaxies and stars in and just around the frame; none within 1.5 arcsec that outshines the target."""
    reach = 0.5 * size + 16.0  # pixels; further out only stars of i < 16 would shine in
    area = (2.0 * reach * PIXEL_ARCSEC / 60.0) ** 2
    ends = 10.0 ** (NEIGHBOR_SLOPE * (np.array(NEIGHBOR_MAG) - 25.0))
    lights: list[Light] = []
    for rank in rng.random(rng.poisson(NEIGHBOR_DENSITY * area * (ends[1] - ends[0]))):
        i_mag = 25.0 + np.log10(ends[0] + rank * (ends[1] - ends[0])) / NEIGHBOR_SLOPE
        x, y = rng.uniform(-reach, reach, 2)
        if np.hypot(x, y) * PIXEL_ARCSEC < (1.5 if i_mag > 23.0 else 3.0):
            continue  # nearer, brighter ones would be mergers, which are planted and recorded
        star = rng.random() < (0.5 if i_mag < 20.0 else 0.12)
        lights.append(_star(rng, i_mag, x, y) if star else _faint_galaxy(rng, i_mag, x, y))
    return lights


def _draw_galaxy(rng: np.random.Generator, i_mag: float) -> Target:
    red = rng.random() < RED_FRACTION
    (g_r, g_r_scatter), (r_i, r_i_scatter) = RED_SEQUENCE if red else BLUE_CLOUD
    offset = rng.normal()  # the two colors move together along the sequence
    own = float(np.clip(rng.normal(), -2.0, 2.0))
    total = band_flux(i_mag, g_r + g_r_scatter * offset, r_i + 0.7 * r_i_scatter * (offset + own))
    radius = float(np.clip(RADIUS_ARCSEC * np.exp(rng.normal(0.0, RADIUS_SCATTER)), *RADIUS_RANGE))
    angle, tilt = rng.uniform(0.0, np.pi), rng.uniform(0.25, 1.0)
    bulge_share = rng.uniform(0.45, 0.95) if red else rng.uniform(0.02, 0.4)
    bulge, disc = split(total, bulge_share, (-0.08, -0.03) if red else (-0.35, -0.12))
    bulge_radius = radius * (rng.uniform(0.6, 1.0) if red else rng.uniform(0.25, 0.5))
    bulge_ratio = 1.0 - (1.0 - tilt) * (0.5 if red else 0.35)
    frame = Target((), False, radius, tilt, angle)
    structure: list[Light] = []
    if not red:
        disc, structure = _structure(rng, disc, frame)
    lights = (
        Sersic(bulge, 4.0, bulge_radius, bulge_ratio, angle),
        Sersic(disc, 1.0, radius * 1.1, tilt, angle),
        *structure,
    )
    return replace(frame, lights=lights)


def _structure(rng: np.random.Generator, disc: Flux, target: Target) -> tuple[Flux, list[Light]]:
    """What is left of a star-forming disc's flux, and the spiral arms and knots that took the rest."""
    scale = target.radius_arcsec / PIXEL_ARCSEC / 1.678  # exponential disc: half-light radius over scale length
    lights: list[Light] = []
    if rng.random() < 0.6:
        arms, disc = split(disc, rng.uniform(0.08, 0.35), (0.2, 0.1))
        radius = np.tile(np.linspace(0.8, 4.0, 30), 2) * scale
        winding = rng.choice([-1.0, 1.0]) * np.log(radius / scale) / np.tan(rng.uniform(0.25, 0.6))
        theta = winding + rng.uniform(0.0, np.pi) + np.repeat([0.0, np.pi], 30) + rng.normal(0.0, 0.08, 60)
        weights = radius * np.exp(-radius / scale) * rng.gamma(2.0, 0.5, 60)
        x, y = place(radius, theta, target, tilt=target.axis_ratio)
        lights.append(Cloud(arms, x, y, weights / weights.sum(), blur=max(0.6, 0.2 * scale)))
    n_knots = rng.poisson(1.5)
    if n_knots:
        knots, disc = split(disc, n_knots * rng.uniform(0.004, 0.02), (0.3, 0.15))
        radius, weights = scale * rng.gamma(2.0, 1.0, n_knots).clip(0.3, 4.0), rng.gamma(1.0, 1.0, n_knots) + 0.05
        x, y = place(radius, rng.uniform(0.0, 2.0 * np.pi, n_knots), target, tilt=target.axis_ratio)
        lights.append(Cloud(knots, x, y, weights / weights.sum(), blur=0.5))
    return disc, lights


def _star(rng: np.random.Generator, i_mag: float, x: float, y: float) -> Cloud:
    if rng.random() < M_DWARF_FRACTION:
        g_r, r_i = rng.normal(1.25, 0.06), rng.uniform(0.5, 1.7)
    else:
        g_r = rng.uniform(0.25, 1.1)
        r_i = 0.05 + 0.33 * (g_r - 0.25) + rng.normal(0.0, 0.02)  # the stellar locus of F to K stars
    return Cloud(band_flux(i_mag, g_r, r_i), np.array([x]), np.array([y]), np.ones(1))


def _faint_galaxy(rng: np.random.Generator, i_mag: float, x: float, y: float) -> Sersic:
    """A body of one Sersic index; fainter means smaller and bluer."""
    red = rng.random() < (0.5 if i_mag < 21.5 else 0.2)
    (g_r, g_r_scatter), (r_i, r_i_scatter) = RED_SEQUENCE if red else BLUE_CLOUD
    fading = 0.06 * max(i_mag - 21.0, 0.0)
    g_r, r_i = rng.normal(g_r - 2.0 * fading, g_r_scatter), rng.normal(r_i - fading, r_i_scatter)
    median = RADIUS_ARCSEC * 10.0 ** (-0.09 * (i_mag - 20.25))
    radius = float(np.clip(median * np.exp(rng.normal(0.0, RADIUS_SCATTER)), 0.1, 4.0))
    index = 1.0 if i_mag > 23.0 else float(rng.choice([2.5, 4.0] if red else [1.0, 1.0, 2.5]))
    flux = band_flux(i_mag, g_r, r_i)
    return Sersic(flux, index, radius, rng.uniform(0.25, 1.0), rng.uniform(0.0, np.pi), x, y)
