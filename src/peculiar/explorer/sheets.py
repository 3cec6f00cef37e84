"""Pictures as the page asks for them: one sheet of many objects, or one object with every pixel as it is stored."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from peculiar.figures.images import as_color
from peculiar.ranking import Ranking

Part = Literal["image", "reconstruction", "residual", "triple"]
PARTS: tuple[Part, ...] = get_args(Part)
SIZES = (4, 512)  # pixels of one object on a sheet
MAX_OBJECTS = 1_024  # of one sheet
MAX_PIXELS = 4_194_304  # of one sheet: 64 objects of 256 pixels, or 4,096 of 32
STRETCHES = (0.1, 10.0)
JPEG_QUALITY = 88
WHOLE_COLOR = 32  # pixels; smaller objects keep their colors at full resolution
LIGHT = {"r": 0, "g": 1, "b": 2}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How objects are shown.

    Parameters
    ----------
    part
        Image, reconstruction, residual (absolute difference), or the three side by side.
    stretch
        Exponent: a level v of 0 to 1 is shown as v**(1 / stretch); 1 as it is stored, larger shows what is faint.
    invert
        Dark on light.
    channels
        Of "rgb", those that are shown; the others are black. One alone is shown gray.
    """

    part: Part = "image"
    stretch: float = 1.0
    invert: bool = False
    channels: str = "rgb"

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.part not in PARTS:
            raise ValueError(f"part must be one of {', '.join(PARTS)}, got {self.part!r}")
        if not STRETCHES[0] <= self.stretch <= STRETCHES[1]:
            raise ValueError(f"stretch must be from {STRETCHES[0]} to {STRETCHES[1]}, got {self.stretch}")
        if not self.channels or set(self.channels) - set(LIGHT) or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels must be some of r, g and b, each once, got {self.channels!r}")


def pictures(ranking: Ranking, object_ids: np.ndarray, look: Look) -> np.ndarray:
    """Objects as they are shown, uint8 (n, height, width, 3); of "triple" three times as wide."""
    if look.part == "image":
        parts = [ranking.survey.images(object_ids)]
    else:
        made = ranking.reconstructions(object_ids)
        parts = [made]
        if look.part != "reconstruction":
            images = ranking.survey.images(object_ids)
            residuals = np.abs(images.astype(np.int16) - made).astype(np.uint8)
            parts = [residuals] if look.part == "residual" else [images, made, residuals]
    color = np.concatenate([as_color(each) for each in parts], axis=2)
    return _shown(color, look)


def _shown(color: np.ndarray, look: Look) -> np.ndarray:
    chosen = [LIGHT[each] for each in look.channels]
    if len(chosen) == 1:
        color = np.repeat(color[..., chosen], 3, axis=-1)
    elif len(chosen) == 2:
        color = color * np.isin(np.arange(3), chosen).astype(np.uint8)
    levels = np.linspace(0, 1, 256) ** (1 / look.stretch)
    levels = np.rint(255 * (1 - levels if look.invert else levels)).astype(np.uint8)
    if look.stretch == 1 and not look.invert:
        return color
    shown: np.ndarray = levels[color]
    return shown


def sheet(ranking: Ranking, object_ids: np.ndarray, look: Look, *, size: int, columns: int) -> bytes:
    """One JPEG of many objects, `columns` in a row, each `size` pixels high; of "triple" each is three wide.

    Raises
    ------
    ValueError
        There are too many objects, or pixels, for one sheet, or none.
    """
    n = len(object_ids)
    wide = size * (3 if look.part == "triple" else 1)
    if not 1 <= n <= MAX_OBJECTS:
        raise ValueError(f"a sheet must have from 1 to {MAX_OBJECTS} objects, got {n}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"size must be from {SIZES[0]} to {SIZES[1]} pixels, got {size}")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    columns = min(columns, n)
    n_rows = -(-n // columns)
    if n_rows * size * columns * wide > MAX_PIXELS:
        raise ValueError(f"a sheet must have at most {MAX_PIXELS} pixels, got {n_rows * size} times {columns * wide}")
    whole = Image.new("RGB", (columns * wide, n_rows * size))
    for place, picture in enumerate(pictures(ranking, object_ids, look)):
        row, column = divmod(place, columns)
        whole.paste(_resized(picture, wide, size), (column * wide, row * size))
    # Colors at half the resolution would run from one speck into the next.
    return _encoded(whole, "JPEG", quality=JPEG_QUALITY, subsampling=0 if size <= WHOLE_COLOR else 2)


def _resized(picture: np.ndarray, width: int, height: int) -> Image.Image:
    """Averaged where it becomes smaller, so that nothing is missed; smooth where it becomes larger."""
    image = Image.fromarray(picture)
    if image.size == (width, height):
        return image
    filtered = Image.Resampling.BOX if image.height > height else Image.Resampling.BICUBIC
    return image.resize((width, height), filtered)


def lossless(ranking: Ranking, object_id: int, look: Look) -> bytes:
    """One object as a PNG, pixel by pixel as it is stored."""
    return _encoded(Image.fromarray(pictures(ranking, np.array([object_id], np.int64), look)[0]), "PNG")


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def parsed_ids(text: str, most: int) -> np.ndarray:
    """Ids between commas, int64.

    Raises
    ------
    ValueError
        One is no id, or there are more than `most`.
    """
    parts: Sequence[str] = text.split(",") if text else ()
    if len(parts) > most:
        raise ValueError(f"at most {most} ids at once, got {len(parts)}")
    try:
        return np.array([int(each) for each in parts], np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError("ids must be whole numbers of at most 64 bits, between commas") from error
