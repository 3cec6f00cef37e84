"""Maps of objects: points colored by a value, maps beside one another, boxes with their members, images as points."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from peculiar.figures.images import GAP, HEAD, MARGIN, as_color, place_block, write
from peculiar.figures.style import (
    CYCLE,
    FRAME,
    HEADING,
    INK,
    LABEL,
    NIGHT,
    NIGHT_GRAY,
    QUIET,
    STARLIGHT,
    TICK,
    new_figure,
    plot_figure,
)

ROBUST = (1.0, 99.0)  # percentiles that the colors span: a few extreme objects would leave one color for all others
GRAY = "#b9b9b9"  # of a point without a value
POINTS_INK = 20_000.0  # square points that all points take together, where they are many
BOXES_DOWN = 3  # boxes under one another
BAR: Final[Any] = {"pad": 0.02, "aspect": 36, "shrink": 0.9, "extend": "both", "extendfrac": 0.025}
PALEST = 0.04  # part of the colors left out: the palest is hard to see on white
TILE = 96  # pixels of an image on a map of images

Places = Float[np.ndarray, "n 2"]
Values = Float[np.ndarray, " n"]


def figure_map(
    places: Places, values: Values, *, name: str, title: str = "", side: float = 6.0, is_dark: bool = False
) -> Figure:
    """Every object at its place on the map, colored by a value; the highest are drawn last, so that none is hidden.

    The darker (in the dark form: the brighter), the higher; the colors span the percentiles 1 to 99, and what lies
    beyond has the color of the end. Objects without a value are gray, below all others. Neither the axes nor the
    distances between far groups mean anything, only who is near whom.

    Parameters
    ----------
    places
        Objects with a NaN place are left out.
    name
        What the values are, for the color bar.
    title
        Above the map; the number of objects if empty.
    side
        Height of the map, inches.
    is_dark
        On a dark ground, for slides and screens.
    """
    is_there = _finite(places, values)
    figure = plot_figure(side * 1.16, side, is_square=True)
    axes = figure.subplots()
    points = _points(axes, places[is_there], values[is_there], _robust_range(values[is_there]), is_dark)
    _map_axes(axes, title or f"{int(is_there.sum()):,} objects", is_dark)
    _label_bar(figure.colorbar(points, ax=axes, **BAR), name, is_dark)
    return figure


def figure_maps_compared(
    maps: Mapping[str, Places],
    values: Values | Mapping[str, Values],
    *,
    name: str,
    qualities: Mapping[str, float] | None = None,
    is_dark: bool = False,
) -> Figure:
    """The same objects laid out by different features, colored by one score.

    Where the features know what the score knows, the color changes gradually over the map; the number in each title is
    how much of the score's order the place tells (cross-validated R^2 of its ranks, 0 to 1). Of pixels, residual
    pixels, autoencoder features of the images and of the residuals, the paper finds a clear gradient in the last only.
    After Fig. 6 of Storey-Fisher et al. 2021.

    Parameters
    ----------
    maps
        Places by the name of what was laid out; two panels side by side, from the top left.
    values
        The score, an object each; or by the name of the map, where their objects differ. All share one range of colors.
    name
        What the values are.
    qualities
        By the name of the map; a map that has none (or NaN) is given none.
    """
    if not maps:
        raise ValueError("maps holds none; give one map or more by name")
    of_map = {each: values[each] if isinstance(values, Mapping) else values for each in maps}
    n_down = -(-len(maps) // 2)
    figure = plot_figure(9.6 if len(maps) > 1 else 5.4, 4.4 * n_down, is_square=True)
    panels = figure.subplots(n_down, min(2, len(maps)), squeeze=False).ravel()
    span = _robust_range(np.concatenate([np.asarray(each, np.float64) for each in of_map.values()]))
    for axes, (heading, places) in zip(panels, maps.items(), strict=False):
        is_there = _finite(places, of_map[heading])
        points = _points(axes, places[is_there], of_map[heading][is_there], span, is_dark)
        quality = (qualities or {}).get(heading, float("nan"))
        _map_axes(axes, f"{heading}, R$^2$ = {quality:.2f}" if np.isfinite(quality) else heading, is_dark)
    for axes in panels[len(maps) :]:
        axes.remove()
    _label_bar(figure.colorbar(points, ax=list(panels[: len(maps)]), **BAR), name, is_dark)
    return figure


def figure_map_boxes(
    places: Places,
    boxes: Float[np.ndarray, "n_boxes 4"],
    images: Sequence[UInt8[np.ndarray, "_ _ _ _"]],
    *,
    values: Values | None = None,
    name: str = "",
    n_columns: int = 3,
) -> Figure:
    """A map with boxes, and beside it members of each box, taken at random: what objects in one place have in common.

    Points as in `figure_map`, gray without values. After Fig. 7 of Storey-Fisher et al. 2021.

    Parameters
    ----------
    boxes
        Left, bottom, right and top of each, on the map; given by hand or found.
    images
        For each box, the images to show; those of nine members fit best.
    values, name
        What the points are colored by.
    n_columns
        Images in a row of a box.
    """
    if len(images) != len(boxes):
        raise ValueError(f"images must be one array for each box, got {len(images)} arrays and {len(boxes)} boxes")
    side, between, foot = 6.4, 0.3, 0.75 if values is not None else 0.0  # inches
    n_across = max(1, -(-len(images) // BOXES_DOWN))
    n_down = max(1, -(-len(images) // n_across))
    n_rows = max([-(-len(each) // n_columns) for each in images], default=1) or 1
    thumbnail = min(0.9, (side / n_down - HEAD) / n_rows - GAP)
    block_width = n_columns * (thumbnail + GAP) + between
    figure = new_figure(side + between + n_across * block_width + MARGIN, side + foot + 2 * MARGIN)
    axes = _panel(figure, MARGIN, MARGIN, side, side)
    colors = np.full(len(places), np.nan) if values is None else values
    is_there = _finite(places, colors)
    points = _points(axes, places[is_there], colors[is_there], _robust_range(colors[is_there]))
    _map_axes(axes, "")
    if values is not None:
        bar = _panel(figure, MARGIN + 0.5, MARGIN + side + 0.14, side - 1.0, 0.12)
        _label_bar(figure.colorbar(points, cax=bar, orientation="horizontal", extend="both", extendfrac=0.025), name)
    for number, (box, block) in enumerate(zip(boxes, images, strict=True)):
        color, letter = CYCLE[number % len(CYCLE)], chr(ord("A") + number)
        _draw_box(axes, box, letter, color)
        across, down = divmod(number, n_down)
        left, top = MARGIN + side + between + across * block_width, MARGIN + down * side / n_down
        write(figure, left, top, letter, color=color)
        place_block(figure, as_color(block), None, n_columns, left, top + HEAD - GAP, thumbnail)
    return figure


def choose_map_images(places: Places, values: Values, *, n_cells: int = 24) -> Int[np.ndarray, " _"]:
    """Row numbers of the objects that `figure_map_images` has room for: of each cell of a grid, the highest value.

    The grid has `n_cells` cells along the map's longer side. NaN places are left out; a NaN value is below all others.
    """
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
    order = order[np.isfinite(places[order]).all(axis=1)]
    if not len(order):
        return order
    column, row = _cells(places, places[order], n_cells)
    _, first = np.unique(column * n_cells + row, return_index=True)
    return order[np.sort(first)]


def figure_map_images(
    places: Places,
    rows: Int[np.ndarray, " m"],
    images: UInt8[np.ndarray, "m height width channels"],
    *,
    n_cells: int = 24,
    title: str = "",
    side: float = 8.0,
    is_dark: bool = False,
) -> Figure:
    """A map drawn with the images themselves: what kind of object is where, and how one kind passes into another.

    One image a cell of a grid, so that none covers another; that of the highest value in the cell, as
    `choose_map_images` picks them. After the latent-space maps of Carrasco Kind 2019.

    Parameters
    ----------
    places
        Of all objects of the map: they span the grid.
    rows
        Row numbers in `places` of the objects to draw; of two in one cell, the earlier is drawn.
    images
        Theirs; shown by the rule of `as_color`, those larger than 96 pixels thinned out.
    n_cells
        Along the longer side, as `choose_map_images` was told.
    """
    if len(rows) != len(images):
        raise ValueError(f"images must be one for each row, got {len(images)} images and {len(rows)} rows")
    color = as_color(images)
    step = -(-max(color.shape[1:3]) // TILE)
    color = color[:, ::step, ::step]
    height, width = color.shape[1:3]
    columns, lines = _cells(places, places[rows], n_cells)
    n_across, n_down = (int(each.max()) + 1 if len(rows) else 1 for each in (columns, lines))
    ground = np.rint(np.multiply(to_rgb(NIGHT if is_dark else "white"), 255)).astype(np.uint8)
    canvas = np.tile(ground, (n_down * height, n_across * width, 1))
    for image, column, line in reversed(list(zip(color, columns, lines, strict=True))):
        top, left = (n_down - 1 - line) * height, column * width
        canvas[top : top + height, left : left + width] = image
    across, down = (side * each / max(n_across, n_down) for each in (n_across, n_down))
    head = HEAD if title else 0.0
    figure = new_figure(across + 2 * MARGIN, down + head + 2 * MARGIN)
    figure.set_facecolor(NIGHT if is_dark else "white")
    if title:
        write(figure, MARGIN, MARGIN, title, color=STARLIGHT if is_dark else INK)
    axes = _panel(figure, MARGIN, MARGIN + head, across, down)
    axes.imshow(canvas, interpolation="antialiased", aspect="auto")
    axes.set_axis_off()
    return figure


def _cells(places: Places, chosen: Float[np.ndarray, "m 2"], n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and line, from the lower left, of the grid cell of each chosen place; `places` span the grid."""
    is_finite = np.isfinite(places).all(axis=1)
    if not is_finite.any():
        raise ValueError(f"places hold no finite one of {len(places)}; nothing to draw")
    low = places[is_finite].min(axis=0)
    extent = float(np.ptp(places[is_finite], axis=0).max()) or 1.0
    cells = np.minimum(((chosen - low) / extent * n_cells).astype(np.int64), n_cells - 1)
    return cells[:, 0], cells[:, 1]


