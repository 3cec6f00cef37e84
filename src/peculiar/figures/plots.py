"""Plots: distributions of the scores, losses, recovery of planted objects, the weight's influence."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from peculiar.figures.style import (
    CYCLE,
    HEADING,
    INK,
    LABEL,
    MARKERS,
    QUIET,
    SCORE_COLORS,
    SIGMA,
    TICK,
    literal,
    plot_figure,
    quiet_axes,
)

THRESHOLD_SIGMA = 3.0  # Storey-Fisher 2021, sect. 4.1: the released sample


def figure_scores(
    score_gen_sigma: Float[np.ndarray, " n"],
    score_disc_sigma: Float[np.ndarray, " n"],
    score_anom_sigma: Float[np.ndarray, " n"],
    *,
    color_by_anom: bool = False,
    threshold: float = THRESHOLD_SIGMA,
    n_bins: int = 80,
) -> Figure:
    """The three scores, in standard deviations of the reference.

    Left: histograms of score_gen, score_disc and score_anom, each of unit area, in common bins. Right: score_disc
    against score_gen, in hexagons colored by the number of objects in them, or by the mean of score_anom; the lines
    stand at 3 sigma, and the numbers count the objects in each quarter. After Fig. 3 of Storey-Fisher et al. 2021.

    Notes
    -----
    Objects with a NaN or infinite score are left out, and the title of the left panel counts them. Nothing finite at
    all is an error.
    """
    scores = np.stack([score_gen_sigma, score_disc_sigma, score_anom_sigma]).astype(np.float64)
    is_finite = np.isfinite(scores).all(axis=0)
    if not is_finite.any():
        raise ValueError(f"no object of {scores.shape[1]} has three finite scores; nothing to draw")
    gen, disc, anom = scores[:, is_finite]
    figure = plot_figure(11.0, 4.5)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.06))
    _histograms(left, {"score_gen": gen, "score_disc": disc, "score_anom": anom}, n_bins, threshold)
    n_left_out = int((~is_finite).sum())
    left_out = f" ({n_left_out:,} without a score left out)" if n_left_out else ""
    quiet_axes(left, title=f"{len(gen):,} objects{left_out}", x=f"score ({SIGMA})", y="density")
    hexagons = right.hexbin(
        gen,
        disc,
        C=anom if color_by_anom else None,
        gridsize=60,
        mincnt=1,
        bins=None if color_by_anom else "log",
        cmap="viridis",
        linewidths=0.1,
    )
    if not color_by_anom:
        hexagons.set_clim(1, max(10, np.max(hexagons.get_array())))  # a whole decade, or the bar has no tick
    _quarters(right, gen, disc, threshold)
    quiet_axes(right, title="Critic against generator", x=f"score_gen ({SIGMA})", y=f"score_disc ({SIGMA})")
    bar = figure.colorbar(hexagons, ax=right, pad=0.02, aspect=28)
    bar.set_label(f"mean score_anom ({SIGMA})" if color_by_anom else "objects", fontsize=LABEL, color=INK)
    bar.ax.tick_params(labelsize=TICK, colors=QUIET, labelcolor=INK)
    bar.outline.set_visible(False)
    return figure


def figure_losses(metrics: Mapping[str, Float[np.ndarray, " n"]], *, x: str = "iteration") -> Figure:
    """The course of training: each quantity against the iteration, as recorded (pale) and as its running median.

    Parameters
    ----------
    metrics
        The column `x` and one or more of the same length. NaN leaves a gap.
    x
        What the horizontal axis is.
    """
    names = [name for name in metrics if name != x]
    if x not in metrics or not names:
        raise ValueError(f"metrics must hold {x} and at least one quantity, got {', '.join(metrics) or 'nothing'}")
    n_across = 2 if len(names) == 4 else min(3, len(names))
    n_down = -(-len(names) // n_across)
    figure = plot_figure(3.6 * n_across + 0.4, 2.5 * n_down + 0.2)
    panels = figure.subplots(n_down, n_across, sharex=True, squeeze=False).ravel()
    for number, (name, axes) in enumerate(zip(names, panels, strict=False)):
        color = CYCLE[number % len(CYCLE)]
        values = np.asarray(metrics[name], np.float64)
        axes.plot(metrics[x], values, color=color, linewidth=0.7, alpha=0.3)
        axes.plot(metrics[x], _running_median(values), color=color, linewidth=1.6)
        is_lowest = number + n_across >= len(names)
        quiet_axes(axes, title=name, x=x if is_lowest else "")
        axes.tick_params(labelbottom=is_lowest)
    for axes in panels[len(names) :]:
        axes.remove()
    return figure


def figure_recovery(
    classes: Sequence[str],
    found: Mapping[str, Bool[np.ndarray, " n"]],
    against: Mapping[str, Float[np.ndarray, " n"]] | None = None,
    *,
    title: str = "Planted objects found",
    n_bins: int = 6,
) -> Figure:
    """How many odd objects each order finds, by class (first panel) and against any numbers, a panel each.

    Points are the recall, bars 68 % Wilson intervals; how many there are stands beside each class. Against a number
    each point is one of `n_bins` equally filled bins, at its median.

    Parameters
    ----------
    classes
        The class of each odd object.
    found
        For each order of objects, whether it has the odd object in its top.
    against
        By label, a number of each odd object, as its strength or its host's brightness; NaN is left out.
    title
        What was counted, for example the part of the order that was looked at.
    """
    labels, against = np.asarray(classes), against or {}
    if not len(labels) or any(len(is_found) != len(labels) for is_found in found.values()):
        raise ValueError(f"found must hold one value for each planted object (at least one), {len(labels)} planted")
    names = sorted(set(classes))
    n_across = 2 if len(against) == 3 else min(3, 1 + len(against))
    n_down = -(-(1 + len(against)) // n_across)
    figure = plot_figure(1.2 + 4.8 * n_across, 0.5 + n_down * (1.0 + 0.42 * max(5, len(names))))
    panels = list(figure.subplots(n_down, n_across, squeeze=False).ravel())
    for number, (order, is_found) in enumerate(found.items()):
        offset = 0.16 * (number - (len(found) - 1) / 2)
        by_class = [np.asarray(is_found)[labels == name] for name in names]
        _recall_points(panels[0], by_class, np.arange(len(names)) + offset, number, order, is_horizontal=True)
        for axes, values in zip(panels[1:], against.values(), strict=False):
            bins, middle = _strength_bins(values, n_bins)
            by_bin = [np.asarray(is_found)[rows] for rows in bins]
            _recall_points(axes, by_bin, middle, number, order, is_horizontal=False)
            if len(middle) and middle[0] > 0 and middle[-1] > 20 * middle[0]:
                axes.set_xscale("log")
                axes.xaxis.set_minor_formatter(NullFormatter())
    quiet_axes(panels[0], title=literal(title), x="recall")
    panels[0].set_yticks(range(len(names)), [f"{literal(name)}  ({int((labels == name).sum())})" for name in names])
    panels[0].set(xlim=(-0.03, 1.03), ylim=(len(names) - 0.5, -0.5))
    for axes, label in zip(panels[1:], against, strict=False):
        quiet_axes(axes, x=label, y="recall")
        axes.set_ylim(-0.03, 1.03)
    for axes in panels[1 + len(against) :]:
        axes.remove()
    handles, orders = panels[0].get_legend_handles_labels()
    figure.legend(handles, orders, loc="outside lower center", ncols=min(4, len(orders)), frameon=False, fontsize=TICK)
    return figure


def figure_weight_sweep(
    weights: Sequence[float],
    overlap: Float[np.ndarray, "k k"],
    rank_correlation: Float[np.ndarray, "k k"],
    *,
    top_fraction: float = 0.01,
) -> Figure:
    """How much the choice of lambda_anom changes what is found.

    Left: the part of the top that two weights share. Right: Spearman's rank correlation of score_anom at two weights.
    Each weight has its own latents, found anew.
    """
    k = len(weights)
    if overlap.shape != (k, k) or rank_correlation.shape != (k, k):
        raise ValueError(f"{k} weights need ({k}, {k}) matrices, got {overlap.shape} and {rank_correlation.shape}")
    side = max(2.9, 0.62 * k)  # inches
    figure = plot_figure(2 * side + 2.2, side + 1.1, is_square=True)
    titles = (f"Shared part of the top {100 * top_fraction:g} %", "Rank correlation")
    for axes, matrix, title in zip(figure.subplots(1, 2), (overlap, rank_correlation), titles, strict=True):
        axes.imshow(matrix, cmap="cividis", vmin=min(0.0, float(np.nanmin(matrix))), vmax=1.0)
        for row, column in np.ndindex(k, k):
            value = float(matrix[row, column])
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=LABEL,
                color="white" if value < 0.55 else INK,
            )
        names = [f"{weight:g}" for weight in weights]
        axes.set_xticks(range(k), names)
        axes.set_yticks(range(k), names)
        quiet_axes(axes, title=title, x="reconstruction_weight", y="reconstruction_weight")
        axes.grid(False)
        axes.spines[:].set_visible(False)
    return figure


def _histograms(axes: Axes, scores: Mapping[str, Float[np.ndarray, " n"]], n_bins: int, threshold: float) -> None:
    edges = np.histogram_bin_edges(np.concatenate(list(scores.values())), n_bins)
    for name, values in scores.items():
        density, _ = np.histogram(values, edges, density=True)
        axes.stairs(density, edges, color=SCORE_COLORS[name], linewidth=1.6, label=name)
    one_object = 1 / (len(values) * (edges[1] - edges[0]))
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5 * one_object)
    axes.axvline(threshold, color=QUIET, linewidth=0.9, linestyle=":")
    axes.legend(frameon=False, fontsize=LABEL, loc="upper right", handlelength=2.4)


def _quarters(axes: Axes, gen: Float[np.ndarray, " n"], disc: Float[np.ndarray, " n"], threshold: float) -> None:
    """Draw the threshold lines and count the objects beyond them."""
    low, high = min(disc.min(), threshold), max(disc.max(), threshold)
    room = 0.12 * (high - low) or 1.0  # for the numbers, clear of the hexagons
    axes.set_ylim(low - room, high + room)
    axes.axvline(threshold, color=QUIET, linewidth=0.9, linestyle=":")
    axes.axhline(threshold, color=QUIET, linewidth=0.9, linestyle=":")
    for is_gen, x, ha in ((False, 0.02, "left"), (True, 0.98, "right")):
        for is_disc, y, va in ((False, 0.02, "bottom"), (True, 0.98, "top")):
            count = int((((gen > threshold) == is_gen) & ((disc > threshold) == is_disc)).sum())
            axes.text(
                x,
                y,
                f"{count:,}",
                transform=axes.transAxes,
                ha=ha,
                va=va,
                fontsize=HEADING,
                color=INK,
                fontweight="bold",
            )


def _running_median(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Median of a window of a fortieth of the course; NaN stays NaN."""
    half = max(1, len(values) // 80)
    padded = np.pad(values, half, mode="edge") if len(values) else np.zeros(2 * half)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)[: len(values)]
    return np.asarray(np.median(windows, axis=1))


