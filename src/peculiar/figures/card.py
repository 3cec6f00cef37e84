"""The evidence on one object on one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.figures.galleries import bare_map
from peculiar.figures.images import (
    GAP,
    HEAD,
    MARGIN,
    Images,
    as_color,
    block_size,
    checked_captions,
    place_block,
    place_image,
    write,
)
from peculiar.figures.style import BLUE, FRAME, INK, LABEL, ORANGE, QUIET, RED, TICK, new_figure, quiet_axes

Pixels = UInt8[np.ndarray, "size size channels"]
Gallery = tuple[UInt8[np.ndarray, "_ _ _ _"], Sequence[str]]  # images and what stands below each

_WIDTH = 11.0  # inches of the page, its margins not counted
_BETWEEN = 0.14  # inches, between pictures of the first row
_PANEL = 2.2  # inches, the height of the bars and of the map
_LINE = 0.155  # inches, a line of the catalog row
_PICTURES = ("image", "reconstruction", "residual")  # of the first row, before the maps
_N_LINES, _COLUMNS = 12, 4  # of the catalog row, at most; the page beside the picture has all of it


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of one object; what is empty, or None, has no place on the page.

    Parameters
    ----------
    heading, subheading
        Which object it is, and where.
    image, reconstruction, residual
        As stored; shown by the rule of `as_color`.
    gen_map, disc_map
        How much each pixel adds to `score_gen`, and the critic's place nearest to it to `score_disc`.
    foreign_map
        The chance that light is foreign to the survey, of the detector's place nearest to each pixel.
    bands
        How much of `score_gen` each band adds, by its name.
    critic_channels
        The critic's channels that add most to `score_disc`: index, and part of the whole.
    scores
        Value and percentile (0 to 100) of every score, by its name.
    place, background
        Where the object lies on a map, and a sample of all objects there.
    galleries
        Other objects by the heading that says what they are to this one.
    row
        Names and values of the catalog, as text.
    """

    heading: str
    subheading: str = ""
    image: Pixels
    reconstruction: Pixels
    residual: Pixels
    gen_map: Float[np.ndarray, "size size"]
    disc_map: Float[np.ndarray, "size size"]
    foreign_map: Float[np.ndarray, "size size"] | None = None
    bands: Mapping[str, float] = field(default_factory=dict)
    critic_channels: Sequence[tuple[int, float]] = ()
    scores: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    place: Float[np.ndarray, " 2"] | None = None
    background: Float[np.ndarray, "n 2"] | None = None
    galleries: Mapping[str, Gallery] = field(default_factory=dict)
    row: Mapping[str, str] = field(default_factory=dict)


def figure_card(card: Card) -> Figure:
    """One object: what it looks like, what the networks miss in it, and what stands beside it.

    Above, the image, the generator's reconstruction, their absolute difference, and where the two scores arise:
    summed over bands in every pixel (score_gen), and over channels at each of the critic's places (score_disc; thin
    lines are the image's contours); and where a detector sees light that is foreign to the survey. Then the parts
    that bands and the critic's channels have in the scores, the percentile of each score among the reference with
    its value, and the object on the map (ring) among the others (gray). Below, the objects most like it, and the
    catalog's row.
    """
    blocks = [_block(name, *gallery) for name, gallery in card.galleries.items()]
    has_panels = bool(card.bands or card.critic_channels or card.scores or card.place is not None)
    maps = _maps(card)
    n_pictures = len(_PICTURES) + len(maps)
    size = (_WIDTH - (n_pictures - 1) * _BETWEEN) / n_pictures
    tops = np.cumsum(
        [
            MARGIN,
            HEAD + (0.24 if card.subheading else 0.0),
            size + 0.5,
            _PANEL + 0.9 if has_panels else 0.0,
            *(block.height for block in blocks),
            HEAD + _n_lines(card.row) * _LINE + 0.05 if card.row else 0.0,
        ]
    )
    figure = new_figure(_WIDTH + 2 * MARGIN, tops[-1] + MARGIN)
    write(figure, MARGIN, MARGIN, card.heading, size=14)
    write(figure, MARGIN, MARGIN + 0.29, card.subheading, size=LABEL, color=QUIET)
    _pictures(figure, card, maps, tops[1], size)
    if has_panels:
        _panels(figure, card, tops[2])
    for block, top in zip(blocks, tops[3:], strict=False):
        write(figure, MARGIN, top, block.heading)
        place_block(figure, block.color, block.captions, block.n_columns, MARGIN, top + HEAD - 0.08, block.thumbnail)
    _row(figure, card.row, tops[-2])
    return figure