def _finite(places: Places, values: Values) -> np.ndarray:
    """Which objects have a place; there must be one."""
    if len(places) != len(values):
        raise ValueError(f"values must be one for each place, got {len(values)} values and {len(places)} places")
    is_there = np.isfinite(places).all(axis=1)
    if not is_there.any():
        raise ValueError(f"places hold no finite one of {len(places)}; nothing to draw")
    return is_there


def _robust_range(values: Values) -> tuple[float, float]:
    """Percentiles 1 and 99 of the finite values; 0 and 1 where there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = (float(each) for each in np.percentile(finite.astype(np.float64), ROBUST))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _points(
    axes: Axes, places: Places, values: Values, span: tuple[float, float], is_dark: bool = False
) -> PathCollection:
    """Draw the points, rasterized, the highest last and those without a value first; they shrink with their number."""
    size = float(np.clip(POINTS_INK / len(values), 0.7, 26.0))
    draw = partial(axes.scatter, s=size, linewidths=0, rasterized=True)
    is_known = np.isfinite(values)
    draw(*places[~is_known].T, c=NIGHT_GRAY if is_dark else GRAY)
    order = np.flatnonzero(is_known)[np.argsort(values[is_known], kind="stable")]
    # Even steps of lightness, in gray too; high values stand out from the ground.
    colors = ListedColormap(colormaps["viridis" if is_dark else "viridis_r"](np.linspace(PALEST, 1, 256)))
    return draw(*places[order].T, c=values[order], cmap=colors, vmin=span[0], vmax=span[1])


def _map_axes(axes: Axes, title: str, is_dark: bool = False) -> None:
    """A thin frame, no ticks, equal scales."""
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.03)
    axes.set_facecolor(NIGHT if is_dark else "white")
    axes.figure.patch.set_facecolor(NIGHT if is_dark else "white")
    axes.spines[:].set_color(NIGHT_GRAY if is_dark else FRAME)
    axes.spines[:].set_linewidth(0.6)
    axes.set_title(title, fontsize=HEADING, color=STARLIGHT if is_dark else INK, loc="left", pad=6)


def _draw_box(axes: Axes, box: np.ndarray, letter: str, color: str) -> None:
    left, bottom, right, top = (float(each) for each in box)
    axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, fill=False, edgecolor=color, linewidth=1.8))
    text = axes.annotate(
        letter, (left, top), (1, 2), textcoords="offset points", color=color, fontsize=HEADING, zorder=5
    )
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _label_bar(bar: Colorbar, name: str, is_dark: bool = False) -> None:
    ink = STARLIGHT if is_dark else INK
    bar.set_label(f"{name} (percentiles {ROBUST[0]:g} to {ROBUST[1]:g})", fontsize=LABEL, color=ink)
    bar.ax.tick_params(labelsize=TICK, colors=QUIET, labelcolor=ink)
    bar.outline.set_visible(False)


def _panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes; inches from the figure's top left."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
