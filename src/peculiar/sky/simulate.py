"""A made survey: the plan of it, and the pixels of any one of its objects, independently of all others.

Galaxies are summed in Fourier space, where a profile, a seeing and a shift are products: one small transform a
band paints a whole cutout. Random numbers come from the seed and the object's id alone, so that objects can be
made in any order, on any number of cores, or again after a kill, with the same pixels. GalSim gives the profiles;
it is the optional extra ``peculiar[sim]``.
"""

from collections.abc import Iterable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Complex128, Float32, Float64

from peculiar.sky.galaxies import (
    PIXEL_ARCSEC,
    STAR_FRACTION,
    ZERO_POINT,
    Flux,
    Light,
    Sersic,
    draw_neighbors,
    draw_target,
)
from peculiar.sky.oddities import ARTEFACTS, ASTROPHYSICAL, Stain, plant, stain

ODD_FRACTION = 0.014  # Galaxy Zoo 2 "odd" above 0.9, Walmsley et al. 2022
DENSITY = 3100.0  # objects a square degree: 942,781 over the 305 square degrees of HSC PDR2 wide in full color
FIELD_ORIGIN = (129.0, -2.0)  # degrees; where HSC's GAMA09H field begins
FIELD_HEIGHT = 6.0  # degrees
MAX_OBJECTS = 5_000_000  # more would run around the sky and over itself
OBJECT_IDS = (36_000_000_000_000_000, 75_000_000_000_000_000)  # the range of HSC's 17 digits

SKY_SIGMA = np.array([0.036, 0.057, 0.070])  # g, r, i, a pixel: sky of HSC wide, from shared/data/flux/hsc/hsc_lsbg_191
SKY_SCATTER = 0.10  # natural logarithm, from place to place
NEIGHBOR_PIXEL = 0.09  # noise smoothed with (a, 1, a): correlated as in hsc_lsbg_191 and hsc_cosmos, 0.18 to 0.29
ELECTRONS = 3000.0  # an HSC coadd's for one unit of flux: zero point 28 for one a second, 20 minutes
SEEING_ARCSEC = np.array([0.70, 0.67, 0.57])  # g, r, i; HSC takes i in the best nights: stars get red cores
SEEING_SCATTER = 0.05  # natural logarithm, twice: for all bands together and for each
MOFFAT_BETA = 3.5  # between a Gaussian and a Kolmogorov disc's wings
BACKGROUND = np.array([0.014, 0.015, 0.019])  # g, r, i: clipped medians of hsc_cosmos*, and the tint of shared/data/hsc
BACKGROUND_SCATTER = 0.15  # in units of the noise, twice: for all bands together and for each
GRADIENT_FRACTION = 0.15  # of cutouts that lie in the faint light of something outside the frame

PLAN = np.dtype(
    [
        ("object_id", "i8"),
        ("ra", "f8"),
        ("dec", "f8"),
        ("planted_class", "U16"),
        ("planted_kind", "U16"),
        ("planted_strength", "f8"),
    ]
)

Plane = Complex128[np.ndarray, "ky kx"]
Planes = Complex128[np.ndarray, "*groups 3 ky kx"]