@dataclass(frozen=True)
class _Block:
    """A gallery, and the inches that it takes."""

    heading: str
    color: Images
    captions: Sequence[str] | None
    n_columns: int
    thumbnail: float
    height: float


def _block(heading: str, images: Images, captions: Sequence[str]) -> _Block:
    n_columns = min(8, max(6, len(images)))  # 8 ids of 19 digits fit beside one another
    thumbnail = (_WIDTH - (n_columns - 1) * GAP) / n_columns
    checked = checked_captions(captions, len(images))
    height = HEAD + block_size(len(images), n_columns, checked, thumbnail)[1] + 0.14
    return _Block(heading, as_color(images), checked, n_columns, thumbnail, height)


def _maps(card: Card) -> dict[str, tuple[np.ndarray, float]]:
    """Where the scores arise, and what is lightest, by what stands below each."""
    parts = {"score_gen, by pixel": card.gen_map, "score_disc, by place": card.disc_map}
    maps = {name: (values, float(np.nanmax(values, initial=0.0))) for name, values in parts.items()}
    return maps if card.foreign_map is None else maps | {"foreign light, chance": (card.foreign_map, 1.0)}


def _pictures(
    figure: Figure, card: Card, maps: Mapping[str, tuple[np.ndarray, float]], top: float, size: float
) -> None:
    """The image and what is made of it, side by side, each with its name below."""
    for number, name in enumerate(_PICTURES):
        left = MARGIN + number * (size + _BETWEEN)
        place_image(figure, as_color(getattr(card, name)[None])[0], left, top, size)
        write(figure, left, top + size + 0.06, name, size=LABEL)
    for number, (name, (values, greatest)) in enumerate(maps.items()):
        left = MARGIN + (len(_PICTURES) + number) * (size + _BETWEEN)
        axes = place_image(figure, np.zeros((1, 1, 3), np.uint8), left, top, size)
        axes.clear()
        axes.imshow(values, cmap="cividis", vmin=0.0, vmax=greatest or 1.0, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(color=FRAME, linewidth=0.5)
        write(figure, left, top + size + 0.06, name, size=LABEL)
        write(figure, left, top + size + 0.23, f"0 (dark) to {greatest:.3g} (light)", size=TICK - 1, color=QUIET)
        if number:  # of places, not of pixels
            _contours(axes, card.image)


def _contours(axes: Axes, image: Pixels) -> None:
    """The image's brightness in thin lines: a map of places is too coarse to be recognized alone."""
    gray = image.mean(axis=2)
    sky = float(np.median(gray))
    levels = sky + (gray.max() - sky) * np.array([0.15, 0.4, 0.75])
    if gray.max() > sky:
        axes.contour(gray, levels=levels, colors="white", linewidths=0.6)


def _panels(figure: Figure, card: Card, top: float) -> None:
    """Bars and map in a row; what there is takes the room of what there is not."""
    total = sum(card.bands.values())
    parts = {name: value / total if total else 0.0 for name, value in card.bands.items()}
    channels = {str(index): part for index, part in card.critic_channels}
    widths = {
        "bands": 0.8 if parts else 0.0,
        "channels": 0.9 if channels else 0.0,
        "scores": 1.6 if card.scores else 0.0,
    }
    labels = {"bands": _room(parts), "channels": 0.5, "scores": _room(card.scores)}
    shown = [name for name, width in widths.items() if width]
    room = _WIDTH - (_PANEL + 0.3 if card.place is not None else 0.0)
    room -= sum(labels[name] for name in shown) + 0.35 * max(0, len(shown) - 1) + (0.55 if card.scores else 0.0)
    unit = min(2.6, room / max(1e-9, sum(widths.values())))
    left = MARGIN
    for name in shown:
        left += labels[name]
        axes = _panel(figure, left, top, widths[name] * unit)
        if name == "bands":
            _bars(axes, parts, ORANGE, "score_gen by band", "part of the score")
        elif name == "channels":
            _bars(axes, channels, BLUE, "score_disc by critic channel", "part of the score")
        else:
            _percentiles(axes, card.scores)
        left += widths[name] * unit + 0.35
    if card.place is not None:
        axes = _panel(figure, MARGIN + _WIDTH - _PANEL, top, _PANEL)
        _map(axes, card.place, card.background)


def _room(names: Mapping[str, object]) -> float:
    """Inches that the longest name takes left of its bar."""
    return 0.12 + 0.078 * max((len(name) for name in names), default=0)


def _panel(figure: Figure, left: float, top: float, width: float) -> Axes:
    """Axes below their title; inches from the figure's top left."""
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + 0.3 + _PANEL) / high, width / wide, _PANEL / high))


