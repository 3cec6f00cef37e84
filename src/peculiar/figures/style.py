"""One look for every figure: colors that all eyes can tell apart, quiet axes, sizes in inches."""

from typing import Final

from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

# Okabe & Ito 2008: told apart with every common form of color blindness.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#222222"
CYCLE: Final = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK)
MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X")
SCORE_COLORS: Final = {"score_gen": ORANGE, "score_disc": BLUE, "score_anom": GREEN}

SIGMA: Final = "\N{GREEK SMALL LETTER SIGMA}"

NIGHT, STARLIGHT, NIGHT_GRAY = "#11141a", "#e8e8e8", "#4a4f59"  # the dark form: ground, text, what is not known
INK, QUIET, GRID, FRAME = "#222222", "#6b6b6b", "#e4e4e4", "#8a8a8a"  # text; labels; grid lines; around thumbnails
HEADING, LABEL, TICK, CAPTION = 11.0, 9.5, 8.5, 6.6  # text sizes, points


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure, in inches."""
    return Figure(figsize=(width, height), facecolor="white")


def plot_figure(width: float, height: float, *, is_square: bool = False) -> Figure:
    """Return a figure for plots, whose axes are laid out so that no label is cut or overlaps.

    Say is_square where the axes keep an aspect of their own: the plain layout would cut their labels.
    """
    engine = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03, hspace=0.03, compress=is_square)
    return Figure(figsize=(width, height), facecolor="white", layout=engine)


def quiet_axes(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Two thin spines, faint grid, and labels of one size."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(labelsize=TICK, colors=QUIET, labelcolor=INK, width=0.8, length=3)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(title, fontsize=HEADING, color=INK, loc="left", pad=8)
    axes.set_xlabel(x, fontsize=LABEL, color=INK)
    axes.set_ylabel(y, fontsize=LABEL, color=INK)


def literal(text: str, longest: int = 40) -> str:
    """A name of the user's as a label shows it: dollar signs are no mathematics, and what is very long is cut."""
    return (text if len(text) <= longest else text[: longest - 3] + "...").replace("$", r"\$")


def darkened(figure: Figure) -> Figure:
    """Give a figure its dark form, in place: ground, text, axes and grid; what carries a meaning keeps its color."""
    figure.draw_without_rendering()  # makes the ticks that there will be
    is_day = to_rgba(figure.get_facecolor()) == to_rgba("white")
    night = {INK: STARLIGHT, "black": STARLIGHT, QUIET: "#a9adb5", GRID: "#2a2f39", FRAME: "#6f7580"}
    of = {to_rgba(day): to_rgba(dark) for day, dark in night.items()}
    ground = {to_rgba("white"): to_rgba(NIGHT)}
    figure.set_facecolor(ground.get(to_rgba(figure.get_facecolor()), figure.get_facecolor()))
    for artist in figure.findobj():
        if isinstance(artist, Text | Line2D):
            color = to_rgba(artist.get_color())
            artist.set_color(of.get(color, color))
            if any(isinstance(effect, withStroke) for effect in artist.get_path_effects()):
                artist.set_path_effects([withStroke(linewidth=2.5, foreground=NIGHT)])
        if isinstance(artist, Patch):
            face, edge = to_rgba(artist.get_facecolor()), to_rgba(artist.get_edgecolor())
            artist.set_facecolor((of | ground).get(face, face))
            artist.set_edgecolor(of.get(edge, edge))
        if isinstance(artist, Collection) and artist.get_array() is not None:
            is_bar = artist.axes is not None and artist.axes.get_label() == "<colorbar>"  # follows what it explains
            if is_day and not is_bar:
                artist.set_cmap(artist.get_cmap().reversed())  # the palest value lies nearest to the ground
        elif isinstance(artist, Collection):
            for colors, put in (
                (artist.get_facecolor(), artist.set_facecolor),
                (artist.get_edgecolor(), artist.set_edgecolor),
            ):
                put([of.get(tuple(each), tuple(each)) for each in to_rgba_array(colors)])
    return figure
