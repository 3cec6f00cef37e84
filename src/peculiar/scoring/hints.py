"""A hint whether an object is odd by the telescope and its pipeline, or by the sky. METHOD.md sect. 8."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from peculiar.scoring.conditional import MAD_TO_SIGMA, log_score

N_LINE = 2_000  # objects that the line of the scores is found on: all pairs of them are looked at
N_ANGLES = 12
INNER = 20 / 96  # of the side: the object itself, which may be straight of its own (a disk seen edge-on)
WIDTH = 4 / 96  # of the side: lines are about as wide as trails and columns in HSC
LEAST_LENGTH = 60 / 96**2  # of the pixels: shorter lines, at the corners, are noise
CLIPPED = 3.0  # robust deviations: a bright neighbor must not count more than a faint trail's whole length
COARSE = 48  # pixels a side, about, that directions are looked for at: lines are wider than that
AT_ONCE = 256  # images at once: some 60 MB
FAINTEST = 0.01  # of straightness and missing light: below it there is none to speak of
# Logistic regression, no weight below zero, on 140 of the 280 objects planted among 20,000 simulated ones, rounded.
# The fit gave the excess next to no weight, and 0.1 was set by hand: it tells artefacts by itself, and little beside
# straightness.
INTERCEPT, STRAIGHTNESS, MISSING, EXCESS = 6.9, 2.2, 0.7, 0.1


@dataclass(frozen=True)
class ScoreLine:
    """What log score_disc is expected to be at a log score_gen, and how far objects usually are from it."""

    slope: float
    intercept: float
    deviation: float

    @classmethod
    def of(cls, score_gen: Float[np.ndarray, " n"], score_disc: Float[np.ndarray, " n"]) -> "ScoreLine":
        """The robust straight line through all objects (Theil 1950, Sen 1968): of all pairs the median slope.

        Of more than 2,000 objects, 2,000 spread evenly over the order of score_gen. NaN is left out. Constant scores,
        or fewer than three, give the flat line through their median (0 without any), and no deviation.
        """
        from scipy.stats import theilslopes

        is_usable = np.isfinite(score_gen) & np.isfinite(score_disc)
        gen, disc = log_score(score_gen[is_usable]), log_score(score_disc[is_usable])
        order = np.lexsort((disc, gen))
        order = order[np.linspace(0, len(order) - 1, min(N_LINE, len(order))).round().astype(np.int64)]
        gen, disc = gen[order], disc[order]
        if len(gen) < 3 or gen[0] == gen[-1]:
            return cls(0.0, float(np.median(disc)) if len(disc) else 0.0, 0.0)
        slope = float(theilslopes(disc, gen).slope)
        left = disc - slope * gen
        intercept = float(np.median(left))
        return cls(slope, intercept, float(MAD_TO_SIGMA * np.median(np.abs(left - intercept))))

    def excess(
        self, score_gen: Float[np.ndarray, " n"], score_disc: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """log score_disc above the line, in deviations: what the critic minds more than the pixels say; NaN stays."""
        left = log_score(score_disc) - self.intercept - self.slope * log_score(score_gen)
        return np.divide(left, self.deviation, out=np.where(np.isnan(left), np.nan, 0.0), where=self.deviation > 0)


def artefact_hint(
    images: UInt8[np.ndarray, "n height width channels"], excess: Float[np.ndarray, " n"]
) -> Float32[np.ndarray, " n"]:
    """A hint from 0 (as the sky makes them) to 1 (as telescope and pipeline do): never a verdict.

    The logistic function of a sum that only grows with `straightness` (its logarithm), `missing_light` (likewise) and,
    a little, the `excess` of the critic's score (`ScoreLine`; -3 to 6 deviations). It says what an odd object is odd
    by, not whether it is odd, as if one odd object in two were an artefact.

    Tuned on half of the oddities planted among 20,000 simulated objects, with the measures themselves chosen in view of
    all of them: how well it does elsewhere is not known.

    On real HSC images the first are ghosts, halos, edges and missing bands. On images that the galaxy fills, as Galaxy
    Zoo's, disks seen edge-on stand among them: there it is worth little.

    Parameters
    ----------
    images
        As stored, square.
    excess
        NaN counts as none: the image alone then decides.
    """
    straight, missing = (np.log(each(images) + FAINTEST) for each in (straightness, missing_light))
    beyond = np.clip(np.nan_to_num(excess, nan=0.0), -3, 6)
    total = INTERCEPT + STRAIGHTNESS * straight + MISSING * missing + EXCESS * beyond
    return (1 / (1 + np.exp(-total))).astype(np.float32)


def straightness(images: UInt8[np.ndarray, "n height width channels"]) -> Float32[np.ndarray, " n"]:
    """How much the picture's outer part is ordered in one direction: trails, bleeding columns, edges of the sky.

    Outside the central circle (radius 20 of 96 pixels), means along parallel lines are taken at 12 angles; a trail or
    an edge makes those at one angle differ, a round source little at any. The measure is the deviation of the means at
    the angle where it is greatest, less the median of the angles, of the pixels in robust deviations, clipped at 3. Of
    the channels the greatest, and so of their differences from the gray level; the result is the geometric mean of the
    two, as artefacts have a color of their own and neighbors seldom both a color and a direction. One channel has no
    color: there it is that of the light.

    0 for a constant image. No unit; usually 0.05 in simulated HSC images, 0.1 to 0.3 with an artefact seen at a glance.
    """
    result = np.empty(len(images), np.float32)
    for start in range(0, len(images), AT_ONCE):
        light = _coarse(images[start : start + AT_ONCE])
        found = _directed(light)
        if light.shape[1] > 1:
            found = np.sqrt(found * _directed(light - light.mean(axis=1, keepdims=True)))
        result[start : start + AT_ONCE] = found
    return result


def missing_light(images: UInt8[np.ndarray, "n height width channels"]) -> Float32[np.ndarray, " n"]:
    """Part of the frame, 0 to 1, where one channel is black and flat and no other is: a band that has no data there.

    Counted are squares of two by two pixels that are exactly 0 in one channel alone; of the channels the greatest part.
    0 for images of one channel: there a black sky and missing data look the same.
    """
    if images.shape[3] == 1:
        return np.zeros(len(images), np.float32)
    result = np.empty(len(images), np.float32)
    for start in range(0, len(images), AT_ONCE):
        is_black = images[start : start + AT_ONCE] == 0
        is_flat = is_black[:, :-1, :-1] & is_black[:, 1:, :-1] & is_black[:, :-1, 1:] & is_black[:, 1:, 1:]
        is_alone = is_flat & (is_flat.sum(axis=3, keepdims=True) == 1)
        result[start : start + AT_ONCE] = is_alone.mean(axis=(1, 2), dtype=np.float32).max(axis=1)
    return result


def _coarse(images: UInt8[np.ndarray, "n height width channels"]) -> Float32[np.ndarray, "n channels size size"]:
    """Images of about 48 pixels a side: means of whole squares of pixels; what is left over at the far edges is cut."""
    n, size, _, n_channels = images.shape
    step = max(1, size // COARSE)
    cut = images[:, : size // step * step, : size // step * step]
    squares = cut.reshape(n, size // step, step, size // step, step, n_channels)
    return np.ascontiguousarray(squares.mean(axis=(2, 4), dtype=np.float32).transpose(0, 3, 1, 2))


def _directed(layers: Float32[np.ndarray, "n channels size size"]) -> Float32[np.ndarray, " n"]:
    """The channels' greatest excess of one direction over the median one."""
    n, n_channels, size, _ = layers.shape
    flat = layers.reshape(n * n_channels, size * size)
    flat = flat - np.median(flat, axis=1, keepdims=True)
    deviation = MAD_TO_SIGMA * np.median(np.abs(flat), axis=1, keepdims=True) + 1.0  # one gray level, for flat images
    pixels = np.clip(flat / deviation, -CLIPPED, CLIPPED)
    spreads = np.stack([(pixels @ lines).std(axis=1) for lines in _lines(size)])  # (angles, n * channels)
    excess = spreads.max(axis=0) - np.median(spreads, axis=0)
    return np.asarray(excess.reshape(n, n_channels).max(axis=1), np.float32)


@cache
def _lines(size: int) -> list[Any]:
    """For every angle, the sparse matrix (pixels, lines) that takes an image to its means along parallel lines."""
    from scipy.sparse import csr_array

    offsets = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(offsets, offsets)
    used = np.flatnonzero((np.hypot(x, y) > INNER * size).ravel())
    found = []
    for angle in np.arange(N_ANGLES) * np.pi / N_ANGLES:
        across = (x * np.cos(angle) + y * np.sin(angle)).ravel()[used]
        _, line, n_pixels = np.unique(np.round(across / (WIDTH * size)), return_inverse=True, return_counts=True)
        matrix = csr_array(((1 / n_pixels[line]).astype(np.float32), (used, line)), shape=(size * size, len(n_pixels)))
        found.append(matrix[:, np.flatnonzero(n_pixels >= LEAST_LENGTH * size**2)])
    return found
