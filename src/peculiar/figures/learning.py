"""Learning from labels: what was found against what was looked at."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from peculiar.figures.style import CYCLE, FRAME, LABEL, plot_figure, quiet_axes

STYLES = ("-", "--", ":", "-.")  # so that orders are told apart without color


def figure_progress(found: Mapping[str, np.ndarray], *, n_in_all: int | None = None) -> Figure:
    """How many objects of interest were found, against how many were looked at, by each order.

    Parameters
    ----------
    found
        By name, the number found after 1, 2, 3 ... objects.
    n_in_all
        How many there are, where it is known: what a perfect order would find is drawn too.
    """
    figure = plot_figure(6.0, 4.4)
    axes = figure.subplots()
    longest = max((len(each) for each in found.values()), default=0)
    if n_in_all is not None:
        perfect = np.minimum(np.arange(longest + 1), n_in_all)
        axes.plot(perfect, color=FRAME, linewidth=1, label="a perfect order")
    for place, (name, counts) in enumerate(found.items()):
        color, style = CYCLE[place % len(CYCLE)], STYLES[place % len(STYLES)]
        axes.plot(np.concatenate([[0], counts]), style, color=color, linewidth=1.6, label=name)
    quiet_axes(axes, x="objects looked at", y="of interest among them")
    axes.set_xlim(0, max(1, longest))
    axes.set_ylim(bottom=0)
    if len(found) > 1 or n_in_all is not None:
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=LABEL, frameon=False)
    return figure
