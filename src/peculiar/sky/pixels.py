"""The one bridge between the stored form of an image (uint8, channels last) and the network's (float32, first)."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

Fit = Literal["exact", "crop", "pad", "resample"]


def to_network(images: UInt8[np.ndarray, "n height width channels"]) -> Float32[np.ndarray, "n channels height width"]:
    """Float32 images from 0 to 1 for the networks. Divides by 255, the same for every image."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(
            f"images must be uint8 (n, height, width, channels), got {images.dtype} {images.shape}; "
            'run "peculiar ingest" first'
        )
    pixels = np.ascontiguousarray(np.moveaxis(images, -1, 1), np.float32)
    pixels /= np.float32(255.0)
    return pixels


def to_stored(images: Float[np.ndarray, "n channels height width"]) -> UInt8[np.ndarray, "n height width channels"]:
    """Stored images of network images: clipped to 0..1, times 255, rounded. Undoes `to_network` exactly."""
    levels = np.clip(images, 0.0, 1.0)
    levels *= 255.0
    np.rint(levels, out=levels)
    return np.ascontiguousarray(np.moveaxis(levels.astype(np.uint8), 1, -1))


def turned(
    images: UInt8[np.ndarray, "n size size channels"], symmetry: Int64[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n size size channels"]:
    """Images under one of the square's eight symmetries each: quarter turns (`symmetry` % 4), mirrored from 4 up.

    A galaxy has no up: training sees all eight. One turn more than none is `numpy.rot90` from rows to columns.
    """
    result = np.empty_like(images)
    for which in range(8):
        mine = symmetry == which
        part = images[mine, :, ::-1] if which >= 4 else images[mine]
        result[mine] = np.rot90(part, which % 4, axes=(1, 2))
    return result