def _wilson(n_found: int, n: int) -> tuple[float, float, float]:
    """Recall and its 68 % interval, Wilson 1927; NaN of nothing."""
    if n == 0:
        return float("nan"), float("nan"), float("nan")
    recall = n_found / n
    center = (recall + 0.5 / n) / (1 + 1 / n)
    half = np.sqrt(recall * (1 - recall) / n + 0.25 / n**2) / (1 + 1 / n)
    return recall, max(0.0, center - half), min(1.0, center + half)


def _recall_points(
    axes: Axes,
    groups: Sequence[Bool[np.ndarray, " _"]],
    places: Float[np.ndarray, " groups"],
    number: int,
    label: str,
    *,
    is_horizontal: bool,
) -> None:
    recall, low, high = np.array([_wilson(int(group.sum()), len(group)) for group in groups]).reshape(-1, 3).T
    # The interval of 0 of n starts at 0 but rounding may put it below the point.
    errors = np.maximum(0.0, np.stack([recall - low, high - recall]))
    color, marker = CYCLE[number % len(CYCLE)], MARKERS[number % len(MARKERS)]
    style = {"color": color, "marker": marker, "markersize": 5.5, "linewidth": 1.4, "elinewidth": 1.0, "label": label}
    if is_horizontal:
        axes.errorbar(recall, places, xerr=errors, **(style | {"linestyle": "none"}))  # type: ignore[arg-type]
    else:
        axes.errorbar(places, recall, yerr=errors, **style)  # type: ignore[arg-type]


def _strength_bins(
    strength: Float[np.ndarray, " n"], n_bins: int
) -> tuple[list[np.ndarray], Float[np.ndarray, " bins"]]:
    """Rows of equally filled bins of finite strength, and the median of each; those of one median are one bin."""
    order = np.argsort(strength, kind="stable")
    order = order[np.isfinite(strength[order])]
    bins: dict[float, list[np.ndarray]] = {}
    for rows in np.array_split(order, n_bins):
        if len(rows):
            bins.setdefault(float(np.median(strength[rows])), []).append(rows)
    return [np.concatenate(parts) for parts in bins.values()], np.array(list(bins))
