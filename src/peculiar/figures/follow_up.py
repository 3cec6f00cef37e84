"""Figures for the telescope: finding charts, and when targets are up."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, HourLocator, MonthLocator, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from peculiar.figures.images import as_color
from peculiar.figures.style import (
    CYCLE,
    HEADING,
    INK,
    LABEL,
    ORANGE,
    QUIET,
    STARLIGHT,
    new_figure,
    plot_figure,
    quiet_axes,
)

MJD_EPOCH = np.datetime64("1858-11-17")
MAX_NAMED = 7  # targets with a color of their own


@dataclass(frozen=True, kw_only=True)
class Slit:
    """A slit on the sky: position angle in degrees, north through east; the rest in arcsec."""

    angle: float
    width: float = 1.0
    length: float = 10.0
    east: float = 0.0
    north: float = 0.0


def figure_finding(
    image: UInt8[np.ndarray, "size size channels"],
    *,
    heading: str,
    lines: Sequence[str] = (),
    pixel_scale: float | None,
    north: float = 0.0,
    slit: Slit | None = None,
) -> Figure:
    """A finding chart: the image with north and east, a bar of known length, the target between marks, and the slit.

    The slit is drawn to scale at its position angle, from north through east. Where the arcseconds of a pixel are not
    known there is neither bar nor slit.
    """
    figure = new_figure(5.6, 6.6)
    axes = figure.add_axes((0.04, 0.17, 0.92, 0.78))
    size = image.shape[0]
    axes.imshow(as_color(image[None])[0], interpolation="nearest", extent=(0, size, size, 0))
    axes.set(xticks=[], yticks=[], xlim=(0, size), ylim=(size, 0))
    middle = size / 2
    for x, y in ((1, 0), (0, -1)):
        gap, long = 0.07 * size, 0.14 * size
        axes.plot([middle + gap * x, middle + long * x], [middle + gap * y, middle + long * y], color=STARLIGHT, lw=1.2)
    _compass(axes, size, north)
    if pixel_scale is not None:
        _bar(axes, size, pixel_scale)
        if slit is not None:
            _slit(axes, size, slit, pixel_scale, north)
    figure.text(0.04, 0.965, heading, fontsize=HEADING, color=INK, weight="bold", va="center")
    for place, line in enumerate(lines):
        figure.text(0.04, 0.135 - 0.033 * place, line, fontsize=LABEL, color=INK if place == 0 else QUIET, va="center")
    return figure


def _compass(axes: Axes, size: int, north: float) -> None:
    at, long = np.array([0.87, 0.2]) * size, 0.11 * size
    for name, (east, up) in {"N": (0.0, 1.0), "E": (1.0, 0.0)}.items():
        x, y = _on_screen(east, up, north)
        tip = at + long * np.array([x, y])
        arrow = {"arrowstyle": "-|>", "color": STARLIGHT, "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (tip[0], tip[1]), (at[0], at[1]), arrowprops=arrow)
        beyond = at + 1.32 * long * np.array([x, y])
        axes.text(beyond[0], beyond[1], name, color=STARLIGHT, fontsize=LABEL, ha="center", va="center")


def _on_screen(east: float, north_offset: float, north: float) -> tuple[float, float]:
    """Return an offset on the sky (arcsec east and north) as one on the screen (arcsec right and down)."""
    turn = np.radians(north)
    left = east * np.cos(turn) + north_offset * np.sin(turn)
    up = north_offset * np.cos(turn) - east * np.sin(turn)
    return -float(left), -float(up)


def _bar(axes: Axes, size: int, pixel_scale: float) -> None:
    span = size * pixel_scale
    length = max((each for each in (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300) if each <= 0.35 * span), default=0.3 * span)
    x, y, long = 0.06 * size, 0.93 * size, length / pixel_scale
    axes.plot([x, x + long], [y, y], color=STARLIGHT, lw=2, solid_capstyle="butt")
    axes.text(x + long / 2, y - 0.025 * size, f'{length:g}"', color=STARLIGHT, fontsize=LABEL, ha="center", va="bottom")


def _slit(axes: Axes, size: int, slit: Slit, pixel_scale: float, north: float) -> None:
    turn = np.radians(slit.angle)
    along, across = np.array([np.sin(turn), np.cos(turn)]), np.array([np.cos(turn), -np.sin(turn)])  # east, north
    corners = []
    for one, other in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        east, up = np.array([slit.east, slit.north]) + (one * slit.length * along + other * slit.width * across) / 2
        corners.append(size / 2 + np.array(_on_screen(east, up, north)) / pixel_scale)
    axes.add_patch(Polygon(corners, closed=True, fill=False, edgecolor=ORANGE, lw=1.4))


def figure_night(
    names: Sequence[str],
    mjd: Float[np.ndarray, " times"],
    altitude: Float[np.ndarray, "targets times"],
    is_dark: Bool[np.ndarray, " times"],
    moon_altitude: Float[np.ndarray, " times"],
    *,
    title: str,
    min_altitude: float,
) -> Figure:
    """Altitude of the targets over a night, in UTC: the first with colors of their own, the others in gray.

    The ground is gray where it is astronomical night; below the dashed line the air is too thick; the dotted line is
    the Moon. The axis on the right is the airmass.
    """
    figure = plot_figure(8.4, 4.6)
    axes = figure.add_subplot()
    times = date2num(_dates(mjd))
    axes.fill_between(times, 0, 90, where=list(is_dark), color="#eceef3", linewidth=0, zorder=0)
    for place in reversed(range(len(names))):
        is_named = place < MAX_NAMED
        color, label = (CYCLE[place], names[place]) if is_named else ("#c9ccd3", None)
        axes.plot(
            times, altitude[place], color=color, lw=1.6 if is_named else 0.8, label=label, zorder=3 if is_named else 2
        )
    axes.plot(times, moon_altitude, color=QUIET, lw=1.0, ls=":", label="Moon", zorder=2)
    axes.axhline(min_altitude, color=INK, lw=0.8, ls="--")
    quiet_axes(axes, title=title, x="UTC", y="altitude (degrees)")
    shown = times[is_dark] if is_dark.any() else times
    margin = 1.5 / 24
    axes.set(ylim=(0, 90), xlim=(shown[0] - margin, shown[-1] + margin))
    axes.xaxis.set_major_locator(HourLocator(interval=2))
    axes.xaxis.set_major_formatter(DateFormatter("%H"))
    right = axes.secondary_yaxis("right")
    marks = np.array([1.0, 1.2, 1.5, 2.0, 3.0])
    right.set_yticks(np.degrees(np.arcsin(1 / marks)), [f"{each:g}" for each in marks])
    right.set_ylabel("airmass", fontsize=LABEL)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", fontsize=8, frameon=False)
    return figure


def figure_season(
    names: Sequence[str], mjd: Float[np.ndarray, " nights"], hours: Float[np.ndarray, "targets nights"], *, title: str
) -> Figure:
    """Dark hours a night that the targets are high enough, over a season: the first in colors, the others in gray."""
    figure = plot_figure(8.4, 3.8)
    axes = figure.add_subplot()
    times = date2num(_dates(mjd))
    for place in reversed(range(len(names))):
        is_named = place < MAX_NAMED
        color, label = (CYCLE[place], names[place]) if is_named else ("#c9ccd3", None)
        axes.plot(times, hours[place], color=color, lw=1.6 if is_named else 0.8, label=label)
    quiet_axes(axes, title=title, y="dark hours a night")
    axes.set_ylim(0, None)
    axes.xaxis.set_major_locator(MonthLocator(interval=max(1, round((times[-1] - times[0]) / 300))))
    axes.xaxis.set_major_formatter(DateFormatter("%b %y"))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _dates(mjd: np.ndarray) -> np.ndarray:
    return MJD_EPOCH + np.round(np.asarray(mjd) * 86_400).astype("timedelta64[s]")
