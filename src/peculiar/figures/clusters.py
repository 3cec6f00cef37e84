"""Pictures of clusters: a card with typical members and what sets them apart, and all of them on a map."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int32
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from peculiar.figures.images import GAP, HEAD, MARGIN, Images, as_color, place_block, write
from peculiar.figures.style import (
    BLUE,
    CYCLE,
    FRAME,
    GRID,
    HEADING,
    INK,
    LABEL,
    ORANGE,
    QUIET,
    TICK,
    new_figure,
    plot_figure,
    quiet_axes,
)

Finding = tuple[str, float, str]  # a column, the effect as AUROC, and what else is to be said of it

_THUMBNAIL = 1.05  # inches
_TEXT = 5.5  # inches, the right half of a card
_LINE = 0.22  # inches, a fact
_BAR = 0.3  # inches, a finding
_NAMES = 2.3  # inches, the names of the findings
_NOTES = 1.8  # inches, what is said beside them
_LONGEST = 30  # characters of a finding's name
_NONE_COLOR = "#cfcfcf"  # of an object in no cluster
MOST_NAMED = 40  # clusters whose numbers are written on a map


def figure_cluster_card(
    images: Images, heading: str, facts: Mapping[str, str], findings: Sequence[Finding] = ()
) -> Figure:
    """One cluster: nine typical members, what is known of it, and the catalog columns that set it apart.

    A bar to the right (orange): members have more of it than all other objects; to the left (blue): less. Its end is
    the chance that a member's value is above another object's; in the middle, 0.5, there is no difference.

    Parameters
    ----------
    images
        The most typical first, in rows of three; shown by the rule of `as_color`.
    heading
        Which cluster it is.
    facts
        Names and values, as text, from the top.
    findings
        Column, effect from 0 to 1, and a note on it, from the top; a name of over 30 characters is cut.
    """
    n_down = max(1, -(-len(images) // 3))
    block = 3 * (_THUMBNAIL + GAP) - GAP
    below = HEAD + len(facts) * _LINE + 0.12
    bars = len(findings) * _BAR + 0.62 if findings else 0.0
    height = max(HEAD + n_down * (_THUMBNAIL + GAP) - GAP, below + bars)
    left = MARGIN + block + 0.3
    figure = new_figure(left + _TEXT + MARGIN, height + 2 * MARGIN)
    write(figure, MARGIN, MARGIN, heading)
    place_block(figure, as_color(images), None, 3, MARGIN, MARGIN + HEAD, _THUMBNAIL)
    for row, (name, value) in enumerate(facts.items()):
        top = MARGIN + HEAD + row * _LINE
        write(figure, left, top, name, size=LABEL, color=QUIET)
        write(figure, left + _NAMES, top, value, size=LABEL)
    if findings:
        write(figure, left, MARGIN + below, "what sets it apart", size=LABEL)
        _place_findings(figure, findings, left, MARGIN + below + 0.26)
    return figure


def figure_clusters_on_map(
    places: Float[np.ndarray, "n 2"], labels: Int32[np.ndarray, " n"], *, title: str = "", side: float = 6.5
) -> Figure:
    """Every object at its place on the map, in the color of its cluster, with the cluster's number.

    The number stands at the median of the cluster's members, which need not lie inside it; it is left out beyond the
    first 40. Objects in no cluster are small and gray, below all others. There are seven colors: beyond seven clusters
    they repeat, those of one color as far from one another as can be. The map is cut where no cluster is, as single
    objects far away would leave no room for the others.

    Parameters
    ----------
    places
        Objects with a NaN place are left out.
    labels
        Number of the cluster, -1 for none.
    title
        Above the map; the numbers of objects and clusters if empty.
    side
        Width and height of the map, inches.
    """
    if len(places) != len(labels):
        raise ValueError(f"labels must be one for each place, got {len(labels)} labels and {len(places)} places")
    is_there = np.isfinite(places).all(axis=1)
    if not is_there.any():
        raise ValueError(f"places hold no finite one of {len(places)}; nothing to draw")
    places, labels = places[is_there], labels[is_there]
    size = float(np.clip(12_000 / len(places), 1.5, 26.0))
    figure = plot_figure(side, side, is_square=True)
    axes = figure.subplots()
    x, y = places[labels < 0].T
    axes.scatter(x, y, s=size / 2, c=_NONE_COLOR, linewidths=0, rasterized=True, zorder=1)
    numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
    middles = np.array([np.median(places[labels == number], axis=0) for number in numbers]).reshape(-1, 2)
    colors = _colors_apart(middles)
    for row in np.argsort(-counts, kind="stable"):  # small ones above large ones
        x, y = places[labels == numbers[row]].T
        axes.scatter(x, y, s=size, c=CYCLE[colors[row]], linewidths=0, rasterized=True, zorder=2)
    for number, (x, y) in list(zip(numbers, middles, strict=True))[:MOST_NAMED]:
        halo = [withStroke(linewidth=3, foreground="white")]
        name = axes.text(x, y, str(number), fontsize=LABEL, fontweight="bold", ha="center", va="center", zorder=4)
        name.set(color=INK, path_effects=halo)
    shown = places[labels >= 0] if len(numbers) else places
    low, high = shown.min(axis=0), shown.max(axis=0)
    middle, half = (low + high) / 2, 0.54 * float((high - low).max()) or 0.5
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set(color=FRAME, linewidth=0.6)
    n_none = int((labels < 0).sum())
    said = f"{len(labels):,} objects in {len(numbers)} cluster{'s' * (len(numbers) != 1)}, {n_none:,} in none"
    axes.set_title(title or said, fontsize=HEADING, color=INK, loc="left", pad=6)
    return figure


def _colors_apart(middles: Float[np.ndarray, "n 2"]) -> list[int]:
    """For each cluster the color whose nearest cluster so far is farthest; those not yet used first."""
    chosen: list[int] = []
    for place in middles:
        distance = np.full(len(CYCLE), np.inf)
        for color, other in zip(chosen, middles, strict=False):
            distance[color] = min(distance[color], float(np.hypot(*(place - other))))
        chosen.append(int(distance.argmax()))
    return chosen


def _place_findings(figure: Figure, findings: Sequence[Finding], left: float, top: float) -> None:
    """Bars from the middle, one below the other; left and top in inches from the figure's top left."""
    width, height = figure.get_size_inches()
    across, down = _TEXT - _NAMES - _NOTES, len(findings) * _BAR
    axes = figure.add_axes(
        ((left + _NAMES) / width, 1 - (top + down) / height, across / width, down / height), facecolor="none"
    )
    effects = np.array([effect for _, effect, _ in findings]) - 0.5
    rows = np.arange(len(findings))
    axes.barh(rows, effects, left=0.5, height=0.5, color=[ORANGE if each > 0 else BLUE for each in effects])
    quiet_axes(axes, x="chance to be above others")
    axes.grid(False)
    axes.axvline(0.5, color=QUIET, linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(len(findings) - 0.5, -0.5), xticks=[0, 0.5, 1], yticks=[])
    axes.set_xticklabels(["0", "0.5", "1"])
    axes.xaxis.label.set(size=TICK, color=QUIET)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    for row, (name, _, note) in enumerate(findings):
        middle = top + (row + 0.5) * _BAR
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
        write(figure, left, middle, short, size=TICK, va="center")
        write(figure, left + _TEXT - _NOTES + 0.12, middle, note, size=TICK, color=QUIET, va="center")