def _bars(axes: Axes, parts: Mapping[str, float], color: str, title: str, x: str) -> None:
    places = range(len(parts))
    axes.barh(places, list(parts.values()), color=color, height=0.66)
    quiet_axes(axes, x=x)
    axes.set_title(title, fontsize=LABEL, color=INK, loc="left", pad=6)
    axes.set_yticks(places, list(parts))
    axes.set_ylim(max(len(parts), 3) - 0.4, -0.6)  # the first above; a single band is no wall
    axes.grid(False, axis="y")
    axes.locator_params(axis="x", nbins=2)  # small parts have long labels
    axes.xaxis.label.set_fontsize(TICK)


def _percentiles(axes: Axes, scores: Mapping[str, tuple[float, float]]) -> None:
    _bars(axes, {name: percentile for name, (_, percentile) in scores.items()}, BLUE, "scores", "percentile")
    axes.set_xlim(0, 100)
    axes.axvline(50, color=QUIET, linewidth=0.8, linestyle=":")
    for place, (value, percentile) in enumerate(scores.values()):
        text = f"{percentile:.{2 if percentile > 99 else 1}f}" if np.isfinite(percentile) else "none"
        is_inside = percentile > 18
        axes.annotate(
            text,
            (percentile if np.isfinite(percentile) else 0, place),
            xytext=(-3 if is_inside else 3, 0),
            textcoords="offset points",
            ha="right" if is_inside else "left",
            va="center",
            fontsize=TICK - 1,
            color="white" if is_inside else INK,
        )
        axes.annotate(
            f"{value:.4g}",
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=TICK,
            color=INK,
        )


def _map(axes: Axes, place: np.ndarray, background: np.ndarray | None) -> None:
    bare_map(axes, np.empty((0, 2)) if background is None else background)
    axes.plot(*place, "o", markersize=12, markerfacecolor="none", markeredgecolor=RED, markeredgewidth=1.8, zorder=3)
    axes.plot(*place, ".", color=INK, markersize=4, zorder=3)
    axes.set_title("place on the map", fontsize=LABEL, color=INK, loc="left", pad=6)


def _row(figure: Figure, row: Mapping[str, str], top: float) -> None:
    if not row:
        return
    write(figure, MARGIN, top, "Catalog")
    n_lines = _n_lines(row)
    shown = list(row.items())[: n_lines * _COLUMNS]
    if len(shown) < len(row):
        shown[-1] = (f"and {len(row) - len(shown) + 1} more", "")
    width = _WIDTH / _COLUMNS
    for number, (name, value) in enumerate(shown):
        column, line = divmod(number, n_lines)
        left, y = MARGIN + column * width, top + HEAD - 0.06 + line * _LINE
        write(figure, left, y, _short(name, 18), size=TICK - 0.5, color=QUIET)
        write(figure, left + 1.15, y, _short(value, 22), size=TICK - 0.5)


def _n_lines(row: Mapping[str, str]) -> int:
    return min(_N_LINES, -(-len(row) // _COLUMNS))


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
