"""Figure of a cross-match: separations, and what chance would give."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from peculiar.figures.style import BLUE, ORANGE, literal, plot_figure, quiet_axes

N_BINS = 40


def figure_separations(
    separation: Float[np.ndarray, " n"],
    chance: Float[np.ndarray, " m"],
    *,
    radius_arcsec: float,
    n_objects: int,
    n_shifted: int,
    name: str,
) -> Figure:
    """Objects by the separation of their counterpart, and as many at positions shifted off the objects, by chance.

    The shifted are scaled to the number of objects. Where the first is no longer above the second, a larger radius only
    brings in what lies there by chance; where it is still far above at the right edge, the radius cuts counterparts
    off.
    """
    figure = plot_figure(6.4, 4.0)
    axes = figure.subplots()
    bins = np.linspace(0, radius_arcsec, N_BINS + 1)
    middle = (bins[1:] + bins[:-1]) / 2
    found = separation[np.isfinite(separation)]
    by_chance = chance[np.isfinite(chance)]
    counts = np.histogram(found, bins)[0]
    axes.stairs(counts, bins, color=BLUE, fill=True, alpha=0.35, label=f"{literal(name)}: {len(found):,}")
    axes.stairs(counts, bins, color=BLUE, linewidth=1.2)
    if n_shifted:
        scale = n_objects / n_shifted
        level = np.histogram(by_chance, bins)[0]
        label = f"by chance: {len(by_chance) * scale:,.1f}"
        axes.stairs(level * scale, bins, color=ORANGE, linewidth=1.6, label=label)
        axes.errorbar(middle, level * scale, np.sqrt(level) * scale, fmt="none", ecolor=ORANGE, elinewidth=0.8)
    quiet_axes(axes, x="separation of the nearest, arcsec", y=f"objects a bin, of {n_objects:,}")
    axes.set_xlim(0, radius_arcsec)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8.5, frameon=False)
    return figure