def plan_survey(n_objects: int, *, odd_fraction: float = ODD_FRACTION, seed: int) -> np.ndarray:
    """Plan a survey: which objects, where, and what is planted in which.

    Exactly ``round(odd_fraction * n_objects)`` objects are odd, the classes of `ASTROPHYSICAL` and `ARTEFACTS` in
    turn, at random places of the list; strengths are log-uniform in the range of the class.

    Returns
    -------
    Structured array of `PLAN`, one row an object: `object_id` (17 digits, unique), `ra` and `dec` in degrees (no two
    objects in one cell of a grid, at the density of the HSC sample), `planted_class` and `planted_kind` ("" for a
    normal object, else "astrophysical" or "artefact"), and `planted_strength` (0 for a normal object).
    """
    if not 1 <= n_objects <= MAX_OBJECTS:
        raise ValueError(f"n_objects must be 1 to {MAX_OBJECTS:,}, got {n_objects}")
    if not 0.0 <= odd_fraction <= 1.0:
        raise ValueError(f"odd_fraction must be 0 to 1, got {odd_fraction}")
    rng = np.random.default_rng([seed])
    plan = np.zeros(n_objects, PLAN)
    plan["object_id"] = _unique_ids(rng, n_objects)
    plan["ra"], plan["dec"] = _positions(rng, n_objects)
    pairs = [
        (name, kind)
        for both in zip(ASTROPHYSICAL, ARTEFACTS, strict=True)
        for name, kind in zip(both, ("astrophysical", "artefact"), strict=True)
    ]
    for turn, row in enumerate(rng.permutation(n_objects)[: round(odd_fraction * n_objects)]):
        name, kind = pairs[turn % len(pairs)]
        low, high = np.log((ASTROPHYSICAL | ARTEFACTS)[name])
        plan["planted_class"][row], plan["planted_kind"][row] = name, kind
        plan["planted_strength"][row] = np.exp(rng.uniform(low, high))
    return plan


def simulate_cutout(
    row: np.void, *, seed: int, size: int = 96
) -> tuple[Float32[np.ndarray, "3 size size"], dict[str, float | bool]]:
    """Make the pixels of one planned object.

    Parameters
    ----------
    row
        A row of `plan_survey`. Only its id and what is planted matter; the neighbors, the noise and the host of an
        oddity are those of the same id without it (a star's place is taken by the galaxy drawn with it).
    seed
        With the id, the source of all random numbers.
    size
        Pixels a side, even.

    Returns
    -------
    Flux in g, r, i at zero point 27, and the truth: `i_mag`, `g_r`, `r_i` (of the total light of the object, which an
    astrophysical oddity does not change), `half_light_radius_arcsec` (circular, in i, after the seeing, of the object
    alone without noise), `is_star`, and `x`, `y`: where the object lies, in pixels from the center pixel
    ``(size // 2, size // 2)``.

    Raises
    ------
    ImportError
        Without GalSim.
    """
    host, around, odd, sky = (np.random.default_rng([seed, int(row["object_id"]), stream]) for stream in range(4))
    name, kind, strength = str(row["planted_class"]), str(row["planted_kind"]), float(row["planted_strength"])
    target = draw_target(host, star_fraction=0.0 if kind == "astrophysical" else STAR_FRACTION)
    x, y = host.uniform(-0.5, 0.5, 2)
    if kind == "astrophysical":
        target = plant(target, name, strength, rng=odd, size=size)
    sky_sigma = SKY_SIGMA * np.exp(around.normal(0.0, SKY_SCATTER))
    mark = Stain(np.zeros((3, size, size)), np.ones((3, size, size), bool))
    if kind == "artefact":
        mark = stain(name, strength, sky_sigma=sky_sigma, rng=odd, size=size)
    seeing = SEEING_ARCSEC * np.exp(around.normal(0.0, SEEING_SCATTER) + around.normal(0.0, SEEING_SCATTER, 3))
    planes = np.stack([_transform(target.lights, size, x, y), _transform(draw_neighbors(around, size), size)])
    alone, others = _observe(planes, size, seeing)
    clean = alone + others + mark.light
    flux = np.where(mark.kept, clean + _background(sky, sky_sigma, size) + _noise(sky, clean, sky_sigma), 0.0)
    mags = ZERO_POINT - 2.5 * np.log10(target.flux)
    truth: dict[str, float | bool] = {
        "i_mag": float(mags[2]),
        "g_r": float(mags[0] - mags[1]),
        "r_i": float(mags[1] - mags[2]),
        "half_light_radius_arcsec": half_light_radius(alone[2], x=x, y=y) * PIXEL_ARCSEC,
        "is_star": target.is_star,
        "x": float(x),
        "y": float(y),
    }
    return flux.astype(np.float32), truth


