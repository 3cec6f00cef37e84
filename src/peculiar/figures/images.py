"""Pictures of many objects: a plain mosaic, grids of thumbnails, and real beside generated."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.figures.style import CAPTION, FRAME, HEADING, INK, LABEL, QUIET, new_figure

Images = UInt8[np.ndarray, "n height width channels"]

THUMBNAIL = 1.2  # inches: a 19-digit id fits under it
GAP = 0.06  # inches between thumbnails
LINE = 0.115  # inches, one line of caption
CHARACTER = 0.0595  # inches, a digit of a caption in DejaVu Sans
HEAD = 0.34  # inches, a heading
MARGIN = 0.14  # inches around everything


def as_color(images: Images) -> UInt8[np.ndarray, "n height width 3"]:
    """Return images as red, green and blue, whatever their channels.

    One channel is shown gray; of two, the first is red, the second green, and blue is 0; of more than three, the first
    three are shown.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] < 1:
        raise ValueError(f"images must be uint8 (n, height, width, channels), got {images.dtype} {images.shape}")
    n_channels = images.shape[-1]
    if n_channels == 1:
        return np.repeat(images, 3, axis=-1)
    if n_channels == 2:
        return np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1)
    return images[..., :3]


def sample_grid(images: Images, n_columns: int = 8, *, gap: int = 0) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return one image: a plain mosaic, row by row from the top left, black where there is none.

    Parameters
    ----------
    images
        At least one; shown by the rule of `as_color`.
    n_columns
        Images in a row; a single row is as long as there are images.
    gap
        Black pixels between neighbors.
    """
    color = as_color(images)
    n, height, width, _ = color.shape
    if n == 0 or n_columns < 1:
        raise ValueError(f"a mosaic needs at least one image and one column, got {n} images and {n_columns} columns")
    n_columns = min(n, n_columns)
    n_rows = -(-n // n_columns)
    cells = np.zeros((n_rows * n_columns, height + gap, width + gap, 3), np.uint8)
    cells[:n, :height, :width] = color
    rows = cells.reshape(n_rows, n_columns, height + gap, width + gap, 3).swapaxes(1, 2)
    mosaic = rows.reshape(n_rows * (height + gap), n_columns * (width + gap), 3)
    return np.ascontiguousarray(mosaic[: mosaic.shape[0] - gap, : mosaic.shape[1] - gap])


def figure_images(
    images: Images,
    titles: Sequence[str] | None = None,
    *,
    n_columns: int = 10,
    heading: str = "",
    thumbnail: float = THUMBNAIL,
) -> Figure:
    """Objects in the order given, from the top left, each with its caption below.

    Parameters
    ----------
    images
        Shown by the rule of `as_color`. None at all gives a figure that says so.
    titles
        A caption for each image, of one line or more.
    n_columns
        Images in a row.
    heading
        Text above everything.
    thumbnail
        Width and height of an image, inches; more where a caption needs it.
    """
    color = as_color(images)
    captions = checked_captions(titles, len(color))
    thumbnail = fitting_thumbnail(captions, thumbnail)
    n_columns = max(1, min(n_columns, len(color)))
    width, height = block_size(len(color), n_columns, captions, thumbnail)
    top = HEAD if heading else 0.0
    figure = new_figure(max(width, 2.4) + 2 * MARGIN, max(height, 0.4) + top + 2 * MARGIN)
    if heading:
        write(figure, MARGIN, MARGIN, heading)
    place_block(figure, color, captions, n_columns, MARGIN, MARGIN + top, thumbnail)
    return figure


def figure_samples(
    real: Images, generated: UInt8[np.ndarray, "m height width channels"], *, n_columns: int = 6
) -> Figure:
    """Real images (left) beside images that the generator drew from random latents (right).

    The two should look alike as populations; no image on the right is meant to copy one on the left. After Fig. 1 of
    Storey-Fisher et al. 2021.
    """
    sides = [("Real", as_color(real)), ("Generated", as_color(generated))]
    thumbnail, between = 0.92, 0.4
    sizes = [block_size(len(color), n_columns, None, thumbnail) for _, color in sides]
    width = 2 * sizes[0][0] + between
    figure = new_figure(width + 2 * MARGIN, max(height for _, height in sizes) + HEAD + 2 * MARGIN)
    left = MARGIN
    for name, color in sides:
        write(figure, left, MARGIN, name)
        place_block(figure, color, None, n_columns, left, MARGIN + HEAD, thumbnail)
        left += sizes[0][0] + between
    return figure


def checked_captions(captions: Sequence[str] | None, n: int) -> Sequence[str] | None:
    """Return the captions, one for each of n images, or raise."""
    if captions is not None and len(captions) != n:
        raise ValueError(f"titles must be one for each image, got {len(captions)} titles and {n} images")
    return captions


def fitting_thumbnail(captions: Sequence[str] | None, thumbnail: float) -> float:
    """Return the size, at least `thumbnail` inches, at which neighboring captions do not run together."""
    longest = max((len(line) for caption in captions or () for line in caption.splitlines()), default=0)
    return max(thumbnail, longest * CHARACTER)


def caption_height(captions: Sequence[str] | None) -> float:
    """Inches that the longest caption takes below its image."""
    n_lines = max((caption.count("\n") + 1 for caption in captions or () if caption), default=0)
    return n_lines * LINE + (0.05 if n_lines else 0.0)


def block_size(n: int, n_columns: int, captions: Sequence[str] | None, thumbnail: float) -> tuple[float, float]:
    """Width and height, inches, of a block of n thumbnails with captions."""
    n_rows = -(-n // n_columns)
    step = thumbnail + caption_height(captions) + GAP
    return n_columns * (thumbnail + GAP) - GAP, max(0.0, n_rows * step - GAP)


def place_block(
    figure: Figure,
    color: UInt8[np.ndarray, "n height width 3"],
    captions: Sequence[str] | None,
    n_columns: int,
    left: float,
    top: float,
    thumbnail: float,
) -> None:
    """Draw thumbnails row by row; left and top in inches from the figure's top left."""
    step = thumbnail + caption_height(captions) + GAP
    if not len(color):
        write(figure, left, top, "none", size=LABEL, color=QUIET)
    for k, image in enumerate(color):
        row, column = divmod(k, n_columns)
        x, y = left + column * (thumbnail + GAP), top + row * step
        place_image(figure, image, x, y, thumbnail, captions[k] if captions else "")


def place_image(
    figure: Figure, image: UInt8[np.ndarray, "height width 3"], left: float, top: float, size: float, caption: str = ""
) -> Axes:
    """Draw one thumbnail with a thin frame and its caption; inches from the figure's top left."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (top + size) / height, size / width, size / height))
    axes.imshow(image, aspect="equal", interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FRAME)
        spine.set_linewidth(0.5)
    if caption:
        axes.annotate(
            caption,
            (0.5, 0.0),
            xytext=(0, -2.5),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=CAPTION,
            color=INK,
            linespacing=1.15,
            parse_math=False,
        )
    return axes


def write(
    figure: Figure,
    left: float,
    top: float,
    text: str,
    *,
    size: float = HEADING,
    color: str = INK,
    rotation: float = 0.0,
    ha: str = "left",
    va: str = "top",
) -> None:
    """Write text; left and top in inches from the figure's top left."""
    width, height = figure.get_size_inches()
    figure.text(
        left / width,
        1 - top / height,
        text,
        fontsize=size,
        color=color,
        rotation=rotation,
        ha=ha,
        va=va,
        parse_math=False,
    )
