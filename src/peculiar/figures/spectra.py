"""Figures of follow-up spectroscopy: the spectrum and its lines, the search for a redshift."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    INK,
    LABEL,
    ORANGE,
    QUIET,
    RED,
    SIGMA,
    TICK,
    literal,
    plot_figure,
    quiet_axes,
)

GROUPS = {  # which lines are looked at together
    "[O II]": ("OII_3727", "OII_3730"),
    "H\N{GREEK SMALL LETTER BETA} + [O III]": ("H_beta", "OIII_4960", "OIII_5008"),
    "H\N{GREEK SMALL LETTER ALPHA} + [N II]": ("NII_6550", "H_alpha", "NII_6585"),
    "[S II]": ("SII_6718", "SII_6733"),
}
GREEK = {
    "alpha": "\N{GREEK SMALL LETTER ALPHA}",
    "beta": "\N{GREEK SMALL LETTER BETA}",
    "gamma": "\N{GREEK SMALL LETTER GAMMA}",
}
ROOM = 1_200.0  # km/s, on both sides of a group's lines
SPEED_OF_LIGHT = 299_792.458  # km/s
ANGSTROM = "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}"
WAVELENGTH = f"observed wavelength, vacuum ({ANGSTROM})"
FAINT = "#c9c9c9"
COMPONENT_COLORS = (BLUE, ORANGE, GREEN)
Array = Float[np.ndarray, " n"]


def figure_spectrum(
    wavelength: Array,
    flux: Array,
    error: Array,
    *,
    redshift: float,
    lines: Mapping[str, float],
    continuum: Array | None = None,
    total: Array | None = None,
    components: Sequence[Array] = (),
    title: str = "",
    flux_unit: str = "",
) -> Figure:
    """A spectrum with its lines, and the fit of each group of lines.

    Top: flux against observed wavelength in vacuum, the continuum, and where the lines lie at the redshift. Middle:
    groups of lines, in rest wavelength, with errors (gray), the total fit (red) and each component on the continuum
    (dashed). Bottom: residuals in units of the error. After Fig. 10 of Storey-Fisher et al. 2021.

    Parameters
    ----------
    error
        One standard deviation; what is not finite or not above 0 marks a pixel not to be drawn.
    lines
        Rest wavelengths in vacuum by name ("OIII_5008"), angstrom.
    total
        The fit, with the continuum.
    components
        Each component's lines alone, without the continuum.
    """
    is_used = np.isfinite(error) & (error > 0) & np.isfinite(flux)
    if not is_used.any():
        raise ValueError("error must be above 0 in one pixel or more; every pixel is masked")
    seen = np.where(is_used, flux, np.nan)
    ends = wavelength[is_used].min(), wavelength[is_used].max()
    observed = {
        name: rest * (1 + redshift) for name, rest in lines.items() if ends[0] < rest * (1 + redshift) < ends[1]
    }
    groups = {title: names for title, names in GROUPS.items() if any(name in observed for name in names)}
    across = max(1, len(groups))
    figure = plot_figure(max(8.0, 3.1 * across), 7.2 if groups else 3.4)
    grid = figure.add_gridspec(3 if groups else 1, across, height_ratios=(1.25, 1.2, 0.45) if groups else (1,))
    top = figure.add_subplot(grid[0, :])
    _whole(top, wavelength, seen, observed, continuum, title)
    top.set_ylabel("flux", fontsize=LABEL, color=INK)
    # Beside the title, where a long unit has room.
    unit = f"flux in {literal(flux_unit, 60)}" if flux_unit else "flux relative"
    top.set_title(unit, loc="right", fontsize=TICK, color=QUIET, pad=8)
    for column, (name, members) in enumerate(groups.items()):
        above = figure.add_subplot(grid[1, column])
        below = figure.add_subplot(grid[2, column], sharex=above)
        rest = [lines[member] for member in members if member in observed]
        window = min(rest) * (1 - ROOM / SPEED_OF_LIGHT), max(rest) * (1 + ROOM / SPEED_OF_LIGHT)
        is_near = (wavelength > window[0] * (1 + redshift)) & (wavelength < window[1] * (1 + redshift))
        here = (each[is_near] for each in (wavelength / (1 + redshift), seen, error))
        fits = [None if each is None else each[is_near] for each in (continuum, total, *components)]
        _zoomed(above, below, *here, continuum=fits[0], total=fits[1], components=fits[2:])
        for each in rest:
            above.axvline(each, color=QUIET, linewidth=0.7, linestyle=":")
        quiet_axes(above, title=name, y="flux" if column == 0 else "")
        above.tick_params(labelbottom=False)
        quiet_axes(below, x=f"rest wavelength ({ANGSTROM})", y=f"residual ({SIGMA})" if column == 0 else "")
        above.set_xlim(*window)
        if column == 0:
            handles, labels = above.get_legend_handles_labels()
    if groups:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=TICK, frameon=False)
    return figure


def figure_redshift(
    trial_redshift: Float[np.ndarray, " m"],
    quality: Float[np.ndarray, " m"],
    wavelength: Array,
    flux: Array,
    *,
    redshift: float,
    lines: Mapping[str, float],
    runner_up: float = float("nan"),
    quality_label: str = "quality",
    title: str = "",
) -> Figure:
    """How good each trial redshift is, and the spectrum with the lines where the best and the runner-up have them.

    Top: quality against trial redshift, larger is better, with the best (red) and the runner-up (blue). Below: the
    spectrum, smoothed over 3 pixels (black) and as it is (pale), with the lines that each of the two would have.

    Parameters
    ----------
    redshift, runner_up
        NaN where there is none.
    flux
        NaN where masked.
    """
    answers = {"best": (redshift, RED), "runner-up": (runner_up, BLUE)}
    answers = {name: each for name, each in answers.items() if np.isfinite(each[0])}
    figure = plot_figure(10.5, 3.0 + 2.5 * max(1, len(answers)))
    panels = figure.subplots(1 + max(1, len(answers)), 1, squeeze=False).ravel().tolist()
    top = panels[0]
    quiet_axes(top, title=literal(title, 90), x="trial redshift", y=literal(quality_label))
    top.plot(trial_redshift, quality, color=BLACK, linewidth=0.7)
    for name, (value, color) in answers.items():
        height = float(np.interp(value, trial_redshift, quality))
        top.plot(value, height, "v", color=color, markersize=7, label=f"{name}: {value:.5f}", clip_on=False)
    if answers:
        top.legend(fontsize=TICK, frameon=False, loc="upper right")
    for axes in panels[1:]:
        axes.plot(wavelength, flux, color=FAINT, linewidth=0.5)
        axes.plot(wavelength, _smooth(flux), color=BLACK, linewidth=0.7)
        axes.set_xlim(wavelength[0], wavelength[-1])
        axes.set_ylim(*_view(flux, room=0.22))
        quiet_axes(axes, x=WAVELENGTH, y="flux")
    for axes, (name, (value, color)) in zip(panels[1:], answers.items(), strict=False):
        observed = {line: rest * (1 + value) for line, rest in lines.items()}
        inside = {line: place for line, place in observed.items() if wavelength[0] < place < wavelength[-1]}
        _mark(axes, inside, color)
        quiet_axes(axes, title=f"{name}: redshift {value:.5f}", x=WAVELENGTH, y="flux")
    return figure


def _whole(
    axes: Axes, wavelength: Array, flux: Array, observed: Mapping[str, float], continuum: Array | None, title: str
) -> None:
    axes.plot(wavelength, flux, color=BLACK, linewidth=0.6)
    if continuum is not None:
        axes.plot(wavelength, continuum, color=RED, linewidth=1.0)
    quiet_axes(axes, title=literal(title, 90), x=WAVELENGTH)
    is_there = np.isfinite(flux)
    axes.set_xlim(wavelength[is_there].min(), wavelength[is_there].max())
    axes.set_ylim(*_view(flux, room=0.22))
    _mark(axes, observed, BLUE)


def _zoomed(
    above: Axes,
    below: Axes,
    wavelength: Array,
    flux: Array,
    error: Array,
    *,
    continuum: Array | None,
    total: Array | None,
    components: Sequence[Array | None],
) -> None:
    """Data, fits and residuals of one group of lines."""
    is_there = np.isfinite(flux)
    spread = np.where(is_there, error, np.nan)
    above.fill_between(wavelength, flux - spread, flux + spread, color=FAINT, step="mid", linewidth=0)
    above.step(
        wavelength, flux, where="mid", color=BLACK, linewidth=0.9, label="data, with 1\N{GREEK SMALL LETTER SIGMA}"
    )
    base = continuum if continuum is not None else np.zeros_like(wavelength)
    if continuum is not None:
        above.plot(wavelength, continuum, color=QUIET, linewidth=0.9, label="continuum")
    for number, (lines, color) in enumerate(zip(components, COMPONENT_COLORS, strict=False)):
        if lines is not None:
            label = f"component {number + 1}"
            above.plot(wavelength, base + lines, color=color, linewidth=1.2, linestyle="--", label=label)
    if total is not None:
        above.plot(wavelength, total, color=RED, linewidth=1.2, label="total fit")
        if is_there.any():  # by the fit, so that a wild pixel does not set the scale
            ends = [*np.percentile(flux[is_there], [2, 98]), total.min(), total.max()]
            room = 0.15 * (max(ends) - min(ends)) or 1.0
            above.set_ylim(min(ends) - room, max(ends) + room)
        residual = (flux - total) / spread
        below.step(wavelength, residual, where="mid", color=BLACK, linewidth=0.8)
        highest = max(4.0, float(np.nanmax(np.abs(residual), initial=0.0)) * 1.05)
        below.set_ylim(-highest, highest)
    below.axhspan(-1, 1, color=FAINT, alpha=0.5, linewidth=0)
    below.axhline(0, color=QUIET, linewidth=0.7)


def _mark(axes: Axes, observed: Mapping[str, float], color: str) -> None:
    """Ticks at the lines, and the names of those that lie together above them."""
    low, high = axes.get_xlim()
    ordered = sorted(observed.items(), key=lambda each: each[1])
    bunches: list[list[tuple[str, float]]] = []
    for name, place in ordered:
        if bunches and place - bunches[-1][0][1] < 0.035 * (high - low):  # a label takes some 3 % of the width
            bunches[-1].append((name, place))
        else:
            bunches.append([(name, place)])
    across = axes.get_xaxis_transform()
    width = axes.figure.bbox.width / axes.figure.dpi  # inches
    letter = 0.55 * TICK / 72 / width * (high - low)  # as wide as one is on the axis, or near it
    end, is_high = -np.inf, False
    for bunch in bunches:
        places = [place for _, place in bunch]
        for place in places:
            axes.plot([place, place], [0.8, 0.86], color=color, linewidth=0.9, transform=across)
        label = " ".join(dict.fromkeys(_species(name) for name, _ in bunch))
        half = 0.5 * letter * (len(label) + 1)
        middle = min(max(float(np.mean(places)), low + half), high - half)
        is_high = middle - half < end and not is_high  # in two rows where one would run together
        end = max(end, middle + half)
        at = 0.94 if is_high else 0.875
        axes.text(middle, at, label, transform=across, ha="center", va="bottom", fontsize=TICK, color=color)


def _species(name: str) -> str:
    """A line's name as it is written: "OIII_5008" is [O III], "H_alpha" H and its letter."""
    ion = re.fullmatch(r"([A-Z][a-z]?)(I+V?|VI*)_\d+", name)
    if ion:
        return f"[{ion[1]} {ion[2]}]"
    balmer = re.fullmatch(r"H_(\w+)", name)
    return f"H{GREEK.get(balmer[1], balmer[1])}" if balmer else literal(name)


def _view(flux: Array, *, room: float) -> tuple[float, float]:
    """Limits that a few wild pixels do not set, with room above for names."""
    known = flux[np.isfinite(flux)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(known, [0.3, 99.9])
    high = max(high, min(float(known.max()), low + 3 * (high - low)))  # a strong line is no wild pixel
    height = (high - low) or 1.0
    return float(low - 0.05 * height), float(high + room / (1 - room) * height * 1.05)


def _smooth(flux: Array) -> Array:
    """Mean of 3 pixels, of those that are known; NaN where none is."""
    padded = np.pad(flux, 1, constant_values=np.nan)
    three = np.lib.stride_tricks.sliding_window_view(padded, 3)
    known = np.isfinite(three)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, three, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
