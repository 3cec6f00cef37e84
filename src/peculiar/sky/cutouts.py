"""Fit pixels to the survey's size: as they are, cropped, padded or resampled; said by the caller, never guessed."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from peculiar.sky.pixels import Fit

Pixels = UInt8[np.ndarray, "height width channels"] | Float[np.ndarray, "bands height width"]
Fitted = UInt8[np.ndarray, "size size channels"] | Float[np.ndarray, "bands size size"]


def fit(pixels: Pixels, size: int, how: Fit) -> Fitted:
    """Bring one image or one flux cutout to `size` times `size` pixels.

    Parameters
    ----------
    pixels
        ``uint8 (height, width, channels)`` is an image, ``float (bands, height, width)`` is flux.
    size
        Side of the result, pixels.
    how
        ``exact``: must have the size already. ``crop``: the center; both sides must reach `size`. ``pad``: zeros
        around it (black; no flux); neither side may exceed `size`. ``resample``: square pixels in, square pixels out.

    Returns
    -------
    Pixels of the same layout and dtype.

    Raises
    ------
    ValueError
        If the pixels cannot be fitted that way.

    Notes
    -----
    Where the margin is odd, crop and pad leave the larger part at the end, so that 120 to 96 px starts at 12.
    An image is resampled by Lanczos with the kernel widened when it shrinks. Flux is resampled by the mean over the
    area of each new pixel: surface brightness is kept (a constant stays that constant), so the sum scales with the
    number of pixels. Pixels that are not finite are left out of that mean; where nothing else is covered it is NaN.
    """
    is_image = _is_image(pixels)
    height, width = pixels.shape[:2] if is_image else pixels.shape[1:]
    if (height, width) == (size, size):
        return pixels
    if how == "exact":
        raise ValueError(
            f"is {height}x{width} pixels, not {size}x{size}; say what to do with other sizes: --fit crop|pad|resample"
        )
    if how == "crop":
        if min(height, width) < size:
            raise ValueError(f"is {height}x{width} pixels, too small to crop to {size}x{size}; use --fit pad|resample")
        top, left = (height - size) // 2, (width - size) // 2
        window = (slice(top, top + size), slice(left, left + size))
        return np.ascontiguousarray(pixels[window] if is_image else pixels[:, *window])
    if how == "pad":
        if max(height, width) > size:
            raise ValueError(f"is {height}x{width} pixels, too large to pad to {size}x{size}; use --fit crop|resample")
        margins = [((size - side) // 2, size - side - (size - side) // 2) for side in (height, width)]
        return np.pad(pixels, [*margins, (0, 0)] if is_image else [(0, 0), *margins])
    if height != width:
        raise ValueError(f"is {height}x{width} pixels; only square images are resampled: use --fit crop|pad")
    return _resample_image(pixels, size) if is_image else _resample_flux(pixels, size)


def _is_image(pixels: np.ndarray) -> bool:
    if pixels.ndim == 3 and pixels.dtype == np.uint8:
        return True
    if pixels.ndim == 3 and np.issubdtype(pixels.dtype, np.floating):
        return False
    raise ValueError(
        "pixels must be uint8 (height, width, channels) or float (bands, height, width), "
        f"got {pixels.dtype} {pixels.shape}"
    )


def _resample_image(pixels: np.ndarray, size: int) -> np.ndarray:
    # one channel at a time: Pillow has no image of five channels
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(pixels[..., i])).resize((size, size), Image.Resampling.LANCZOS))
        for i in range(pixels.shape[-1])
    ]
    return np.stack(channels, axis=-1)


def _resample_flux(flux: np.ndarray, size: int) -> np.ndarray:
    weights = _area_weights(flux.shape[-1], size)
    is_finite = np.isfinite(flux)
    total = weights @ np.where(is_finite, flux, 0.0).astype(np.float64) @ weights.T
    covered = weights @ is_finite.astype(np.float64) @ weights.T
    # a share below rounding error counts as none
    mean = np.divide(total, covered, out=np.full_like(total, np.nan), where=covered > 1e-9)
    resampled: np.ndarray = mean.astype(flux.dtype)
    return resampled


def _area_weights(n_old: int, n_new: int) -> np.ndarray:
    """Share of each new pixel (row) that each old pixel (column) covers; rows sum to 1."""
    edges = np.arange(n_new + 1)[:, None] * (n_old / n_new)
    covered = np.clip(edges - np.arange(n_old), 0.0, 1.0)
    weights: np.ndarray = np.diff(covered, axis=0) * (n_new / n_old)
    return weights
