"""Figures of samples against all objects, and of a score against properties."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.figures.style import BLACK, CYCLE, INK, LABEL, QUIET, TICK, literal, plot_figure, quiet_axes

N_BINS, N_ACROSS = 24, 3
PANEL_WIDTH, PANEL_HEIGHT = 3.7, 3.0  # inches
Columns = Mapping[str, Float[np.ndarray, " n"]]


def figure_comparison(
    properties: Columns, samples: Mapping[str, Bool[np.ndarray, " n"]], thresholds: Mapping[str, float] | None = None
) -> Figure:
    """Each property of all objects and of each sample, every histogram of unit area, in common bins.

    Bins are from the 0.5th to the 99.5th percentile of all; what is beyond stands in the last bins. Marks on top are
    medians, dotted lines thresholds. After Fig. 5 of Storey-Fisher et al. 2021.
    """
    thresholds = thresholds or {}
    figure, panels = _panels(len(properties))
    for axes, (name, values) in zip(panels, properties.items(), strict=False):
        known = values[np.isfinite(values)]
        quiet_axes(axes, x=literal(name), y="density")
        if not len(known):
            axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=QUIET)
            continue
        low, high = np.percentile(known, [0.5, 99.5])
        bins = np.linspace(low, high if high > low else low + 1, N_BINS + 1).tolist()
        shown = {f"all ({len(known):,})": (np.isfinite(values), BLACK)}
        shown |= {
            f"{literal(sample)} ({int((is_in & np.isfinite(values)).sum()):,})": (is_in & np.isfinite(values), color)
            for (sample, is_in), color in zip(samples.items(), CYCLE, strict=False)
        }
        for label, (is_shown, color) in shown.items():
            if not is_shown.any():
                continue
            mine = np.clip(values[is_shown], bins[0], bins[-1])
            axes.hist(mine, bins, density=True, histtype="step", color=color, linewidth=1.4, label=label)
            median = np.clip(np.median(values[is_shown]), bins[0], bins[-1])
            axes.plot(median, 1.0, "v", color=color, markersize=6, transform=axes.get_xaxis_transform(), clip_on=False)
        if name in thresholds:
            axes.axvline(thresholds[name], color=QUIET, linestyle=":", linewidth=1.2)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=TICK, frameon=False)
    return figure


def figure_against(score: Float[np.ndarray, " n"], properties: Columns, *, score_name: str) -> Figure:
    """A score against each property, in hexagons colored by how many objects they hold (logarithmic).

    The line is the score's median in 12 bins of equal number: where it is level, the score does not rank the property.
    """
    figure, panels = _panels(len(properties))
    for axes, (name, values) in zip(panels, properties.items(), strict=False):
        quiet_axes(axes, x=literal(name), y=literal(score_name))
        is_known = np.isfinite(values) & np.isfinite(score)
        x, y = values[is_known], score[is_known]
        if len(x) < 2:
            axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=QUIET)
            continue
        (left, right), (bottom, top) = (np.percentile(each, [0.5, 99.5]) for each in (x, y))
        if not (right > left and top > bottom):
            axes.text(0.5, 0.5, "one value only", transform=axes.transAxes, ha="center", color=QUIET)
            continue
        is_inside = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        axes.hexbin(x[is_inside], y[is_inside], gridsize=35, bins="log", cmap="Greys", mincnt=1, linewidths=0)
        axes.grid(False)
        edges = np.unique(np.percentile(x, np.linspace(0, 100, 13)))
        place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
        there = [each for each in range(len(edges) - 1) if (place == each).any()]
        medians = [(np.median(x[place == each]), np.median(y[place == each])) for each in there]
        axes.plot(*np.transpose(medians), color=CYCLE[3], linewidth=1.8)
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, top)
    return figure


def figure_explained(explained: Mapping[str, tuple[float, Mapping[str, float]]]) -> Figure:
    """How much of each score's ranks the properties explain: together, and each alone; 1 is all, 0 nothing."""
    names = list(dict.fromkeys(name for _, alone in explained.values() for name in alone))
    rows = ["together", *names]
    figure = plot_figure(8.0, 1.4 + (0.1 + 0.11 * len(explained)) * len(rows))
    axes = figure.subplots()
    height = 0.8 / max(1, len(explained))
    for turn, ((score, (together, alone)), color) in enumerate(zip(explained.items(), CYCLE, strict=False)):
        parts = [together, *(alone.get(name, 0.0) for name in names)]
        places = np.arange(len(rows)) + (turn - (len(explained) - 1) / 2) * height
        axes.barh(places, np.maximum(parts, 0), height=0.9 * height, color=color, label=literal(score))
    axes.set_yticks(np.arange(len(rows)), [literal(each) for each in rows], fontsize=LABEL, color=INK)
    axes.invert_yaxis()
    quiet_axes(axes, x="part of the score's ranks that is explained")
    axes.set_xlim(0, 1)
    axes.legend(fontsize=TICK, frameon=False, loc="lower right")
    return figure


def _panels(n: int) -> tuple[Figure, list[Axes]]:
    across = min(N_ACROSS, max(1, n))
    down = -(-max(1, n) // across)
    figure = plot_figure(across * PANEL_WIDTH, down * PANEL_HEIGHT + 0.3)
    panels = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for axes in panels[n:]:
        axes.set_visible(False)
    return figure, panels
