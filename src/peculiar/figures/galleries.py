"""Pictures of many objects for people to look over: extremes of a score, and what was labeled; all scores at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.figures.images import (
    GAP,
    HEAD,
    MARGIN,
    Images,
    as_color,
    block_size,
    figure_images,
    place_block,
    write,
)
from peculiar.figures.style import (
    BLUE,
    CYCLE,
    FRAME,
    INK,
    LABEL,
    MARKERS,
    QUIET,
    TICK,
    new_figure,
    plot_figure,
    quiet_axes,
)

BACKGROUND = "#c9c9c9"  # of the map, where all objects lie
PERCENTILES = (50, 90, 99)
_MAP = 4.6  # inches
_BETWEEN = 0.35  # inches, between blocks


def choose_extremes(
    values: Float[np.ndarray, " n"], n_shown: int = 25
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Row numbers of the largest values (anomalies) and of the smallest (nominals), the most extreme first.

    NaN is in neither; ties go to the earlier row. Fewer than `2 n_shown` objects appear in both.
    """
    finite = np.flatnonzero(np.isfinite(values))
    largest = finite[np.argsort(-values[finite], kind="stable")]
    smallest = finite[np.argsort(values[finite], kind="stable")]
    return largest[:n_shown].astype(np.int64), smallest[:n_shown].astype(np.int64)


def figure_gallery(images: Images, captions: Sequence[str], heading: str, *, n_columns: int = 5) -> Figure:
    """A square of objects, the top 25 anomalies or the top 25 nominals of a score, each with its id and value below.

    After Carrasco Kind 2019, whose two galleries show what a forest finds most and least isolated; `choose_extremes`
    picks the objects.

    Parameters
    ----------
    images
        In the order to show, row by row; none at all gives a figure that says so.
    captions
        One for each image, of one line or more.
    n_columns
        Images in a row.
    """
    return figure_images(images, captions, n_columns=n_columns, heading=heading, thumbnail=1.4)


def figure_labels(
    places: Float[np.ndarray, "n 2"],
    labels: Sequence[str],
    images: Mapping[str, UInt8[np.ndarray, "_ _ _ _"]],
    *,
    n_columns: int = 5,
    map_name: str = "map",
) -> Figure:
    """Objects by their label, and where the labeled lie on the map of all.

    On the left every object is a gray point, and the labeled ones carry the mark of their label; on the right each
    label has its mark, the number of objects that bear it, and some of them. What people call alike should lie
    together. After Figs. 8 and 9 of Storey-Fisher et al. 2021.

    Parameters
    ----------
    places
        Of all objects to draw, on the map; one that is not finite is not drawn.
    labels
        The label of each, empty for none.
    images
        Examples by label, in the order to show; a label of `labels` that is missing here is a gray point.
    n_columns
        Examples in a row.
    map_name
        For the title of the map.
    """
    if len(labels) != len(places):
        raise ValueError(f"labels must be one for each place, got {len(labels)} labels and {len(places)} places")
    named = np.asarray(labels, dtype=object)
    blocks = {name: as_color(each) for name, each in images.items()}
    thumbnail = 0.95
    heights = [HEAD + max(block_size(len(each), n_columns, None, thumbnail)[1], 0.2) + 0.2 for each in blocks.values()]
    left = MARGIN + _MAP + _BETWEEN
    width = left + n_columns * (thumbnail + GAP) - GAP + MARGIN
    height = 2 * MARGIN + max(_MAP + HEAD, sum(heights))
    figure = new_figure(width, height)
    write(figure, MARGIN, MARGIN, f"{(named != '').sum():,} labeled of {len(named):,} on {map_name}")
    axes = figure.add_axes((MARGIN / width, 1 - (MARGIN + HEAD + _MAP) / height, _MAP / width, _MAP / height))
    bare_map(axes, places[~np.isin(named, list(blocks))])
    top = MARGIN
    for number, (name, color) in enumerate(blocks.items()):
        mine = places[named == name]
        axes.plot(*mine.T, **_mark(number), markersize=6.5)
        swatch = figure.add_axes((left / width, 1 - (top + 0.17) / height, 0.17 / width, 0.17 / height))
        swatch.plot([0], [0], **_mark(number), markersize=8)
        swatch.set_axis_off()
        write(figure, left + 0.25, top, f"{name}: {len(mine):,}")
        place_block(figure, color, None, n_columns, left, top + HEAD - 0.06, thumbnail)
        top += heights[number]
    return figure