def paint(
    lights: Iterable[Light], *, size: int, seeing_arcsec: Flux = SEEING_ARCSEC, x: float = 0.0, y: float = 0.0
) -> Float64[np.ndarray, "3 size size"]:
    """Paint lights without noise, seen through a round Moffat seeing a band; all are moved by `x`, `y` pixels.

    No light gives zeros.
    """
    return _observe(_transform(lights, size, x, y), size, seeing_arcsec)


def half_light_radius(image: Float64[np.ndarray, "size size"], *, x: float, y: float) -> float:
    """Radius in pixels of the circle around the object that holds half of a noise-free image's light.

    `x`, `y` as in `simulate_cutout`. An image without light raises ValueError.
    """
    if not image.sum() > 0.0:
        raise ValueError("image holds no light: its half-light radius is not defined")
    rows, columns = np.indices(image.shape)
    middle = image.shape[0] // 2
    distance = np.hypot(columns - middle - x, rows - middle - y).ravel()
    order = np.argsort(distance)
    inside = np.cumsum(image.ravel()[order]) / image.sum()
    return float(distance[order][np.searchsorted(inside, 0.5)])


def _transform(lights: Iterable[Light], size: int, x: float = 0.0, y: float = 0.0) -> Planes:
    """Sum of the lights' transforms, a plane a band, in the layout of `numpy.fft.rfft2`, all moved by `x`, `y`."""
    if size < 32 or size % 2:
        raise ValueError(f"size must be even and at least 32 pixels, got {size}")
    galsim = require_galsim()
    ky, kx = _frequencies(size)
    planes = np.zeros((3, len(ky), len(kx)), np.complex128)
    for light in lights:
        plane = _plane(galsim, light, ky, kx)
        for band in range(3):
            planes[band] += light.flux[band] * plane
    planes *= _shift(ky, kx, x, y)
    return planes


