"""What volunteers said: the objects that they find most and least interesting, and how votes are distributed."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int64, UInt8, UInt64
from matplotlib.figure import Figure

from peculiar.figures.images import (
    HEAD,
    MARGIN,
    Images,
    as_color,
    block_size,
    checked_captions,
    fitting_thumbnail,
    place_block,
    write,
)
from peculiar.figures.style import BLUE, CYCLE, LABEL, literal, new_figure, plot_figure, quiet_axes

_THUMBNAIL, _BETWEEN = 1.05, 0.4  # inches
N_BINS = 20


def choose_surest(
    lower: Float[np.ndarray, " n"], upper: Float[np.ndarray, " n"], tie: UInt64[np.ndarray, " n"], n_shown: int = 25
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " m"]]:
    """Row numbers of the highest lower bounds, and of the lowest upper ones, the surest first; none is in both.

    NaN is in neither; of equal ones the smaller `tie` goes first. Of fewer than `2 n_shown` half are on each side, and
    none is among the least whose bounds have their middle above one half.
    """
    finite = np.flatnonzero(np.isfinite(lower))
    n = min(n_shown, -(-len(finite) // 2))
    most = finite[np.lexsort((tie[finite], -lower[finite]))][:n]
    least = finite[np.lexsort((tie[finite], upper[finite]))]
    least = least[lower[least] + upper[least] <= 1]
    return most, least[~np.isin(least, most)][:n]


def figure_classified(
    most: Images,
    least: UInt8[np.ndarray, "m height width channels"],
    most_captions: Sequence[str],
    least_captions: Sequence[str],
    *,
    n_columns: int = 5,
) -> Figure:
    """Objects that volunteers find most (left) and least (right) interesting, the surest first.

    Below each are its id and how many of its votes are for interesting. On the left the lower bound of that part
    decides, on the right the upper bound, so that few votes are not taken for sure ones.

    Parameters
    ----------
    most, least
        In the order to show, row by row; none at all gives a side that is empty.
    most_captions, least_captions
        One for each image.
    n_columns
        Images in a row of each side.
    """
    sides = [("Most interesting", as_color(most), checked_captions(most_captions, len(most)))]
    sides.append(("Least interesting", as_color(least), checked_captions(least_captions, len(least))))
    thumbnail = fitting_thumbnail([*most_captions, *least_captions], _THUMBNAIL)
    sizes = [block_size(len(color), n_columns, captions, thumbnail) for _, color, captions in sides]
    height = max([each for _, each in sizes] + [0.4]) + HEAD + 2 * MARGIN
    figure = new_figure(2 * sizes[0][0] + _BETWEEN + 2 * MARGIN, height)
    left = MARGIN
    for (heading, color, captions), (width, _) in zip(sides, sizes, strict=True):
        write(figure, left, MARGIN, heading if len(color) else f"{heading}: none")
        place_block(figure, color, captions, n_columns, left, MARGIN + HEAD, thumbnail)
        left += width + _BETWEEN
    return figure


def figure_votes(n_votes: Int64[np.ndarray, " n"], parts: Mapping[str, Float[np.ndarray, " _"]]) -> Figure:
    """How many votes objects have (left), and what part of them is for interesting, by sample (right).

    Each sample's histogram is of the part of its objects, so that samples of different sizes can be compared. Objects
    with too few votes to count have no part, and are left out on the right.

    Parameters
    ----------
    n_votes
        Of every object that was voted on.
    parts
        The part of the votes that is for interesting, 0 to 1 or NaN, by the name of the sample.
    """
    figure = plot_figure(8.4, 3.2)
    left, right = figure.subplots(1, 2)
    quiet_axes(left, x="votes on an object", y="objects")
    highest = int(n_votes.max(initial=1))
    step = -(-highest // 40)
    left.hist(n_votes, bins=np.arange(1, highest + step + 1, step) - 0.5, color=BLUE, alpha=0.6)
    quiet_axes(right, x="part of the votes for interesting", y="part of the sample")
    edges = np.linspace(0, 1, N_BINS + 1)
    for (name, values), color in zip(parts.items(), CYCLE, strict=False):
        finite = values[np.isfinite(values)]
        counts, _ = np.histogram(finite, edges)
        label = f"{literal(name)}: {len(finite):,}"
        right.stairs(counts / max(len(finite), 1), edges, color=color, linewidth=1.4, label=label)
    right.set_xlim(0, 1)
    right.set_ylim(bottom=0)
    right.legend(fontsize=LABEL - 1, frameon=False)
    return figure
