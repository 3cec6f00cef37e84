"""One look for every figure: colors that all eyes can tell apart, quiet axes, sizes in inches."""

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe & Ito 2008: told apart with every common form of color blindness.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#222222"
CYCLE: Final = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK)
MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X")
SCORE_COLORS: Final = {"score_gen": ORANGE, "score_disc": BLUE, "score_anom": GREEN}

SIGMA: Final = "\N{GREEK SMALL LETTER SIGMA}"

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
