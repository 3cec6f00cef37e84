"""What is read and what comes of it: an entry goes in, a loaded image or a reason comes out."""

import contextlib
import os
import struct
import tokenize
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args
from zipfile import BadZipFile

import numpy as np
from astropy.io.fits import VerifyError

from peculiar.sky.pixels import Fit

MIN_SIZE, MAX_CHANNELS = 32, 8  # what the survey store takes
MAX_PIXELS = 2**24  # 4096 x 4096: far above any cutout, and at most 0.5 GB as flux of 8 bands

# What decoders were seen to raise on bad bytes (the tests throw altered files at them). Not KeyboardInterrupt, not our
# own mistakes of logic. Pillow raises SyntaxError for broken PNG, h5py RuntimeError, astropy TypeError, KeyError and
# AttributeError for headers that lie, numpy TokenError.
READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,
    SyntaxError,
    EOFError,
    MemoryError,
    OverflowError,
    BadZipFile,
    VerifyError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
)


@dataclass(frozen=True)
class Entry:
    """One object to read.

    `source` is unique and stable: the path relative to the folder given, ``file.h5#<object_id or row>`` in a container,
    ``field#<object_id>`` in a field. `index` is the row in the container; in a field, of the catalog. `path` holds
    ``{band}`` where each band has its own file. `ra`, `dec` in degrees.
    """

    source: str
    path: str
    index: int | None = None
    object_id: int | None = None
    ra: float | None = None
    dec: float | None = None


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How inputs become images of one survey.

    Attributes
    ----------
    bands
        Names of the bands in color order: red, green, blue for three. They select and order extensions, planes and
        files: by EXTNAME, BAND or FILTER, whatever the case, also by what stands after the last ``-`` or ``_``
        (``i`` finds ``HSC-I``); a number is a plane of a cube, from 0. None: as found, if that is unambiguous.
    size, fit
        Side of the images, pixels, and what to do with others (`peculiar.sky.cutouts.fit`). None: as found.
    channels
        Channels that every image must have. None: any.
    stretch, stretch_width, q, minimum
        For flux only, see `peculiar.sky.rgb`. None: lupton for three bands, asinh otherwise.
    band_pattern
        File names where each band has its own file, relative to the folder: ``{name}_{band}.fits``.
    keep_flux
        Whether flux is returned beside the image, in the order of `bands`.
    ids
        ``name``: the one integer in the file's name is the object_id.
    is_field
        Whether the files are large fields, one a band, that objects are cut out of at ra, dec.
    max_pixels
        Largest height times width that is decoded at all.
    """

    bands: tuple[str, ...] | None = None
    size: int | None = None
    fit: Fit = "exact"
    channels: int | None = None
    stretch: Literal["lupton", "asinh"] | None = None
    stretch_width: float = 0.5
    q: float = 15.0
    minimum: float = 0.0
    band_pattern: str | None = None
    keep_flux: bool = False
    ids: Literal["source", "name"] = "source"
    is_field: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        _check_choice("fit", self.fit, get_args(Fit))
        _check_choice("stretch", self.stretch, (None, "lupton", "asinh"))
        _check_choice("ids", self.ids, ("source", "name"))
        if self.size is not None and self.size < MIN_SIZE:
            raise ValueError(f"size must be at least {MIN_SIZE} pixels, got {self.size}")
        if self.channels is not None and not 1 <= self.channels <= MAX_CHANNELS:
            raise ValueError(f"channels must be 1 to {MAX_CHANNELS}, got {self.channels}")
        if not (self.stretch_width > 0 and self.q > 0):
            raise ValueError(f"stretch_width and q must be positive, got {self.stretch_width} and {self.q}")
        self._check_bands()

    def _check_bands(self) -> None:
        if self.bands is not None:
            if not 1 <= len(self.bands) <= MAX_CHANNELS or len(set(self.bands)) < len(self.bands):
                raise ValueError(f"bands must be 1 to {MAX_CHANNELS} different names, got {self.bands}")
            if self.stretch == "lupton" and len(self.bands) != 3:
                raise ValueError(f"stretch lupton needs three bands, got {self.bands}; use --stretch asinh")
        if self.band_pattern is not None:
            if "{name}" not in self.band_pattern or "{band}" not in self.band_pattern:
                raise ValueError(f"band_pattern must hold {{name}} and {{band}}, got {self.band_pattern!r}")
            if self.bands is None:
                raise ValueError("band_pattern needs the names of the bands; give --bands in color order")
        if self.is_field and self.bands is None:
            raise ValueError("fields need the names of the bands; give --bands in color order")


@dataclass(frozen=True)
class Loaded:
    """An image ready for the survey: uint8 (size, size, channels); flux float32 (bands, size, size) if kept."""

    entry: Entry
    image: np.ndarray
    flux: np.ndarray | None = None


@dataclass(frozen=True)
class Rejected:
    """Why an input is not in the survey: a short stable rule, the value that broke it, and a sentence."""

    source: str
    object_id: int | None
    rule: str
    value: str
    reason: str


class Unfit(Exception):
    """An input breaks a rule. Raised and caught among the readers; becomes a `Rejected`."""

    def __init__(self, rule: str, value: object, text: str) -> None:
        super().__init__(rule, str(value), text)
        self.rule, self.value, self.text = rule, str(value), text

    def rejected(self, entry: Entry) -> Rejected:
        """Make the record of the entry that broke the rule."""
        return Rejected(entry.source, entry.object_id, self.rule, self.value, f"{entry.source}: {self.text}")


def unreadable(error: BaseException) -> Unfit:
    """Make a rejection of what a decoder raised."""
    words = " ".join(str(error).split())[:300]
    value = f"{type(error).__name__}: {words}"
    return Unfit(
        "unreadable", value, f"cannot be read ({words or type(error).__name__}); replace the file or remove it"
    )


def check_shape(height: int, width: int, options: ReadOptions) -> None:
    """Refuse sizes that no survey holds, from the header, before anything is decoded."""
    value = f"{height}x{width}"
    if height * width > options.max_pixels:
        text = f"is {value} pixels, above the limit of {options.max_pixels} in all; cut it, or raise max_pixels"
        raise Unfit("too large", value, text)
    if min(height, width) < MIN_SIZE:
        raise Unfit(
            "too small", value, f"is {value} pixels; both sides must be at least {MIN_SIZE}; use larger cutouts"
        )


def check_not_empty(path: str) -> None:
    """Refuse files of no bytes, what a full disk or a broken download leaves."""
    if os.path.getsize(path) == 0:
        raise Unfit("empty file", "0 bytes", f"{os.path.basename(path)} has 0 bytes; fetch it again or remove it")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of decoders about bad input from escaping; what matters becomes a `Rejected`."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")
