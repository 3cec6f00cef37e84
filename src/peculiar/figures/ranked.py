"""Pictures of objects chosen by their scores: score ranges, disagreement of scores, the top of an order."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, Int64, UInt8
from matplotlib.figure import Figure

from peculiar.figures.images import (
    GAP,
    HEAD,
    LINE,
    MARGIN,
    THUMBNAIL,
    Images,
    as_color,
    block_size,
    checked_captions,
    fitting_thumbnail,
    place_block,
    place_image,
    write,
)
from peculiar.figures.style import CAPTION, QUIET, SIGMA, new_figure

_ROW_NAMES = ("image", "reconstruction", "residual")
_ROW_LABEL = 0.22  # inches, the name of a row, upright


def figure_rows(
    reals: Images,
    reconstructions: Images,
    residuals: Images,
    values: Float[np.ndarray, " n"],
    ranges: Sequence[tuple[float, float]],
    *,
    object_ids: Int64[np.ndarray, " n"] | None = None,
    value_name: str = "score_anom_sigma",
    n_examples: int = 6,
    n_across: int = 2,
) -> Figure:
    """Image, reconstruction and residual of objects in several ranges of a score.

    In each panel the rows are the image, the generator's reconstruction of it and their absolute difference; below
    stand the score, and the object id where given. The more anomalous the object, the more light is left in the
    residual. After Fig. 2 of Storey-Fisher et al. 2021.

    Parameters
    ----------
    reals, reconstructions, residuals
        Candidates; the first `n_examples` of them whose value is in a range are shown, in the order given.
    values
        The score of each, for example in sigma. NaN is in no range.
    ranges
        Low and high end of each range, low <= value < high; infinity is allowed.
    value_name
        What the values are, for the headings.
    n_across
        Panels side by side.
    """
    images = (reals, reconstructions, residuals)
    layers = {name: as_color(layer) for name, layer in zip(_ROW_NAMES, images, strict=True)}
    if len({len(values), *map(len, images)}) != 1:
        raise ValueError(f"one value for each image of each kind, got {[len(values), *map(len, images)]}")
    chosen = [np.flatnonzero((values >= low) & (values < high))[:n_examples] for low, high in ranges]
    captions = [
        f"{value:.2f}" if object_ids is None else f"{value:.2f}\n{object_ids[k]}" for k, value in enumerate(values)
    ]
    n_across = max(1, min(n_across, len(ranges)))
    n_widest = max([3, *(len(indices) for indices in chosen)])
    panel_width = _ROW_LABEL + n_widest * (THUMBNAIL + GAP) + 0.2
    panel_height = HEAD + 3 * (THUMBNAIL + GAP) + (1 if object_ids is None else 2) * LINE + 0.24
    n_down = -(-len(ranges) // n_across)
    figure = new_figure(n_across * panel_width + 2 * MARGIN - 0.2, n_down * panel_height + 2 * MARGIN - 0.14)
    for number, ((low, high), indices) in enumerate(zip(ranges, chosen, strict=True)):
        down, across = divmod(number, n_across)
        left, top = MARGIN + across * panel_width, MARGIN + down * panel_height
        write(figure, left, top, _range_name(value_name, low, high))
        _place_layers(figure, layers, indices, captions, left, top + HEAD)
    return figure


def choose_disagreement(
    scores: Mapping[str, Float[np.ndarray, " n"]], *, n_top: int, n_shown: int = 15
) -> dict[str, Int64[np.ndarray, " _"]]:
    """Row numbers of objects that show where scores agree and differ, by the name of the panel.

    For each score a sample of its `n_top` highest, and for each ordered pair those in the top of one that are not in
    the top of the other; of each, `n_shown` spread evenly from the highest down. NaN is never in a top; ties go to the
    earlier row.
    """
    tops = {}
    for name, values in scores.items():
        order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
        tops[name] = order[np.isfinite(values[order])][:n_top]
    panels = {f"{name}: the top {len(top):,}": _spread(top, n_shown) for name, top in tops.items()}
    for name, top in tops.items():
        for other, other_top in tops.items():
            if name != other:
                only = top[~np.isin(top, other_top)]
                panels[f"{name}, not {other}: {len(only):,} of {len(top):,}"] = _spread(only, n_shown)
    return panels


def figure_disagreement(
    panels: Mapping[str, tuple[UInt8[np.ndarray, "_ _ _ _"], Sequence[str] | None]],
    *,
    n_columns: int = 5,
    n_across: int = 3,
) -> Figure:
    """What each score finds, and what one score takes and another misses.

    Above, samples of the objects with the highest values of each score, spread over its top; below, objects in the top
    of one score that are not in the top of another. After Fig. 4 of Storey-Fisher et al. 2021.

    Parameters
    ----------
    panels
        Images and captions by heading, as `choose_disagreement` names and picks them.
    n_columns
        Thumbnails in a row of a panel.
    n_across
        Panels side by side.
    """
    blocks = [
        (name, as_color(images), checked_captions(captions, len(images))) for name, (images, captions) in panels.items()
    ]
    thumbnail = max((fitting_thumbnail(captions, 0.9) for _, _, captions in blocks), default=0.9)
    sizes = [block_size(len(color), n_columns, captions, thumbnail) for _, color, captions in blocks]
    n_across = max(1, min(n_across, len(blocks)))
    between = 0.35
    heights = [max(size[1] for size in sizes[k : k + n_across]) for k in range(0, len(sizes), n_across)]
    heights = [HEAD + max(height, 0.3) + 0.24 for height in heights]
    column = n_columns * (thumbnail + GAP) - GAP + between
    figure = new_figure(n_across * column - between + 2 * MARGIN, sum(heights) + 2 * MARGIN)
    for number, (name, color, captions) in enumerate(blocks):
        down, across = divmod(number, n_across)
        left, top = MARGIN + across * column, MARGIN + sum(heights[:down])
        write(figure, left, top, name)
        place_block(figure, color, captions, n_columns, left, top + HEAD, thumbnail)
    return figure


def figure_top(
    images: Images,
    object_ids: Int64[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    reconstructions: Images | None = None,
    residuals: Images | None = None,
    *,
    value_name: str = "score_anom_conditional",
    first_rank: int = 1,
    n_columns: int = 10,
) -> Figure:
    """The most anomalous objects in their order, each with its rank, the score, and the object id.

    Where reconstructions and residuals are given they stand below the image: what the generator made of it, and the
    absolute difference that is left.

    Parameters
    ----------
    images, object_ids, values
        The objects in the order to show, and the score that they are ordered by.
    reconstructions, residuals
        Either, both or none.
    value_name
        The score's name, for the heading.
    first_rank
        Rank of the first object.
    n_columns
        Objects in a row at most; the rows are filled evenly.
    """
    kinds = zip(_ROW_NAMES, (images, reconstructions, residuals), strict=True)
    layers = {name: as_color(layer) for name, layer in kinds if layer is not None}
    n = len(images)
    if {len(object_ids), len(values), *(len(layer) for layer in layers.values())} != {n}:
        raise ValueError(f"{n} images need {n} ids, values, reconstructions and residuals")
    captions = [f"#{first_rank + k}   {values[k]:.2f}\n{object_ids[k]}" for k in range(n)]
    n_down = max(1, -(-n // n_columns))
    n_columns = max(1, -(-n // n_down))
    step = len(layers) * (THUMBNAIL + GAP) + 2 * LINE + 0.14
    label = _ROW_LABEL if len(layers) > 1 else 0.0
    width = max(label + n_columns * (THUMBNAIL + GAP) - GAP, 4.2) + 2 * MARGIN
    figure = new_figure(width, HEAD + n_down * step + 2 * MARGIN - 0.1)
    write(figure, MARGIN, MARGIN, f"Top {n} by {value_name}")
    for row in range(n_down):
        indices = np.arange(n)[row * n_columns : (row + 1) * n_columns]
        _place_layers(figure, layers, indices, captions, MARGIN, MARGIN + HEAD + row * step)
    return figure


def _place_layers(
    figure: Figure,
    layers: Mapping[str, Images],
    indices: Int[np.ndarray, " k"],
    captions: Sequence[str],
    left: float,
    top: float,
) -> None:
    """Draw a column an object, a row a layer, the caption below the last; rows are named where there are several."""
    if not len(indices):
        write(figure, left, top, "no object here", size=CAPTION + 2, color=QUIET)
        return
    label = _ROW_LABEL if len(layers) > 1 else 0.0
    for row, (name, layer) in enumerate(layers.items()):
        y = top + row * (THUMBNAIL + GAP)
        if label:
            write(figure, left, y + THUMBNAIL / 2, name, size=CAPTION + 1.6, color=QUIET, rotation=90.0, va="center")
        for column, k in enumerate(indices):
            caption = captions[k] if row == len(layers) - 1 else ""
            place_image(figure, layer[k], left + label + column * (THUMBNAIL + GAP), y, THUMBNAIL, caption)


def _range_name(value_name: str, low: float, high: float) -> str:
    unit = f" {SIGMA}" if value_name.endswith("sigma") else ""
    name = value_name.removesuffix("_sigma").removesuffix("_robust")
    if np.isinf(low):
        return f"{name} below {high:g}{unit}"
    if np.isinf(high):
        return f"{name} above {low:g}{unit}"
    return f"{name} from {low:g} to {high:g}{unit}"


def _spread(rows: Int[np.ndarray, " n"], n_shown: int) -> Int64[np.ndarray, " k"]:
    places = np.linspace(0, max(0, len(rows) - 1), min(n_shown, len(rows))).round().astype(np.int64)
    return rows[places].astype(np.int64)
