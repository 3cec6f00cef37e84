"""Which extension, plane or file holds which band."""

import re
from collections.abc import Sequence

import numpy as np

from peculiar.io.entries import MAX_CHANNELS, Unfit

# Companions of an image that share its band: point-spread functions, variances, masks, exposure maps, models.
_COMPANIONS = re.compile(
    r"(^|[-_ ])((co)?psf|var(iance)?|ivar|invvar|weight|wht|wtmap|err(or)?|sigma|std|rms|uncert|ma?sk|maskbits|dq|"
    r"flags?|exp(map|time)?|nexp|nimage|model|resid|chi2|background|bkg|sky)([-_ ]|$)",
    re.IGNORECASE,
)


def is_companion(label: str) -> bool:
    """Whether a label such as ``PSF-I`` or ``VARIANCE`` names something else than the image itself."""
    return _COMPANIONS.search(label) is not None


def match_band(band: str, labels: Sequence[Sequence[str]]) -> int:
    """Find the one item that holds a band: by a whole label, or else by what stands after its last ``-`` or ``_``.

    Parameters
    ----------
    band
        Name, in any case.
    labels
        For every extension or file its names. Companions (``PSF-I``) are found by their whole name only.

    Raises
    ------
    Unfit
        If none matches, or several do.
    """
    want = band.lower()
    lowered = [[label.lower().strip() for label in item] for item in labels]
    science = [i for i, item in enumerate(lowered) if not any(map(is_companion, item))]
    for found in (
        [i for i in science if want in lowered[i]],
        [i for i, item in enumerate(lowered) if want in item],
        [i for i in science if any(re.split(r"[-_]", label)[-1] == want for label in lowered[i])],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise Unfit(
                "ambiguous bands", band, f"holds band {band!r} {len(found)} times; give its full name in --bands"
            )
    known = ", ".join(filter(None, ("/".join(filter(None, item)) for item in labels))) or "no names"
    raise Unfit("missing band", band, f"has no band {band!r} (it has: {known}); name its bands with --bands")


def select_planes(cube: np.ndarray, bands: tuple[str, ...] | None, names: Sequence[str] | None = None) -> np.ndarray:
    """Select and order the planes of a cube (bands, height, width): by name where it has any, else by number from 0."""
    if cube.shape[0] > MAX_CHANNELS and bands is None:
        raise Unfit(
            "wrong channels", cube.shape[0], f"has {cube.shape[0]} planes; choose 1 to {MAX_CHANNELS} by --bands"
        )
    if bands is None:
        return cube
    if names is not None and len(names) == len(cube):
        return cube[[match_band(band, [[name] for name in names]) for band in bands]]
    if not all(band.isdecimal() for band in bands):
        if len(bands) == len(cube) == 1:
            return cube
        text = f"is a cube of {len(cube)} planes without names; give their numbers from 0 in color order: --bands 2,1,0"
        raise Unfit("ambiguous bands", ",".join(bands), text)
    numbers = [int(band) for band in bands]
    if max(numbers) >= len(cube):
        raise Unfit("missing band", max(numbers), f"has planes 0 to {len(cube) - 1}, not {max(numbers)}")
    return cube[numbers]