def _observe(planes: Planes, size: int, seeing_arcsec: Flux) -> Float64[np.ndarray, "*groups 3 size size"]:
    """Images of transforms, after the seeing and the pixel, with the origin on the pixel ``size // 2``."""
    galsim = require_galsim()
    origin = _shift(*_frequencies(size), size // 2, size // 2)
    for band, fwhm in enumerate(seeing_arcsec):
        seeing = galsim.Convolve(galsim.Moffat(beta=MOFFAT_BETA, fwhm=fwhm), galsim.Pixel(PIXEL_ARCSEC))
        planes[..., band, :, :] *= origin * _table(galsim, seeing, len(origin))
    images: np.ndarray = np.fft.irfft2(planes)
    return images[..., :size, :size]


def _plane(galsim: ModuleType, light: Light, ky: np.ndarray, kx: np.ndarray) -> Plane:
    """The transform of a light of flux 1."""
    if isinstance(light, Sersic):
        # GalSim computes the exponential by a formula and looks the others up.
        profile = galsim.Exponential if light.index == 1.0 else partial(galsim.Sersic, light.index)
        body = profile(half_light_radius=light.radius_arcsec).shear(
            q=light.axis_ratio, beta=light.angle * galsim.radians
        )
        return np.asarray(_table(galsim, body, len(ky)) * _shift(ky, kx, light.x, light.y), np.complex128)
    # A sum of shifted points is one matrix product: a shift's factor splits into one of ky and one of kx.
    waves = np.exp(-1j * np.outer(ky, light.y)) @ (light.weights[:, None] * np.exp(-1j * np.outer(light.x, kx)))
    blur = np.exp(-0.5 * (light.blur * ky[:, None]) ** 2) * np.exp(-0.5 * (light.blur * kx) ** 2)
    return np.asarray(waves * blur, np.complex128)


def _table(galsim: ModuleType, profile: Any, n: int) -> Float64[np.ndarray, "ky kx"]:
    """A symmetric GalSim profile's transform in the layout of `numpy.fft.rfft2`."""
    half = galsim.BoundsI(0, n // 2, -n // 2, n // 2 - 1)
    image = galsim.ImageCD(half, scale=2.0 * np.pi / (n * PIXEL_ARCSEC))
    return np.fft.ifftshift(profile.drawKImage(image=image, recenter=False).array.real, axes=0)


def _frequencies(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Radians a pixel along y and x, of a frame twice as wide: what lies outside must not come in across the edge."""
    return 2.0 * np.pi * np.fft.fftfreq(2 * size), 2.0 * np.pi * np.fft.rfftfreq(2 * size)


def _shift(ky: np.ndarray, kx: np.ndarray, x: float, y: float) -> Plane:
    return np.asarray(np.exp(-1j * ky * y)[:, None] * np.exp(-1j * kx * x), np.complex128)


def _noise(rng: np.random.Generator, clean: np.ndarray, sky_sigma: Flux) -> np.ndarray:
    """Noise of the sky, a little correlated as in a coadd, and of the light's own electrons."""
    size = clean.shape[1]
    white = rng.normal(size=(3, size + 2, size + 2))
    rows = white[:, 1:-1] + NEIGHBOR_PIXEL * (white[:, :-2] + white[:, 2:])
    smooth = rows[:, :, 1:-1] + NEIGHBOR_PIXEL * (rows[:, :, :-2] + rows[:, :, 2:])
    deviation = np.sqrt(sky_sigma[:, None, None] ** 2 + np.maximum(clean, 0.0) / ELECTRONS)
    return np.asarray(smooth / (1.0 + 2.0 * NEIGHBOR_PIXEL**2) * deviation, np.float64)


def _background(rng: np.random.Generator, sky_sigma: Flux, size: int) -> np.ndarray:
    """What is left of the sky after its subtraction: an offset a band and, at times, a faint slope."""
    offset = BACKGROUND / sky_sigma + rng.normal(0.0, BACKGROUND_SCATTER) + rng.normal(0.0, BACKGROUND_SCATTER, 3)
    angle, height, slope = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.2, 2.0), rng.random() < GRADIENT_FRACTION
    line = (np.arange(size) - 0.5 * size) / size
    ramp = 0.5 + 0.7 * (line * np.cos(angle) + line[:, None] * np.sin(angle))
    color = rng.uniform(0.5, 1.0, 3)
    light = offset[:, None, None] + slope * height * color[:, None, None] * ramp
    return np.asarray(sky_sigma[:, None, None] * light, np.float64)


def _unique_ids(rng: np.random.Generator, n_objects: int) -> np.ndarray:
    ids = np.unique(rng.integers(*OBJECT_IDS, n_objects))
    while len(ids) < n_objects:
        ids = np.unique(np.concatenate([ids, rng.integers(*OBJECT_IDS, n_objects - len(ids))]))
    return rng.permutation(ids)


def _positions(rng: np.random.Generator, n_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """One object a cell of a grid, anywhere in the middle 0.9 of it: never two at one place."""
    area = n_objects / DENSITY
    height = min(FIELD_HEIGHT, float(np.sqrt(area)))
    n_rows = max(1, round(height * np.sqrt(DENSITY)))
    n_columns = -(-n_objects // n_rows)
    cells = rng.permutation(n_rows * n_columns)[:n_objects]
    in_row, in_column = rng.uniform(0.05, 0.95, (2, n_objects))
    dec = FIELD_ORIGIN[1] + (cells // n_columns + in_row) / n_rows * height
    ra = FIELD_ORIGIN[0] + (cells % n_columns + in_column) / n_columns * area / height
    return ra % 360.0, dec


def require_galsim() -> ModuleType:
    """GalSim itself, or an ImportError that says what to install."""
    try:
        import galsim
    except ImportError as error:
        raise ImportError('simulate needs GalSim; install "peculiar[sim]"') from error
    module: ModuleType = galsim
    return module


__all__ = ["PLAN", "SKY_SIGMA", "half_light_radius", "paint", "plan_survey", "require_galsim", "simulate_cutout"]