def figure_score_histograms(
    scores: Mapping[str, Float[np.ndarray, " _"]], *, n_bins: int = 60, n_across: int = 3
) -> Figure:
    """How every score is distributed: the number of objects in each bin, on a logarithmic scale.

    Lines stand at the median and at the 90th and 99th percentile. A long tail to the right is what a score of
    anomalies should have. Objects without a finite score are left out, and counted in the title.

    Parameters
    ----------
    scores
        Values by the score's name.
    n_bins
        Even bins from the least value to the greatest.
    n_across
        Panels side by side.
    """
    if not scores:
        raise ValueError("scores must hold at least one score, got none")
    n_across = min(n_across, len(scores))
    n_down = -(-len(scores) // n_across)
    figure = plot_figure(3.7 * n_across + 0.2, 2.5 * n_down + 0.2)
    panels = figure.subplots(n_down, n_across, squeeze=False).ravel()
    for number, ((name, values), axes) in enumerate(zip(scores.items(), panels, strict=False)):
        quiet_axes(axes, y="objects" if number % n_across == 0 else "")
        _histogram(axes, name, np.asarray(values, np.float64), n_bins)
    for axes in panels[len(scores) :]:
        axes.remove()
    return figure


def bare_map(axes: Axes, places: Float[np.ndarray, "n 2"]) -> None:
    """Draw all objects as gray points in a frame without numbers: a map's axes have no unit."""
    axes.plot(*places.T, ".", color=BACKGROUND, markersize=2.2, markeredgewidth=0, rasterized=True, zorder=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.04)
    axes.spines[:].set(color=FRAME, linewidth=0.5)


def _mark(number: int) -> dict[str, Any]:
    """A color and a shape that no other label has, up to 49: shapes alone tell the first seven apart in gray."""
    shape = MARKERS[(number + number // len(CYCLE)) % len(MARKERS)]
    return {
        "linestyle": "none",
        "marker": shape,
        "color": CYCLE[number % len(CYCLE)],
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
        "zorder": 3,
    }


def _histogram(axes: Axes, name: str, values: np.ndarray, n_bins: int) -> None:
    finite = values[np.isfinite(values)]
    n_without = len(values) - len(finite)
    title = f"{name}\n{n_without:,} without" if n_without else name
    axes.set_title(title, fontsize=LABEL, color=INK, loc="left", pad=12)
    if not len(finite):
        axes.text(0.5, 0.5, "no value", transform=axes.transAxes, ha="center", fontsize=LABEL, color=QUIET)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    counts, edges = np.histogram(finite, n_bins)
    axes.stairs(counts, edges, color=BLUE, fill=True, alpha=0.35)
    axes.stairs(counts, edges, color=BLUE, linewidth=1.0)
    axes.set_yscale("log")
    axes.set_ylim(0.6, 2 * max(counts.max(), 5))
    last = -np.inf
    for percent, place in zip(PERCENTILES, np.percentile(finite, PERCENTILES), strict=True):
        axes.axvline(place, color=INK, linewidth=0.8, linestyle=":")
        across = float((place - edges[0]) / (edges[-1] - edges[0]))
        if across - last > 0.1:  # or its name would lie upon the one before
            axes.annotate(
                f"{percent} %",
                (place, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 1.5),
                textcoords="offset points",
                ha="center",
                fontsize=TICK - 1.5,
                color=QUIET,
            )
            last = across
