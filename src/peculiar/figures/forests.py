"""Score maps of isolation forests in two dimensions: what the direction of the cuts does."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from peculiar.figures.style import INK, LABEL, QUIET, SKY, TICK, plot_figure, quiet_axes

N_LEVELS = 16


def figure_score_maps(
    objects: Mapping[str, Float[np.ndarray, "_ 2"]],
    maps: Mapping[str, Mapping[str, Float[np.ndarray, "height width"]]],
    extents: Mapping[str, tuple[float, float, float, float]],
) -> Figure:
    """Score maps: what a forest would score an object at every place of a plane, and the objects that it was grown on.

    A row a sample, a column a forest; the darker, the more anomalous, on one scale in a row. Cuts parallel to the axes
    leave bands along the axes, and ghosts where bands cross: places as empty as their surroundings that score as
    though objects were there. Cuts in all directions leave none. After the score maps of Hariri et al. 2019.

    Parameters
    ----------
    objects
        The sample's places, under its name.
    maps
        Scores by sample and forest; the first row is at the bottom.
    extents
        Left, right, bottom and top of a sample's maps.
    """
    columns = list(next(iter(maps.values()), {}))
    if list(objects) != list(maps) or list(extents) != list(maps) or not columns:
        raise ValueError(
            f"objects, maps and extents must name the same samples, got {[*objects]}, {[*maps]}, {[*extents]}"
        )
    figure = plot_figure(3.9 * len(columns) + 0.9, 3.7 * len(maps), is_square=True)
    axes = figure.subplots(len(maps), len(columns), squeeze=False, sharex="row", sharey="row")
    for row, (sample, by_forest) in zip(axes, maps.items(), strict=True):
        stacked = np.stack([by_forest[column] for column in columns])
        levels = MaxNLocator(N_LEVELS).tick_values(stacked.min(), stacked.max())
        for panel, column, scores in zip(row, columns, stacked, strict=True):
            drawn = panel.contourf(scores, levels=levels, extent=extents[sample], cmap="magma_r")
            panel.plot(*objects[sample].T, "o", color=SKY, markersize=1.3, markeredgewidth=0)
            quiet_axes(panel, title=f"{sample}: {column}")
            panel.grid(False)
            panel.set_aspect("equal")
        bar = figure.colorbar(drawn, ax=row, pad=0.02, aspect=24, ticks=levels[::2])
        bar.set_label("score_forest", fontsize=LABEL, color=INK)
        bar.ax.tick_params(labelsize=TICK, colors=QUIET, labelcolor=INK)
        bar.outline.set_visible(False)
    return figure
