"""Every order against the truth: metrics with intervals, and what part of each class an order has at its top."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.figures.style import BLUE, FRAME, INK, LABEL, QUIET, TICK, literal, plot_figure, quiet_axes

METRICS = {"auroc": "AUROC", "average_precision": "average precision"}


def figure_orders(found: Mapping[str, Mapping[str, Mapping[str, float]]], baselines: Collection[str]) -> Figure:
    """AUROC and average precision of every order, with 95 % intervals, a row of panels a kind of oddity.

    Baselines, which need no network, are gray and hollow; the dashed line is what chance gives.

    Parameters
    ----------
    found
        By kind and order, the metrics as `peculiar.scoring.evaluation.evaluate` gives them, with n and n_odd.
    """
    orders = list(dict.fromkeys(order for by_order in found.values() for order in by_order if order not in baselines))
    orders += [each for each in baselines if any(each in by_order for by_order in found.values())]
    figure = plot_figure(10.5, 1.0 + len(found) * (0.8 + 0.2 * len(orders)))
    panels = figure.subplots(len(found), len(METRICS), squeeze=False, sharey=True)
    for row, (kind, by_order) in zip(panels, found.items(), strict=True):
        last = list(by_order.values())[-1]
        chance = {"auroc": 0.5, "average_precision": last["n_odd"] / last["n"]}
        for axes, (metric, label) in zip(row, METRICS.items(), strict=True):
            _points(axes, by_order, metric, orders, baselines)
            axes.axvline(chance[metric], color=FRAME, linestyle="--", linewidth=0.9)
            title = f"{literal(kind)}: {int(last['n_odd'])} in {int(last['n']):,}" if metric == "auroc" else ""
            quiet_axes(axes, title=title, x=label)
        row[1].set_xlim(left=0)
    for axes in panels[:, 0]:
        axes.set_yticks(range(len(orders)), [literal(each, 60) for each in orders], fontsize=TICK)
        axes.set_ylim(len(orders) - 0.5, -0.5)
    return figure


def _points(
    axes: Axes,
    by_order: Mapping[str, Mapping[str, float]],
    metric: str,
    orders: Sequence[str],
    baselines: Collection[str],
) -> None:
    for order, values in by_order.items():
        place = orders.index(order)
        color = QUIET if order in baselines else BLUE
        low, high = (values.get(f"{metric}_{end}", values[metric]) for end in ("low", "high"))
        axes.plot([low, high], [place, place], color=color, linewidth=1.4)
        face = "white" if order in baselines else color
        axes.plot(values[metric], place, "o", color=color, markerfacecolor=face, markersize=4.5)


def figure_grid(
    part: Float[np.ndarray, "orders classes"], orders: Sequence[str], classes: Sequence[str], *, title: str
) -> Figure:
    """The part of each class that each order has at its top, from 0 (white) to 1 (dark), with the number."""
    figure = plot_figure(2.6 + 0.62 * max(4, len(classes)), 1.6 + 0.24 * len(orders))
    axes = figure.subplots()
    axes.imshow(part, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(part):
        color = "white" if value > 0.6 else INK
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=TICK - 1.5, color=color)
    quiet_axes(axes, title=title)
    axes.grid(visible=False)
    axes.set_yticks(range(len(orders)), [literal(each, 60) for each in orders], fontsize=TICK)
    axes.set_xticks(
        range(len(classes)), [literal(each) for each in classes], fontsize=LABEL - 1, rotation=35, ha="right"
    )
    return figure
