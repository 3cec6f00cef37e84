"""Where a score arises: at which pixels, in which band, and in which of the critic's features."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

CELL = 16  # pixels from one of the critic's places to the next: four halvings (Storey-Fisher 2021, sect. 3.1)


class Attribution(NamedTuple):
    """What `score_gen` (pixels, bands) and `score_disc` (places, channels) of n objects are made of.

    Each of the four sums to its score, but for the rounding of float32. Nothing is signed: a pixel that is too bright
    and one that is too faint count alike, as they do in the scores.
    """

    pixels: Float[Tensor, "n size size"]
    bands: Float[Tensor, "n channels"]
    places: Float[Tensor, "n side side"]
    channels: Float[Tensor, "n deepest"]


def attribute(
    images: Float[Tensor, "n channels size size"],
    critic_features: Float[Tensor, "n deepest side side"],
    generated: Float[Tensor, "n channels size size"],
    features: Callable[[Tensor], Tensor],
) -> Attribution:
    """The terms of Storey-Fisher 2021, Eq. 5, before they are summed to L_gen and L_disc. NaN stays where it is.

    Takes what `anomaly_terms` takes: score_gen is the sum of |x - G(z)|, here over bands or over pixels alone;
    score_disc that of |d(x) - d(G(z))|, over the critic's channels or over its places alone.
    """
    pixels = (images - generated).abs()
    terms = (critic_features.float() - features(generated).float()).abs()
    return Attribution(pixels.sum(1), pixels.sum((2, 3)), terms.sum(1), terms.sum((2, 3)))


def at_pixels(places: Shaped[np.ndarray, "side side"], size: int) -> Shaped[np.ndarray, "size size"]:
    """Every pixel's value at the nearest of the critic's places, to lay over an image of `size`.

    A place looks at 61 pixels around its center, which is pixel 16 k of the padded image: so the map shows where the
    critic was looking, not an outline. Its sum is not the score's.
    """
    side = len(places)
    if not 0 <= side * CELL - size < CELL:
        raise ValueError(
            f"{side} places a side belong to images of {side * CELL - CELL + 1} to {side * CELL} pixels, "
            f"got size {size}; give the size that the critic was shown"
        )
    before = (side * CELL - size) // 2  # the critic's margin of reflected pixels
    nearest = np.minimum((np.arange(size) + before + CELL // 2) // CELL, side - 1)
    return places[np.ix_(nearest, nearest)]


def largest_shares(contributions: Float[np.ndarray, " n"], n_largest: int = 10) -> list[tuple[int, float]]:
    """Index and part of the sum of the largest contributions, the largest first, equal ones by index.

    Parts are 0 where all are 0: an image that is reconstructed without error. NaN comes last.
    """
    order = np.argsort(-np.nan_to_num(contributions, nan=-np.inf), kind="stable")[:n_largest]
    total = float(contributions.sum(dtype=np.float64))
    return [(int(each), float(contributions[each]) / total if total else 0.0) for each in order]
