"""How much of an image an autoencoder's few numbers hold."""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.figures.images import as_color
from peculiar.figures.style import BLUE, HEADING, INK, LABEL, ORANGE, QUIET, plot_figure, quiet_axes

N_SHOWN = 8


def figure_decoded(
    originals: UInt8[np.ndarray, "n height width channels"],
    decoded: UInt8[np.ndarray, "n height width channels"],
    sizes: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    *,
    name: str,
) -> Figure:
    """What an autoencoder gives back, beside what it was given.

    Above: the first originals and what was decoded of them. Below, over all objects: the mean radial profile with its
    quartiles, the mean gray level, and the light-weighted radius (`sizes`, pixels), of the decoded against the
    original; on the line nothing is lost.
    """
    n_shown = min(N_SHOWN, len(originals))
    figure = plot_figure(11.0, 7.2)
    rows = figure.add_gridspec(2, 1, height_ratios=(1.5, 2))
    thumbnails = rows[0].subgridspec(2, N_SHOWN)
    for row, (images, label) in enumerate(((originals, "original"), (decoded, "decoded"))):
        for place in range(n_shown):
            axes = figure.add_subplot(thumbnails[row, place])
            axes.imshow(as_color(images[place : place + 1])[0], interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if not place:
                axes.set_ylabel(label, fontsize=LABEL, color=INK)
    below = rows[1].subgridspec(1, 3)
    left, middle, right = (figure.add_subplot(below[0, place]) for place in range(3))
    _profiles(left, originals, decoded)
    brightness = originals.mean(axis=(1, 2, 3)), decoded.mean(axis=(1, 2, 3))
    _against(middle, *brightness, title="Brightness", unit="mean level")
    _against(right, *sizes, title="Size", unit="radius (pixels at 96)")
    figure.suptitle(f"{name}: {len(originals):,} objects", fontsize=HEADING, color=INK, x=0.01, ha="left")
    return figure


def radial_profile(
    images: UInt8[np.ndarray, "n height width channels"],
) -> Float[np.ndarray, "n n_radii"]:
    """Mean gray level in rings one pixel wide around the center, out to half the side."""
    size = images.shape[1]
    offsets = np.arange(size) - (size - 1) / 2
    ring = np.hypot(offsets[:, None], offsets[None, :]).astype(int).ravel()
    gray = images.mean(axis=3).reshape(len(images), -1)
    sums = np.stack([np.bincount(ring, weights=each) for each in gray])
    return (sums / np.bincount(ring))[:, : size // 2]


def _profiles(axes: Axes, originals: np.ndarray, decoded: np.ndarray) -> None:
    for images, color, label in ((originals, BLUE, "original"), (decoded, ORANGE, "decoded")):
        low, middle, high = np.quantile(radial_profile(images), (0.25, 0.5, 0.75), axis=0)
        radius = np.arange(len(middle)) + 0.5
        axes.fill_between(radius, low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(radius, middle, color=color, linewidth=1.6, label=label, linestyle="-" if color == BLUE else "--")
    axes.legend(frameon=False, fontsize=LABEL)
    quiet_axes(axes, title="Radial profile", x="radius (pixels)", y="median level, quartiles")


def _against(axes: Axes, original: np.ndarray, decoded: np.ndarray, *, title: str, unit: str) -> None:
    axes.plot(original, decoded, ".", color=BLUE, markersize=2.5, alpha=0.5, rasterized=True)
    ends = [float(min(original.min(), decoded.min())), float(max(original.max(), decoded.max()))]
    axes.plot(ends, ends, color=QUIET, linewidth=0.9)
    quiet_axes(axes, title=title, x=f"original, {unit}", y="decoded")
