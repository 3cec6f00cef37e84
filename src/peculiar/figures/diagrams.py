"""Figures of an object before a comparison sample: diagnostic diagrams and colors."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.figures.style import CYCLE, INK, MARKERS, TICK, literal, plot_figure, quiet_axes

ALPHA, BETA = "\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER BETA}"
N_POINTS = 500  # a comparison sample of more is drawn as hexagons
Point = Float[np.ndarray, "2 3"]  # rows x and y; columns value, low, high
Array = Float[np.ndarray, " n"]


def figure_bpt(
    points: Mapping[str, Point],
    curves: Mapping[str, Float[np.ndarray, "2 m"]],
    *,
    comparison: tuple[Array, Array] | None = None,
    low_line: str = "[N II] 6585",
    title: str = "",
) -> Figure:
    """What ionizes the gas: log([O III]/H-beta) against log of a low-ionization line to H-alpha (BPT).

    Points are the object, its components and their total, with 16 to 84 % of the draws; gray is a comparison sample,
    hexagons by the logarithm of their number where it is large; curves part the classes. After Fig. 11 of Storey-Fisher
    et al. 2021.

    Parameters
    ----------
    points
        By label: rows x and y, columns value, low and high. One that is NaN is not drawn, and the legend says so.
    curves
        By source: rows x and y.
    comparison
        x and y of other galaxies.
    low_line
        The line or lines against H-alpha, for the label.
    """
    x = f"log({low_line} / H{ALPHA})"
    figure, axes = _against_sample(points, comparison, x=x, y=f"log([O III] 5008 / H{BETA})", title=title)
    styles = dict(zip(curves, ("-", "--", ":", "-."), strict=False))
    for name, (across, up) in curves.items():
        axes.plot(across, up, color=INK, linewidth=1.1, linestyle=styles.get(name, "-"), label=literal(name))
    places = np.array([point[:, 0] for point in points.values() if np.isfinite(point[:, 0]).all()]).reshape(-1, 2)
    ends = [min([-1.7, *(places[:, 0] - 0.3)]), max([0.6, *(places[:, 0] + 0.3)])]
    axes.set(xlim=ends, ylim=(min([-1.2, *(places[:, 1] - 0.3)]), max([1.4, *(places[:, 1] + 0.3)])))
    _explain(figure, axes)
    return figure


def figure_colors(
    points: Mapping[str, Point],
    *,
    comparison: tuple[Array, Array] | None = None,
    x: str = "g - r",
    y: str = "r - i",
    title: str = "",
) -> Figure:
    """Color against color: the object among the others of the survey.

    Points are the object and its parts with their errors; gray is a comparison sample, hexagons by the logarithm of
    their number where it is large. After Fig. 12 of Storey-Fisher et al. 2021.

    Parameters
    ----------
    points
        By label: rows x and y, magnitudes; columns value, low and high.
    comparison
        x and y of the others; the view is of its central 99 %, and of the points.
    """
    figure, axes = _against_sample(points, comparison, x=f"{x} (mag)", y=f"{y} (mag)", title=title)
    known = np.array([point[:, 0] for point in points.values() if np.isfinite(point[:, 0]).all()]).reshape(-1, 2)
    for number, name in enumerate(("xlim", "ylim")):
        values = known[:, number].tolist()
        if comparison is not None and np.isfinite(comparison[number]).any():
            values += np.nanpercentile(comparison[number], [0.5, 99.5]).tolist()
        if values:
            room = 0.08 * (max(values) - min(values)) or 0.2
            axes.set(**{name: (min(values) - room, max(values) + room)})
    _explain(figure, axes)
    return figure


def _against_sample(
    points: Mapping[str, Point], comparison: tuple[Array, Array] | None, *, x: str, y: str, title: str
) -> tuple[Figure, Axes]:
    """Points with errors before a comparison sample."""
    figure = plot_figure(6.4, 6.0)
    axes = figure.subplots()
    quiet_axes(axes, title=literal(title, 70), x=x, y=y)
    if comparison is not None:
        across, up = (np.asarray(each, np.float64) for each in comparison)
        if across.shape != up.shape:
            raise ValueError(f"comparison must be two arrays of one length, got {across.shape} and {up.shape}")
        is_known = np.isfinite(across) & np.isfinite(up)
        across, up = across[is_known], up[is_known]
        label = f"comparison ({len(across):,})"
        if len(across) > N_POINTS:
            (left, right), (bottom, top) = (np.percentile(each, [0.1, 99.9]) for each in (across, up))
            is_inside = (across >= left) & (across <= right) & (up >= bottom) & (up <= top)
            across, up = across[is_inside], up[is_inside]  # hexagons are as wide as the farthest outlier makes them
            axes.hexbin(across, up, gridsize=45, bins="log", cmap="Greys", mincnt=1, linewidths=0, alpha=0.5)
            axes.plot([], [], "h", color="#b5b5b5", markersize=8, label=label)
        else:
            axes.plot(across, up, "o", color="#9a9a9a", markersize=3, alpha=0.6, markeredgewidth=0, label=label)
        axes.grid(False)
    for number, (name, point) in enumerate(points.items()):
        if point.shape != (2, 3):
            raise ValueError(f"points must be (2, 3): x and y by value, low and high; got {point.shape} for {name}")
        color, marker = CYCLE[number % len(CYCLE)], MARKERS[number % len(MARKERS)]
        if not np.isfinite(point[:, 0]).all():
            axes.plot([], [], marker, color=color, label=f"{literal(name)} (not measured)")
            continue
        # An error that is not known is drawn as none; a value beyond its own quantiles (skewed draws) as none too.
        spread = np.nan_to_num(np.maximum(np.abs(point[:, 1:] - point[:, :1]), 0.0))
        axes.errorbar(
            point[0, 0],
            point[1, 0],
            xerr=spread[0][:, None],
            yerr=spread[1][:, None],
            color=color,
            marker=marker,
            markersize=8,
            markeredgecolor="white",
            elinewidth=1.3,
            linestyle="none",
            label=literal(name),
            zorder=5,
        )
    return figure, axes


def _explain(figure: Figure, axes: Axes) -> None:
    """A legend below, clear of the sample; none of nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=TICK, frameon=False)
